"""Tiny models, written once per process, and backends that run them on the CPU."""

from __future__ import annotations

import gc
import tempfile
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image, ImageChops, ImageStat

from imagen.backends import validate_block
from imagen.backends.diffusers import adapter
from imagen.core.request import Request
from support import (
    fake_hub,  # noqa: F401 - before diffusers
    tiny_pipelines,
)

if TYPE_CHECKING:
    from imagen.backends import Backend
    from imagen.core.result import Progress, Result

FAMILIES = ("sd1", "sdxl", "sd3", "flux1", "flux2")
SIZE = (64, 48)
_FOLDER = tempfile.TemporaryDirectory(prefix="imagen-tiny-")
_HERE = Path(_FOLDER.name)
torch.set_num_threads(1)
gc.freeze()  # what was imported is never garbage: collecting takes a tenth of the time


@cache
def tiny_model(family: str) -> Path:
    """The folder of a tiny model of this family."""
    return tiny_pipelines.saved(family, _HERE / family)


@cache
def tiny_controlnet(family: str = "sd1") -> Path:
    """The folder of a ControlNet for the tiny model of this family."""
    return tiny_pipelines.saved_controlnet(
        family, tiny_model(family), _HERE / f"controlnet-{family}"
    )


@cache
def tiny_lora(family: str) -> Path:
    """The file of a LoRA for the tiny model of this family."""
    return tiny_pipelines.saved_lora(tiny_model(family), _HERE / f"lora-{family}.safetensors")


def open_tiny(tiny: str = "sd1", **block: Any) -> Backend:
    """A backend of a tiny model, unless the block names another."""
    whole = {"device": "cpu", "offline": True, **block}
    if "model" not in whole:
        whole["model"] = str(tiny_model(tiny))
    return adapter.open(validate_block("tiny", whole, adapter.config))


def generate(backend: Backend, told: list[Progress] | None = None, **asked: Any) -> Result:
    """The result of a small request."""
    width, height = SIZE
    usual = {"prompt": "a fox", "width": width, "height": height, "seed": 7, "steps": 3}
    ticket = backend.prepare(Request.of({**usual, **asked}))
    return backend.collect(ticket, (told if told is not None else []).append)


def open_image(result: Result, index: int = 0) -> Image.Image:
    """One of its images."""
    return Image.open(BytesIO(result.images[index].data))


def first_pixels(backend: Backend, **asked: Any) -> bytes:
    """The pixels of the first image of a small request."""
    return open_image(generate(backend, **asked)).tobytes()


def difference(one: Image.Image, other: Image.Image) -> float:
    """The mean difference of the pixels of two images: 0 to 255."""
    between = ImageChops.difference(one.convert("RGB"), other.convert("RGB"))
    return sum(ImageStat.Stat(between).mean) / 3


def greatest_difference(one: Image.Image, other: Image.Image) -> int:
    """The greatest difference of the pixels of two images: 0 to 255."""
    between = ImageChops.difference(one.convert("RGB"), other.convert("RGB"))
    return max(high for _, high in between.getextrema())  # type: ignore[misc]


def write_photo(folder: Path, name: str = "photo.png", *, turned: int = 0) -> Path:
    """Write an image with a gradient, rotated by so many degrees."""
    gradient = Image.linear_gradient("L").resize(SIZE).rotate(turned)
    Image.merge("RGB", (gradient, gradient.rotate(180), gradient)).save(folder / name)
    return folder / name


def write_half_mask(folder: Path) -> Path:
    """Write a mask of the right half."""
    mask = Image.new("L", SIZE, 0)
    mask.paste(255, (SIZE[0] // 2, 0, *SIZE))
    mask.save(folder / "mask.png")
    return folder / "mask.png"
