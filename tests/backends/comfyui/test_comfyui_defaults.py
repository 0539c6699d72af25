"""Defaults do not override requested values."""

from __future__ import annotations

from support.comfyui_backends import MANIFEST, REQUEST, SAMPLED
from support.comfyui_tasks import UNREACHABLE_URL, node, open_workflow, write_image, write_workflow

from imagen.core.request import Upscale

ENLARGED = {
    "1": node("LoadImage", image="$<image>"),
    "2": node("Note", model="$<upscale_model>"),
    "9": node("SaveImage", images=["1", 0]),
}


def test_a_requested_upscaler_overrides_that_of_the_workflow() -> None:
    write_workflow("mine", SAMPLED, MANIFEST)
    write_workflow("upscale-model", ENLARGED)
    values = {"image": write_image("a.png"), "upscale": Upscale(method="x2.pth"), "prompt": ""}
    ticket = open_workflow(UNREACHABLE_URL, "mine").prepare(
        REQUEST.with_values(values | {"upscale_model": "x4.pth"})
    )
    assert ticket.payload["2"]["inputs"] == {"model": "x2.pth"}
    assert ticket.request.extra["upscale_model"] == "x2.pth"


def test_a_default_of_one_preprocessor_is_not_used_for_another() -> None:
    write_workflow("mine", SAMPLED, MANIFEST)
    backend = open_workflow(UNREACHABLE_URL, "mine")
    known = backend.capabilities("preprocess").parameters
    assert known["depth_model"].default is None
    assert known["filename_prefix"].default is None
    values = {"image": write_image("a.png"), "preprocess": "canny"}
    saved = backend.prepare(REQUEST.with_values(values)).payload["99"]["inputs"]
    assert saved["filename_prefix"] == "imagen/preprocess-canny"
