"""Add control images: a chain of ControlNets before the sampler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from imagen.errors import WorkflowError
from imagen.graphs.edits.links import (
    chain_start,
    free_ids,
    link_at,
    links_named,
    new_node,
    with_inputs,
)
from imagen.graphs.graph import Link

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imagen.graphs.graph import Graph, Node


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlNetUse:
    """One control image and the ControlNet that reads it."""

    kind: str
    file: str
    """The ControlNet's file, as the server lists it."""
    image: str
    """The image, as the server names it."""
    strength: float = 1.0
    start: float = 0.0
    end: float = 1.0
    """It applies from and to this share of the steps."""
    union: str = ""
    """The name of this kind in a ControlNet of several kinds."""
    patches_model: bool = False
    """Whether it changes the model itself, and so applies to all steps."""


class ControlPlace(NamedTuple):
    """The samplers, and their inputs that ControlNets change."""

    samplers: tuple[str, ...]
    model: Link
    positive: Link
    negative: Link | None
    """None if they take a single conditioning."""
    vae: Link | None


def place_of_controls(graph: Graph) -> ControlPlace:
    """The samplers, or the guiders of custom samplers, that control images apply to.

    Raises WorkflowError for a graph without any, or with several that have different inputs.
    """
    found: dict[str, tuple[Link, Link, Link | None]] = {}
    for node_id in graph:
        model, positive, negative, single = (
            link_at(graph, node_id, name)
            for name in ("model", "positive", "negative", "conditioning")
        )
        if model and positive and negative:
            found[node_id] = model, positive, negative
        elif model and single:
            found[node_id] = model, single, None
    if not found:
        raise WorkflowError("this workflow has no sampler that a control image could apply to")
    if len(set(found.values())) > 1:
        raise WorkflowError("this workflow has several samplers with different inputs")
    model, positive, negative = next(iter(found.values()))
    vae = next((chain_start(graph, at, "vae") for at in links_named(graph, "vae").values()), None)
    return ControlPlace(tuple(found), model, positive, negative, vae)


def with_controls(graph: Graph, controls: Sequence[ControlNetUse]) -> dict[str, Node]:
    """A copy whose sampler follows these control images, in order."""
    if not controls:
        return dict(graph)
    builder = _ControlBuilder(graph)
    for control in controls:
        builder.add(control)
    return builder.finish()


class _ControlBuilder:
    """A graph under construction, and the links that the next ControlNet changes."""

    def __init__(self, graph: Graph) -> None:
        self._graph = dict(graph)
        self._ids = free_ids(graph)
        self._place = place_of_controls(graph)
        self._loaders: dict[str, Link] = {}
        self._model, self._positive = self._place.model, self._place.positive
        self._negative = self._place.negative
        self._vae = {"vae": self._place.vae} if self._place.vae else {}

    def add(self, control: ControlNetUse) -> None:
        """Add one control image, applied to the model or to the conditioning."""
        title = f"Control {control.kind}"
        if control.patches_model:
            patch = self._load("ModelPatchLoader", name=control.file)
            self._model = self._add_node(
                "QwenImageDiffsynthControlnet",
                title,
                model=self._model,
                model_patch=patch,
                image=self._load_image(control),
                strength=control.strength,
                **self._vae,
            )
            return
        net = self._load("ControlNetLoader", control_net_name=control.file)
        if control.union:
            net = self._load("SetUnionControlNetType", control_net=net, type=control.union)
        applied = self._add_node(
            "ControlNetApplyAdvanced",
            title,
            positive=self._positive,
            negative=self._negative or self._positive,
            control_net=net,
            image=self._load_image(control),
            strength=control.strength,
            start_percent=control.start,
            end_percent=control.end,
            **self._vae,
        )
        self._positive = applied
        self._negative = self._negative and Link(applied.node, 1)

    def finish(self) -> dict[str, Node]:
        """The graph, with the samplers linked to the last ControlNet."""
        links = {"model": self._model}
        if self._negative is None:
            links["conditioning"] = self._positive
        else:
            links |= {"positive": self._positive, "negative": self._negative}
        graph = self._graph
        for sampler in self._place.samplers:
            inputs = {name: list(link) for name, link in links.items()}
            graph = with_inputs(graph, sampler, **inputs)
        return graph

    def _load(self, kind: str, **inputs: object) -> Link:
        """The output of a loader, which several control images share."""
        key = f"{kind} {inputs}"
        if key not in self._loaders:
            self._loaders[key] = self._add_node(kind, kind, **inputs)
        return self._loaders[key]

    def _load_image(self, control: ControlNetUse) -> Link:
        return self._add_node("LoadImage", f"Control image {control.kind}", image=control.image)

    def _add_node(self, kind: str, title: str, **inputs: object) -> Link:
        node_id = next(self._ids)
        self._graph[node_id] = new_node(kind, title, **inputs)
        return Link(node_id, 0)
