"""Operations change pixels as they say, and keep the texts of an image."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from imagen.errors import RequestError
from imagen.outputs.operations import OPERATIONS, apply_operation
from imagen.outputs.read import read_texts

if TYPE_CHECKING:
    from pathlib import Path

    from imagen.outputs.operations import OutputFormat

_SETTINGS = "a fox\nSteps: 4, Seed: 7"


def png(size: tuple[int, int] = (40, 20), colour: str = "red", mode: str = "RGB") -> bytes:
    """An image whose upper left pixel is blue, with the settings that made it."""
    image = Image.new(mode, size, colour)
    image.putpixel((0, 0), (0, 0, 255) if mode == "RGB" else (0, 0, 255, 255))
    info = PngInfo()
    info.add_text("parameters", _SETTINGS)
    buffer = BytesIO()
    image.save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def run(
    name: str,
    data: bytes | None = None,
    images: dict[str, bytes] | None = None,
    format: OutputFormat | None = None,
    **parameters: Any,
) -> Image.Image:
    """The decoded result."""
    operation = OPERATIONS[name].model_validate(parameters)
    result = apply_operation(operation, data or png(), images or {}, format=format)
    with Image.open(BytesIO(result.data)) as image:
        image.load()
        return image


@pytest.mark.parametrize(
    ("name", "parameters", "size"),
    [
        ("rotate", {"degrees": 90}, (20, 40)),
        ("rotate", {"degrees": -180}, (40, 20)),
        ("rotate", {"degrees": 45, "expand": False}, (40, 20)),
        ("rotate", {"degrees": 0}, (40, 20)),
        ("scale", {"factor": 2}, (80, 40)),
        ("scale", {"factor": 0.001}, (1, 1)),
        ("scale", {"width": 20}, (20, 10)),
        ("scale", {"height": 40, "method": "area"}, (80, 40)),
        ("scale", {"width": 7, "height": 9, "method": "nearest"}, (7, 9)),
        ("blur", {"radius": 3}, (40, 20)),
        ("sharpen", {}, (40, 20)),
        ("grayscale", {}, (40, 20)),
        ("convert", {}, (40, 20)),
    ],
)
def test_sizes(name: str, parameters: dict[str, Any], size: tuple[int, int]) -> None:
    image = run(name, **parameters)
    assert (image.size, image.format) == (size, "PNG")


def test_rotations_are_clockwise() -> None:
    assert run("rotate", degrees=90).getpixel((19, 0)) == (0, 0, 255)
    assert run("rotate", degrees=270).getpixel((0, 39)) == (0, 0, 255)
    slanted = run("rotate", degrees=45)
    assert slanted.mode == "RGBA"
    assert slanted.getpixel((0, 0)) == (0, 0, 0, 0)


def test_pixels_are_changed() -> None:
    assert run("grayscale").getpixel((9, 9)) == 76
    assert run("grayscale", png(colour="#ff000080", mode="RGBA")).mode == "RGBA"
    blurred = run("blur", radius=2).getpixel((1, 1))
    assert isinstance(blurred, tuple)
    assert blurred not in ((255, 0, 0), (0, 0, 255))


def test_an_image_is_put_over_another() -> None:
    images = {"overlay": png((10, 10), "green")}
    image = run("composite", overlay="x", images=images, x=30, y=-5, opacity=0.5)
    assert (image.mode, image.size) == ("RGB", (40, 20))
    assert image.getpixel((31, 1)) == (127, 64, 0)
    assert image.getpixel((31, 6)) == (255, 0, 0)
    masked = {**images, "mask": png((10, 10), "black")}
    assert run("composite", overlay="x", mask="m", images=masked).getpixel((5, 5)) == (255, 0, 0)
    with pytest.raises(RequestError, match="mask: it has 9x9 pixels, but the overlay has 10x10"):
        run("composite", overlay="x", mask="m", images={**images, "mask": png((9, 9))})


@pytest.mark.parametrize("format", ["png", "jpg", "webp"])
@pytest.mark.parametrize(
    ("name", "parameters"), [("rotate", {"degrees": 90}), ("convert", {}), ("blur", {})]
)
def test_texts_are_kept(
    name: str, parameters: dict[str, Any], format: OutputFormat, tmp_path: Path
) -> None:
    operation = OPERATIONS[name].model_validate(parameters)
    path = tmp_path / f"x.{format}"
    path.write_bytes(apply_operation(operation, png(), {}, format=format).data)
    assert read_texts(path, ("parameters",)) == {"parameters": _SETTINGS}


def test_a_conversion_can_remove_the_texts(tmp_path: Path) -> None:
    operation = OPERATIONS["convert"].model_validate({"keep_metadata": False})
    path = tmp_path / "x.png"
    path.write_bytes(apply_operation(operation, png(), {}).data)
    assert read_texts(path, ("parameters",)) == {}


@pytest.mark.parametrize(
    ("name", "parameters", "data", "sentence"),
    [
        ("scale", {"factor": 16}, png((2000, 8)), "too large"),
        ("scale", {"width": 16384}, png((1, 1000)), "too large"),
        ("rotate", {"degrees": 45}, png((16384, 4)), "too large"),
        ("blur", {}, b"no image", "is not an image"),
    ],
)
def test_what_cannot_be_done_is_refused(
    name: str, parameters: dict[str, Any], data: bytes, sentence: str
) -> None:
    with pytest.raises(RequestError, match=sentence):
        run(name, data, **parameters)
