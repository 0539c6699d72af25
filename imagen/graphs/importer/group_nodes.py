"""Old group nodes (`workflow>Name`), taken apart into subgraphs as the editor takes them apart.

`extra.groupNodes` holds the nodes and links of each. What is on its face follows from the catalog:
every input that no link within feeds, in the order of the nodes, those last that were widgets once;
and every output that leads outside or nowhere.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from imagen.core.text import one_line
from imagen.errors import WorkflowError
from imagen.graphs.importer.declared import SEEDS, Declared, declared
from imagen.graphs.importer.editor import ENTRY, EXIT, Link, Sheet, Slot, read_node
from imagen.graphs.importer.widgets import UPLOAD_BELOW, read_widgets

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from imagen.graphs.importer.editor import Document, Node

_PREFIXES = ("workflow>", "workflow/")
_EXPORT = "Convert it to a subgraph or to nodes there, or export: Workflow > Export (API)."
_MOST_SHOWN = 1000
_NUMBERED = frozenset(("INT", "FLOAT", "COMBO"))


def expand_group_nodes(
    document: Document, said: Mapping[str, Any], object_info: Mapping[str, Any]
) -> Document:
    """The document with its group nodes as subgraphs; `said` is the file.

    Raises WorkflowError for a group node that the file does not hold.
    """
    extra = said.get("extra")
    listed = extra.get("groupNodes") if isinstance(extra, dict) else None
    groups = listed if isinstance(listed, dict) else {}
    catalog = dict(object_info)
    sheets: dict[str, Sheet] = {}
    for name, data in groups.items():
        group = _Group(data if isinstance(data, dict) else {}, catalog, document.source)
        for prefix in _PREFIXES:
            sheets[prefix + name] = group.sheet
            catalog[prefix + name] = group.said
    expanded = replace(document, subgraphs={**sheets, **document.subgraphs})
    for sheet in (expanded.top, *expanded.subgraphs.values()):
        for node in sheet.nodes.values():
            if node.type.startswith(_PREFIXES) and node.type not in expanded.subgraphs:
                name = one_line(node.type[len(_PREFIXES[0]) :], limit=60)
                raise WorkflowError(
                    f"{document.source} has a group node, {name!r}, but does not hold its nodes.",
                    remedy=f"Open it in the editor that made it. {_EXPORT}",
                )
    return expanded


@dataclass
class _Face:
    """One node of a group, and which of its inputs and outputs are on the group's face."""

    node: Node
    labels: Mapping[str, str]
    """The labels of inputs, by name."""
    inputs: Sequence[Declared]
    outputs: Sequence[str]
    output_names: Sequence[str]
    config: Mapping[str, Any]
    saved: Sequence[str]
    """The names of the inputs that are saved with the node, in their order."""
    slots: list[str] = field(default_factory=list)
    """The inputs without a widget, then those whose widget became an input: links count so."""
    converted: list[str] = field(default_factory=list)
    linked: dict[str, tuple[int, int]] = field(default_factory=dict)
    """The node within, and its output, that feeds an input."""

    def find(self, name: str) -> Declared | None:
        return next((one for one in self.inputs if one.name == name), None)


class _Group:
    """One group node's definition, read."""

    def __init__(self, data: Mapping[str, Any], catalog: Mapping[str, Any], source: str) -> None:
        nodes = [one for one in _list(data.get("nodes")) if isinstance(one, dict)]
        links = _list(data.get("links"))
        self._links = [link[:4] for link in links if _is_inner(link, len(nodes))]
        self._external = {
            (item[0], item[1]): str(item[2])
            for item in _list(data.get("external"))
            if isinstance(item, list) and len(item) >= 3 and _are_numbers(item[:2])
        }
        self._config = _mapping(data.get("config"))
        self._nodes = nodes
        self._catalog = catalog
        self._faces: dict[int, _Face] = {}
        self._seen: dict[str, int] = {}
        self._exposed: list[tuple[str, int, str]] = []
        self._widgets: list[Declared] = []
        self._targets: dict[str, tuple[str, str]] = {}
        self._outputs: list[tuple[int, int, str, str]] = []
        for number, node in enumerate(nodes):
            read = read_node({**node, "id": number}, source)
            face = self._face(number, node, read)
            if face is not None:
                self._faces[number] = face
                self._expose_widgets(number, face)
                self._expose_slots(number, face)
                self._expose_outputs(number, face)
            if len(self._widgets) + len(self._exposed) + len(self._outputs) > _MOST_SHOWN:
                raise WorkflowError(
                    f"{source} has a group node with more than {_MOST_SHOWN:,} inputs and outputs."
                )
        for number, face in self._faces.items():
            self._expose_converted(number, face)
        self._control_primitives()
        self.sheet = self._sheet([read_node({**n, "id": i}, source) for i, n in enumerate(nodes)])
        self.said = self._as_class()

    def _face(self, number: int, said: Mapping[str, Any], node: Node) -> _Face | None:
        """What the catalog says of a node within; None for one that leaves no trace."""
        shown = self._catalog.get(node.type)
        outputs: Sequence[Any]
        if isinstance(shown, dict):
            inputs, outputs = declared(shown), _list(shown.get("output"))
            if node.values:  # what the class has got since then is not on the face
                since = read_widgets(node, inputs).missing
                inputs = [one for one in inputs if one.name not in since]
            names = _list(shown.get("output_name")) or outputs
        elif node.type == "PrimitiveNode":
            target = next((link for link in self._links if link[0] == number), None)
            shown_there = None if target is None else self._declared_at(target[2], target[3])
            if shown_there is None:
                return None
            inputs, outputs = [replace(shown_there, name="value")], [shown_there.type]
            names = outputs
        elif node.type == "Reroute":
            kind = self._reroute_type(number)
            if kind is None:
                return None
            inputs = [Declared(name=kind, type=kind, options={}, choices=(), required=True)]
            inputs = [replace(one, options={"forceInput": True}) for one in inputs]
            outputs = names = [kind]
        else:
            return None
        face = _Face(
            node=node,
            labels={
                str(slot.get("name")): slot["label"]
                for slot in _list(said.get("inputs"))
                if isinstance(slot, dict) and isinstance(slot.get("label"), str)
            },
            inputs=inputs,
            outputs=[kind if isinstance(kind, str) else "COMBO" for kind in outputs],
            output_names=[str(name) for name in names],
            config=_mapping(self._config.get(str(number))),
            saved=[slot.name for slot in node.inputs],
        )
        was_widget = {slot.name: at for at, slot in enumerate(node.inputs) if slot.has_widget}
        face.slots = [one.name for one in inputs if not one.has_widget]
        face.converted = sorted(
            (one.name for one in inputs if one.has_widget and one.name in was_widget),
            key=lambda name: str(was_widget[name]),
        )
        face.slots += face.converted
        for source, output, target_node, slot in self._links:
            if target_node == number:
                name = _at(face.saved, slot) or _at(face.slots, slot)
                face.linked[name] = (source, output)
        return face

    def _declared_at(self, number: int, slot: int) -> Declared | None:
        """What the catalog says of the input that a link leads to."""
        said = self._catalog.get(str(self._nodes[number].get("type")))
        saved = [s.get("name") for s in _list(self._nodes[number].get("inputs")) if _mapping(s)]
        name = _at(saved, slot)
        known = declared(said) if isinstance(said, dict) else []
        return next((one for one in known if one.name == name), None)

    def _reroute_type(self, number: int) -> str | None:
        """The type of a reroute at the edge of a group; None for one within."""
        into = next((link for link in self._links if link[2] == number), None)
        out = next((link for link in self._links if link[0] == number), None)
        outside = self._external.get((number, 0))
        if into is not None and out is not None and outside is None:
            return None
        if out is not None:
            known = self._declared_at(out[2], out[3])
            return known.type if known is not None else "*"
        if into is not None:
            outputs = _list(self._nodes[into[0]].get("outputs"))
            return str(_mapping(_at(outputs, into[1])).get("type") or outside or "*")
        return outside or "*"

    def _name(self, face: _Face, one: Declared) -> tuple[str, bool]:
        """What an input is called on the group's face, and whether it is shown there."""
        custom = _mapping(_mapping(face.config.get("input")).get(one.name))
        name = str(custom.get("name") or face.labels.get(one.name) or one.name)
        key = name
        title = face.node.title
        if (face.node.type == "PrimitiveNode" and title) or name in self._seen:
            prefix = f"{title or face.node.type} "
            key = name = f"{prefix}{one.name}"
            if key in self._seen:
                name = f"{prefix}{self._seen[key]} {one.name}"
        self._seen[key] = self._seen.get(key, 1) + 1
        return name, custom.get("visible") is not False

    def _expose_widgets(self, number: int, face: _Face) -> None:
        own = [one for one in face.inputs if one.has_widget and one.name not in face.converted]
        uploads = any(one.uploads for one in own)
        for one in own:
            self._add_widget(number, face, one, has_upload=uploads and one is own[-1])

    def _add_widget(self, number: int, face: _Face, one: Declared, *, has_upload: bool) -> None:
        name, _ = self._name(face, one)
        options = {key: value for key, value in one.options.items() if key != "image_upload"}
        if one.has_control or one.name in SEEDS:
            options["control_after_generate"] = True
        if has_upload:
            options[UPLOAD_BELOW] = True
        self._widgets.append(replace(one, name=name, options=options, required=True))
        self._targets[name] = (str(number), one.name)

    def _expose_slots(self, number: int, face: _Face) -> None:
        for one in face.inputs:
            if not one.has_widget and one.name not in face.linked:
                name, is_visible = self._name(face, one)
                if is_visible:
                    self._exposed.append((name, number, one.name))

    def _expose_converted(self, number: int, face: _Face) -> None:
        for input_name in face.converted:
            one = face.find(input_name)
            if one is not None and input_name not in face.linked:
                self._add_widget(number, face, one, has_upload=False)
                self._exposed.append((self._widgets[-1].name, number, input_name))

    def _expose_outputs(self, number: int, face: _Face) -> None:
        led_within = {link[1] for link in self._links if link[0] == number}
        settings = _mapping(face.config.get("output"))
        for slot, kind in enumerate(face.outputs):
            is_hidden = slot in led_within and (number, slot) not in self._external
            visible = _mapping(settings.get(str(slot))).get("visible", not is_hidden)
            if visible:
                self._outputs.append((number, slot, kind, _at(face.output_names, slot) or kind))

    def _control_primitives(self) -> None:
        """A primitive that feeds a number or a choice has a control beside its value."""
        feeding = {str(link[0]) for link in self._links}
        for at, one in enumerate(self._widgets):
            node, _ = self._targets[one.name]
            is_primitive = self._nodes[int(node)].get("type") == "PrimitiveNode"
            if is_primitive and node in feeding and one.type in _NUMBERED:
                options = {**one.options, "control_after_generate": True}
                self._widgets[at] = replace(one, options=options)

    def _sheet(self, nodes: list[Node]) -> Sheet:
        """The group as a subgraph: what is on its face is linked to its own inputs and outputs."""
        links: dict[str, Link] = {}
        arriving: dict[int, dict[str, str]] = defaultdict(dict)

        def connect(source: str, slot: int, target: int, name: str) -> None:
            key = f"{target}.{name}"
            links[key] = Link(source=source, slot=slot, target=str(target), target_slot=0)
            arriving[target][name] = key

        for number, face in self._faces.items():
            for name, (source, slot) in face.linked.items():
                connect(str(source), slot, number, name)
        for source, slot, target, _ in self._links:
            if target not in self._faces:  # a reroute, or another node that only leads on
                connect(str(source), slot, target, "")
        inputs = [name for name, _, _ in self._exposed]
        for at, (_, number, name) in enumerate(self._exposed):
            connect(ENTRY, at, number, name)
        for widget, (inner, name) in self._targets.items():
            if widget not in inputs:
                connect(ENTRY, len(inputs), int(inner), name)
                inputs.append(widget)
        for at, (number, slot, _, _) in enumerate(self._outputs):
            out = Link(source=str(number), slot=slot, target=EXIT, target_slot=at)
            links[f"out.{at}"] = out
        placed = {}
        for number, node in enumerate(nodes):
            wired = self._wired(self._faces.get(number), arriving[number])
            placed[node.id] = replace(node, inputs=wired)
        return Sheet(
            nodes=placed,
            links=links,
            inputs=tuple(Slot(name=name, type="*") for name in inputs),
            widgets=tuple(self._widgets),
            widget_targets=self._targets,
        )

    def _wired(self, face: _Face | None, arriving: Mapping[str, str]) -> tuple[Slot, ...]:
        if face is None:
            return (Slot(name="", type="*", link=arriving.get("")),)
        widgets = [one.name for one in face.inputs if one.has_widget]
        types = {one.name: one.type for one in face.inputs}
        names = dict.fromkeys((*face.slots, *widgets, *arriving))
        return tuple(
            Slot(
                name=name,
                type=types.get(name, "*"),
                link=arriving.get(name),
                has_widget=name in widgets,
            )
            for name in names
        )

    def _as_class(self) -> dict[str, Any]:
        """The group as a catalog would declare it, for a group that holds it."""
        required: dict[str, Any] = {}
        for name, number, input_name in self._exposed:
            one = self._faces[number].find(input_name)
            required[name] = [one.type if one else "*", {"forceInput": True}]
        for widget in self._widgets:
            kind = list(widget.choices) if widget.type == "COMBO" else widget.type
            required.setdefault(widget.name, [kind, dict(widget.options)])
        return {
            "input": {"required": required},
            "output": [kind for _, _, kind, _ in self._outputs],
            "output_name": [name for _, _, _, name in self._outputs],
        }


def _is_inner(link: Any, count: int) -> bool:
    """Whether a saved link `[from, slot, to, slot, …]` joins two nodes of the group."""
    return (
        isinstance(link, list)
        and len(link) >= 4
        and _are_numbers(link[:4])
        and 0 <= link[0] < count
        and 0 <= link[2] < count
    )


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(type(value) is int for value in values)


def _at(values: Sequence[Any], at: int) -> Any:
    return values[at] if 0 <= at < len(values) else ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
