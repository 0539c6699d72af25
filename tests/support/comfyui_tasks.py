"""Image files, workflow files and backends for the tests of tasks."""

from __future__ import annotations

import json
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from imagen.backends import validate_block
from imagen.backends.comfyui import ComfyUIBackend, ComfyUIConfig
from support.comfyui_backends import SAMPLED, SHORT_WAITS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.core.result import Result

UNREACHABLE_URL = "http://127.0.0.1:9"


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    """A node of this class."""
    return {"class_type": kind, "inputs": inputs}


IMAGE_TO_IMAGE: dict[str, Any] = SAMPLED | {
    "10": node("LoadImage", image="$<image>"),
    "7": node("VAEEncode", pixels=["10", 0], vae=["1", 2]),
    "8": node("KSampler", **(SAMPLED["8"]["inputs"] | {"denoise": "$<strength>"})),
}
"""Image to image."""

INPAINT: dict[str, Any] = IMAGE_TO_IMAGE | {
    "11": node("LoadImageMask", image="$<mask>", channel="red"),
    "12": node("VAEEncode", pixels=["10", 0], vae=["1", 2]),
    "7": node("SetLatentNoiseMask", samples=["12", 0], mask=["11", 0]),
}
"""Inpainting."""


def write_image(name: str, colour: str = "teal", size: tuple[int, int] = (64, 48)) -> str:
    """Write an image of one colour into the working folder."""
    Image.new("RGB", size, colour).save(name)
    return name


def name_in_graph(path: str) -> str:
    """The name of an image in a graph before it is uploaded."""
    digest = sha256(Path(path).read_bytes()).hexdigest()
    return f"imagen/imagen-{digest[:32]}.png"


def write_workflow(
    name: str, graph: Mapping[str, Any], manifest: Mapping[str, Any] | None = None
) -> None:
    """Put a workflow into the folder `shelf`."""
    Path("shelf").mkdir(exist_ok=True)
    Path("shelf", f"{name}.json").write_text(json.dumps(graph), "utf-8")
    if manifest is not None:
        Path("shelf", f"{name}.yaml").write_text(json.dumps(manifest), "utf-8")


def open_workflow(url: str, workflow: str, **block: Any) -> ComfyUIBackend:
    """A backend for a workflow, which may be in the folder `shelf`."""
    known = {"url": url, "workflow": workflow, "workflow_dirs": ["shelf"], **SHORT_WAITS, **block}
    return ComfyUIBackend(validate_block("lab", known, ComfyUIConfig))


def only_image(result: Result) -> Image.Image:
    """The only image of a result."""
    (output,) = result.images
    with Image.open(BytesIO(output.data)) as found:
        return found.convert("RGB")
