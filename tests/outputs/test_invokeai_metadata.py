"""The metadata of InvokeAI."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from support.other_tools_images import INVOKEAI, png

from imagen.outputs import ImageRecord, read_record
from imagen.outputs.metadata.invokeai import parse_metadata

if TYPE_CHECKING:
    from pathlib import Path

_INK = {"loras": [{"name": "ink", "strength": 1.0}]}


def test_invokeai_metadata_is_read(tmp_path: Path) -> None:
    found = read_record(png(tmp_path / "x.png", invokeai_metadata=json.dumps(INVOKEAI)))
    assert found == ImageRecord(
        source="invokeai",
        resolved={
            "prompt": "a castle",
            "negative": "blurry",
            "width": 1024,
            "height": 768,
            "seed": 42,
            "cfg": 7.0,
            "steps": 30,
            "sampler": "dpmpp_2m_k",
            "loras": [{"name": "ink", "strength": 0.6}],
        },
        facts={
            "generation_mode": "sdxl_txt2img",
            "rand_device": "cpu",
            "app_version": "5.0.0",
            "model": "sd_xl_base",
        },
    )


@pytest.mark.parametrize(
    ("said", "values", "others"),
    [
        ({"steps": "many"}, {}, {"steps": "many"}),
        ({"seed": True}, {}, {"seed": True}),
        ({"cfg_scale": float("inf")}, {}, {"cfg_scale": float("inf")}),
        ({"model": {"model_name": "old"}}, {}, {"model": "old"}),
        ({"model": "odd", "loras": ["odd", {"lora": {"model_name": "ink"}}]}, _INK, {}),
        ({"scheduler": "euler", "positive_prompt": ""}, {"sampler": "euler"}, {}),
    ],
)
def test_invokeai_metadata_of_another_shape_is_kept_as_other_values(
    said: dict[str, Any], values: dict[str, Any], others: dict[str, Any]
) -> None:
    assert parse_metadata(said) == (values, others)
