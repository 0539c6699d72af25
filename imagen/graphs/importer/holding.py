"""A graph held to a catalogue before it is taken over: its classes, its types, what feeds it."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from imagen.core.text import one_line
from imagen.errors import WorkflowError
from imagen.graphs.importer.convert import FREE, wrong_types
from imagen.graphs.importer.declared import declared
from imagen.graphs.tokens import inputs_of, is_link, label

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_MOST_SAID = 5


def refuse_unsuited(graph: Mapping[str, Any], object_info: Mapping[str, Any], source: str) -> None:
    """Raise WorkflowError that names each class the catalogue has not, and each wrong type."""
    lines = list(_against(graph, object_info))
    if lines:
        said = "\n  ".join(lines)
        raise WorkflowError(
            f"{source} does not suit the catalogue:\n  {said}",
            remedy="Take the catalogue of the server that shall run it.",
        )


def refuse_unfed(graph: Mapping[str, Any], object_info: Mapping[str, Any], source: str) -> None:
    """Raise WorkflowError where every output lacks something on the way: no server takes that."""
    outputs = [key for key, node in graph.items() if _gives_away(node, object_info)]
    lacking = {key: names for key, node in graph.items() if (names := _missing(node, object_info))}
    broken = _made_from(graph, lacking)
    if not outputs or any(one not in broken for one in outputs):
        return
    lines = [
        f"node {one_line(key, limit=60)} ({label(graph, key)}), {', '.join(names)}: "
        "nothing arrives there."
        for key, names in lacking.items()
    ]
    said = "\n  ".join(lines[:_MOST_SAID])
    raise WorkflowError(
        f"Nothing would come out of {source}:\n  {said}",
        remedy="Run it once in ComfyUI, and save it when it works.",
    )


def _made_from(graph: Mapping[str, Any], node_ids: Iterable[str]) -> set[str]:
    """These nodes and all that are made from them."""
    fed: dict[str, list[str]] = defaultdict(list)
    for key, node in graph.items():
        for value in inputs_of(node).values():
            if is_link(value):
                fed[value[0]].append(key)
    found: set[str] = set()
    waiting = list(node_ids)
    while waiting:
        key = waiting.pop()
        if key not in found:
            found.add(key)
            waiting += fed[key]
    return found


def _against(graph: Mapping[str, Any], object_info: Mapping[str, Any]) -> Iterator[str]:
    for key, node in graph.items():
        place = f"node {one_line(key, limit=60)} ({label(graph, key)})"
        said = object_info.get(node["class_type"])
        if said is None:
            yield f"{place}: the catalogue has no such node."
            continue
        for name, what in wrong_types(inputs_of(node), declared(said)):
            yield f"{place}, {name}: {what}"


def _gives_away(node: Mapping[str, Any], object_info: Mapping[str, Any]) -> bool:
    return object_info.get(node["class_type"], {}).get("output_node") is True


def _missing(node: Mapping[str, Any], object_info: Mapping[str, Any]) -> list[str]:
    inputs = inputs_of(node)
    return [
        one_line(one.name, limit=60)
        for one in declared(object_info.get(node["class_type"], {}))
        if one.required and one.name not in inputs and not one.type.startswith(FREE)
    ]
