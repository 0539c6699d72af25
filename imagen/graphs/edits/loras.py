"""LoRAs put on the model of a graph: a chain of loaders right behind the model's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from imagen.errors import WorkflowError
from imagen.graphs.edits.links import Link, beginning, free_ids, links_named, new_node, repointed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from imagen.core.request import Lora


class LoraPlace(NamedTuple):
    """Where the model comes from, and its text encoder where there is one."""

    model: Link
    clip: Link | None


def place_of_loras(graph: Mapping[str, Any]) -> LoraPlace:
    """The outputs of the loaders behind which LoRAs belong.

    Raises WorkflowError for a graph that loads no model, or several.
    """
    models = _beginnings(graph, "model")
    if not models:
        raise WorkflowError("this workflow has no model that a LoRA could be put on")
    if len(models) > 1:
        raise WorkflowError("this workflow has several models, and a LoRA belongs to one")
    clips = _beginnings(graph, "clip")
    return LoraPlace(models[0], clips[0] if len(clips) == 1 else None)


def with_loras(graph: Mapping[str, Any], loras: Sequence[Lora]) -> dict[str, Any]:
    """A copy with these LoRAs on its model and its text encoder, in order.

    They come before whatever else patches the model: ModelSampling…, a LoRA of its own. Each file
    is named as in the request.
    """
    if not loras:
        return dict(graph)
    place, ids = place_of_loras(graph), free_ids(graph)
    added: dict[str, Any] = {}
    model, clip = place
    for lora in loras:
        node_id = next(ids)
        added[node_id] = _loader(lora, model, clip)
        model, clip = (node_id, 0), clip and (node_id, 1)
    moves = {place.model: model} | ({place.clip: clip} if place.clip and clip else {})
    return repointed(graph, moves) | added


def _loader(lora: Lora, model: Link, clip: Link | None) -> dict[str, Any]:
    title = f"LoRA {lora.name}"
    inputs = {"model": model, "lora_name": lora.name, "strength_model": lora.strength}
    if clip is None:
        return new_node("LoraLoaderModelOnly", title, **inputs)
    return new_node("LoraLoader", title, **inputs, clip=clip, strength_clip=lora.strength)


def _beginnings(graph: Mapping[str, Any], name: str) -> list[Link]:
    ends = links_named(graph, name).values()
    return list(dict.fromkeys(beginning(graph, link, name) for link in ends))
