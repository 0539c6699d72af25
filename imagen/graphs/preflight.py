"""A bound graph held against a server's catalogue: all that would go wrong, before it is sent."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from imagen.core.text import did_you_mean, one_line
from imagen.graphs.catalogue import read_catalogue
from imagen.graphs.manifest import Manifest
from imagen.graphs.own_nodes import own_remedy
from imagen.graphs.structure import Fault, ancestors, at, saves, structural_faults
from imagen.graphs.tokens import inputs_of, is_link, token_name
from imagen.graphs.values import wrong_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imagen.graphs.catalogue import InputSpec, NodeSpec

_ANY = ("", "*", "COMBO")
_FREE = "COMFY_"  # types whose rules only the editor knows: COMFY_DYNAMICCOMBO_V3, …
_INSTALL = "Install the custom nodes that bring it (ComfyUI-Manager: Install Missing Custom Nodes)."


def check(
    graph: Mapping[str, Any],
    object_info: Mapping[str, Any],
    *,
    manifest: Manifest | None = None,
    version: str | None = None,
) -> list[Fault]:
    """Everything wrong with a bound graph on a server of this `/object_info` and ComfyUI version.

    An input that is still a token is not checked, nor is what no output node is made from: the
    server does not look there either. `localise` the graph too before it is sent: a model file
    that is there under another spelling is no fault.
    """
    server = _Server(read_catalogue(object_info), manifest or Manifest(), version)
    outputs = [i for i, node in graph.items() if server.gives_away(node)]
    faults = [*server.age(), *structural_faults(graph, server.manifest.output or outputs)]
    for node_id in graph:
        faults += server.class_faults(graph, node_id)
    used = ancestors(graph, outputs)
    for node_id in filter(used.__contains__, graph):
        faults += server.input_faults(graph, node_id)
    return faults


@dataclass(frozen=True)
class _Server:
    catalogue: Mapping[str, NodeSpec]
    manifest: Manifest
    version: str | None

    @cached_property
    def linked(self) -> set[str]:
        """The types that come over links only: what some node gives, and no one can write."""
        given = {kind for spec in self.catalogue.values() for kind in spec.outputs}
        return given - {*_ANY, "INT", "FLOAT", "BOOLEAN", "STRING"}

    def age(self) -> list[Fault]:
        """The fault of a server that is too old for the workflow."""
        what = self.manifest.too_old(self.version)
        return [Fault(what=what, remedy="Update ComfyUI.")] if what else []

    def spec(self, node: Any) -> NodeSpec | None:
        kind = node.get("class_type") if isinstance(node, dict) else None
        return self.catalogue.get(kind) if isinstance(kind, str) else None

    def gives_away(self, node: Any) -> bool:
        spec = self.spec(node)
        return spec.is_output if spec is not None else saves(node)

    def class_faults(self, graph: Mapping[str, Any], node_id: str) -> Iterator[Fault]:
        node = graph[node_id]
        kind = node.get("class_type") if isinstance(node, dict) else None
        if isinstance(kind, str) and kind and kind not in self.catalogue:
            what = f"the server has no node {one_line(kind)!r}."
            if self.manifest.too_old(self.version):
                update = f"Update ComfyUI to {self.manifest.comfyui} or later."
                yield at(graph, node_id, "", what, update)
            else:
                yield at(graph, node_id, "", *self._missing(kind, what))

    def _missing(self, kind: str, what: str) -> tuple[str, str]:
        pack = self.manifest.pack_of(kind)
        if pack is None:
            own = own_remedy([kind])
            return (what, own) if own else (what + did_you_mean(kind, self.catalogue), _INSTALL)
        return what, pack.remedy

    def input_faults(self, graph: Mapping[str, Any], node_id: str) -> Iterator[Fault]:
        spec = self.spec(graph[node_id])
        inputs = inputs_of(graph[node_id])
        for name, wanted in spec.inputs.items() if spec else ():
            if name in inputs:
                wrong = self._wrong(graph, inputs[name], name, wanted)
                if wrong is not None:
                    yield at(graph, node_id, name, *wrong)
            elif wanted.required and not wanted.type.startswith(_FREE):
                yield at(graph, node_id, name, "is required and missing.")

    def _wrong(
        self, graph: Mapping[str, Any], value: Any, name: str, wanted: InputSpec
    ) -> tuple[str, str] | None:
        if token_name(value) is not None or wanted.type.startswith(_FREE):
            return None
        if is_link(value):
            return self._wrong_link(graph, value, wanted)
        if isinstance(value, list):
            return None  # already a fault of the graph itself
        if wanted.type in self.linked:
            return f"must be a link to a node that gives {wanted.type}, not a value.", ""
        return wrong_value(_unwrapped(value), name, wanted, self.manifest)

    def _wrong_link(
        self, graph: Mapping[str, Any], link: list[Any], wanted: InputSpec
    ) -> tuple[str, str] | None:
        source, slot = link
        spec = self.spec(graph.get(source))
        if spec is None or slot < 0 or slot % 1:
            return None  # already a fault of the source, or of the graph itself
        if slot >= len(spec.outputs):
            last = f"its last is {len(spec.outputs) - 1}" if spec.outputs else "it has none"
            return f"links to output {slot} of node {one_line(source)}; {last}.", ""
        given = spec.outputs[int(slot)]
        if _fits(given, wanted.type):
            return None
        return (
            f"takes {one_line(wanted.type)}, but output {slot} of node {one_line(source)} "
            f"gives {one_line(given)}."
        ), ""


def _fits(given: str, wanted: str) -> bool:
    """As the server has it: types may be lists, and one in common is enough."""
    if given in _ANY or wanted in _ANY or given.startswith(_FREE):
        return True
    left, right = ({kind.strip() for kind in side.split(",")} for side in (given, wanted))
    return bool(left & right) or "*" in left | right


def _unwrapped(value: Any) -> Any:
    return value["__value__"] if isinstance(value, dict) and "__value__" in value else value
