"""imagen upscale --method realesrgan: an installed model of that family."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from imagen.cli import run
from imagen.testing.comfyui import ComfyUI

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest


def _run(server: ComfyUI, method: str) -> int:
    Image.new("RGB", (32, 32), "teal").save("fox.png")
    backends = {"comfyui": {"url": server.url, "workflow": "sdxl"}}
    Path("imagen.yaml").write_text(json.dumps({"backends": backends}))
    command = ["upscale", "fox.png", "--method", method, "-b", "comfyui", "-q", "-o", "large.png"]
    return run(command)


def _server(upscalers: Sequence[str]) -> ComfyUI:
    return ComfyUI(models={"upscale_models": list(upscalers)})


def test_upscale_by_family_picks_a_model_of_the_server() -> None:
    with _server(["4x-UltraSharp.pth", "RealESRGAN_x2plus.pth", "RealESRGAN_x4plus.pth"]) as server:
        assert _run(server, "realesrgan") == 0
    sidecar: dict[str, Any] = json.loads(Path("large.png.json").read_text())
    loaders = [n for n in sidecar["graph"].values() if n["class_type"] == "UpscaleModelLoader"]
    assert [n["inputs"]["model_name"] for n in loaders] == ["RealESRGAN_x2plus.pth"]
    fate = sidecar["receipt"]["upscale"]
    assert (fate["outcome"], fate["used"]["method"]) == ("mapped", "RealESRGAN_x2plus.pth")
    assert sidecar["resolved"]["upscale"]["method"] == "RealESRGAN_x2plus.pth"


def test_upscale_by_family_names_a_server_without_one(capsys: pytest.CaptureFixture[str]) -> None:
    with _server(["SwinIR_4x.pth"]) as server:
        assert _run(server, "realesrgan") == 2
    assert "Model 'realesrgan' not found on http://127.0.0.1" in capsys.readouterr().err
