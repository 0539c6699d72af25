"""A graph in ComfyUI's API format: its types, its nodes and links, and reading it from a file."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, NotRequired, TypeAlias, TypedDict

from imagen.core.json_values import parse_json
from imagen.core.text import one_line
from imagen.errors import WorkflowError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_EXPORT = "In ComfyUI, open the workflow and choose Workflow > Export (API); use the file it saves."
_SAVE_CLASS = re.compile(r"Save|Preview|VHS_VideoCombine|ETN_SendImage")
_OUTPUT_CLASS = re.compile(r"(?i)save|preview|output|send ?image|compare|krita|display|show ?image")
_NOT_OUTPUT_CLASS = re.compile(r"(?i)metadata|bridge|chooser|load")
"""Classes named after saving or showing that work in the middle of a graph."""
_PREVIEWING_SAMPLER = re.compile(r"KSampler.*\(Eff")
_IMAGE_INPUT = re.compile(r"(?i)(images?|img|pixels|video|frames|image_[ab])_?\d*")


class NodeMeta(TypedDict, total=False):
    """What ComfyUI keeps about a node and does not run."""

    title: str


class Node(TypedDict):
    """One node: its class, and a JSON value or a link for each input."""

    class_type: str
    inputs: dict[str, Any]
    _meta: NotRequired[NodeMeta]


Graph: TypeAlias = Mapping[str, Node]
"""Nodes by id.

A file may hold malformed nodes. `inputs_of`, `class_of` and `title_of` accept them, and
`imagen.graphs.validate` reports them.
"""


class Link(NamedTuple):
    """An output of a node. In JSON: `["4", 0]`."""

    node: str
    slot: int


def parse_link(value: object) -> Link | None:
    """The link in an input's value, or None if it is another value.

    A slot that no output can have becomes -1.
    """
    if not (isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)):
        return None
    slot = value[1]
    if type(slot) not in (int, float):
        return None
    return Link(value[0], int(slot) if 0 <= slot < 2**31 and slot == int(slot) else -1)


def is_link(value: object) -> bool:
    """Whether an input's value is a link: `["4", 0]`."""
    return parse_link(value) is not None


def inputs_of(node: object) -> Mapping[str, object]:
    """The inputs of a node; empty for a malformed one."""
    inputs = node.get("inputs") if isinstance(node, dict) else None
    return inputs if isinstance(inputs, dict) else {}


def class_of(node: object) -> str:
    """The class of a node; "" for a malformed one."""
    return str(node.get("class_type") or "") if isinstance(node, dict) else ""


def title_of(node: object) -> str:
    """The title that somebody gave a node, or ""."""
    meta = node.get("_meta") if isinstance(node, dict) else None
    return str(meta.get("title") or "") if isinstance(meta, dict) else ""


def describe_node(graph: Mapping[str, object], node_id: str) -> str:
    """A node as people know it: its class, and its title if that differs."""
    kind = one_line(class_of(graph.get(node_id)), limit=60)
    title = one_line(title_of(graph.get(node_id)), limit=60)
    return f"{kind} {title!r}" if title and title != kind else kind


def link_sources(node: object) -> list[str]:
    """The ids of the nodes that a node's inputs link to."""
    return [link.node for value in inputs_of(node).values() if (link := parse_link(value))]


def ancestors(graph: Mapping[str, object], node_ids: Iterable[str]) -> set[str]:
    """These nodes and all nodes that they depend on."""
    seen: set[str] = set()
    waiting = [node_id for node_id in node_ids if node_id in graph]
    while waiting:
        node_id = waiting.pop()
        if node_id not in seen:
            seen.add(node_id)
            waiting += [source for source in link_sources(graph[node_id]) if source in graph]
    return seen


def is_output_node(node: object) -> bool:
    """Whether a node outputs images, judging by the name of its class and its inputs."""
    kind = class_of(node)
    inputs = inputs_of(node)
    shown = str(inputs.get("image_output", "Hide"))
    if _SAVE_CLASS.match(kind) or _PREVIEWING_SAMPLER.match(kind):
        return True
    if shown not in ("Hide", "None", ""):
        return True
    return (
        bool(_OUTPUT_CLASS.search(kind))
        and not _NOT_OUTPUT_CLASS.search(kind)
        and any(_IMAGE_INPUT.fullmatch(name) and is_link(value) for name, value in inputs.items())
    )


def read_graph(path: Path) -> dict[str, Node]:
    """Read the graph in a JSON file. Raises WorkflowError."""
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise WorkflowError(f"{path} is not a JSON file in UTF-8.", remedy=_EXPORT) from error
    except OSError as error:
        raise WorkflowError(f"Cannot read {path}: {error.strerror}.") from error
    if not text.strip():
        raise WorkflowError(f"{path} is empty.", remedy=_EXPORT)
    try:
        parse_json(text)
        value: object = json.loads(text, object_pairs_hook=_unique_keys)
    except ValueError as error:
        raise WorkflowError(f"{path} {error}.", remedy=_EXPORT) from error
    return parse_graph(value, str(path))


def parse_graph(value: object, source: str) -> dict[str, Node]:
    """The graph in a JSON value, also if it is wrapped as `{"prompt": …}`.

    Raises WorkflowError, in which `source` says where the value comes from.
    """
    if not isinstance(value, dict):
        raise WorkflowError(f"{source} is not a graph: expected a JSON object.", remedy=_EXPORT)
    if isinstance(value.get("nodes"), list) and "links" in value:
        raise WorkflowError(
            f"{source} is in the format of ComfyUI's editor, which a server cannot run; "
            "expected the API format.",
            remedy=_EXPORT,
        )
    prompt = value.get("prompt")
    if isinstance(prompt, dict) and "class_type" not in prompt:
        return parse_graph(prompt, source)
    if value and not any(map(is_node_like, value.values())):
        raise WorkflowError(
            f"{source} is not a graph: it has no node with a class_type.", remedy=_EXPORT
        )
    return value


def is_node_like(value: object) -> bool:
    """Whether a JSON value looks like a node, perhaps a malformed one."""
    return isinstance(value, dict) and ("class_type" in value or "inputs" in value)


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Refuse an object with duplicate keys: JSON would keep only the last value."""
    value = dict(pairs)
    if len(value) < len(pairs):
        (key, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"holds the key {key!r} twice in one object")
    return value
