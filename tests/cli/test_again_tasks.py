"""imagen again reproduces every task, without drift if nothing changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from simulators.replicate import Replicate

from imagen.cli import run
from imagen.testing.comfyui import ComfyUI

_LINES = [
    "generate x --lora ink:0.5",
    "generate x --image fox.png --strength 0.5",
    "generate x --image fox.png --mask mask.png --feather 5",
    "outpaint fox.png x --all 16",
    "edit fox.png red",
    "upscale fox.png --factor 2",
]
_BY_MODELS = [*_LINES[1:4], "generate x"]


@pytest.fixture(autouse=True)
def _fox() -> None:
    """An image and its mask."""
    Image.radial_gradient("L").convert("RGB").resize((64, 48)).save("fox.png")
    mask = Image.new("L", (64, 48))
    mask.paste(255, (0, 0, 24, 24))
    mask.save("mask.png")


def _configured(**block: Any) -> None:
    text = json.dumps({"default_backend": "studio", "backends": {"studio": block}})
    Path("imagen.yaml").write_text(text)


def _again(capsys: pytest.CaptureFixture[str], line: str, *flags: str) -> tuple[Any, Any]:
    """The drift and the difference when an image is generated and then regenerated."""
    assert run([*line.split(), "--quiet", "-o", "a.png"]) == 0
    capsys.readouterr()
    assert run(["again", "a.png", "--quiet", "--json", *flags]) == 0
    output = json.loads(capsys.readouterr().out)
    return output["drift"], output["again"]["difference"]


@pytest.mark.parametrize(
    "line",
    [
        *_LINES,
        "generate x --variation-seed 3",
        "generate x --control canny:fox.png:0.5 --preprocess",
        "upscale fox.png --prompt x --strength 0.4",
        "restore fox.png",
        "preprocess depth fox.png",
    ],
)
def test_again_reproduces_every_task_of_the_mock(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _again(capsys, line) == ([], 0.0)


@pytest.mark.parametrize("line", _BY_MODELS)
@pytest.mark.parametrize("flags", [(), ("--graph",)], ids=["by its workflow", "by its own graph"])
def test_again_reproduces_every_task_of_comfyui(
    line: str, flags: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with ComfyUI() as server:
        _configured(type="comfyui", url=server.url, workflow="sdxl")
        assert _again(capsys, line, *flags) == ([], 0.0)


@pytest.mark.usefixtures("replicate_token")
def test_again_reproduces_every_task_of_replicate(capsys: pytest.CaptureFixture[str]) -> None:
    with Replicate() as cloud:
        model = "black-forest-labs/flux-schnell"
        _configured(type="replicate", base_url=cloud.url, model=model)
        assert _again(capsys, "generate x --size 512x512") == ([], 0.0)
