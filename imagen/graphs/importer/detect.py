"""Detect what kind of workflow a text holds: ComfyUI's API format, its editor's format, or none."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from imagen.core.json_values import parse_json
from imagen.core.text import one_line
from imagen.errors import WorkflowError
from imagen.graphs.graph import inputs_of, is_node_like
from imagen.graphs.validate import find_structural_faults

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imagen.graphs.graph import Graph

_EXPECTED = (
    "A workflow is a JSON file that ComfyUI saved or exported, or a PNG or WebP image it made."
)
_PAGE_STARTS = ("<!doctype", "<html", "<head", "<?xml", "<svg")
_WRAPPERS = ("prompt", "output", "graph", "workflow")
"""Keys under which other tools save a graph; the one that can run comes first."""
_MAX_WRAPPERS = 3
_MAX_NODES = 10_000
_MAX_FAULTS_SHOWN = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectedWorkflow:
    """A workflow as it was saved: its `graph` in API format, or the editor's `document`."""

    source: str
    """Where it comes from, for people."""
    graph: Graph | None = None
    document: Mapping[str, object] | None = None

    @property
    def form(self) -> Literal["api", "editor"]:
        """The format that it has."""
        return "editor" if self.graph is None else "api"


def detect_in_text(text: str, source: str) -> DetectedWorkflow:
    """The workflow in a JSON text. Raises WorkflowError if there is none."""
    if not text.strip():
        raise WorkflowError(f"{source} is empty.", remedy=_EXPECTED)
    if text.lstrip()[:9].lower().startswith(_PAGE_STARTS):
        raise WorkflowError(
            f"{source} is a web page, not a workflow.",
            remedy="Save the file that the page offers for download, not the page.",
        )
    try:
        value = parse_json(text, strict_numbers=False)
    except ValueError as error:
        raise WorkflowError(f"{source} {error}.", remedy=_EXPECTED) from error
    return detect_in_json(value, source)


def detect_in_image_texts(texts: Mapping[str, str], source: str) -> DetectedWorkflow:
    """The workflow in an image's texts: `prompt`, which is what ran, or else `workflow`."""
    for name in ("prompt", "workflow"):
        if texts.get(name, "").strip():
            return detect_in_text(texts[name], f"{source} ({name})")
    raise WorkflowError(
        f"{source} holds no workflow: ComfyUI was set to write none, or another program saved "
        "the image again.",
        remedy=_EXPECTED,
    )


def detect_in_json(value: object, source: str) -> DetectedWorkflow:
    """The workflow in a JSON value, also within other tools' wrappers."""
    for _ in range(_MAX_WRAPPERS):
        if not isinstance(value, dict) or isinstance(value.get("nodes"), list):
            break
        wrapped = (value.get(key) for key in _WRAPPERS)
        inner = next((one for one in wrapped if one and isinstance(one, dict)), None)
        if inner is None or any(map(_is_node, value.values())):
            break
        value = inner
    if not isinstance(value, dict):
        raise WorkflowError(f"{source} is not a workflow: expected a JSON object.")
    if isinstance(value.get("nodes"), list):
        return DetectedWorkflow(document=value, source=source)
    if any(map(_is_node, value.values())):
        # Keep what a server reads of each node, and its title.
        nodes = {k: v for k, v in value.items() if isinstance(v, dict) and is_node_like(v)}
        if len(nodes) > _MAX_NODES:
            raise WorkflowError(f"{source} holds more than {_MAX_NODES:,} nodes.")
        graph: dict[str, Any] = {}  # faults of its nodes are reported below
        for node_id, node in nodes.items():
            meta = node.get("_meta")
            graph[node_id] = {name: node[name] for name in ("class_type", "inputs") if name in node}
            if isinstance(meta, dict) and isinstance(meta.get("title"), str):
                graph[node_id]["_meta"] = {"title": meta["title"]}
        lines = [fault.sentence for fault in find_structural_faults(graph, tuple(graph))]
        lines += find_odd_numbers(graph)
        if lines:
            shown = shorten_list(lines, _MAX_FAULTS_SHOWN)
            raise WorkflowError("\n  ".join([f"{source} cannot run:", *shown]))
        return DetectedWorkflow(graph=graph, source=source)
    what = "is not a workflow: it has no nodes."
    if isinstance(value.get("imagen"), int):
        what = "describes an image that ComfyUI did not make: it holds no graph."
    raise WorkflowError(f"{source} {what}", remedy=_EXPECTED)


def _is_node(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("class_type"), str)


def find_odd_numbers(graph: Graph) -> Iterator[str]:
    """A sentence for each input that holds NaN or infinity.

    Older servers wrote NaN beside the inputs, where it does no harm.
    """
    for node_id, node in graph.items():
        for name, value in inputs_of(node).items():
            if _holds_odd_number(value):
                place = f"node {one_line(node_id, limit=60)}, {one_line(name, limit=60)}"
                yield f"{place}: is NaN or infinite, which no server accepts."


def _holds_odd_number(value: object) -> bool:
    if isinstance(value, dict | list):
        return any(map(_holds_odd_number, value.values() if isinstance(value, dict) else value))
    return isinstance(value, float) and not math.isfinite(value)


def shorten_list(lines: list[str], limit: int) -> list[str]:
    """The first lines, and how many more there are."""
    more = [f"… and {len(lines) - limit} more"] if len(lines) > limit else []
    return [*lines[:limit], *more]
