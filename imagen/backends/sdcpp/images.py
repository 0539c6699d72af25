"""The pictures that came out: whether each is whole, how large, and what is still done to it."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING
from warnings import catch_warnings

from imagen.core.image_file import (
    DECODE_ERRORS,
    TooManyPixels,
    is_complete,
    open_image,
    read_image_file,
)
from imagen.errors import Failed

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

    from imagen.core.request import Request


def read_image(path: Path) -> bytes:
    """The bytes of a picture that can be decoded to its end; raises Failed otherwise."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Failed(
            f"The picture that was made can't be read: {error.strerror or error}."
        ) from error
    check_image(data)
    return data


def check_image(data: bytes) -> tuple[int, int]:
    """Width and height of a picture that is whole; raises Failed for any other.

    One that is too large to be decoded is taken for whole: it is saved all the same.
    """
    if not is_complete(data):
        raise Failed("The picture that was made is damaged: its end is missing.")
    try:
        return _opened(data).size
    except TooManyPixels as error:
        return error.size


def resize_image(data: bytes, to: tuple[int, int]) -> bytes:
    """A model enlarges by its own factor; the rest is done by interpolation.

    An image that is too large to be decoded is left as the model made it.
    """
    from PIL import Image

    try:
        picture = _opened(data)
    except TooManyPixels:
        return data
    if picture.size == to:
        return data
    whole = BytesIO()
    picture.resize(to, Image.Resampling.LANCZOS).save(whole, "PNG")
    return whole.getvalue()


def restore_unmasked(data: bytes, request: Request) -> bytes:
    """What the mask leaves as it was: the program's VAE changes all of the picture."""
    if request.image is None or request.mask is None:
        return data
    from PIL import Image

    initial = read_image_file(request.image).decode().convert("RGB")
    mask = read_image_file(request.mask, "mask").decode().convert("L")
    if not initial.size == mask.size == check_image(data):
        return data
    picture = _opened(data).convert("RGB")
    whole = BytesIO()
    Image.composite(picture, initial, mask).save(whole, "PNG")
    return whole.getvalue()


def _opened(data: bytes) -> Image.Image:
    """Raises TooManyPixels, and Failed for an image that is damaged."""
    try:
        with catch_warnings(action="ignore"):
            picture = open_image(BytesIO(data))
            picture.load()
    except TooManyPixels:
        raise
    except DECODE_ERRORS as error:
        raise Failed(f"The picture that was made is damaged: {error}.") from error
    return picture
