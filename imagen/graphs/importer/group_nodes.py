"""Old group nodes (`workflow>Name`), expanded into subgraphs as the editor expands them.

`extra.groupNodes` holds the nodes and links of each. The inputs and outputs on its face follow from
the catalog: every input that no inner link feeds, in the order of the nodes, with those that were
widgets last; and every output that leads outside or nowhere.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from imagen.core.json_values import as_list, as_mapping
from imagen.core.text import one_line
from imagen.errors import WorkflowError
from imagen.graphs.importer.editor_format import (
    SEED_INPUTS,
    SUBGRAPH_INPUT,
    SUBGRAPH_OUTPUT,
    UPLOAD_BELOW,
    EditorLink,
    EditorSlot,
    Sheet,
    has_control,
    has_upload,
    has_widget,
    read_node,
    read_widgets,
)
from imagen.graphs.node_catalog import InputSpec, NodeSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from imagen.graphs.importer.editor_format import EditorDocument, EditorNode
    from imagen.graphs.node_catalog import NodeCatalog

_T = TypeVar("_T")
_PREFIXES = ("workflow>", "workflow/")
_EXPORT = "Convert it to a subgraph or to nodes there, or export: Workflow > Export (API)."
_MAX_ON_FACE = 1000
_CONTROLLED_TYPES = frozenset(("INT", "FLOAT", "COMBO"))


def expand_group_nodes(
    document: EditorDocument, groups: Mapping[str, object], catalog: NodeCatalog
) -> EditorDocument:
    """The document with its group nodes as subgraphs; `groups` are the file's `groupNodes`.

    Raises WorkflowError for a group node that the file does not define.
    """
    specs: dict[str, NodeSpec] = {}
    sheets: dict[str, Sheet] = {}

    def find_spec(kind: str) -> NodeSpec | None:
        return specs.get(kind) or catalog.get(kind)

    for name, value in groups.items():
        group = _GroupExpander(as_mapping(value), find_spec, document.source)
        for prefix in _PREFIXES:
            sheets[prefix + name] = group.build_sheet()
            specs[prefix + name] = group.build_spec()
    expanded = replace(document, subgraphs={**sheets, **document.subgraphs})
    for sheet in expanded.sheets:
        for node in sheet.nodes.values():
            if node.type.startswith(_PREFIXES) and node.type not in expanded.subgraphs:
                name = one_line(node.type[len(_PREFIXES[0]) :], limit=60)
                raise WorkflowError(
                    f"{document.source} uses the group node {name!r} but does not define it.",
                    remedy=f"Open it in the editor that made it. {_EXPORT}",
                )
    return expanded


class _InnerLink(NamedTuple):
    source: int
    slot: int
    target: int
    target_slot: int


@dataclass
class _Member:
    """One node of a group, and its inputs and outputs by the catalog."""

    node: EditorNode
    inputs: Sequence[InputSpec]
    outputs: Sequence[str]
    output_names: Sequence[str]
    converted: Sequence[str]
    """The inputs whose widget was converted to a socket."""
    linked: dict[str, tuple[int, int]] = field(default_factory=dict)
    """The inner node and its output that feed an input."""

    @property
    def sockets(self) -> list[str]:
        """The inputs without a widget, then the converted ones: links count in this order."""
        return [spec.name for spec in self.inputs if not has_widget(spec)] + [*self.converted]

    def find_input(self, name: str) -> InputSpec | None:
        return next((spec for spec in self.inputs if spec.name == name), None)


class _FaceOutput(NamedTuple):
    member: int
    slot: int
    type: str
    name: str


class _GroupExpander:
    """The definition of one group node."""

    def __init__(
        self,
        value: Mapping[str, object],
        find_spec: Callable[[str], NodeSpec | None],
        source: str,
    ) -> None:
        self._find_spec = find_spec
        nodes = [node for node in as_list(value.get("nodes")) if isinstance(node, dict)]
        self._nodes = [read_node({**node, "id": i}, source) for i, node in enumerate(nodes)]
        self._links = [
            link
            for item in as_list(value.get("links"))
            if (numbers := _whole_numbers(item, 4))
            if 0 <= (link := _InnerLink(*numbers)).source < len(nodes)
            if 0 <= link.target < len(nodes)
        ]
        self._external = {
            (item[0], item[1]): str(item[2])
            for item in as_list(value.get("external"))
            if isinstance(item, list) and len(item) >= 3 and _whole_numbers(item, 2)
        }
        self._config = as_mapping(value.get("config"))
        self._members: dict[int, _Member] = {}
        self._used_names: dict[str, int] = {}
        self._face_inputs: list[tuple[str, int, str]] = []
        self._face_widgets: list[InputSpec] = []
        self._widget_targets: dict[str, tuple[str, str]] = {}
        self._face_outputs: list[_FaceOutput] = []
        for number in range(len(self._nodes)):
            member = self._read_member(number)
            if member is not None:
                self._members[number] = member
                self._show_member(number, member)
            shown = len(self._face_widgets) + len(self._face_inputs) + len(self._face_outputs)
            if shown > _MAX_ON_FACE:
                raise WorkflowError(
                    f"{source} has a group node with more than {_MAX_ON_FACE:,} inputs and outputs."
                )
        for number, member in self._members.items():
            for name in member.converted:
                spec = member.find_input(name)
                if spec is not None and name not in member.linked:
                    self._add_widget(number, member, spec)
                    self._face_inputs.append((self._face_widgets[-1].name, number, name))
        # A primitive that feeds a number or a choice has a control after its value.
        feeding = {str(link.source) for link in self._links}
        for at, spec in enumerate(self._face_widgets):
            inner, _ = self._widget_targets[spec.name]
            is_primitive = self._nodes[int(inner)].type == "PrimitiveNode"
            if is_primitive and inner in feeding and spec.type in _CONTROLLED_TYPES:
                options = {**spec.options, "control_after_generate": True}
                self._face_widgets[at] = replace(spec, options=options)

    def _read_member(self, number: int) -> _Member | None:
        """What the catalog says of an inner node; None for one that leaves no trace."""
        node = self._nodes[number]
        spec = self._find_spec(node.type)
        if spec is not None:
            inputs, outputs = list(spec.inputs.values()), spec.outputs
            if node.values or node.values_by_name:  # later inputs of the class are not on the face
                missing = read_widgets(node, inputs).missing
                inputs = [one for one in inputs if one.name not in missing]
            names = spec.output_names or outputs
        elif node.type == "PrimitiveNode":
            target = next((link for link in self._links if link.source == number), None)
            fed = None if target is None else self._find_target(target)
            if fed is None:
                return None
            inputs, outputs = [replace(fed, name="value")], (fed.type,)
            names = outputs
        elif node.type == "Reroute":
            kind = self._reroute_type(number)
            if kind is None:
                return None
            options = {"forceInput": True}
            inputs = [InputSpec(name=kind, type=kind, required=True, options=options)]
            outputs = names = (kind,)
        else:
            return None
        positions = {slot.name: at for at, slot in enumerate(node.inputs) if slot.has_widget}
        converted = [one.name for one in inputs if has_widget(one) and one.name in positions]
        member = _Member(
            node=node,
            inputs=inputs,
            outputs=[kind or "COMBO" for kind in outputs],
            output_names=names,
            # The editor sorts the positions as text.
            converted=sorted(converted, key=lambda name: str(positions[name])),
        )
        saved, sockets = [slot.name for slot in node.inputs], member.sockets
        for link in self._links:
            if link.target == number:
                at = link.target_slot
                name = _item_at(saved, at, "") or _item_at(sockets, at, "")
                member.linked[name] = (link.source, link.slot)
        return member

    def _find_target(self, link: _InnerLink) -> InputSpec | None:
        """What the catalog says of the input that a link leads to."""
        node = self._nodes[link.target]
        slot = _item_at(node.inputs, link.target_slot, None)
        spec = self._find_spec(node.type)
        return spec.inputs.get(slot.name) if slot is not None and spec is not None else None

    def _reroute_type(self, number: int) -> str | None:
        """The type of a reroute at the edge of a group; None for one inside."""
        before = next((link for link in self._links if link.target == number), None)
        after = next((link for link in self._links if link.source == number), None)
        outside = self._external.get((number, 0))
        if before is not None and after is not None and outside is None:
            return None
        if after is not None:
            spec = self._find_target(after)
            return spec.type if spec is not None else "*"
        if before is not None:
            slot = _item_at(self._nodes[before.source].outputs, before.slot, None)
            if slot is not None and slot.type != "*":
                return slot.type
        return outside or "*"

    # -- The face ----------------------------------------------------------------------------------

    def _show_member(self, number: int, member: _Member) -> None:
        """Put a member's widgets, inputs and outputs on the face, in this order."""
        widgets = [s for s in member.inputs if has_widget(s) and s.name not in member.converted]
        uploads = any(map(has_upload, widgets))
        for spec in widgets:
            self._add_widget(number, member, spec, has_upload=uploads and spec is widgets[-1])
        for spec in member.inputs:
            if not has_widget(spec) and spec.name not in member.linked:
                name = self._choose_name(member, spec)
                if self._input_config(member, spec).get("visible") is not False:
                    self._face_inputs.append((name, number, spec.name))
        linked_inside = {link.slot for link in self._links if link.source == number}
        settings = as_mapping(as_mapping(self._config.get(member.node.id)).get("output"))
        for slot, kind in enumerate(member.outputs):
            is_hidden = slot in linked_inside and (number, slot) not in self._external
            if as_mapping(settings.get(str(slot))).get("visible", not is_hidden):
                name = _item_at(member.output_names, slot, "") or kind
                self._face_outputs.append(_FaceOutput(number, slot, kind, name))

    def _input_config(self, member: _Member, spec: InputSpec) -> Mapping[str, object]:
        inputs = as_mapping(as_mapping(self._config.get(member.node.id)).get("input"))
        return as_mapping(inputs.get(spec.name))

    def _choose_name(self, member: _Member, spec: InputSpec) -> str:
        """The name of an input on the face, as the editor makes it unique."""
        labels = {slot.name: slot.label for slot in member.node.inputs}
        custom = self._input_config(member, spec).get("name")
        name = str(custom or labels.get(spec.name) or spec.name)
        key = name
        title = member.node.title
        if (member.node.type == "PrimitiveNode" and title) or name in self._used_names:
            prefix = f"{title or member.node.type} "
            key = name = f"{prefix}{spec.name}"
            if key in self._used_names:
                name = f"{prefix}{self._used_names[key]} {spec.name}"
        self._used_names[key] = self._used_names.get(key, 1) + 1
        return name

    def _add_widget(
        self, number: int, member: _Member, spec: InputSpec, *, has_upload: bool = False
    ) -> None:
        name = self._choose_name(member, spec)
        options = {key: value for key, value in spec.options.items() if key != "image_upload"}
        if has_control(spec) or spec.name in SEED_INPUTS:
            options["control_after_generate"] = True
        if has_upload:
            options[UPLOAD_BELOW] = True
        self._face_widgets.append(replace(spec, name=name, options=options, required=True))
        self._widget_targets[name] = (str(number), spec.name)

    # -- The result --------------------------------------------------------------------------------

    def build_sheet(self) -> Sheet:
        """The group as a subgraph: its own inputs and outputs are linked to those on its face."""
        links: dict[str, EditorLink] = {}
        arriving: dict[int, dict[str, str]] = defaultdict(dict)

        def connect(source: str, slot: int, target: int, name: str) -> None:
            key = f"{target}.{name}"
            links[key] = EditorLink(source=source, slot=slot, target=str(target), target_slot=0)
            arriving[target][name] = key

        for number, member in self._members.items():
            for name, (source, slot) in member.linked.items():
                connect(str(source), slot, number, name)
        for link in self._links:
            if link.target not in self._members:  # a reroute, or another node that only passes on
                connect(str(link.source), link.slot, link.target, "")
        names = [name for name, _, _ in self._face_inputs]
        for at, (_, number, name) in enumerate(self._face_inputs):
            connect(SUBGRAPH_INPUT, at, number, name)
        for widget, (inner, name) in self._widget_targets.items():
            if widget not in names:
                connect(SUBGRAPH_INPUT, len(names), int(inner), name)
                names.append(widget)
        for at, output in enumerate(self._face_outputs):
            links[f"out.{at}"] = EditorLink(
                source=str(output.member), slot=output.slot, target=SUBGRAPH_OUTPUT, target_slot=at
            )
        return Sheet(
            nodes={
                node.id: replace(node, inputs=self._linked_slots(number, arriving[number]))
                for number, node in enumerate(self._nodes)
            },
            links=links,
            inputs=tuple(EditorSlot(name=name, type="*") for name in names),
            widgets=tuple(self._face_widgets),
            widget_targets=self._widget_targets,
        )

    def _linked_slots(self, number: int, arriving: Mapping[str, str]) -> tuple[EditorSlot, ...]:
        member = self._members.get(number)
        if member is None:
            return (EditorSlot(name="", type="*", link=arriving.get("")),)
        widgets = [spec.name for spec in member.inputs if has_widget(spec)]
        types = {spec.name: spec.type for spec in member.inputs}
        names = dict.fromkeys((*member.sockets, *widgets, *arriving))
        return tuple(
            EditorSlot(
                name=name,
                type=types.get(name, "*"),
                link=arriving.get(name),
                has_widget=name in widgets,
            )
            for name in names
        )

    def build_spec(self) -> NodeSpec:
        """The group as a node class, for another group that contains it."""
        inputs: dict[str, InputSpec] = {}
        for name, number, input_name in self._face_inputs:
            spec = self._members[number].find_input(input_name)
            kind = spec.type if spec else "*"
            inputs[name] = InputSpec(
                name=name, type=kind, required=True, options={"forceInput": True}
            )
        for widget in self._face_widgets:
            inputs.setdefault(widget.name, widget)
        return NodeSpec(
            inputs=inputs,
            outputs=tuple(output.type for output in self._face_outputs),
            output_names=tuple(output.name for output in self._face_outputs),
        )


def _whole_numbers(value: object, count: int) -> list[int]:
    """The first items of a list if all are whole numbers, else none."""
    items = value[:count] if isinstance(value, list) and len(value) >= count else []
    return items if all(type(item) is int for item in items) else []


def _item_at(items: Sequence[_T], at: int, default: _T) -> _T:
    return items[at] if 0 <= at < len(items) else default
