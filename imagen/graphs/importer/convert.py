"""Convert the editor's format to the API format, as the editor does when it sends a workflow."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING

from imagen.core.json_values import as_list, as_mapping
from imagen.core.text import did_you_mean, one_line
from imagen.errors import WorkflowError
from imagen.graphs.graph import Link, ancestors, is_link
from imagen.graphs.importer.detect import find_odd_numbers, shorten_list
from imagen.graphs.importer.editor_format import BYPASSED, MUTED, read_document, read_widgets
from imagen.graphs.importer.group_nodes import expand_group_nodes
from imagen.graphs.importer.resolve_links import FixedValue, LinkResolver, PlacedNode
from imagen.graphs.manifest import Manifest
from imagen.graphs.node_catalog import EDITOR_TYPE_PREFIX
from imagen.graphs.validate import check_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from imagen.graphs.graph import Node, NodeMeta
    from imagen.graphs.importer.detect import DetectedWorkflow
    from imagen.graphs.importer.editor_format import EditorDocument, EditorNode
    from imagen.graphs.importer.resolve_links import InputSource
    from imagen.graphs.node_catalog import InputSpec, NodeCatalog

_MAX_SHOWN = 8
_BROADCASTERS = ("Anything Everywhere", "Prompts Everywhere", "Seed Everywhere")
_FILE_NAME = "filename_prefix"
_LORA_HEADER = "PowerLoraLoaderHeaderWidget"
_PLACEHOLDER = re.compile(r"%([^%]+)%")
_DATE_PART = re.compile(r"dd?|MM?|hh?|mm?|ss?|yyy?y?")
_LINE_END = re.compile(r"[\n\r\u2028\u2029]")
_NOT_IN_FILE_NAMES = re.compile(r'[/?<>\\:*|"\x00-\x1f\x7f]')


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """Where a model file belongs, and where to download it, as the editor's file says."""

    folder: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertedGraph:
    """A graph that a server can run, and what else the editor's file says."""

    graph: dict[str, Node]
    left_out: int = 0
    """The number of nodes that no output depends on."""
    downloads: Mapping[str, Download] = field(default_factory=dict)
    """By model file."""
    packs: Mapping[str, str] = field(default_factory=dict)
    """By class, the pack of custom nodes that brings it."""
    notes: tuple[str, ...] = ()
    """A sentence for each change."""


def convert(
    detected: DetectedWorkflow, catalog: NodeCatalog, *, now: datetime | None = None
) -> ConvertedGraph:
    """The graph that the editor would send, with only the nodes that outputs depend on.

    `now` is the time for file names. Raises WorkflowError for a class that the catalog lacks, a
    value of the wrong type, and a workflow without output.
    """
    source = detected.source
    document = read_document(detected.document or {}, source)
    groups = as_mapping(as_mapping((detected.document or {}).get("extra")).get("groupNodes"))
    document = expand_group_nodes(document, groups, catalog)
    _refuse_broadcasters(document)
    resolver = LinkResolver(document)
    placed = resolver.place_nodes()
    running = {one.id: one for one in placed if one.runs}
    arriving = {key: _find_sources(resolver, one) for key, one in running.items()}
    skeleton = {key: {"inputs": _links_in(sources)} for key, sources in arriving.items()}
    outputs = [
        k for k, p in running.items() if p.node.type in catalog and catalog[p.node.type].is_output
    ]
    kept = ancestors(skeleton, outputs)
    feeding = {link[0] for node in skeleton.values() for link in node["inputs"].values()}
    unknown = {
        key: one.node
        for key, one in running.items()
        if one.node.type not in catalog
        # Others are left out, unless they look like an output.
        if key in kept
        or (
            skeleton[key]["inputs"]
            and key not in feeding
            and not one.node.type.startswith(_BROADCASTERS)
        )
    }
    if unknown:
        raise _unknown_classes(unknown, catalog, source)
    if not outputs:
        raise WorkflowError(
            f"{source} produces no output: it has no node that saves or shows an image, or all of "
            "them are muted or bypassed.",
            remedy="Enable one in ComfyUI, or add a Save Image node, and save the file again.",
        )
    builder = _GraphBuilder(catalog)
    for key in filter(kept.__contains__, running):
        builder.add_node(key, running[key], arriving[key])
    builder.fill_file_names(placed, now or datetime.now())
    builder.refuse_wrong_types(running, source)
    nodes = [running[key].node for key in builder.graph]
    return ConvertedGraph(
        graph=builder.graph,
        left_out=len(running) - len(builder.graph),
        downloads={name: download for node in nodes for name, download in _downloads(node)},
        packs={node.type: pack for node in nodes if (pack := _pack_of(node))},
        notes=tuple(builder.list_notes()),
    )


def _find_sources(resolver: LinkResolver, placed: PlacedNode) -> dict[str, InputSource]:
    """The source of each input that has one, by name."""
    sources: dict[str, InputSource] = {}
    for position, slot in enumerate(placed.node.inputs):
        source = resolver.find_source(placed, position)
        if source is not None:
            sources[slot.name] = source
    for name, value in placed.scope.promoted.inner.get(placed.node.id, {}).items():
        sources.setdefault(name, FixedValue(value))
    return sources


def _links_in(sources: Mapping[str, InputSource]) -> dict[str, list[object]]:
    return {name: list(link) for name, link in sources.items() if isinstance(link, Link)}


def _pack_of(node: EditorNode) -> str:
    """The pack that brings the node's class, as the file says; "" for ComfyUI's own."""
    pack = node.properties.get("cnr_id") or node.properties.get("aux_id")
    return one_line(pack, limit=80) if isinstance(pack, str) and pack != "comfy-core" else ""


def _downloads(node: EditorNode) -> Iterator[tuple[str, Download]]:
    for model in map(as_mapping, as_list(node.properties.get("models"))):
        name, folder, url = (model.get(key) for key in ("name", "directory", "url"))
        if isinstance(name, str) and isinstance(folder, str) and isinstance(url, str):
            yield name, Download(folder=folder, source=url)


class _GraphBuilder:
    """The graph as far as it is converted, and what to tell the user about it."""

    def __init__(self, catalog: NodeCatalog) -> None:
        self.graph: dict[str, Node] = {}
        self._catalog = catalog
        self._controlled: list[str] = []
        self._notes: list[str] = []

    def list_notes(self) -> Iterator[str]:
        """A sentence for each thing the user should know."""
        if self._controlled:
            inputs = _enumerate(self._controlled)
            yield f"The editor changes these after each run; here they keep their value: {inputs}."
        yield from self._notes

    def add_node(self, key: str, placed: PlacedNode, arriving: Mapping[str, InputSource]) -> None:
        """Add one node: the values of its widgets, replaced by the values and links that arrive."""
        node, place = placed.node, f"node {one_line(key, limit=60)}"
        spec = self._catalog[node.type]
        stored = read_widgets(node, spec.inputs.values())
        by_script, surplus = _read_script_widgets(node.type, stored.surplus)
        inputs, controls, raw = {**stored.values, **by_script}, dict(stored.controls), set()
        for name, source in arriving.items():
            if isinstance(source, FixedValue):
                inputs[name] = source.value
                controls |= {name: source.control} if source.control else {}
                raw |= {name} if source.is_raw else set()
            else:
                controls.pop(name, None)
                inputs.pop(name, None)
        self._controlled += [f"{place}, {name} ({how})" for name, how in controls.items()]
        for name, value in inputs.items():
            known = spec.inputs.get(name)
            is_dynamic = known is not None and bool(known.options.get("dynamicPrompts"))
            if isinstance(value, str) and name not in raw and is_dynamic:
                inputs[name] = self._process_prompt(f"{place}, {name}", value)
            elif known is not None and known.type == "CURVE" and value is not None:
                inputs[name] = {"__type__": "CURVE", "__value__": value}
            elif isinstance(value, list):  # which the server would take for a link
                inputs[name] = {"__value__": value}
        if surplus:
            values = _enumerate([repr(value) for value in surplus])
            self._note(f"{place} ({node.label}): no input takes these values: {values}.")
        inputs |= _links_in(arriving)
        meta: NodeMeta = {"title": self._title(node)}
        self.graph[key] = {"inputs": inputs, "class_type": node.type, "_meta": meta}

    def _note(self, sentence: str) -> None:
        self._notes.append(sentence[:1].upper() + sentence[1:])

    def _process_prompt(self, place: str, text: str) -> str:
        """A prompt as the editor sends it: without comments, and with its choices drawn."""
        stripped = strip_comments(text)
        if stripped != text:
            self._note(f"{place}: comments are removed, as in the editor.")
        drawn, choices = draw_choices(stripped)
        if choices:
            self._note(
                f"{place}: the first of each {{a|b}} is used; the editor draws one for each run."
            )
        return drawn

    def fill_file_names(self, placed: Sequence[PlacedNode], now: datetime) -> None:
        """Fill in `%date:…%` and `%Node.widget%` in the file names of output nodes."""
        by_id = {one.id: one.node for one in placed}
        by_name: dict[str, str] = {}
        for one in reversed(placed):
            kind, name = one.node.type, one.node.properties.get("Node name for S&R")
            usual = "" if kind not in self._catalog or kind.startswith("Save") else kind
            by_name[name if isinstance(name, str) else usual] = one.id
        by_title = {self._title(one.node): one.id for one in reversed(placed)}

        @cache
        def widgets_of(key: str) -> Mapping[str, object]:
            node = by_id[key]
            values: dict[str, object] = {}
            if node.type == "PrimitiveNode" and node.values:
                values["value"] = node.values[0]
            spec = self._catalog.get(node.type)
            values |= read_widgets(node, spec.inputs.values() if spec else ()).values
            running = self.graph[key]["inputs"] if key in self.graph else {}
            return values | {name: value for name, value in running.items() if not is_link(value)}

        def find_widget(name: str, widget: str) -> object:
            return widgets_of(by_name[name] if name in by_name else by_title[name])[widget]

        for key, node in self.graph.items():
            text = node["inputs"].get(_FILE_NAME)
            if not self._catalog[node["class_type"]].is_output or not isinstance(text, str):
                continue
            filled = fill_placeholders(text, find_widget, now)
            if filled != text:
                node["inputs"][_FILE_NAME] = filled
                self._note(
                    f"node {one_line(key, limit=60)}, {_FILE_NAME}: fixed as "
                    f"{one_line(filled, limit=80)!r}; the editor fills in "
                    f"{one_line(text, limit=80)!r} for each run."
                )

    def _title(self, node: EditorNode) -> str:
        spec = self._catalog.get(node.type)
        return node.title or (spec.display_name if spec else "") or node.type

    def refuse_wrong_types(self, running: Mapping[str, PlacedNode], source: str) -> None:
        """Raise WorkflowError that names each value of the wrong type."""
        lines: list[str] = []
        for key, node in self.graph.items():
            place = f"node {key} ({running[key].node.label})"
            faults = find_wrong_types(
                node["inputs"], self._catalog[node["class_type"]].inputs.values()
            )
            lines += [f"{place}, {one_line(name, limit=60)}: {what}" for name, what in faults]
        lines += find_odd_numbers(self.graph)
        if lines:
            shown = shorten_list(lines, _MAX_SHOWN)
            raise WorkflowError(
                "\n  ".join([f"{source} holds values that its nodes do not accept:", *shown]),
                remedy="Check that the catalog is of the ComfyUI that runs it; or export the "
                "workflow from the editor.",
            )


def _enumerate(items: Sequence[str]) -> str:
    more = [f"… ({len(items) - _MAX_SHOWN} more)"] if len(items) > _MAX_SHOWN else []
    return ", ".join([*(one_line(item, limit=60) for item in items[:_MAX_SHOWN]), *more])


def _read_script_widgets(
    kind: str, values: Sequence[object]
) -> tuple[dict[str, object], list[object]]:
    """The inputs that a node's own script makes of undeclared values; and the remaining values."""
    inputs: dict[str, object] = {}
    remaining: list[object] = []
    is_power_loader = kind == "Power Lora Loader (rgthree)"
    loras = 0
    for value in values:
        if is_power_loader and isinstance(value, dict) and "lora" in value:
            loras += 1
            inputs[f"lora_{loras}"] = value
        elif is_power_loader and isinstance(value, dict) and value.get("type") == _LORA_HEADER:
            inputs[_LORA_HEADER] = value
        elif kind == "TriggerWord Toggle (LoraManager)" and isinstance(value, list | str):
            name = "toggle_trigger_words" if isinstance(value, list) else "orinalMessage"
            inputs[name] = value
        elif kind.endswith("(LoraManager)") and isinstance(value, list) and "loras" not in inputs:
            inputs["loras"] = value
        else:
            remaining.append(value)
    return inputs, remaining


def find_wrong_types(
    inputs: Mapping[str, object], specs: Iterable[InputSpec]
) -> Iterator[tuple[str, str]]:
    """Each value that is not of its input's type, with a sentence."""
    for spec in specs:
        value = inputs.get(spec.name)
        is_free = is_link(value) or spec.type.startswith(EDITOR_TYPE_PREFIX)
        if spec.name not in inputs or is_free:
            continue
        wrong = check_value(value, spec.name, spec.type_only(), Manifest())
        if wrong is not None:
            yield spec.name, wrong[0]
            continue
        # Another server may list other values, but of the same types.
        types = {type(choice) for choice in spec.listed}
        may_be_listed = type(value) in types or (value is None and not spec.required)
        is_choice = may_be_listed or value in spec.listed or isinstance(value, dict)
        if spec.type == "COMBO" and spec.listed and not is_choice:
            known = ", ".join(one_line(str(choice), limit=40) for choice in spec.listed[:5])
            shown = one_line(repr(value), limit=80)
            yield spec.name, f"must be one of {known}, …, not {shown}."


# -- What cannot be converted ----------------------------------------------------------------------


def _refuse_broadcasters(document: EditorDocument) -> None:
    """Raise WorkflowError for a node whose links only the editor knows, if they are not listed."""
    for sheet in document.sheets:
        if sheet.has_broadcast_links:
            continue
        for node in sheet.nodes.values():
            if node.mode not in (MUTED, BYPASSED) and node.type.startswith(_BROADCASTERS):
                raise WorkflowError(
                    f"{document.source}: node {node.id} ({node.label}) feeds others without links, "
                    "which only the editor can follow.",
                    remedy="Export the workflow there: Workflow > Export (API).",
                )


def _unknown_classes(
    nodes: Mapping[str, EditorNode], catalog: NodeCatalog, source: str
) -> WorkflowError:
    by_class: dict[str, list[str]] = {}
    for key, node in nodes.items():
        by_class.setdefault(node.type, []).append(key)
    lines = []
    for kind, keys in by_class.items():
        where = f"node{'s' if len(keys) > 1 else ''} {', '.join(keys[:5])}"
        cnr_id, aux_id, version = (
            one_line(value, limit=80) if isinstance(value, str) else ""
            for value in map(nodes[keys[0]].properties.get, ("cnr_id", "aux_id", "ver"))
        )
        pack = cnr_id or aux_id
        origin = f", of the pack {pack}" if pack else ""
        if pack == "comfy-core":
            saved = f"; the file was saved by {version}" if version else ""
            origin = f", which newer versions of ComfyUI have{saved}"
        near = "" if origin else did_you_mean(kind, catalog)
        lines.append(f"{one_line(kind, limit=80)} ({where}){origin}.{near}")
    return WorkflowError(
        "\n  ".join(
            [f"{source} uses nodes that the catalog lacks:", *shorten_list(lines, _MAX_SHOWN)]
        ),
        remedy="Install the custom nodes that bring them, and save the catalog again. Or export "
        "the workflow from an editor that has them: Workflow > Export (API).",
    )


# -- Texts as the editor sends them ----------------------------------------------------------------


def strip_comments(text: str) -> str:
    """Remove `/* … */` and `// …` from a text."""
    kept: list[str] = []
    at = 0
    while at < len(text):
        line, block = text.find("//", at), text.find("/*", at)
        end = text.find("*/", block + 2) if block >= 0 else -1
        if end >= 0 and not 0 <= line < block:
            kept.append(text[at:block])
            at = end + 2
        elif line >= 0:
            kept.append(text[at:line])
            found = _LINE_END.search(text, line)
            at = found.start() if found else len(text)
        else:
            break
    return "".join([*kept, text[at:]])


def draw_choices(text: str) -> tuple[str, int]:
    """The text with the first of each `{a|b}`, and the number of choices it had.

    The editor draws one at random for each run; the first is what everybody can repeat. `\\{`,
    `\\|` and `\\}` become the character itself.
    """
    written: list[str] = []
    options: list[int] = []  # for each open brace the number of the option that is being read
    choices = skipping = at = 0
    while at < len(text):
        character = text[at]
        at += 1
        if character == "\\" and at < len(text):
            character = text[at] if text[at] in "{|}" else text[at - 1 : at + 1]
            at += 1
        elif character == "{":
            options.append(0)
            choices += 1
            continue
        elif character == "}" and options:
            skipping -= options.pop() > 0
            continue
        elif character == "|" and options:
            options[-1] += 1
            skipping += options[-1] == 1
            continue
        if not skipping:
            written.append(character)
    return "".join(written), choices


def fill_placeholders(text: str, find_widget: Callable[[str, str], object], now: datetime) -> str:
    """Fill in `%date:yyyy-MM-dd%` and `%Node.widget%`, and leave what the server fills in.

    `find_widget` returns the value of a node's widget, or raises LookupError.
    """
    numbers = {"d": now.day, "M": now.month, "h": now.hour, "m": now.minute, "s": now.second}

    def format_date_part(match: re.Match[str]) -> str:
        letters = match[0]
        if letters[0] != "y":
            return str(numbers[letters[0]]).zfill(len(letters))
        return {2: f"{now.year:04}"[2:], 4: str(now.year)}.get(len(letters), letters)

    def replace_placeholder(match: re.Match[str]) -> str:
        node, *widgets = match[1].split(".")
        if len(widgets) != 1:
            is_date = node.startswith("date:")
            return _DATE_PART.sub(format_date_part, node[5:]) if is_date else match[0]
        try:
            value = find_widget(node, widgets[0])
        except LookupError:
            return match[0]
        written = "" if value is None else str(value)  # as JavaScript writes it
        if isinstance(value, bool):
            written = written.lower()
        elif isinstance(value, float) and value.is_integer():
            written = str(int(value))
        return _NOT_IN_FILE_NAMES.sub("_", written)

    return _PLACEHOLDER.sub(replace_placeholder, text)
