"""Control pictures put before the sampler of a graph, one behind the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from imagen.errors import WorkflowError
from imagen.graphs.edits.links import (
    Link,
    beginning,
    free_ids,
    link_at,
    links_named,
    new_node,
    with_inputs,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Net:
    """One control picture and the net that reads it."""

    kind: str
    file: str
    """The net's file, as the server lists it."""
    image: str
    """The picture, as the server knows it."""
    strength: float = 1.0
    start: float = 0.0
    end: float = 1.0
    """From and to this share of the steps."""
    union: str = ""
    """What a net of several kinds calls this one."""
    patches_model: bool = False
    """Whether it changes the model itself: then it works at all steps."""


class ControlPlace(NamedTuple):
    """The samplers and what steers them."""

    samplers: tuple[str, ...]
    model: Link
    positive: Link
    negative: Link | None
    """None where they take one conditioning."""
    vae: Link | None


def place_of_controls(graph: Mapping[str, Any]) -> ControlPlace:
    """Where control pictures belong: before the samplers, or the guiders of custom samplers.

    Raises WorkflowError for a graph without any, or with several that are steered apart.
    """
    found = {node_id: steered for node_id in graph if (steered := _steered(graph, node_id))}
    if not found:
        raise WorkflowError("this workflow has no sampler that a control picture could steer")
    if len(set(found.values())) > 1:
        raise WorkflowError("this workflow has several samplers that are steered apart")
    model, positive, negative = next(iter(found.values()))
    return ControlPlace(tuple(found), model, positive, negative, _vae(graph))


def with_controls(graph: Mapping[str, Any], nets: Sequence[Net]) -> dict[str, Any]:
    """A copy whose sampler is steered by these control pictures, in order."""
    if not nets:
        return dict(graph)
    work = _Work(graph)
    for net in nets:
        work.patch(net) if net.patches_model else work.steer(net)
    return work.done()


class _Work:
    """One graph on the table: what it has so far, and where the next picture goes."""

    def __init__(self, graph: Mapping[str, Any]) -> None:
        self._graph = dict(graph)
        self._ids = free_ids(graph)
        self._place = place_of_controls(graph)
        self._loaders: dict[tuple[str, str, str], Link] = {}
        self._model, self._positive = self._place.model, self._place.positive
        self._negative = self._place.negative

    def steer(self, net: Net) -> None:
        """Put a control net between the prompts and the sampler."""
        applied = self._add(
            "ControlNetApplyAdvanced",
            f"Control {net.kind}",
            positive=self._positive,
            negative=self._negative or self._positive,
            control_net=self._net(net),
            image=self._picture(net),
            strength=net.strength,
            start_percent=net.start,
            end_percent=net.end,
            **self._vae(),
        )
        self._positive = applied
        self._negative = self._negative and (applied[0], 1)

    def patch(self, net: Net) -> None:
        """Put a net between the model and the sampler."""
        self._model = self._add(
            "QwenImageDiffsynthControlnet",
            f"Control {net.kind}",
            model=self._model,
            model_patch=self._loaded("ModelPatchLoader", name=net.file),
            image=self._picture(net),
            strength=net.strength,
            **self._vae(),
        )

    def done(self) -> dict[str, Any]:
        """The graph, its samplers steered by what was put before them."""
        graph = self._graph
        for sampler in self._place.samplers:
            graph = with_inputs(graph, sampler, **dict(self._steering()))
        return graph

    def _steering(self) -> Iterator[tuple[str, list[Any]]]:
        yield "model", list(self._model)
        if self._negative is None:
            yield "conditioning", list(self._positive)
        else:
            yield from (("positive", list(self._positive)), ("negative", list(self._negative)))

    def _net(self, net: Net) -> Link:
        loaded = self._loaded("ControlNetLoader", control_net_name=net.file)
        if not net.union:
            return loaded
        return self._loaded("SetUnionControlNetType", net.union, control_net=loaded, type=net.union)

    def _loaded(self, kind: str, as_kind: str = "", **inputs: Any) -> Link:
        """The output of such a node, which several pictures share."""
        key = (kind, as_kind, str(inputs))
        if key not in self._loaders:
            self._loaders[key] = self._add(kind, kind, **inputs)
        return self._loaders[key]

    def _picture(self, net: Net) -> Link:
        return self._add("LoadImage", f"Control picture {net.kind}", image=net.image)

    def _vae(self) -> dict[str, Link]:
        return {"vae": self._place.vae} if self._place.vae else {}

    def _add(self, kind: str, title: str, **inputs: Any) -> Link:
        node_id = next(self._ids)
        self._graph[node_id] = new_node(kind, title, **inputs)
        return node_id, 0


def _steered(graph: Mapping[str, Any], node_id: str) -> tuple[Link, Link, Link | None] | None:
    """What a sampler is steered by; None for a node that is no sampler, or has no negative."""
    model = link_at(graph, node_id, "model")
    positive, negative = (link_at(graph, node_id, name) for name in ("positive", "negative"))
    if model and positive and negative:
        return model, positive, negative
    single = link_at(graph, node_id, "conditioning")
    return (model, single, None) if model and single else None


def _vae(graph: Mapping[str, Any]) -> Link | None:
    found = links_named(graph, "vae").values()
    return next((beginning(graph, link, "vae") for link in found), None)
