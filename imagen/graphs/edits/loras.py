"""Apply LoRAs: a chain of loaders directly after the model's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from imagen.errors import WorkflowError
from imagen.graphs.edits.links import chain_start, free_ids, links_named, new_node, redirect_links
from imagen.graphs.graph import Link

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imagen.core.request import Lora
    from imagen.graphs.graph import Graph, Node


class LoraPlace(NamedTuple):
    """The outputs that LoRAs are applied to."""

    model: Link
    clip: Link | None


def place_of_loras(graph: Graph) -> LoraPlace:
    """The outputs of the loaders that LoRAs belong after.

    Raises WorkflowError for a graph that loads no model, or several.
    """
    models, clips = (
        list(
            dict.fromkeys(chain_start(graph, at, name) for at in links_named(graph, name).values())
        )
        for name in ("model", "clip")
    )
    if not models:
        raise WorkflowError("this workflow has no model that a LoRA could be applied to")
    if len(models) > 1:
        raise WorkflowError("this workflow has several models, and a LoRA belongs to one")
    return LoraPlace(models[0], clips[0] if len(clips) == 1 else None)


def with_loras(graph: Graph, loras: Sequence[Lora]) -> dict[str, Node]:
    """A copy with these LoRAs on its model and its text encoder, in order.

    They come before anything else that patches the model (ModelSampling…, the graph's own LoRAs).
    The files are named as in the request.
    """
    if not loras:
        return dict(graph)
    place, ids = place_of_loras(graph), free_ids(graph)
    added: dict[str, Node] = {}
    model, clip = place
    for lora in loras:
        node_id = next(ids)
        kind, title = "LoraLoaderModelOnly", f"LoRA {lora.name}"
        inputs = {"model": model, "lora_name": lora.name, "strength_model": lora.strength}
        if clip is not None:
            kind = "LoraLoader"
            inputs |= {"clip": clip, "strength_clip": lora.strength}
            clip = Link(node_id, 1)
        added[node_id] = new_node(kind, title, **inputs)
        model = Link(node_id, 0)
    moves = {place.model: model} | ({place.clip: clip} if place.clip and clip else {})
    return redirect_links(graph, moves) | added
