"""Where each input of an editor's workflow gets its value, through subgraphs and virtual nodes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imagen.errors import WorkflowError
from imagen.graphs.importing.editor import BYPASSED, ENTRY, EXIT, MUTED, label
from imagen.graphs.importing.promoted import Promoted, promoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagen.graphs.importing.editor import Document, Link, Node, Sheet

NOTES = frozenset(("Note", "MarkdownNote", "Note Plus (mtb)", "Label (rgthree)"))
_PASSING = frozenset(("Reroute", "Reroute (rgthree)", "ReroutePrimitive|pysssh"))
_VALUES = frozenset(("PrimitiveNode",))
_SETTERS = frozenset(("SetNode", "easy setNode"))
_GETTERS = frozenset(("GetNode", "easy getNode"))
_CONTROLS = (
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
VIRTUAL = NOTES | _PASSING | _VALUES | _SETTERS | _GETTERS | frozenset(_CONTROLS)
"""Nodes that only the editor knows: no server has a class for them."""
_DEEPEST, _MOST_INSTANCES = 24, 2000
"""Of subgraphs: what has more holds itself."""


@dataclass(frozen=True, slots=True)
class Origin:
    """An output of a node that runs."""

    node: str
    slot: int


@dataclass(frozen=True, slots=True)
class Value:
    """A value that stands elsewhere: in a primitive, or on a subgraph's own face."""

    value: Any


@dataclass(frozen=True, slots=True)
class Gone:
    """A muted node's output: whatever it fed goes without."""


Source = Origin | Value | Gone | None
"""None is an input that nothing arrives at: its own widget counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """One sheet in its place: the workflow itself, or one instance of a subgraph."""

    sheet: Sheet
    path: tuple[str, ...] = ()
    host: Node | None = None
    """The node that stands for it on the sheet outside."""
    outer: Scope | None = None
    promoted: Promoted = field(default_factory=Promoted)

    def full_id(self, node: Node) -> str:
        """A node's id in the graph that a server runs: `75:66`."""
        return ":".join((*self.path, node.id))


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A node that would run, and the sheet it stands on."""

    node: Node
    scope: Scope

    @property
    def id(self) -> str:
        """Its id in the graph that a server runs."""
        return self.scope.full_id(self.node)


class Wiring:
    """All links of a document, resolved to what a server sees."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._scopes: dict[tuple[str, ...], Scope] = {}
        self._top = Scope(sheet=document.top)

    def running(self) -> list[Placed]:
        """Every node that is neither virtual, nor muted, nor bypassed, in the file's order."""
        return list(self._running(self._top))

    def source(self, placed: Placed, slot: int) -> Source:
        """Where the input at this place in the node's list gets its value from."""
        return self._into(placed.scope, placed.node, slot, None, frozenset())

    def _running(self, scope: Scope) -> Iterator[Placed]:
        for node in scope.sheet.nodes.values():
            if node.mode in (MUTED, BYPASSED) or node.type in VIRTUAL:
                continue
            if node.type in self._document.subgraphs:
                yield from self._running(self._inside(scope, node))
            else:
                yield Placed(node=node, scope=scope)

    def _inside(self, scope: Scope, host: Node) -> Scope:
        path = (*scope.path, host.id)
        if path not in self._scopes:
            if len(path) > _DEEPEST or len(self._scopes) > _MOST_INSTANCES:
                raise self._endless(host)
            sheet = self._document.subgraphs[host.type]
            shown = promoted(host, sheet, self._document.subgraphs, scope.promoted.inner)
            self._scopes[path] = Scope(
                sheet=sheet, path=path, host=host, outer=scope, promoted=shown
            )
        return self._scopes[path]

    def _into(
        self,
        scope: Scope,
        node: Node,
        slot: int,
        kind: str | None,
        seen: frozenset[tuple[str, ...]],
    ) -> Source:
        """What arrives at an input; `kind` is the type wanted at the very end of the way."""
        at = ("in", *scope.path, node.id, str(slot))
        if at in seen:
            raise self._endless(node)
        wanted = node.inputs[slot]
        link = scope.sheet.links.get(wanted.link or "")
        if link is None:
            return None
        if link.source == ENTRY:
            return self._from_outside(scope, link.slot, seen | {at})
        return self._from(scope, link, kind or wanted.type, seen | {at})

    def _from(
        self, scope: Scope, link: Link, kind: str, seen: frozenset[tuple[str, ...]]
    ) -> Source:
        origin = scope.sheet.nodes.get(link.source)
        return None if origin is None else self._out_of(scope, origin, link.slot, kind, seen)

    def _from_outside(self, scope: Scope, slot: int, seen: frozenset[tuple[str, ...]]) -> Source:
        if scope.host is None or scope.outer is None or not 0 <= slot < len(scope.sheet.inputs):
            return None
        name = scope.sheet.inputs[slot].name
        at = next((n for n, face in enumerate(scope.host.inputs) if face.name == name), None)
        arriving = None if at is None else self._into(scope.outer, scope.host, at, None, seen)
        if arriving is None and name in scope.promoted.inputs:
            return Value(scope.promoted.inputs[name])
        return arriving

    def _out_of(
        self, scope: Scope, node: Node, slot: int, kind: str, seen: frozenset[tuple[str, ...]]
    ) -> Source:
        at = ("out", *scope.path, node.id, str(slot))
        if at in seen:
            raise self._endless(node)
        seen |= {at}
        if node.mode == MUTED:
            return Gone()
        if node.mode == BYPASSED:
            through = _bypass(node, slot, kind)
            return None if through is None else self._into(scope, node, through, None, seen)
        if node.type in self._document.subgraphs:
            return self._out_of_subgraph(self._inside(scope, node), slot, kind, seen)
        if node.type in VIRTUAL:
            return self._out_of_virtual(scope, node, kind, seen)
        return Origin(scope.full_id(node), slot)

    def _out_of_subgraph(
        self, scope: Scope, slot: int, kind: str, seen: frozenset[tuple[str, ...]]
    ) -> Source:
        links = scope.sheet.links.values()
        link = next((n for n in links if n.target == EXIT and n.target_slot == slot), None)
        if link is None:
            return None
        if link.source == ENTRY:
            return self._from_outside(scope, link.slot, seen)
        return self._from(scope, link, kind, seen)

    def _out_of_virtual(
        self, scope: Scope, node: Node, kind: str, seen: frozenset[tuple[str, ...]]
    ) -> Source:
        if node.type in _VALUES:
            return _primitive(node)
        if node.type in _GETTERS:
            found = _setter(scope, node)
            return None if found is None else self._into(*found, 0, kind, seen)
        return self._into(scope, node, 0, kind, seen) if node.inputs else None

    def _endless(self, node: Node) -> WorkflowError:
        return WorkflowError(
            f"{self._document.source} goes round in a ring at node {node.id} ({label(node)}).",
            remedy="Open it in ComfyUI and cut one of these links.",
        )


def _primitive(node: Node) -> Source:
    listed = node.values if isinstance(node.values, list) else []
    first = listed[0] if listed else node.named.get("value")
    return None if first is None else Value(first)


def _setter(scope: Scope, getter: Node) -> tuple[Scope, Node] | None:
    """The node that sets what this one gets, on its own sheet or on one outside."""
    name = _variable(getter)
    sheets: Scope | None = scope
    while sheets is not None:
        for node in sheets.sheet.nodes.values():
            if node.type in _SETTERS and node.inputs and _variable(node) == name:
                return sheets, node
        sheets = sheets.outer
    return None


def _variable(node: Node) -> str:
    values = node.values
    return str(values[0]) if isinstance(values, list) and values else node.title


def _bypass(node: Node, slot: int, kind: str) -> int | None:
    """Which input takes the place of an output, as the editor chooses."""
    if not node.inputs:
        return None
    if kind in ("*", ""):
        return slot if slot < len(node.inputs) else 0
    given = node.outputs[slot].type if 0 <= slot < len(node.outputs) else kind
    types = [face.type for face in node.inputs]
    if slot < len(types) and _fit(types[slot], kind) and _fit(types[slot], given):
        return slot
    exact = next((n for n, face in enumerate(types) if face == kind), None)
    alike = (n for n, face in enumerate(types) if _fit(face, kind) and _fit(face, given))
    return exact if exact is not None else next(alike, None)


def _fit(one: str, other: str) -> bool:
    """Types are alike whatever their case; a list of them fits by any; `*` is any."""
    left, right = ({part.strip().lower() for part in kind.split(",")} for kind in (one, other))
    return bool(left & right) or bool({"*", ""} & (left | right))
