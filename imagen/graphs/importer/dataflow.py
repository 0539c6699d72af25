"""Follow a graph's links to where values come from, through switches, pipes and nodes that only
pass a value on."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from imagen.graphs.graph import class_of, inputs_of, is_link, is_output_node, parse_link, title_of
from imagen.graphs.tokens import token_name

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from imagen.graphs.graph import Graph, Link
    from imagen.graphs.node_catalog import InputSpec, NodeSpec

MAX_WALK = 300
"""The most nodes that a walk along links visits."""
_MAX_HOPS = 32
_MAX_INPUT_NAME = 200
_MAX_SIZE_TEXT = 100

INPUT_TYPES: Mapping[str, str] = {
    **dict.fromkeys(
        ("positive", "negative", "conditioning", "conditioning_1", "conditioning_2"), "CONDITIONING"
    ),
    **dict.fromkeys(("conditioning_to", "conditioning_from", "cond1", "cond2"), "CONDITIONING"),
    **dict.fromkeys(("latent_image", "samples", "samples_to", "latent"), "LATENT"),
    **dict.fromkeys(("pixels", "image", "images"), "IMAGE"),
    "mask": "MASK",
    "noise": "NOISE",
    "guider": "GUIDER",
    "sampler": "SAMPLER",
    "sigmas": "SIGMAS",
    "control_net": "CONTROL_NET",
}
"""The type of a linked input of this name, if no catalog says it."""
SETTING_INPUTS: Mapping[str, tuple[str, ...]] = {
    "seed": ("seed", "noise_seed", "seed_value", "seed_num"),
    "steps": ("steps", "steps_total", "total_steps"),
    "cfg": ("cfg", "cfg_scale", "guidance_scale"),
    "guidance": ("guidance",),
    "sampler": ("sampler_name", "sampler"),
    "scheduler": ("scheduler", "scheduler_name"),
    "width": ("width", "empty_latent_width", "image_width"),
    "height": ("height", "empty_latent_height", "image_height"),
    "count": ("batch_size",),
    "strength": ("denoise", "denoise_strength"),
}
"""The names of inputs that hold a setting."""
DISPLAY_CLASS = re.compile(r"(?i)show|display|preview|debug|console|text viewer|log")
"""Nodes whose own text is what they displayed last; what they pass on comes through a link."""
_NUMBERS = frozenset(("seed", "steps", "cfg", "guidance", "width", "height", "count", "strength"))
_VALUE_INPUTS = ("value", "int", "float", "number", "string", "text")
"""The input of a node that only holds a value, in lower case."""
_LATENT_INPUT = re.compile(r"(?i)(.*_)?(latents?|latent_image|samples)")
_BUNDLE_INPUT = re.compile(
    r"(?i)(.*_)?(pipe|ctx|context|tuple|bundle|settings|config|data|info|params|plan|state)(_?\d+)?"
)
_BRANCH_INPUTS = (("on_true", "on_false"), ("tt_value", "ff_value"))
_CONDITION_INPUTS = ("switch", "boolean", "condition", "cond", "value")
_SELECTOR_INPUTS = ("select", "index", "Input", "input", "selected", "choice")
_SWITCH_CLASS = re.compile(r"(?i)switch|select")
_NUMBERED_INPUT = re.compile(r".*?(\d{1,9})")
_SIZE_INPUT = re.compile(r"(?i)size|aspect|ratio|resolution|preset|dimension")
_SIZE_TEXT = re.compile(r"(?<!\d)(\d{3,5}) ?[x×] ?(\d{3,5})(?!\d)")


@dataclass(frozen=True, slots=True, order=True)
class InputPlace:
    """One input of one node."""

    node: str
    input: str


class FedInput(NamedTuple):
    """A linked input: its name, the node that feeds it, and which of its outputs."""

    name: str
    node: str
    slot: int


class Dataflow:
    """A graph, and what a node catalog says of its classes if there is one."""

    def __init__(self, graph: Graph, catalog: Mapping[str, NodeSpec] | None = None) -> None:
        self.graph = graph
        self.catalog = {} if catalog is None else catalog
        self._inputs = {
            node_id: {n: v for n, v in inputs_of(node).items() if len(n) <= _MAX_INPUT_NAME}
            for node_id, node in graph.items()
        }
        chosen = ((node_id, self._choose_branch(node_id)) for node_id in graph)
        self._passed_inputs = {node_id: name for node_id, name in chosen if name is not None}
        self._fed_inputs = {
            node_id: [
                FedInput(name, *link)
                for name, value in inputs.items()
                if self.passed_input(node_id) in (None, name) and (link := parse_link(value))
                if link.node in graph
            ]
            for node_id, inputs in self._inputs.items()
        }

    def inputs(self, node_id: str) -> Mapping[str, object]:
        """The inputs of a node."""
        return self._inputs.get(node_id, {})

    def class_of(self, node_id: str) -> str:
        """The class of a node."""
        return class_of(self.graph.get(node_id))

    def title(self, node_id: str) -> str:
        """The title that somebody gave a node, or ""."""
        return title_of(self.graph.get(node_id))

    def spec(self, place: InputPlace) -> InputSpec | None:
        """What the catalog says of an input."""
        node = self.catalog.get(self.class_of(place.node))
        return node.inputs.get(place.input) if node is not None else None

    def literal(self, place: InputPlace) -> object:
        """The value at a place."""
        return self.inputs(place.node).get(place.input)

    def input_type(self, node_id: str, name: str) -> str:
        """The type of an input, from the catalog or else from its name; "" if unknown."""
        spec = self.spec(InputPlace(node_id, name))
        if spec is not None:
            return "" if spec.type == "*" else spec.type
        return INPUT_TYPES.get(name, "LATENT" if _LATENT_INPUT.fullmatch(name) else "")

    def output_name(self, node_id: str, slot: int) -> str:
        """What the catalog calls an output, or ""."""
        spec = self.catalog.get(self.class_of(node_id))
        names = spec.output_names if spec is not None else ()
        return names[slot] if 0 <= slot < len(names) else ""

    def output_nodes(self) -> list[str]:
        """The output nodes, as the catalog says or else as their classes suggest."""
        return [
            node_id
            for node_id, node in self.graph.items()
            if ((spec := self.catalog.get(class_of(node))) and spec.is_output)
            or (spec is None and is_output_node(node))
        ]

    # -- Links -------------------------------------------------------------------------------------

    def fed_inputs(self, node_id: str) -> list[FedInput]:
        """The linked inputs of a node; of a switch, only the one that it passes on."""
        return self._fed_inputs.get(node_id, [])

    def fed_by_type(self, node_id: str, types: Collection[str]) -> list[FedInput]:
        """The linked inputs of these types, and that of a node that only passes something on."""
        fed = self.fed_inputs(node_id)
        if self.passed_input(node_id) is not None:
            return fed
        if len(fed) == 1 and not self.input_type(node_id, fed[0].name):
            return fed
        return [one for one in fed if self.input_type(node_id, one.name) in types]

    def bundles(self, node_id: str) -> list[FedInput]:
        """The linked inputs that carry several things at once: a pipe, a context."""
        return [one for one in self.fed_inputs(node_id) if _BUNDLE_INPUT.fullmatch(one.name)]

    def passed_input(self, node_id: str) -> str | None:
        """The input that a switch passes on, "" for none of them; None if it is not a switch."""
        return self._passed_inputs.get(node_id)

    def find_literal(self, node_id: str, name: str, role: str = "") -> InputPlace | None:
        """The place of the literal that an input gets: there, or as far upstream as links lead.

        `role` is the setting that it is. In a node that holds several values, the one of that name
        is meant; upstream, only a value of the setting's type counts.
        """
        wanted = tuple(dict.fromkeys((name, *SETTING_INPUTS.get(role, ()))))
        start = node_id
        for _ in range(_MAX_HOPS):
            value = self.inputs(node_id).get(name)
            link = parse_link(value)
            if link is None:
                fits = node_id == start or fits_setting(value, role)
                is_present = name in self.inputs(node_id)
                return InputPlace(node_id, name) if fits and is_present else None
            upstream = self._input_behind(link, wanted)
            if upstream is None:
                return None
            node_id, name = link.node, upstream
        return None

    def walk(self, starts: Iterable[str], next_nodes: Callable[[str], Iterable[str]]) -> list[str]:
        """The starts and the nodes that follow, nearest first."""
        seen: dict[str, None] = {}
        waiting = deque(starts)
        while waiting and len(seen) < MAX_WALK:
            node_id = waiting.popleft()
            if node_id not in seen:
                seen[node_id] = None
                waiting.extend(next_nodes(node_id))
        return list(seen)

    def ancestors(self, node_ids: Iterable[str]) -> set[str]:
        """These nodes and all that they depend on, without what a switch leaves out."""
        seen: set[str] = set()
        waiting = [node_id for node_id in node_ids if node_id in self.graph]
        while waiting:
            node_id = waiting.pop()
            if node_id not in seen:
                seen.add(node_id)
                waiting += [one.node for one in self.fed_inputs(node_id)]
        return seen

    @cached_property
    def in_order(self) -> list[str]:
        """All nodes, each after those that it depends on, as far as there is no cycle."""
        done: dict[str, None] = {}
        waiting = [(node_id, False) for node_id in reversed(list(self.graph))]
        opened: set[str] = set()
        while waiting:
            node_id, is_last = waiting.pop()
            if is_last:
                done.setdefault(node_id)
            elif node_id not in opened:
                opened.add(node_id)
                waiting.append((node_id, True))
                waiting += [(one.node, False) for one in reversed(self.fed_inputs(node_id))]
        return list(done)

    @cached_property
    def uses(self) -> dict[str, set[tuple[str, int]]]:
        """For each node, the names of the inputs that it feeds, and from which output."""
        uses: dict[str, set[tuple[str, int]]] = {node_id: set() for node_id in self.graph}
        for node_id in self.graph:
            for one in self.fed_inputs(node_id):
                uses[one.node].add((one.name, one.slot))
        return uses

    # -- Special nodes -----------------------------------------------------------------------------

    def preset_size(self, node_id: str) -> tuple[int, int] | None:
        """The size that a node is set to by a choice such as "1344x768 (16:9)"."""
        inputs = self.inputs(node_id)
        for name, value in inputs.items():
            if not isinstance(value, str) or len(value) > _MAX_SIZE_TEXT:
                continue
            match = _SIZE_TEXT.search(value) if _SIZE_INPUT.search(name) else None
            if match is not None and "custom" not in value.lower():
                width, height = int(match[1]), int(match[2])
                is_swapped = inputs.get("swap_dimensions") == "On"
                return (height, width) if is_swapped else (width, height)
        return None

    def _choose_branch(self, node_id: str) -> str | None:
        inputs = self.inputs(node_id)
        for when_true, when_false in _BRANCH_INPUTS:
            flags = [self._switch_setting(node_id, n) for n in _CONDITION_INPUTS if n in inputs]
            flag = next((flag for flag in flags if isinstance(flag, bool)), None)
            if flag is not None and {when_true, when_false} & set(inputs):
                return when_true if flag else when_false
        if not _SWITCH_CLASS.search(self.class_of(node_id)):
            return None
        matches = ((name, _NUMBERED_INPUT.fullmatch(name)) for name in inputs)
        numbers = {name: int(match[1]) for name, match in matches if match}
        if not numbers:
            return None
        selected = [self._switch_setting(node_id, n) for n in _SELECTOR_INPUTS if n in inputs]
        number = next((one for one in selected if type(one) is int), None)
        if number is None:
            return next((name for name in numbers if is_link(inputs[name])), None)
        return next((name for name, own in numbers.items() if own == number), "")

    def _switch_setting(self, node_id: str, name: str) -> object:
        """A switch's own setting: a literal, there or in a node that only holds it."""
        for _ in range(_MAX_HOPS):
            value = self.inputs(node_id).get(name)
            link = parse_link(value)
            if link is None:
                return value
            node_id = link.node
            inputs = self.inputs(node_id)
            if len(inputs) != 1:
                return inputs.get("value")
            name = next(iter(inputs))
        return None

    def _input_behind(self, link: Link, wanted: Collection[str]) -> str | None:
        """The input whose value an output passes on; None if the node does more than that."""
        node_id = link.node
        passed = self.passed_input(node_id)
        if passed is not None:
            return passed
        inputs = self.inputs(node_id)
        if {"width", "height"} & set(wanted) and self.preset_size(node_id) is not None:
            return None
        output_name = self.output_name(node_id, link.slot).lower()
        for name in (*(name for name in inputs if name.lower() == output_name), *wanted):
            if name in inputs:
                return name
        linked = [name for name, value in inputs.items() if is_link(value)]
        if DISPLAY_CLASS.search(self.class_of(node_id)):
            return linked[0] if len(linked) == 1 else None
        own = [name for name in inputs if name.lower() in _VALUE_INPUTS]
        if len(own) == 1 and (not linked or linked == own):
            return own[0]
        bundles = [name for name in linked if _BUNDLE_INPUT.fullmatch(name)]
        only = list(inputs) if len(inputs) == 1 else bundles
        return only[0] if len(only) == 1 else None


def fits_setting(value: object, role: str) -> bool:
    """Whether a value may be this setting; a token may be any."""
    if role in _NUMBERS and token_name(value) is None:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if role in ("sampler", "scheduler"):
        return isinstance(value, str)
    return True
