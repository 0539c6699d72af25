"""Small images and capabilities for the tests of the inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from imagen.core.capabilities import Capabilities, Parameter
from imagen.core.request import TASKS, Request
from imagen.inputs import PreparedInputs, prepare_inputs

CACHE_FOLDER = Path("cache")


def make_side(**values: Any) -> Parameter:
    return Parameter(type="int", **{"multiple_of": 8, "max": 4096, "default": 512, **values})


def make_capabilities(**parameters: Parameter) -> Capabilities:
    """Capabilities for all tasks, with size, controls and these parameters."""
    own = {"width": make_side(), "height": make_side(), "controls": Parameter(), **parameters}
    return Capabilities(tasks=TASKS, parameters=own, controls=("canny", "depth"))


def write_image(
    name: str,
    size: tuple[int, int] = (64, 48),
    colour: Any = "teal",
    mode: str = "RGB",
    **options: Any,
) -> str:
    """Write a plain image into the working directory."""
    Image.new(mode, size, colour).save(name, **options)
    return name


def write_half_white_mask(name: str, size: tuple[int, int] = (64, 48)) -> str:
    """A mask whose left half is white."""
    mask = Image.new("L", size)
    mask.paste(255, (0, 0, size[0] // 2, size[1]))
    mask.save(name)
    return name


def prepare_request(capabilities: Capabilities | None = None, **asked: Any) -> PreparedInputs:
    return prepare_inputs(Request.of(asked), capabilities or make_capabilities(), CACHE_FOLDER)


def load_image(path: str | None) -> Image.Image:
    assert path is not None
    with Image.open(path) as image:
        image.load()
        return image
