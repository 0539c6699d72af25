"""Where each input of an editor's workflow gets its value: through subgraphs, reroutes, bypassed
nodes, primitives, and set and get nodes."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from imagen.core.json_values import parse_json
from imagen.errors import WorkflowError
from imagen.graphs.graph import Link
from imagen.graphs.importer.editor_format import (
    BYPASSED,
    CONTROLS,
    MUTED,
    SEED_INPUTS,
    SUBGRAPH_INPUT,
    read_widgets,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from imagen.graphs.importer.editor_format import EditorDocument, EditorLink, EditorNode, Sheet

_NOTES = frozenset(("Note", "MarkdownNote", "Note Plus (mtb)", "Label (rgthree)"))
_REROUTES = frozenset(("Reroute", "Reroute (rgthree)", "ReroutePrimitive|pysssh"))
_PRIMITIVES = frozenset(("PrimitiveNode",))
_SETTERS = frozenset(("SetNode", "easy setNode"))
_GETTERS = frozenset(("GetNode", "easy getNode"))
_CONTROL_PANELS = frozenset(
    (
        "Bookmark (rgthree)",
        "Fast Groups Muter (rgthree)",
        "Fast Groups Bypasser (rgthree)",
        "Fast Muter (rgthree)",
        "Fast Bypasser (rgthree)",
        "Fast Actions Button (rgthree)",
        "Mute / Bypass Repeater (rgthree)",
        "Mute / Bypass Relay (rgthree)",
        "Node Collector (rgthree)",
        "Random Unmuter (rgthree)",
    )
)
_VIRTUAL = _NOTES | _REROUTES | _PRIMITIVES | _SETTERS | _GETTERS | _CONTROL_PANELS
"""Classes that only the editor knows, and no server."""
_MAX_DEPTH, _MAX_INSTANCES = 24, 2000
"""Of subgraphs: a deeper one contains itself."""
_MAX_NODES = 10_000
_FACE = "-1"
"""The node id that means the subgraph's own face in `proxyWidgets`."""


@dataclass(frozen=True, slots=True)
class FixedValue:
    """A value from a primitive node, or from the face of a subgraph."""

    value: object
    control: str = ""
    """How the editor changes it after each run."""
    is_raw: bool = False
    """Whether the editor sends it unchanged, with comments and choices."""


@dataclass(frozen=True, slots=True)
class MutedOutput:
    """The output of a muted node, which the inputs that it feeds do without."""


InputSource: TypeAlias = Link | FixedValue | MutedOutput | None
"""None for an input without a link: the value of its own widget counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotedValues:
    """The values on the face of one subgraph instance, which replace those inside."""

    inputs: Mapping[str, object] = field(default_factory=dict)
    """By the subgraph's input: used if no link leads there."""
    inner: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """By inner node and widget, for widgets that no input of the subgraph leads to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """A sheet in its place: the workflow itself, or one instance of a subgraph."""

    sheet: Sheet
    path: tuple[str, ...] = ()
    host: EditorNode | None = None
    """The node that represents it on the outer sheet."""
    outer: Scope | None = None
    promoted: PromotedValues = field(default_factory=PromotedValues)

    def full_id(self, node: EditorNode) -> str:
        """A node's id in the graph that a server runs: `75:66`."""
        return ":".join((*self.path, node.id))


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedNode:
    """A node and its scope."""

    node: EditorNode
    scope: Scope

    @property
    def id(self) -> str:
        """Its id in the graph that a server runs."""
        return self.scope.full_id(self.node)

    @property
    def runs(self) -> bool:
        """Whether it is not virtual, muted or bypassed."""
        return self.node.mode not in (MUTED, BYPASSED) and self.node.type not in _VIRTUAL


@dataclass(frozen=True, slots=True)
class _Step:
    """A point on the way from an input upstream."""

    is_input: bool
    scope: Scope
    node: EditorNode
    slot: int
    kind: str | None
    """The type that the first input wants."""
    fallback: FixedValue | None = None
    """What counts if nothing is found further upstream."""

    @property
    def key(self) -> tuple[object, ...]:
        return self.is_input, self.scope.path, self.node.id, self.slot, self.kind


class LinkResolver:
    """The links of a document as a server sees them."""

    def __init__(self, document: EditorDocument) -> None:
        self._document = document
        self._scopes: dict[tuple[str, ...], Scope] = {}
        self._resolved: dict[tuple[object, ...], InputSource] = {}
        self._setters: dict[int, dict[str, EditorNode]] = {}

    def place_nodes(self) -> list[PlacedNode]:
        """All nodes in the file's order, also those that do not run, with subgraphs expanded.

        Raises WorkflowError if there are too many.
        """
        placed: list[PlacedNode] = []
        for node in self._place_nodes(Scope(sheet=self._document.top)):
            placed.append(node)
            if len(placed) > _MAX_NODES:
                raise WorkflowError(
                    f"{self._document.source} holds more than {_MAX_NODES:,} nodes, "
                    "including those in its subgraphs."
                )
        return placed

    def _place_nodes(self, scope: Scope) -> Iterator[PlacedNode]:
        for node in scope.sheet.nodes.values():
            if node.type not in self._document.subgraphs:
                yield PlacedNode(node=node, scope=scope)
            elif node.mode not in (MUTED, BYPASSED):
                yield from self._place_nodes(self._enter(scope, node))

    def find_source(self, placed: PlacedNode, slot: int) -> InputSource:
        """The source of the value at this position of the node's inputs."""
        step = _Step(True, placed.scope, placed.node, slot, None)
        passed: dict[tuple[object, ...], None] = {}
        fallback: FixedValue | None = None
        covered = 0  # the fallback counts for this many of the steps
        while True:
            if step.key in passed:
                raise self._cycle_error(step.node)
            if step.key in self._resolved:
                source = self._resolved[step.key]
                break
            passed[step.key] = None
            further: _Step | InputSource = None
            if step.is_input:
                socket = step.node.inputs[step.slot]
                link = step.scope.sheet.links.get(socket.link or "")
                if link is not None:
                    further = self._follow_link(step.scope, link, step.kind or socket.type)
            else:
                further = self._follow_output(step)
            if not isinstance(further, _Step):
                source = further
                break
            step = further
            if step.fallback is not None:
                fallback, covered = step.fallback, len(passed)
        for number, key in enumerate(passed):
            self._resolved[key] = fallback if source is None and number < covered else source
        return fallback if source is None and covered else source

    def _enter(self, scope: Scope, host: EditorNode) -> Scope:
        """The scope inside a node that is an instance of a subgraph."""
        path = (*scope.path, host.id)
        if path not in self._scopes:
            if len(path) > _MAX_DEPTH:
                raise self._cycle_error(host)
            if len(self._scopes) >= _MAX_INSTANCES:
                raise WorkflowError(
                    f"{self._document.source} uses more than {_MAX_INSTANCES:,} subgraphs."
                )
            subgraphs = self._document.subgraphs
            sheet = subgraphs[host.type]
            promoted = read_promoted(host, sheet, subgraphs, scope.promoted.inner.get(host.id, {}))
            self._scopes[path] = Scope(
                sheet=sheet, path=path, host=host, outer=scope, promoted=promoted
            )
        return self._scopes[path]

    def _follow_link(self, scope: Scope, link: EditorLink, kind: str | None) -> _Step | InputSource:
        if link.source == SUBGRAPH_INPUT:
            # From a subgraph's own input to the host's input outside, or to the value on its face.
            if (
                scope.host is None
                or scope.outer is None
                or not 0 <= link.slot < len(scope.sheet.inputs)
            ):
                return None
            name = scope.sheet.inputs[link.slot].name
            fallback = None
            if name in scope.promoted.inputs:
                fallback = FixedValue(scope.promoted.inputs[name], is_raw=True)
            outside = scope.host.inputs
            at = next((n for n, one in enumerate(outside) if one.name == name), None)
            if at is None and scope.sheet.widget_targets and link.slot < len(outside):
                # The inputs of an old group node may have other names outside.
                known = {one.name for one in scope.sheet.inputs}
                at = link.slot if outside[link.slot].name not in known else None
            if at is None:
                return fallback
            return _Step(True, scope.outer, scope.host, at, None, fallback)
        source = scope.sheet.nodes.get(link.source)
        return None if source is None else _Step(False, scope, source, link.slot, kind)

    def _follow_output(self, step: _Step) -> _Step | InputSource:
        """What an output gives. Virtual nodes work even if muted, as in the editor."""
        scope, node, slot, kind = step.scope, step.node, step.slot, step.kind
        if node.type in _PRIMITIVES:
            value = node.values[0] if node.values else node.named.get("value")
            value = scope.promoted.inner.get(node.id, {}).get("value", value)
            has_control = len(node.values) > 1 and node.values[1] in CONTROLS[1:]
            control = str(node.values[1]) if has_control else ""
            return None if value is None else FixedValue(value, control=control)
        if node.mode == BYPASSED:
            passed = _bypassed_input(node, slot, kind or "")
            return None if passed is None else _Step(True, scope, node, passed, None)
        if node.type in _GETTERS:
            # The node that sets what this one gets is on its own sheet or an outer one.
            at: Scope | None = scope
            while at is not None:
                key = id(at.sheet)
                if key not in self._setters:
                    setters = [
                        n for n in at.sheet.nodes.values() if n.type in _SETTERS and n.inputs
                    ]
                    self._setters[key] = {_variable_name(one): one for one in reversed(setters)}
                setter = self._setters[key].get(_variable_name(node))
                if setter is not None:
                    return _Step(True, at, setter, 0, kind)
                at = at.outer
            return None
        if node.type in _VIRTUAL:
            return _Step(True, scope, node, 0, kind) if node.inputs else None
        if node.mode == MUTED:
            return MutedOutput()
        if node.type not in self._document.subgraphs:
            return Link(scope.full_id(node), slot)
        inside = self._enter(scope, node)
        link = inside.sheet.output_links.get(slot)
        return None if link is None else self._follow_link(inside, link, kind)

    def _cycle_error(self, node: EditorNode) -> WorkflowError:
        return WorkflowError(
            f"{self._document.source} has a cycle at node {node.id} ({node.label}).",
            remedy="Open it in ComfyUI and remove one of these links.",
        )


def _variable_name(node: EditorNode) -> str:
    return str(node.values[0]) if node.values else node.title


def _bypassed_input(node: EditorNode, slot: int, kind: str) -> int | None:
    """Which input replaces an output of a bypassed node, as the editor chooses."""
    if not node.inputs:
        return None
    if kind in ("*", ""):
        return slot if slot < len(node.inputs) else 0
    given = node.outputs[slot].type if 0 <= slot < len(node.outputs) else kind
    types = [one.type for one in node.inputs]
    suits = [_types_match(one, kind) and _types_match(one, given) for one in types]
    if slot < len(types) and suits[slot]:
        return slot
    if kind in types:
        return types.index(kind)
    return suits.index(True) if True in suits else None


def _types_match(one: str, other: str) -> bool:
    """Types match ignoring case; one of a list is enough; `*` matches all."""
    left, right = ({part.strip().lower() for part in kind.split(",")} for kind in (one, other))
    return bool(left & right) or bool({"*", ""} & (left | right))


# -- Values on the face of a subgraph --------------------------------------------------------------


def read_promoted(
    host: EditorNode, sheet: Sheet, subgraphs: Mapping[str, Sheet], above: Mapping[str, object]
) -> PromotedValues:
    """The values on the face of `host`; `above` are those that its own surroundings set there."""
    if sheet.widgets:
        values = {**read_widgets(host, sheet.widgets).values, **above}
        targets = sheet.widget_targets
        return PromotedValues(
            inner=_group_by_node(
                (targets[name], v) for name, v in values.items() if name in targets
            )
        )
    inner: Mapping[str, Mapping[str, object]] = {}
    proxies = _read_proxies(host)
    names = [
        one.name
        for slot, one in enumerate(sheet.inputs)
        if _leads_to_widget(sheet, slot, subgraphs)
    ]
    if host.named and len(names) != len(host.values):
        inputs = {slot.name: host.named.get(slot.name) for slot in sheet.inputs}
    elif proxies:
        given = [(p, v) for p, v in zip(proxies, host.values, strict=False) if v is not None]
        inputs = {name: value for (node, name), value in given if node == _FACE}
        inner = _group_by_node((place, value) for place, value in given if place[0] != _FACE)
    else:
        # By position. If there are more values than names, seeds have a control after them.
        inputs, at = {}, 0
        for name in names:
            if at < len(host.values):
                inputs[name] = host.values[at]
            at += 1
            has_control = len(host.values) > len(names) and name in SEED_INPUTS
            if has_control and at < len(host.values):
                at += host.values[at] in (*CONTROLS, None)
    values = {name: value for name, value in {**inputs, **above}.items() if value is not None}
    return PromotedValues(inputs=values, inner=inner)


def _read_proxies(host: EditorNode) -> list[tuple[str, str]]:
    """Each inner node and its widget; older files save them as JSON text."""
    value = host.properties.get("proxyWidgets")
    if isinstance(value, str):
        try:
            value = parse_json(value)
        except ValueError:
            return []
    pairs = value if isinstance(value, list) else []
    return [(str(p[0]), str(p[1])) for p in pairs if isinstance(p, list) and len(p) >= 2]


def _group_by_node(
    values: Iterable[tuple[tuple[str, str], object]],
) -> Mapping[str, Mapping[str, object]]:
    grouped: dict[str, dict[str, object]] = defaultdict(dict)
    for (node, name), value in values:
        grouped[node][name] = value
    return dict(grouped)


def _leads_to_widget(sheet: Sheet, slot: int, subgraphs: Mapping[str, Sheet]) -> bool:
    """Whether an input of a subgraph leads to a widget inside, at any depth."""
    for _ in range(_MAX_DEPTH):
        targets = sheet.input_targets.get(slot, [])
        if any(one.has_widget for _, one in targets):
            return True
        inner = next((pair for pair in targets if pair[0].type in subgraphs), None)
        if inner is None:
            return False
        sheet = subgraphs[inner[0].type]
        names = [one.name for one in sheet.inputs]
        if inner[1].name not in names:
            return False
        slot = names.index(inner[1].name)
    return False
