"""A graph looked through: which input is of which kind, what feeds it, and where values stand."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from imagen.graphs.importer import node_classes as known_names
from imagen.graphs.importer.declared import Declared, declared
from imagen.graphs.structure import saves
from imagen.graphs.tokens import inputs_of, is_link, token_name

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

_FARTHEST = 32
MOST_NODES = 300
"""No walk along links goes beyond so many nodes."""
_BRANCHES = (("on_true", "on_false"), ("tt_value", "ff_value"))
_CONDITIONS = ("switch", "boolean", "condition", "cond", "value")
_SELECTORS = ("select", "index", "Input", "input", "selected", "choice")
_SWITCH = re.compile(r"(?i)switch|select")
_NUMBERED = re.compile(r".*?(\d{1,9})")
_BUNDLE = re.compile(
    r"(?i)(.*_)?(pipe|ctx|context|tuple|bundle|settings|config|data|info|params|plan|state)(_?\d+)?"
)
"""The name of a link that carries several things at once."""
_SIZE = re.compile(r"(?i)size|aspect|ratio|resolution|preset|dimension")
_TIMES = re.compile(r"(?<!\d)(\d{3,5}) ?[x×] ?(\d{3,5})(?!\d)")
_LONGEST_SIZE = 100
_LARGEST = 2**64
"""No number that a server takes is larger; NaN is none."""
_LONGEST = 200
"""No input has a longer name."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """One input of one node, which holds a literal."""

    node: str
    input: str


class Link(NamedTuple):
    """One linked input: its name, the node behind it, and which of that node's outputs."""

    name: str
    node: str
    slot: int


@dataclass(frozen=True)
class Reading:
    """A graph, and what a catalogue says of its classes, as far as there is one."""

    graph: Mapping[str, Any]
    object_info: Mapping[str, Any]

    def inputs(self, node_id: str) -> Mapping[str, Any]:
        """A node's inputs; none for what is no node."""
        return self._inputs.get(node_id, {})

    def kind_of_node(self, node_id: str) -> str:
        """The node's class."""
        node = self.graph.get(node_id)
        return str(node.get("class_type") or "") if isinstance(node, dict) else ""

    def title(self, node_id: str) -> str:
        """The title somebody gave the node; "" where there is none."""
        node = self.graph.get(node_id)
        meta = node.get("_meta") if isinstance(node, dict) else None
        return str(meta.get("title") or "") if isinstance(meta, dict) else ""

    def declared(self, place: Place) -> Declared | None:
        """What the catalogue says of an input."""
        return self._declared.get(self.kind_of_node(place.node), {}).get(place.input)

    def kind(self, node_id: str, name: str) -> str:
        """The type of an input: as declared, else as its name tells; "" where neither does."""
        known = self.declared(Place(node_id, name))
        if known is not None:
            return "" if known.type == "*" else known.type
        by_ending = "LATENT" if known_names.LATENTS.fullmatch(name) else ""
        return known_names.KINDS.get(name, by_ending)

    def links(self, node_id: str) -> list[Link]:
        """The linked inputs of a node; of a switch, only the one that it passes on."""
        return self._links.get(node_id, [])

    def fed(self, node_id: str, kinds: Collection[str]) -> Iterator[Link]:
        """The links of these types, and the one link of a node that only passes on."""
        links = self.links(node_id)
        passes = len(links) == 1 and not self.kind(node_id, links[0].name)
        passes = passes or self.chosen(node_id) is not None
        for link in links:
            if passes or self.kind(node_id, link.name) in kinds:
                yield link

    def bundles(self, node_id: str) -> list[Link]:
        """The links that carry several things at once: a pipe, a context."""
        return [link for link in self.links(node_id) if _BUNDLE.fullmatch(link.name)]

    def chosen(self, node_id: str) -> str | None:
        """The input that a switch passes on, "" for none of them; None if it is not one."""
        return self._chosen.get(node_id)

    def place(self, node_id: str, name: str, role: str = "") -> Place | None:
        """The place of the literal that an input gets: there, or as far behind as links lead.

        `role` is the setting it is: where a link leads to a node that holds several values, the
        one of that name is meant, and there only a value of its type counts.
        """
        wanted = tuple(dict.fromkeys((name, *known_names.SYNONYMS.get(role, ()))))
        start = node_id
        for _ in range(_FARTHEST):
            value: Any = self.inputs(node_id).get(name)
            if not is_link(value):
                fits = name in self.inputs(node_id) and (node_id == start or suits(value, role))
                return Place(node_id, name) if fits else None
            node_id = value[0]
            behind = self._behind(node_id, _slot(value), wanted)
            if behind is None:
                return None
            name = behind
        return None

    def literal(self, place: Place) -> Any:
        """What stands there."""
        return self.inputs(place.node).get(place.input)

    def preset_size(self, node_id: str) -> tuple[int, int] | None:
        """The size that a node is set to by a choice such as "1344x768 (16:9)"."""
        inputs = self.inputs(node_id)
        for name, value in inputs.items():
            if not (isinstance(value, str) and len(value) <= _LONGEST_SIZE):
                continue
            found = _TIMES.search(value) if _SIZE.search(name) else None
            if found is not None and "custom" not in value.lower():
                wide, high = int(found[1]), int(found[2])
                return (high, wide) if inputs.get("swap_dimensions") == "On" else (wide, high)
        return None

    def output_name(self, node_id: str, slot: int) -> str:
        """What the catalogue calls an output; "" where it does not."""
        said = self.object_info.get(self.kind_of_node(node_id))
        names = said.get("output_name") if isinstance(said, dict) else None
        if isinstance(names, list) and 0 <= slot < len(names):
            return str(names[slot])
        return ""

    def outputs(self) -> list[str]:
        """The nodes that give something away."""
        return [key for key in self.graph if self._gives_away(key)]

    def walk(self, starts: Iterable[str], onward: Callable[[str], Iterable[str]]) -> list[str]:
        """The nodes that links lead to, the nearest first: the starts, and what comes after."""
        seen: dict[str, None] = {}
        waiting = deque(starts)
        while waiting and len(seen) < MOST_NODES:
            node_id = waiting.popleft()
            if node_id not in seen:
                seen[node_id] = None
                waiting.extend(onward(node_id))
        return list(seen)

    def above(self, node_ids: Iterable[str]) -> set[str]:
        """These nodes and all that they are made from; not what a switch leaves out."""
        seen: set[str] = set()
        waiting = [node_id for node_id in node_ids if node_id in self.graph]
        while waiting:
            node_id = waiting.pop()
            if node_id not in seen:
                seen.add(node_id)
                waiting += [link.node for link in self.links(node_id)]
        return seen

    @cached_property
    def in_order(self) -> list[str]:
        """All nodes, each after those it is made from, as far as there is no ring."""
        done: dict[str, None] = {}
        waiting = [(key, False) for key in reversed(list(self.graph))]
        opened: set[str] = set()
        while waiting:
            key, is_last = waiting.pop()
            if is_last:
                done.setdefault(key)
            elif key not in opened:
                opened.add(key)
                waiting.append((key, True))
                waiting += [(link.node, False) for link in reversed(self.links(key))]
        return list(done)

    @cached_property
    def uses(self) -> dict[str, set[tuple[str, int]]]:
        """To each node the inputs that its outputs lead to: their names, and which output."""
        uses: dict[str, set[tuple[str, int]]] = {key: set() for key in self.graph}
        for key in self.graph:
            for link in self.links(key):
                uses[link.node].add((link.name, link.slot))
        return uses

    @cached_property
    def _inputs(self) -> dict[str, dict[str, Any]]:
        return {
            key: {name: value for name, value in inputs_of(node).items() if len(name) <= _LONGEST}
            for key, node in self.graph.items()
        }

    @cached_property
    def _links(self) -> dict[str, list[Link]]:
        links: dict[str, list[Link]] = {}
        for key in self.graph:
            chosen = self.chosen(key)
            links[key] = [
                Link(name, value[0], _slot(value))
                for name, value in self.inputs(key).items()
                if is_link(value) and value[0] in self.graph and chosen in (None, name)
            ]
        return links

    @cached_property
    def _chosen(self) -> dict[str, str]:
        chosen = ((key, self._choose(key)) for key in self.graph)
        return {key: name for key, name in chosen if name is not None}

    @cached_property
    def _declared(self) -> dict[str, dict[str, Declared]]:
        kinds = {self.kind_of_node(key) for key in self.graph}
        known = {kind: self.object_info.get(kind) for kind in kinds}
        return {
            kind: {one.name: one for one in declared(said)}
            for kind, said in known.items()
            if isinstance(said, dict)
        }

    def _choose(self, node_id: str) -> str | None:
        inputs = self.inputs(node_id)
        for when_true, when_false in _BRANCHES:
            flags = [self._plain(node_id, name) for name in _CONDITIONS if name in inputs]
            flag = next((flag for flag in flags if isinstance(flag, bool)), None)
            if flag is not None and {when_true, when_false} & set(inputs):
                return when_true if flag else when_false
        if not _SWITCH.search(self.kind_of_node(node_id)):
            return None
        numbers = {name: int(found[1]) for name in inputs if (found := _NUMBERED.fullmatch(name))}
        if not numbers:
            return None
        which = [self._plain(node_id, name) for name in _SELECTORS if name in inputs]
        number = next((one for one in which if type(one) is int), None)
        if number is None:
            return next((name for name in numbers if is_link(inputs[name])), None)
        return next((name for name, own in numbers.items() if own == number), "")

    def _plain(self, node_id: str, name: str) -> Any:
        """A switch's own setting: a literal, there or in a node that only holds it."""
        for _ in range(_FARTHEST):
            value: Any = self.inputs(node_id).get(name)
            if not is_link(value):
                return value
            node_id = value[0]
            inputs = self.inputs(node_id)
            if len(inputs) != 1:
                return inputs.get("value")
            name = next(iter(inputs))
        return None

    def _behind(self, node_id: str, slot: int, wanted: Collection[str]) -> str | None:
        """The input whose value an output of this node passes on; None where it does more."""
        chosen = self.chosen(node_id)
        if chosen is not None:
            return chosen
        inputs = self.inputs(node_id)
        if {"width", "height"} & set(wanted) and self.preset_size(node_id) is not None:
            return None
        called = self.output_name(node_id, slot).lower()
        for name in (*(name for name in inputs if name.lower() == called), *wanted):
            if name in inputs:
                return name
        linked = [name for name, value in inputs.items() if is_link(value)]
        if known_names.SHOWING.search(self.kind_of_node(node_id)):
            return linked[0] if len(linked) == 1 else None
        own = [name for name in inputs if name.lower() in known_names.HOLDERS]
        if len(own) == 1 and (not linked or linked == own):
            return own[0]
        bundles = [name for name in linked if _BUNDLE.fullmatch(name)]
        only = list(inputs) if len(inputs) == 1 else bundles
        return only[0] if len(only) == 1 else None

    def _gives_away(self, node_id: str) -> bool:
        said = self.object_info.get(self.kind_of_node(node_id))
        if isinstance(said, dict):
            return said.get("output_node") is True
        return saves(self.graph[node_id])


@dataclass
class Draft:
    """The choices so far; each place is chosen once, and the first to choose it has it."""

    reading: Reading
    names: dict[Place, str] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)
    without: dict[str, str] = field(default_factory=dict)
    """Why a parameter is lacking, by its name."""
    _tokens: dict[tuple[str, bool, Any], str] = field(default_factory=dict)
    """By role and value; 1 and 1.0 are one value, and True is another."""
    _numbers: dict[str, int] = field(default_factory=dict)

    def take(self, role: str, node_id: str, name: str) -> str | None:
        """Choose the place where this input's value stands; the token's name, if it is one now.

        Equal values of one role share a token; another value gets the next name: `steps_2`.
        """
        place = self.reading.place(node_id, name, role)
        return None if place is None else self.take_place(role, place)

    def take_place(self, role: str, place: Place) -> str | None:
        """Choose this very place."""
        if place in self.names:
            return self.names[place]
        value = self.reading.literal(place)
        if value is None or isinstance(value, list | dict) or token_name(value) is not None:
            return None
        if isinstance(value, int | float) and not -_LARGEST < value < _LARGEST:
            return None
        token = self._token(role, value)
        self.names[place] = token
        self.defaults[token] = value
        return token

    def takes(self, role: str) -> bool:
        """Whether there is a token of this name."""
        return role in self.defaults

    def _token(self, role: str, value: Any) -> str:
        known = (role, isinstance(value, bool), value)
        if known not in self._tokens:
            number = self._numbers.get(role, 0) + 1
            while (name := _numbered(role, number)) in self.defaults:
                number += 1
            self._numbers[role] = number
            self._tokens[known] = name
        return self._tokens[known]


_TEXTS = ("prompt", "negative")
"""Their second is no other text, but the same for a second text encoder."""


def _numbered(role: str, number: int) -> str:
    if number == 1:
        return role
    return f"{role}_part_{number}" if role in _TEXTS else f"{role}_{number}"


def _slot(link: list[Any]) -> int:
    """The number of a link's output; -1 for one that can't be."""
    number = link[1]
    return int(number) if 0 <= number < 2**31 else -1


def suits(value: Any, role: str) -> bool:
    """Whether a value can be this setting; a token can be any."""
    if role in known_names.NUMBERS and token_name(value) is None:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if role in ("sampler", "scheduler"):
        return isinstance(value, str)
    return True
