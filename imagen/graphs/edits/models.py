"""The model of a graph: where it is named, and another one put there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from imagen.errors import WorkflowError
from imagen.graphs.edits.links import used_nodes, with_inputs
from imagen.graphs.tokens import canonical, inputs_of, token_name, tokens_of

if TYPE_CHECKING:
    from collections.abc import Mapping

MODEL_INPUTS = ("unet_name", "ckpt_name")
"""The inputs by which loaders of ComfyUI, and of common custom nodes, name a diffusion model."""


class ModelPlace(NamedTuple):
    """Where a graph names its model."""

    inputs: tuple[tuple[str, str], ...]
    """Each node, and its input."""
    value: str
    """What the graph has there: a file, or a token."""

    @property
    def token(self) -> str:
        """The parameter that names the model; "" where the graph names it itself."""
        return canonical(token_name(self.value) or "")


def place_of_model(graph: Mapping[str, Any]) -> ModelPlace:
    """Where the graph names its model: by the token `model`, or in its only loader.

    Raises WorkflowError for a graph that loads no model by name, or several.
    """
    found = [
        (node, name, value)
        for node, name, _ in tokens_of(graph)
        if token_name(value := inputs_of(graph[node])[name]) == "model"
    ] or [
        (node, name, value)
        for node in used_nodes(graph)
        for name, value in inputs_of(graph[node]).items()
        if name in MODEL_INPUTS and isinstance(value, str)
    ]
    values = dict.fromkeys(value for _, _, value in found)
    if not values:
        raise WorkflowError("this workflow loads no checkpoint by name")
    if len(values) > 1:
        node, name, _ = found[0]
        raise WorkflowError(
            f"this workflow loads several models; name one by its node: --set {node}.{name}=NAME"
        )
    return ModelPlace(tuple((node, name) for node, name, _ in found), next(iter(values)))


def with_model(graph: Mapping[str, Any], place: ModelPlace, model: str) -> dict[str, Any]:
    """A copy of the graph that names this model there."""
    changed = dict(graph)
    for node, name in place.inputs:
        changed = with_inputs(changed, node, **{name: model})
    return changed
