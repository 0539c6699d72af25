"""A graph looked through: which input is of which kind, what feeds it, and where values stand."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from imagen.graphs.importing.declared import Declared, declared
from imagen.graphs.structure import saves
from imagen.graphs.tokens import inputs_of, is_link

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

_KINDS: Mapping[str, str] = {
    "positive": "CONDITIONING",
    "negative": "CONDITIONING",
    "conditioning": "CONDITIONING",
    "conditioning_1": "CONDITIONING",
    "conditioning_2": "CONDITIONING",
    "conditioning_to": "CONDITIONING",
    "conditioning_from": "CONDITIONING",
    "cond1": "CONDITIONING",
    "cond2": "CONDITIONING",
    "latent_image": "LATENT",
    "samples": "LATENT",
    "samples_to": "LATENT",
    "latent": "LATENT",
    "pixels": "IMAGE",
    "image": "IMAGE",
    "images": "IMAGE",
    "mask": "MASK",
    "noise": "NOISE",
    "guider": "GUIDER",
    "sampler": "SAMPLER",
    "sigmas": "SIGMAS",
    "control_net": "CONTROL_NET",
}
"""What an input of this name takes where no catalogue tells."""
_SOURCES = ("value", "seed", "noise_seed", "string", "text", "int", "float", "number")
_FARTHEST = 16


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """One input of one node, which holds a literal."""

    node: str
    input: str


@dataclass(frozen=True)
class Reading:
    """A graph, and what a catalogue says of its classes, as far as there is one."""

    graph: Mapping[str, Any]
    object_info: Mapping[str, Any]

    def inputs(self, node_id: str) -> Mapping[str, Any]:
        """A node's inputs; none for what is no node."""
        return inputs_of(self.graph.get(node_id))

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
        return known.type if known is not None else _KINDS.get(name, "")

    def fed(self, node_id: str, kinds: Collection[str]) -> Iterator[tuple[str, str, int]]:
        """Of the linked inputs of these kinds: the name, the node behind it, and its output."""
        for name, value in self.inputs(node_id).items():
            if is_link(value) and value[0] in self.graph and self.kind(node_id, name) in kinds:
                yield name, value[0], int(value[1])

    def place(self, node_id: str, name: str) -> Place | None:
        """Where the literal stands that an input gets: there, or in a node that is but a value."""
        for _ in range(_FARTHEST):
            inputs = self.inputs(node_id)
            if name not in inputs:
                return None
            if not is_link(inputs[name]):
                return Place(node_id, name)
            node_id = inputs[name][0]
            within = self._value_inputs(node_id)
            if len(within) != 1:
                return None
            name = within[0]
        return None

    def literal(self, place: Place) -> Any:
        """What stands there."""
        return self.inputs(place.node).get(place.input)

    def outputs(self) -> list[str]:
        """The nodes that give something away."""
        return [key for key in self.graph if self._gives_away(key)]

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
                links = [v[0] for v in self.inputs(key).values() if is_link(v)]
                waiting += [(source, False) for source in reversed(links) if source in self.graph]
        return list(done)

    @cached_property
    def _declared(self) -> dict[str, dict[str, Declared]]:
        kinds = {self.kind_of_node(key) for key in self.graph}
        known = {kind: self.object_info.get(kind) for kind in kinds}
        return {
            kind: {one.name: one for one in declared(said)}
            for kind, said in known.items()
            if isinstance(said, dict)
        }

    def _value_inputs(self, node_id: str) -> list[str]:
        """The one input of a node that only holds a value; several where it does more."""
        inputs = self.inputs(node_id)
        own = [name for name in inputs if name in _SOURCES]
        return own if len(inputs) == len(own) or len(inputs) == 1 else [*own, *inputs]

    def _gives_away(self, node_id: str) -> bool:
        said = self.object_info.get(self.kind_of_node(node_id))
        if isinstance(said, dict):
            return said.get("output_node") is True
        return saves(self.graph[node_id])
