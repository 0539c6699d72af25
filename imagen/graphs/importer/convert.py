"""From the editor's format to the one a server runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from imagen.core.text import one_line
from imagen.errors import WorkflowError
from imagen.graphs.importer.declared import Declared, declared
from imagen.graphs.importer.editor import label, read_document
from imagen.graphs.importer.editor_texts import draw_choices, fill_placeholders, strip_comments
from imagen.graphs.importer.group_nodes import expand_group_nodes
from imagen.graphs.importer.recognise import meaningless_numbers
from imagen.graphs.importer.strangers import refuse_broadcasts, refuse_strangers
from imagen.graphs.importer.widgets import read_widgets
from imagen.graphs.importer.wiring import Origin, Placed, Source, Value, Wiring
from imagen.graphs.manifest import Manifest
from imagen.graphs.structure import ancestors
from imagen.graphs.tokens import is_link
from imagen.graphs.values import wrong_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from imagen.graphs.importer.recognise import Found

FREE = "COMFY_"
"""How types begin whose rules only the editor knows."""
_MOST_SAID = 8
_FILE_NAME = "filename_prefix"
_HEADER = "PowerLoraLoaderHeaderWidget"
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
    notes: tuple[str, ...] = ()
    """A sentence for each change to what the file holds."""


def converted(
    found: Found, object_info: Mapping[str, Any], *, now: datetime | None = None
) -> Converted:
    """What the editor would send for its file, with only what output nodes are made from.

    `now` is the time that goes into file names. Raises WorkflowError for a class that is not in the
    catalogue, for a value that is not of its input's type, and where nothing would come out.
    """
    document = read_document(found.document, found.source)
    document = expand_group_nodes(document, found.document, object_info)
    refuse_broadcasts(document)
    wiring = Wiring(document)
    everything = wiring.placed()
    running = {placed.id: placed for placed in everything if placed.runs}
    sources = {key: _sources(wiring, placed) for key, placed in running.items()}
    skeleton = {key: {"inputs": _links(arriving)} for key, arriving in sources.items()}
    outputs = [key for key, placed in running.items() if _gives_away(placed, object_info)]
    kept = ancestors(skeleton, outputs)
    refuse_strangers(running, skeleton, kept, object_info, found.source)
    if not outputs:
        raise _nothing_comes_out(found.source)
    builder = _Builder(object_info)
    graph = {
        key: builder.node(key, placed, sources[key])
        for key, placed in running.items()
        if key in kept
    }
    _fill_in_names(graph, everything, object_info, builder, now or datetime.now())
    _refuse_wrong_types(graph, running, object_info, found.source)
    nodes = [running[key].node for key in graph]
    return Converted(
        graph=graph,
        left_out=len(running) - len(graph),
        downloads={name: one for node in nodes for name, one in _downloads(node.properties)},
        packs={node.type: pack for node in nodes if (pack := pack_of(node.properties))},
        notes=tuple(builder.notes()),
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
    for name, value in placed.scope.promoted.inner.get(placed.node.id, {}).items():
        found.setdefault(name, Value(value))
    return found


def _links(arriving: Mapping[str, Source]) -> dict[str, Any]:
    return {n: [s.node, s.slot] for n, s in arriving.items() if isinstance(s, Origin)}


def _gives_away(placed: Placed, object_info: Mapping[str, Any]) -> bool:
    said = object_info.get(placed.node.type)
    return isinstance(said, dict) and said.get("output_node") is True


class _Builder:
    """Nodes as a server takes them, and a sentence for each change."""

    def __init__(self, object_info: Mapping[str, Any]) -> None:
        self._object_info = object_info
        self._changing: list[str] = []
        self._notes: list[str] = []

    def notes(self) -> Iterator[str]:
        """What a person should know, a sentence each."""
        if self._changing:
            listed = _enumerated(self._changing)
            yield f"The editor changes these after each run; here they stay as they are: {listed}."
        yield from self._notes

    def node(self, key: str, placed: Placed, arriving: Mapping[str, Source]) -> dict[str, Any]:
        """One node: its widgets' values, and over them what arrives."""
        said = self._object_info[placed.node.type]
        known = {one.name: one for one in declared(said)}
        stored = read_widgets(placed.node, list(known.values()))
        made, left = _made_by_scripts(placed.node.type, stored.surplus)
        inputs: dict[str, Any] = {**stored.values, **made}
        controls = dict(stored.controls)
        raw = set()
        for name, source in arriving.items():
            if isinstance(source, Value):
                inputs[name] = source.value
                controls |= {name: source.control} if source.control else {}
                raw |= {name} if source.is_raw else set()
            else:
                controls.pop(name, None)
                inputs.pop(name, None)
        place = f"node {one_line(key, limit=60)}"
        self._changing += [f"{place}, {name} ({how})" for name, how in controls.items()]
        for name in inputs:
            if name not in raw and name in known and known[name].options.get("dynamicPrompts"):
                inputs[name] = self._draw(f"{place}, {name}", inputs[name])
        if left:
            values = _enumerated([repr(value) for value in left])
            self.note(f"{place} ({label(placed.node)}): no input takes these values: {values}.")
        inputs = {name: _wrapped(value, known.get(name)) for name, value in inputs.items()}
        inputs |= _links(arriving)
        shown = placed.node.title or str(said.get("display_name") or placed.node.type)
        return {"inputs": inputs, "class_type": placed.node.type, "_meta": {"title": shown}}

    def note(self, sentence: str) -> None:
        """Keep a sentence that a person should know."""
        self._notes.append(sentence[:1].upper() + sentence[1:])

    def _draw(self, place: str, text: Any) -> Any:
        """A text as the editor sends it: without comments, and with its choices drawn."""
        if not isinstance(text, str):
            return text
        stripped = strip_comments(text)
        if stripped != text:
            self.note(f"{place}: comments are removed, as in the editor.")
        drawn, choices = draw_choices(stripped)
        if choices:
            self.note(
                f"{place}: the first of each {{a|b}} is used; the editor draws one for each run."
            )
        return drawn


def _enumerated(items: Sequence[str]) -> str:
    more = [f"… ({len(items) - _MOST_SAID} more)"] if len(items) > _MOST_SAID else []
    return ", ".join([*(one_line(item, limit=60) for item in items[:_MOST_SAID]), *more])


def _made_by_scripts(kind: str, values: Sequence[Any]) -> tuple[dict[str, Any], list[Any]]:
    """The inputs that a node's own script makes of values no catalog declares; and the rest."""
    made: dict[str, Any] = {}
    left: list[Any] = []
    loras = 0
    for value in values:
        is_object = isinstance(value, dict)
        if kind == "Power Lora Loader (rgthree)" and is_object and "lora" in value:
            loras += 1
            made[f"lora_{loras}"] = value
        elif kind == "Power Lora Loader (rgthree)" and is_object and value.get("type") == _HEADER:
            made[_HEADER] = value
        elif kind == "TriggerWord Toggle (LoraManager)" and isinstance(value, list | str):
            made["toggle_trigger_words" if isinstance(value, list) else "orinalMessage"] = value
        elif kind.endswith("(LoraManager)") and isinstance(value, list) and "loras" not in made:
            made["loras"] = value
        else:
            left.append(value)
    return made, left


def _wrapped(value: Any, known: Declared | None) -> Any:
    """A bare list would be taken for a link."""
    if known is not None and known.type == "CURVE" and value is not None:
        return {"__type__": "CURVE", "__value__": value}
    return {"__value__": value} if isinstance(value, list) else value


def _fill_in_names(
    graph: Mapping[str, Any],
    everything: Sequence[Placed],
    object_info: Mapping[str, Any],
    builder: _Builder,
    now: datetime,
) -> None:
    """Fill in `%date:…%` and `%Node.widget%` in the names of files that output nodes write."""

    by_id = {one.id: one.node for one in everything}
    by_name = {_search_name(one, object_info): one.id for one in reversed(everything)}
    by_title = {_title(one, object_info): one.id for one in reversed(everything)}

    @cache
    def widgets(key: str) -> Mapping[str, object]:
        """By name, the values of a node's widgets; what runs has its own where others arrive."""
        node = by_id[key]
        listed = node.values if isinstance(node.values, list) else []
        primitive = {"value": listed[0]} if listed and node.type == "PrimitiveNode" else {}
        stored = read_widgets(node, declared(object_info.get(node.type, {})))
        running = graph[key]["inputs"] if key in graph else {}
        arriving = {name: value for name, value in running.items() if not is_link(value)}
        return {**primitive, **stored.values, **arriving}

    def find_widget(name: str, widget: str) -> object:
        return widgets(by_name[name] if name in by_name else by_title[name])[widget]

    for key, node in graph.items():
        text = node["inputs"].get(_FILE_NAME)
        is_output = object_info[node["class_type"]].get("output_node") is True
        if is_output and isinstance(text, str) and "%" in text:
            filled = fill_placeholders(text, find_widget, now)
            if filled != text:
                node["inputs"][_FILE_NAME] = filled
                place = f"node {one_line(key, limit=60)}, {_FILE_NAME}"
                builder.note(
                    f"{place}: fixed as {one_line(filled, limit=80)!r}; the editor fills in "
                    f"{one_line(text, limit=80)!r} for each run."
                )


def _search_name(placed: Placed, object_info: Mapping[str, Any]) -> str:
    """What the editor's placeholders call a node: by default its class, but for those that save."""
    own = placed.node.properties.get("Node name for S&R")
    if isinstance(own, str):
        return own
    kind = placed.node.type
    return "" if kind not in object_info or kind.startswith("Save") else kind


def _title(placed: Placed, object_info: Mapping[str, Any]) -> str:
    said = object_info.get(placed.node.type)
    display = said.get("display_name") if isinstance(said, dict) else None
    return placed.node.title or str(display or placed.node.type)


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
    lines += meaningless_numbers(graph)
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
