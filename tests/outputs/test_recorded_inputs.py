"""Input images in a record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.output_samples import NOW, comfy_png, sample_result, sample_settings, sample_ticket

from imagen.core.request import Request
from imagen.core.result import Output
from imagen.core.ticket import InputImage
from imagen.outputs import read_record, save_outputs

_HOME = "/home/ann/photos"
_ASKED = Request.of(
    {
        "image": f"{_HOME}/fox.png",
        "mask": f"{_HOME}/mask.png",
        "references": (f"{_HOME}/den.png",),
        "controls": ({"kind": "canny", "image": f"{_HOME}/edges.png"},),
        "extra": {
            "style_image": "relative/style.png",
            "note": "a/b",
            "moods": [f"{_HOME}/calm.png", "b"],
        },
    }
)
_FOX = InputImage(parameter="image", name="fox.png", sha256="ab" * 32, width=64, height=48)
_STYLE = InputImage(parameter="style_image", name="style.png", sha256="cd" * 32, width=8, height=8)


def _saved(**options: Any) -> Path:
    staged = _ASKED.with_values({"image": "/state/inputs/ab/fox.png"})
    (saved,) = save_outputs(
        sample_result(Output(data=comfy_png(), media_type="image/png")),
        sample_ticket(staged, inputs=(_FOX, _STYLE)),
        sample_settings(Path("outputs"), **options),
        asked=_ASKED,
        now=NOW,
        rescue=Path("rescued"),
    )
    return saved.path


@pytest.mark.parametrize(
    "options", [{}, {"sidecar": False}], ids=["in the sidecar", "in the image"]
)
def test_the_record_has_name_hash_and_size_of_each_input(options: dict[str, Any]) -> None:
    path = _saved(**options)
    there = path.with_name(f"{path.name}.json") if not options else path
    assert read_record(there).inputs == (
        {"parameter": "image", "name": "fox.png", "sha256": "ab" * 32, "width": 64, "height": 48},
        {
            "parameter": "style_image",
            "name": "style.png",
            "sha256": "cd" * 32,
            "width": 8,
            "height": 8,
        },
    )


def test_the_record_has_only_the_names_of_files() -> None:
    record = read_record(_saved())
    assert record.request == {
        "image": "fox.png",
        "mask": "mask.png",
        "references": ["den.png"],
        "controls": [
            {
                "kind": "canny",
                "image": "edges.png",
                "strength": 1.0,
                "start": 0.0,
                "end": 1.0,
                "preprocess": False,
            }
        ],
        "extra": {"style_image": "style.png", "note": "a/b", "moods": ["calm.png", "b"]},
    }
    assert record.resolved["image"] == "fox.png"


def test_a_record_can_be_read_as_a_request() -> None:
    assert Request.of(read_record(_saved()).request).references == ("den.png",)


@pytest.mark.parametrize(
    ("inputs", "seen"),
    [({}, ()), ("fox.png", ()), ([1, {"name": "a"}], ({}, {"name": "a"}))],
    ids=["a mapping", "a text", "odd entries"],
)
def test_odd_inputs_in_a_record_are_ignored(inputs: Any, seen: tuple[Any, ...]) -> None:
    Path("a.json").write_text(json.dumps({"imagen": 1, "inputs": inputs}))
    assert read_record(Path("a.json")).inputs == seen
