"""Where each input of an editor's workflow gets its value, through subgraphs and virtual nodes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imagen.errors import WorkflowError
from imagen.graphs.importer.declared import CONTROLS
from imagen.graphs.importer.editor import BYPASSED, ENTRY, MUTED, label
from imagen.graphs.importer.promoted import Promoted, promoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagen.graphs.importer.editor import Document, Link, Node, Sheet

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
"""Of subgraphs: what is deeper holds itself."""
_MOST_NODES = 10_000


@dataclass(frozen=True, slots=True)
class Origin:
    """An output of a node that runs."""

    node: str
    slot: int


@dataclass(frozen=True, slots=True)
class Value:
    """A value that stands elsewhere: in a primitive, or on a subgraph's own face."""

    value: Any
    control: str = ""
    """How the editor changes it after each run."""
    is_raw: bool = False
    """Whether the editor sends it as it is, comments and choices included."""


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
    """A node and its sheet."""

    node: Node
    scope: Scope

    @property
    def id(self) -> str:
        """Its id in the graph that a server runs."""
        return self.scope.full_id(self.node)

    @property
    def runs(self) -> bool:
        """Whether it is neither virtual, nor muted, nor bypassed."""
        return self.node.mode not in (MUTED, BYPASSED) and self.node.type not in VIRTUAL


@dataclass(frozen=True, slots=True)
class _Step:
    """A place on the way from an input to the node that feeds it."""

    is_input: bool
    scope: Scope
    node: Node
    slot: int
    kind: str | None
    """The type that is wanted at the very end of the way."""
    fallback: Source = None
    """What counts where nothing arrives further on."""

    @property
    def key(self) -> tuple[Any, ...]:
        return self.is_input, self.scope.path, self.node.id, self.slot, self.kind


class Wiring:
    """All links of a document, resolved to what a server sees."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._scopes: dict[tuple[str, ...], Scope] = {}
        self._top = Scope(sheet=document.top)
        self._resolved: dict[tuple[Any, ...], Source] = {}
        self._setters: dict[int, dict[str, Node]] = {}

    def placed(self) -> list[Placed]:
        """Every node, also what does not run, in the file's order; no subgraph's own face.

        Raises WorkflowError for a document that its subgraphs expand without end.
        """
        found: list[Placed] = []
        for placed in self._placed(self._top):
            found.append(placed)
            if len(found) > _MOST_NODES:
                raise WorkflowError(
                    f"{self._document.source} holds more than {_MOST_NODES:,} nodes, "
                    "those within its subgraphs included."
                )
        return found

    def _placed(self, scope: Scope) -> Iterator[Placed]:
        for node in scope.sheet.nodes.values():
            if node.type not in self._document.subgraphs:
                yield Placed(node=node, scope=scope)
            elif node.mode not in (MUTED, BYPASSED):
                yield from self._placed(self._inside(scope, node))

    def source(self, placed: Placed, slot: int) -> Source:
        """Where the input at this place in the node's list gets its value from."""
        step = _Step(True, placed.scope, placed.node, slot, None)
        passed: dict[tuple[Any, ...], None] = {}
        fallback: Source = None
        covered = 0  # the fallback counts for so many of the steps
        while True:
            if step.key in passed:
                raise self._endless(step.node)
            if step.key in self._resolved:
                found = self._resolved[step.key]
                break
            passed[step.key] = None
            further = self._before_input(step) if step.is_input else self._before_output(step)
            if not isinstance(further, _Step):
                found = further
                break
            step = further
            if step.fallback is not None:
                fallback, covered = step.fallback, len(passed)
        for number, key in enumerate(passed):
            covers = found is None and number < covered
            self._resolved[key] = fallback if covers else found
        return fallback if found is None and covered else found

    def _inside(self, scope: Scope, host: Node) -> Scope:
        path = (*scope.path, host.id)
        if path not in self._scopes:
            if len(path) > _DEEPEST:
                raise self._endless(host)
            if len(self._scopes) >= _MOST_INSTANCES:
                raise WorkflowError(
                    f"{self._document.source} uses more than {_MOST_INSTANCES:,} subgraphs."
                )
            sheet = self._document.subgraphs[host.type]
            shown = promoted(host, sheet, self._document.subgraphs, scope.promoted.inner)
            self._scopes[path] = Scope(
                sheet=sheet, path=path, host=host, outer=scope, promoted=shown
            )
        return self._scopes[path]

    def _before_input(self, step: _Step) -> _Step | Source:
        """What arrives at an input."""
        scope, wanted = step.scope, step.node.inputs[step.slot]
        link = scope.sheet.links.get(wanted.link or "")
        return None if link is None else self._along(scope, link, step.kind or wanted.type)

    def _along(self, scope: Scope, link: Link, kind: str | None) -> _Step | Source:
        if link.source == ENTRY:
            return _outside(scope, link.slot)
        origin = scope.sheet.nodes.get(link.source)
        return None if origin is None else _Step(False, scope, origin, link.slot, kind)

    def _before_output(self, step: _Step) -> _Step | Source:
        """What an output gives; virtual nodes lead on where they are muted, as in the editor."""
        scope, node, slot, kind = step.scope, step.node, step.slot, step.kind
        if node.mode == BYPASSED and node.type not in _VALUES:
            through = _bypass(node, slot, kind or "")
            return None if through is None else _Step(True, scope, node, through, None)
        if node.type in VIRTUAL:
            return self._before_virtual(step)
        if node.mode == MUTED:
            return Gone()
        if node.type not in self._document.subgraphs:
            return Origin(scope.full_id(node), slot)
        inside = self._inside(scope, node)
        link = inside.sheet.exits.get(slot)
        return None if link is None else self._along(inside, link, kind)

    def _before_virtual(self, step: _Step) -> _Step | Source:
        scope, node = step.scope, step.node
        if node.type in _VALUES:
            return _primitive(scope, node)
        if node.type in _GETTERS:
            found = self._setter(scope, node)
            return None if found is None else _Step(True, *found, 0, step.kind)
        return _Step(True, scope, node, 0, step.kind) if node.inputs else None

    def _setter(self, scope: Scope, getter: Node) -> tuple[Scope, Node] | None:
        """The node that sets what this one gets, on its own sheet or on one outside."""
        sheets: Scope | None = scope
        while sheets is not None:
            if id(sheets.sheet) not in self._setters:
                nodes = [n for n in sheets.sheet.nodes.values() if n.type in _SETTERS and n.inputs]
                self._setters[id(sheets.sheet)] = {_variable(n): n for n in reversed(nodes)}
            found = self._setters[id(sheets.sheet)].get(_variable(getter))
            if found is not None:
                return sheets, found
            sheets = sheets.outer
        return None

    def _endless(self, node: Node) -> WorkflowError:
        return WorkflowError(
            f"{self._document.source} goes round in a ring at node {node.id} ({label(node)}).",
            remedy="Open it in ComfyUI and cut one of these links.",
        )


def _outside(scope: Scope, slot: int) -> _Step | Source:
    """From a subgraph's own input to what arrives there outside, else the value on its face."""
    if scope.host is None or scope.outer is None or not 0 <= slot < len(scope.sheet.inputs):
        return None
    name = scope.sheet.inputs[slot].name
    fallback = None
    if name in scope.promoted.inputs:
        fallback = Value(scope.promoted.inputs[name], is_raw=True)
    faces = scope.host.inputs
    at = next((n for n, face in enumerate(faces) if face.name == name), None)
    if at is None and scope.sheet.widget_targets and slot < len(faces):
        known = {face.name for face in scope.sheet.inputs}
        at = slot if faces[slot].name not in known else None  # of a group node: called otherwise
    if at is None:
        return fallback
    return _Step(True, scope.outer, scope.host, at, None, fallback)


def _primitive(scope: Scope, node: Node) -> Source:
    listed = node.values if isinstance(node.values, list) else []
    first = listed[0] if listed else node.named.get("value")
    first = scope.promoted.inner.get(node.id, {}).get("value", first)
    control = listed[1] if len(listed) > 1 and listed[1] in CONTROLS[1:] else ""
    return None if first is None else Value(first, control=control)


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
