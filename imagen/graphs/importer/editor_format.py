"""The file format of ComfyUI's editor: nodes, links and subgraphs, and the values of widgets."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

from imagen.core.json_values import as_list, as_mapping, as_text
from imagen.core.text import one_line
from imagen.errors import WorkflowError
from imagen.graphs.model_names import is_model_file
from imagen.graphs.node_catalog import DYNAMIC_COMBO, PLAIN_TYPES, InputSpec, parse_input

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

MUTED, BYPASSED = 2, 4
SUBGRAPH_INPUT, SUBGRAPH_OUTPUT = "-10", "-20"
"""The node ids that stand for a subgraph's own inputs and outputs in its links."""
CONTROLS = ("fixed", "increment", "decrement", "randomize", "increment-wrap")
"""What the editor does to a seed after each run; servers do not know of it."""
SEED_INPUTS = ("seed", "noise_seed")
UPLOAD_BELOW = "upload_below"
"""Our own option of an input: the editor stores a value for an upload button after this one."""
_EXPORT = "In ComfyUI, open the workflow and choose Workflow > Export (API); add the file it saves."
_WIDGET_TYPES = frozenset(
    (
        *("COLOR", "CURVE", "RANGE", "BOUNDING_BOX", "MARKDOWN", "IMAGECOMPARE", "WEBCAM"),
        *("LOAD_3D", "LOAD_3D_ANIMATION", "AUDIO_RECORD", "AUDIO_UI"),
        *("AUTOCOMPLETE_TEXT_LORAS", "LORAS"),
        *("LORA_POOL_CONFIG", "RANDOMIZER_CONFIG", "CYCLER_CONFIG"),
    )
)
"""Further types for which the editor, or the script of LoraManager, has a widget."""
_UPLOAD_OPTIONS = (
    *("image_upload", "video_upload", "audio_upload", "file_upload", "animated_image_upload"),
)
_UPLOAD_VALUES = ("image", "video", "audio", "file", "", None)
_ZERO_VALUES = {"INT": 0, "FLOAT": 0.0, "STRING": "", "BOOLEAN": False}
_MAX_TRIES = 4096
_FITS, _DOUBTFUL, _MISFIT = 0, 1, 1000
"""How badly a value suits an input: it suits; only its type does; not even that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EditorSlot:
    """One input or output of a node."""

    name: str
    type: str
    link: str | None = None
    """The id of the link that leads to this input."""
    has_widget: bool = False
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EditorLink:
    """A connection between two nodes of one sheet."""

    source: str
    slot: int
    target: str
    target_slot: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EditorNode:
    """One node as the editor saves it."""

    id: str
    type: str
    title: str
    mode: int
    inputs: tuple[EditorSlot, ...]
    outputs: tuple[EditorSlot, ...]
    values: tuple[object, ...] = ()
    """The values of its widgets, in order."""
    values_by_name: Mapping[str, object] | None = None
    """The same by name, for nodes that save only that."""
    named: Mapping[str, object] = field(default_factory=dict)
    """The same by name, which newer editors save as well."""
    properties: Mapping[str, object] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The node as people know it: its class, and its title if that differs."""
        kind = one_line(self.type, limit=60)
        title = one_line(self.title, limit=60)
        return f"{kind} {title!r}" if title and title != kind else kind


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """The nodes and links of the workflow itself, of a subgraph, or of an old group node."""

    nodes: Mapping[str, EditorNode]
    links: Mapping[str, EditorLink]
    inputs: tuple[EditorSlot, ...] = ()
    widgets: tuple[InputSpec, ...] = ()
    """Of an old group node: the widgets on its face, in the order of their values."""
    widget_targets: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """The inner node and its input that each of these widgets sets."""
    has_broadcast_links: bool = False
    """Whether the file lists where its broadcasting nodes (Anything Everywhere) lead."""

    @cached_property
    def output_links(self) -> Mapping[int, EditorLink]:
        """The link to each output of a subgraph."""
        links = [link for link in self.links.values() if link.target == SUBGRAPH_OUTPUT]
        return {link.target_slot: link for link in reversed(links)}

    @cached_property
    def input_targets(self) -> Mapping[int, list[tuple[EditorNode, EditorSlot]]]:
        """The inner nodes and inputs that each input of a subgraph leads to."""
        targets: dict[int, list[tuple[EditorNode, EditorSlot]]] = defaultdict(list)
        for key, link in self.links.items():
            node = self.nodes.get(link.target) if link.source == SUBGRAPH_INPUT else None
            if node is not None:
                targets[link.slot] += [(node, slot) for slot in node.inputs if slot.link == key]
        return targets


@dataclass(frozen=True, slots=True, kw_only=True)
class EditorDocument:
    """A whole file."""

    top: Sheet
    subgraphs: Mapping[str, Sheet] = field(default_factory=dict)
    source: str = ""

    @property
    def sheets(self) -> tuple[Sheet, ...]:
        """The workflow itself, and all subgraphs."""
        return (self.top, *self.subgraphs.values())


def read_document(value: Mapping[str, object], source: str) -> EditorDocument:
    """The document in a JSON object. Raises WorkflowError for a damaged one."""
    definitions = as_list(as_mapping(value.get("definitions")).get("subgraphs"))
    subgraphs = {
        str(item.get("id")): _read_sheet(item, source)
        for item in definitions
        if isinstance(item, dict)
    }
    return EditorDocument(top=_read_sheet(value, source), subgraphs=subgraphs, source=source)


def _read_sheet(value: Mapping[str, object], source: str) -> Sheet:
    nodes = {n.id: n for n in (read_node(one, source) for one in as_list(value.get("nodes")))}
    links = dict(_read_links(value.get("links")))
    broadcast_links = as_mapping(value.get("extra")).get("ue_links")
    # Add the links that the editor creates for broadcasting nodes, where an input has none.
    for number, item in enumerate(map(as_mapping, as_list(broadcast_links))):
        upstream, slot = str(item.get("upstream")), item.get("upstream_slot")
        node, at = nodes.get(str(item.get("downstream"))), item.get("downstream_slot")
        if node is None or upstream not in nodes:
            continue  # the node was deleted, and the editor does not create the link
        if not isinstance(slot, int) or not isinstance(at, int) or not 0 <= at < len(node.inputs):
            raise WorkflowError(
                f"{source} lists a link of an Anything Everywhere node to input {at} of node "
                f"{node.id} ({node.label}), which has {len(node.inputs)} inputs.",
                remedy=_EXPORT,
            )
        if (node.inputs[at].link or "") not in links:
            key = f"ue{number}"
            linked = replace(node.inputs[at], link=key)
            slots = (*node.inputs[:at], linked, *node.inputs[at + 1 :])
            nodes[node.id] = replace(node, inputs=slots)
            links[key] = EditorLink(source=upstream, slot=slot, target=node.id, target_slot=at)
    return Sheet(
        nodes=nodes,
        links=links,
        inputs=_read_slots(value.get("inputs")),
        has_broadcast_links=isinstance(broadcast_links, list),
    )


def read_node(value: object, source: str) -> EditorNode:
    """One node in a JSON value. Raises WorkflowError if it has no id or no type."""
    if not isinstance(value, dict) or not isinstance(value.get("type"), str) or "id" not in value:
        raise WorkflowError(
            f"{source} is damaged: one of its nodes has no id or no type.", remedy=_EXPORT
        )
    mode, values = value.get("mode"), value.get("widgets_values")
    return EditorNode(
        id=str(value["id"]),
        type=value["type"],
        title=as_text(value.get("title")),
        mode=mode if isinstance(mode, int) else 0,
        inputs=_read_slots(value.get("inputs")),
        outputs=_read_slots(value.get("outputs")),
        values=tuple(as_list(values)),
        values_by_name=values if isinstance(values, dict) else None,
        named=as_mapping(value.get("widgets_values_named")),
        properties=as_mapping(value.get("properties")),
    )


def _read_slots(value: object) -> tuple[EditorSlot, ...]:
    slots = []
    for item in as_list(value):
        if isinstance(item, dict):
            link, kind = item.get("link"), item.get("type")
            slot = EditorSlot(
                name=as_text(item.get("name")),
                type=kind if isinstance(kind, str) else "COMBO" if isinstance(kind, list) else "*",
                link=None if link is None else str(link),
                has_widget=isinstance(item.get("widget"), dict),
                label=as_text(item.get("label")),
            )
            slots.append(slot)
    return tuple(slots)


def _read_links(value: object) -> Iterator[tuple[str, EditorLink]]:
    """Links are objects, or lists: `[id, from, slot, to, slot, type]`."""
    for item in as_list(value):
        if isinstance(item, dict):
            keys = ("id", "origin_id", "origin_slot", "target_id", "target_slot")
            item = [item.get(key) for key in keys]
        if isinstance(item, list) and len(item) >= 5:
            key, source, slot, target, target_slot = item[:5]
            if type(slot) is int and type(target_slot) is int:
                link = EditorLink(
                    source=str(source), slot=slot, target=str(target), target_slot=target_slot
                )
                yield str(key), link


# -- Inputs as the editor shows them ---------------------------------------------------------------


def has_widget(spec: InputSpec) -> bool:
    """Whether the editor shows a widget for an input, and saves its value."""
    if spec.options.get("forceInput"):
        return False
    if spec.type in PLAIN_TYPES or spec.type in _WIDGET_TYPES or spec.type == DYNAMIC_COMBO:
        return True
    return bool(spec.options.get("socketless") or spec.options.get("widgetType"))


def has_control(spec: InputSpec) -> bool:
    """Whether the editor saves, after an input's value, what to do to it after each run.

    For a seed it may have done so even if the class forbids it now: older classes did not.
    """
    is_seed = spec.type in ("INT", "FLOAT") and spec.name.rpartition(".")[2] in SEED_INPUTS
    return bool(spec.options.get("control_after_generate")) or is_seed


def has_upload(spec: InputSpec) -> bool:
    """Whether the editor shows an upload button below an input."""
    return any(map(spec.options.get, _UPLOAD_OPTIONS))


def nested_inputs(spec: InputSpec, selected: object) -> list[InputSpec]:
    """The inputs that the selected option of a dynamic combo adds: `mode.width`."""
    if spec.type != DYNAMIC_COMBO:
        return []
    options = map(as_mapping, as_list(spec.options.get("options")))
    chosen = next((item for item in options if item.get("key") == selected), {})
    inputs = as_mapping(chosen.get("inputs"))
    return [
        parse_input(f"{spec.name}.{name}", value, required=section == "required")
        for section in ("required", "optional")
        for name, value in as_mapping(inputs.get(section)).items()
    ]


# -- The values of widgets -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class WidgetValues:
    """The meaning of a node's saved values."""

    values: Mapping[str, object]
    """By input."""
    controls: Mapping[str, str] = field(default_factory=dict)
    """How the editor changes an input after each run."""
    missing: frozenset[str] = frozenset()
    """Inputs without a saved value: the class has got them since."""
    surplus: tuple[object, ...] = ()
    """Values that belong to no declared input."""
    misfit: int = 0
    """How badly the values suit the inputs."""


@dataclass(frozen=True, slots=True)
class _ExtraValue:
    """A value between those of inputs, which not every file has."""

    values: tuple[object, ...]
    control_of: str = ""
    """The input that it says to change after each run."""


_Place: TypeAlias = InputSpec | _ExtraValue
_Taken: TypeAlias = "tuple[_Taken, _Place, object] | None"
"""The places that have their value so far, the last first."""


def read_widgets(node: EditorNode, inputs: Iterable[InputSpec]) -> WidgetValues:
    """The values of a node's widgets by input, as the editor would send them.

    Positions count, as in the editor, even if the file has names too: people edit only one of the
    two. Names count if the positions do not suit the catalog and the names do. Positions that only
    some versions of the editor fill are found by what suits best. A value that is not saved is the
    default. If values remain, a required input without a socket in the file belongs to a widget
    that the node's own script adds.
    """
    inputs = list(inputs)
    shown_in_file = {slot.name for slot in node.inputs if slot.has_widget}
    shown = [spec for spec in inputs if has_widget(spec) or spec.name in shown_in_file]
    if node.values_by_name is not None:
        return _match_by_name(node.values_by_name, shown, keeps_others=True)
    # LoraManager also saves notes about its own widgets.
    values = [v for v in node.values if not (isinstance(v, dict) and "textWidgetName" in v)]
    best = _match_by_position(shown, values)
    if best.surplus:
        sockets = {slot.name for slot in node.inputs}
        more = [s for s in inputs if s in shown or (s.required and s.name not in sockets)]
        best = min(best, _match_by_position(more, values), key=lambda match: match.misfit)
    if not node.named:
        return best
    return min(best, _match_by_name(node.named, shown), key=lambda match: match.misfit)


def _match_by_name(
    named: Mapping[str, object], shown: Sequence[InputSpec], *, keeps_others: bool = False
) -> WidgetValues:
    values: dict[str, object] = {}
    misfit = 0
    waiting = list(reversed(shown))
    while waiting:
        spec = waiting.pop()
        values[spec.name] = _sent_value(spec, named.get(spec.name))
        misfit += _rate(spec, values[spec.name]) if spec.name in named else 0
        waiting += reversed(nested_inputs(spec, values[spec.name]))
    if keeps_others:  # the node's script may have widgets that no catalog declares
        others = {n: v for n, v in named.items() if isinstance(v, str | int | float)}
        values = {**{n: v for n, v in others.items() if v not in CONTROLS}, **values}
    control = named.get("control_after_generate")
    seeds = [spec.name for spec in shown if has_control(spec)] if control in CONTROLS[1:] else []
    return WidgetValues(values=values, controls=dict.fromkeys(seeds, str(control)), misfit=misfit)


def _match_by_position(shown: Sequence[InputSpec], values: Sequence[object]) -> WidgetValues:
    """The best match of values to places; of equal ones, the editor's own."""
    best: tuple[int, _Taken] | None = None
    waiting: list[tuple[tuple[_Place, ...], int, int, _Taken]] = [
        (_value_places(shown), 0, 0, None)
    ]
    for _ in range(_MAX_TRIES):
        if not waiting:
            break
        places, at, misfit, taken = waiting.pop()
        while places and (best is None or misfit < best[0]):
            place, places = places[0], places[1:]
            value = values[at] if at < len(values) else None
            if isinstance(place, _ExtraValue):
                if at < len(values) and _is_among(value, place.values):
                    waiting.append((places, at, misfit, taken))  # or it is the next input's value
                    taken, at = (taken, place, value), at + 1
                continue
            sent = _sent_value(place, value)
            misfit += _rate(place, sent) if at < len(values) else 1
            taken, at = (taken, place, sent), at + 1
            places = (*_value_places(nested_inputs(place, sent)), *places)
        misfit += sum(value is not None for value in values[at:])
        if best is None or misfit < best[0]:
            best = misfit, taken
    assert best is not None
    misfit, taken = best
    steps: list[tuple[_Place, object]] = []
    while taken is not None:
        taken, place, value = taken
        steps.append((place, value))
    steps.reverse()
    return WidgetValues(
        values={place.name: value for place, value in steps if isinstance(place, InputSpec)},
        controls={
            place.control_of: "randomize" if value is True else str(value)
            for place, value in steps
            if isinstance(place, _ExtraValue) and place.control_of
            if value is True or value in CONTROLS[1:]
        },
        missing=frozenset(p.name for p, _ in steps[len(values) :] if isinstance(p, InputSpec)),
        surplus=tuple(v for v in values[len(steps) :] if v not in (None, "", [], {})),
        misfit=misfit,
    )


def _value_places(shown: Sequence[InputSpec]) -> tuple[_Place, ...]:
    """What the editor saves a value for, in its order."""
    places: list[_Place] = []
    for spec in shown:
        places.append(spec)
        if has_control(spec):
            # Some nodes that create the control themselves save null for it.
            places.append(_ExtraValue((*CONTROLS, True, False, None), control_of=spec.name))
            places += [_ExtraValue(("",))] if spec.type == "COMBO" else []
        places += [_ExtraValue(_UPLOAD_VALUES)] if spec.options.get(UPLOAD_BELOW) else []
    if any(map(has_upload, shown)):
        required = [place for place in places if isinstance(place, _ExtraValue) or place.required]
        optional = [place for place in places if place not in required]
        places = [*required, _ExtraValue(_UPLOAD_VALUES), *optional]
    return tuple(places)


def _sent_value(spec: InputSpec, value: object) -> object:
    """The saved value, or that of a new node if there is none; whole numbers as such."""
    if value is None and "default" in spec.options:
        value = spec.options["default"]
    elif value is None and spec.type in ("COMBO", DYNAMIC_COMBO):
        value = spec.listed[0] if spec.listed else None
    elif value is None:
        value = _ZERO_VALUES.get(spec.type)
    if spec.type == "INT" and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _is_among(value: object, known: tuple[object, ...]) -> bool:
    """Membership that distinguishes true from 1."""
    return any(value == one and type(value) is type(one) for one in known)


def _rate(spec: InputSpec, value: object) -> int:
    """How badly a value suits an input."""
    if spec.type in ("COMBO", DYNAMIC_COMBO):
        if _is_among(value, spec.listed) or is_model_file(value) or has_upload(spec):
            return _FITS
        takes_text = not spec.listed or any(isinstance(choice, str) for choice in spec.listed)
        return _DOUBTFUL if isinstance(value, str) and takes_text else _MISFIT
    if spec.type == "BOOLEAN":
        return _FITS if isinstance(value, bool) else _DOUBTFUL if value in (0, 1) else _MISFIT
    if spec.type == "STRING" and isinstance(value, str | dict):
        return _FITS if isinstance(value, str) else _DOUBTFUL
    if spec.type not in ("STRING", "INT", "FLOAT"):
        return _FITS
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _MISFIT
    low, high = spec.number("min"), spec.number("max")
    is_within = (low is None or value >= low) and (high is None or value <= high)
    return _FITS if is_within and spec.type != "STRING" else _DOUBTFUL
