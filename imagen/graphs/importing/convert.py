"""From the editor's format to the one a server runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imagen.errors import WorkflowError
from imagen.graphs.importing.declared import Declared, declared
from imagen.graphs.importing.editor import label, read_document
from imagen.graphs.importing.strangers import refuse_broadcasts, refuse_strangers
from imagen.graphs.importing.widgets import literals
from imagen.graphs.importing.wiring import Gone, Origin, Placed, Source, Value, Wiring
from imagen.graphs.manifest import Manifest
from imagen.graphs.structure import ancestors
from imagen.graphs.tokens import is_link
from imagen.graphs.values import wrong_value
from imagen.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imagen.graphs.importing.recognise import Found

FREE = "COMFY_"
"""How types begin whose rules only the editor knows."""
_MOST_SAID = 8
_EXPORT = "Check that the catalogue is of the ComfyUI that runs it; or export it from the editor."


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """Where the editor's file says that a model's file belongs, and where it is to be had."""

    folder: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """A graph that a server can run, and what else the editor's file told."""

    graph: dict[str, Any]
    left_out: int = 0
    """How many nodes no output is made from."""
    downloads: Mapping[str, Download] = field(default_factory=dict)
    packs: Mapping[str, str] = field(default_factory=dict)
    """For each class that is not ComfyUI's own, the pack that brings it."""


def converted(found: Found, object_info: Mapping[str, Any]) -> Converted:
    """What the editor would send for its file, with only what output nodes are made from.

    Raises WorkflowError for a class that is not in the catalogue, for a value that is not of its
    input's type, and where nothing would come out.
    """
    document = read_document(found.document, found.source)
    refuse_broadcasts(document)
    wiring = Wiring(document)
    running = {placed.id: placed for placed in wiring.running()}
    sources = {key: _sources(wiring, placed) for key, placed in running.items()}
    skeleton = {key: {"inputs": _links(arriving)} for key, arriving in sources.items()}
    outputs = [key for key, placed in running.items() if _gives_away(placed, object_info)]
    kept = ancestors(skeleton, outputs)
    refuse_strangers(running, skeleton, kept, object_info, found.source)
    if not outputs:
        raise _nothing_comes_out(found.source)
    graph = {
        key: _node(placed, sources[key], object_info)
        for key, placed in running.items()
        if key in kept
    }
    _refuse_wrong_types(graph, running, object_info, found.source)
    nodes = [running[key].node for key in graph]
    return Converted(
        graph=graph,
        left_out=len(running) - len(graph),
        downloads={name: one for node in nodes for name, one in _downloads(node.properties)},
        packs={node.type: pack for node in nodes if (pack := pack_of(node.properties))},
    )


def pack_of(properties: Mapping[str, Any]) -> str:
    """The pack that brings a node's class, as its file says; "" for ComfyUI's own."""
    said = properties.get("cnr_id") or properties.get("aux_id")
    return one_line(said, limit=80) if isinstance(said, str) and said != "comfy-core" else ""


def _sources(wiring: Wiring, placed: Placed) -> dict[str, Source]:
    """By input, where its value comes from: of those at which something arrives."""
    found: dict[str, Source] = {}
    for slot, face in enumerate(placed.node.inputs):
        source = wiring.source(placed, slot)
        if source is not None:
            found[face.name] = source
    for (node, name), value in placed.scope.promoted.inner.items():
        if node == placed.node.id:
            found.setdefault(name, Value(value))
    return found


def _links(arriving: Mapping[str, Source]) -> dict[str, Any]:
    return {n: [s.node, s.slot] for n, s in arriving.items() if isinstance(s, Origin)}


def _gives_away(placed: Placed, object_info: Mapping[str, Any]) -> bool:
    said = object_info.get(placed.node.type)
    return isinstance(said, dict) and said.get("output_node") is True


def _node(
    placed: Placed,
    arriving: Mapping[str, Source],
    object_info: Mapping[str, Any],
) -> dict[str, Any]:
    """One node as a server takes it: its widgets' values, and over them what arrives."""
    said = object_info[placed.node.type]
    inputs = {name: _wrapped(v) for name, v in literals(placed.node, declared(said)).items()}
    for name, source in arriving.items():
        if isinstance(source, Value):
            inputs[name] = _wrapped(source.value)
        elif isinstance(source, Origin):
            inputs[name] = [source.node, source.slot]
        elif isinstance(source, Gone):
            inputs.pop(name, None)
    shown = placed.node.title or str(said.get("display_name") or placed.node.type)
    return {"inputs": inputs, "class_type": placed.node.type, "_meta": {"title": shown}}


def _wrapped(value: Any) -> Any:
    """A bare list would be taken for a link."""
    return {"__value__": value} if isinstance(value, list) else value


def _refuse_wrong_types(
    graph: Mapping[str, Any],
    running: Mapping[str, Placed],
    object_info: Mapping[str, Any],
    source: str,
) -> None:
    lines: list[str] = []
    for key, node in graph.items():
        place = f"node {key} ({label(running[key].node)})"
        faults = wrong_types(node["inputs"], declared(object_info[node["class_type"]]))
        lines += [f"{place}, {one_line(name, limit=60)}: {what}" for name, what in faults]
    if lines:
        more = [f"… and {len(lines) - _MOST_SAID} more"] if len(lines) > _MOST_SAID else []
        said = "\n  ".join([*lines[:_MOST_SAID], *more])
        raise WorkflowError(
            f"{source} holds values that its nodes don't take:\n  {said}", remedy=_EXPORT
        )


def wrong_types(
    inputs: Mapping[str, Any], declared_inputs: list[Declared]
) -> Iterator[tuple[str, str]]:
    """Each literal that is not of its input's type, with a sentence."""
    for one in declared_inputs:
        value = inputs.get(one.name)
        if one.name not in inputs or is_link(value) or one.type.startswith(FREE):
            continue
        wrong = _wrong_choice(one, value) or wrong_value(value, one.name, one.spec, Manifest())
        if wrong is not None:
            yield one.name, wrong[0]


def _wrong_choice(one: Declared, value: Any) -> tuple[str, str] | None:
    """A choice may be one that this server has not, but not of a kind that none is of."""
    if one.type != "COMBO" or not one.choices or value in one.choices or isinstance(value, dict):
        return None
    kinds = {type(choice) for choice in one.choices}
    if type(value) in kinds or (value is None and not one.required):
        return None
    known = ", ".join(one_line(str(choice), limit=40) for choice in one.choices[:5])
    return f"must be one of {known}, …, not {one_line(repr(value), limit=80)}.", ""


def _downloads(properties: Mapping[str, Any]) -> Iterator[tuple[str, Download]]:
    listed = properties.get("models")
    for said in listed if isinstance(listed, list) else ():
        facts = [said.get(key) for key in ("name", "directory", "url")] if _is_dict(said) else []
        if facts and all(isinstance(fact, str) for fact in facts):
            yield facts[0], Download(folder=facts[1], source=facts[2])


def _is_dict(value: Any) -> bool:
    return isinstance(value, dict)


def _nothing_comes_out(source: str) -> WorkflowError:
    return WorkflowError(
        f"Nothing comes out of {source}: it has no node that saves or shows a picture, or all "
        "such nodes are muted or bypassed.",
        remedy="Switch one on in ComfyUI, or add a Save Image node, and save the file again.",
    )
