"""The note of a contact sheet."""

from __future__ import annotations

from typing import Any

import pytest

from imagen.comparison import Axis, Comparison
from imagen.comparison.sheet import describe_request
from imagen.core.request import Request


def _notes(axis: Axis | None = None, **values: Any) -> tuple[str, ...]:
    request = Request.of({"prompt": "a fox", "seed": 7, **values})
    return describe_request(
        Comparison(request=request, models=("a",), axes=(axis,) if axis else ())
    )


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({}, ("seed 7",)),
        ({"negative": "rain"}, ("negative: rain", "seed 7")),
        (
            {"image": "/photos/fox.png", "mask": r"C:\m.png", "strength": 0.5},
            ("image: fox.png", "mask: m.png", "strength 0.5", "seed 7"),
        ),
        (
            {"references": ["a/b.png"], "controls": [{"kind": "canny", "image": "e.png"}]},
            ("reference: b.png", "canny: e.png", "seed 7"),
        ),
        ({"loras": [{"name": "ink", "strength": 0.5}]}, ("LoRA: ink at 0.5", "seed 7")),
        ({"seed": None}, ()),
    ],
    ids=["nothing more", "a negative", "an image", "other images", "a LoRA", "no seed"],
)
def test_the_note_of_a_sheet_has_what_all_cells_share(
    values: dict[str, Any], told: tuple[str, ...]
) -> None:
    assert _notes(**values) == told


def test_the_note_of_a_sheet_omits_the_varied_parameter() -> None:
    axis = Axis(name="strength", values=(0.2, 0.8))
    assert _notes(axis, image="fox.png", strength=0.5) == ("image: fox.png", "seed 7")
