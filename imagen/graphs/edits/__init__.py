"""Changes to a bound graph that no token can make; each returns a changed copy."""

from imagen.graphs.edits.controls import ControlNetUse, place_of_controls, with_controls
from imagen.graphs.edits.images import with_padding, with_references
from imagen.graphs.edits.links import (
    MODEL_INPUTS,
    ModelPlace,
    place_of_model,
    resolve_address,
    with_model,
    with_value,
)
from imagen.graphs.edits.loras import place_of_loras, with_loras

__all__ = [
    "MODEL_INPUTS",
    "ControlNetUse",
    "ModelPlace",
    "place_of_controls",
    "place_of_loras",
    "place_of_model",
    "resolve_address",
    "with_controls",
    "with_loras",
    "with_model",
    "with_padding",
    "with_references",
    "with_value",
]
