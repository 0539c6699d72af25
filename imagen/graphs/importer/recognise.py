"""What kind of workflow a text holds: one a server can run, one of ComfyUI's editor, or none."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from imagen.core.json_values import parse_json
from imagen.core.text import one_line
from imagen.errors import WorkflowError
from imagen.graphs.structure import structural_faults

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

Form = Literal["api", "editor"]

_WANTED = (
    "A workflow is a JSON file saved or exported by ComfyUI, or a PNG or WebP picture it made."
)
_PAGE = ("<!doctype", "<html", "<head", "<?xml", "<svg")
_WRAPPINGS = ("prompt", "output", "graph", "workflow")
"""Where a graph lies within what other tools save, the one that can be run first."""
_OURS = "imagen"
_MOST_WRAPPINGS = 3
_MOST_NODES = 10_000
_MOST_SAID = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A workflow as it was saved."""

    form: Form
    document: Mapping[str, Any]
    """In API format the graph, without what a server ignores; else all the editor saved."""
    source: str
    """Where it came from, for people."""


def of_text(text: str, source: str) -> Found:
    """The workflow in a JSON text; raises WorkflowError with a sentence where there is none."""
    return of_json(_parsed(text, source), source)


def of_texts(texts: Mapping[str, str], source: str) -> Found:
    """The workflow of a picture by the texts in it: its `prompt`, else its `workflow`.

    The former is what really ran. Raises WorkflowError where there is neither.
    """
    for name in ("prompt", "workflow"):
        if texts.get(name, "").strip():
            return of_text(texts[name], f"{source} ({name})")
    raise WorkflowError(
        f"{source} holds no workflow: ComfyUI was told to write none, or the picture was "
        "saved again by something else.",
        remedy=_WANTED,
    )


def of_json(said: Any, source: str) -> Found:
    """The workflow in a JSON value, out of its wrapping where it has one."""
    said = _unwrapped(said)
    if not isinstance(said, dict):
        raise WorkflowError(f"{source} is no workflow: it should hold a JSON object.")
    if isinstance(said.get("nodes"), list):
        return Found(form="editor", document=said, source=source)
    if any(_is_node(value) for value in said.values()):
        return Found(form="api", document=_graph(said, source), source=source)
    raise WorkflowError(_other(said, source), remedy=_WANTED)


def _parsed(text: str, source: str) -> object:
    if not text.strip():
        raise WorkflowError(f"{source} is empty.", remedy=_WANTED)
    if text.lstrip()[:9].lower().startswith(_PAGE):
        raise WorkflowError(
            f"{source} is a web page, not a workflow.",
            remedy="Save the file that the page offers for download, not the page.",
        )
    try:
        return parse_json(text, strict_numbers=False)
    except ValueError as error:
        raise WorkflowError(f"{source} {error}.", remedy=_WANTED) from error


def _within(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _unwrapped(said: Any) -> Any:
    for _ in range(_MOST_WRAPPINGS):
        if not isinstance(said, dict) or isinstance(said.get("nodes"), list):
            return said
        inner = next((said[key] for key in _WRAPPINGS if _is_filled(said.get(key))), None)
        if inner is None or any(map(_is_node, said.values())):
            return said
        said = inner
    return said


def _is_node(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("class_type"), str)


def _is_nodelike(value: Any) -> bool:
    return isinstance(value, dict) and ("class_type" in value or "inputs" in value)


def _is_filled(value: Any) -> bool:
    return isinstance(value, dict) and bool(value)


def _other(said: Mapping[str, Any], source: str) -> str:
    if isinstance(said.get(_OURS), int):
        return f"{source} tells of a picture that was not made by ComfyUI: it holds no graph."
    return f"{source} is JSON, but no workflow: it has no nodes."


def _graph(said: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The nodes, with what a server reads of each, and their titles.

    Older servers wrote NaN beside the inputs, which does no harm; within them it has no meaning.
    """
    nodes = {key: value for key, value in said.items() if _is_nodelike(value)}
    if len(nodes) > _MOST_NODES:
        raise WorkflowError(f"{source} holds more than {_MOST_NODES:,} nodes.")
    graph = {node_id: _node(value) for node_id, value in nodes.items()}
    lines = [fault.sentence for fault in structural_faults(graph, tuple(graph))]
    lines += meaningless_numbers(graph)
    if lines:
        if len(lines) > _MOST_SAID:
            lines[_MOST_SAID:] = [f"… and {len(lines) - _MOST_SAID} more"]
        raise WorkflowError("\n  ".join([f"{source} can't run:", *lines]))
    return graph


def _node(said: Mapping[str, Any]) -> dict[str, Any]:
    meta = said.get("_meta")
    title = meta.get("title") if isinstance(meta, dict) else None
    node = {key: said[key] for key in ("class_type", "inputs") if key in said}
    return node | ({"_meta": {"title": title}} if isinstance(title, str) else {})


def meaningless_numbers(graph: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each input that holds NaN or an infinite number."""
    for node_id, node in graph.items():
        for name, value in node["inputs"].items() if isinstance(node.get("inputs"), dict) else ():
            if _holds_no_number(value):
                place = f"node {one_line(node_id, limit=60)}, {one_line(name, limit=60)}"
                yield f"{place}: is NaN or infinite, which no server takes."


def _holds_no_number(value: Any) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    return any(map(_holds_no_number, _within(value)))
