"""The pictures of a simulated Replicate: painted, small, and of the shape that was asked for."""

from __future__ import annotations

from base64 import b64encode
from io import BytesIO
from typing import TYPE_CHECKING, Any

from imagen.backends.mock.painting import paint
from imagen.core.image_file import media_type

if TYPE_CHECKING:
    from collections.abc import Mapping

_SIDE = 96
"""Pixels of a square one, where the model takes no pixels."""
_FORMATS = {"png": "PNG", "webp": "WEBP", "jpg": "JPEG"}
UNDRAWN = 4242
"""The seed where none is asked for."""


def painted(values: Mapping[str, Any], count: int) -> list[bytes]:
    """The files of one prediction with this input."""
    return [_picture(values, index) for index in range(count)]


def as_data(data: bytes) -> str:
    """A file as a `data:` address."""
    return f"data:{media_type(data)};base64,{b64encode(data).decode('ascii')}"


def _picture(values: Mapping[str, Any], index: int) -> bytes:
    width, height = _size(values)
    picture = paint(
        prompt=str(values.get("prompt") or ""),
        negative=str(values.get("negative_prompt") or ""),
        seed=int(values.get("seed", UNDRAWN)) + index,
        width=width,
        height=height,
        steps=int(values.get("num_inference_steps") or 4),
        variant=_given(values),
    )
    data = BytesIO()
    picture.save(data, _FORMATS[str(values.get("output_format") or "png")])
    return data.getvalue()


def _size(values: Mapping[str, Any]) -> tuple[int, int]:
    if values.get("width") and values.get("height"):
        return int(values["width"]), int(values["height"])
    across, _, down = str(values.get("aspect_ratio") or "1:1").partition(":")
    if not (across.isdecimal() and down.isdecimal()):
        return _SIDE, _SIDE
    return _SIDE, max(16, _SIDE * int(down) // int(across))


def _given(values: Mapping[str, Any]) -> str:
    """The pictures that went in: another one gives another result."""
    names = ("image", "mask", "input_image", "input_images", "image_prompt", "control_image")
    return "".join(str(values[name]) for name in names if values.get(name))
