"""Changes to a bound graph that no token can make: each takes a graph and gives another."""

from __future__ import annotations

from imagen.graphs.edits.controls import Net, place_of_controls, with_controls
from imagen.graphs.edits.literals import address_of, with_literal
from imagen.graphs.edits.loras import place_of_loras, with_loras
from imagen.graphs.edits.models import MODEL_INPUTS, ModelPlace, place_of_model, with_model
from imagen.graphs.edits.outpainting import with_padding
from imagen.graphs.edits.references import with_references

__all__ = [
    "MODEL_INPUTS",
    "ModelPlace",
    "Net",
    "address_of",
    "place_of_controls",
    "place_of_loras",
    "place_of_model",
    "with_controls",
    "with_literal",
    "with_loras",
    "with_model",
    "with_padding",
    "with_references",
]
