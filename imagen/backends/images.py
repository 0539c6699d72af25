"""Generated images: check that each is complete, resize it, restore what the mask protects."""

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
    """The bytes of a complete image; raises Failed for any other."""
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = error.strerror or error
        raise Failed(f"The generated image cannot be read: {reason}.") from error
    check_image(data)
    return data


def check_image(data: bytes) -> tuple[int, int]:
    """Width and height of a complete image; raises Failed for any other.

    One that is too large to decode counts as complete: it is saved all the same.
    """
    if not is_complete(data):
        raise Failed("The generated image is damaged: its end is missing.")
    try:
        return _decode(data).size
    except TooManyPixels as error:
        return error.size


def resize_image(data: bytes, size: tuple[int, int]) -> bytes:
    """The image at this size; one that is too large to decode stays as it is.

    An upscale model has its own factor; interpolation does the rest.
    """
    from PIL import Image

    try:
        image = _decode(data)
    except TooManyPixels:
        return data
    if image.size == size:
        return data
    return _encode(image.resize(size, Image.Resampling.LANCZOS))


def restore_unmasked(data: bytes, request: Request) -> bytes:
    """The image with the initial image where the mask protects it: the VAE changes all pixels."""
    if request.image is None or request.mask is None:
        return data
    from PIL import Image

    initial = read_image_file(request.image).decode().convert("RGB")
    mask = read_image_file(request.mask, "mask").decode().convert("L")
    if not initial.size == mask.size == check_image(data):
        return data
    return _encode(Image.composite(_decode(data).convert("RGB"), initial, mask))


def _encode(image: Image.Image) -> bytes:
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _decode(data: bytes) -> Image.Image:
    """Raises TooManyPixels, and Failed for a damaged image."""
    try:
        with catch_warnings(action="ignore"):
            image = open_image(BytesIO(data))
            image.load()
    except TooManyPixels:
        raise
    except DECODE_ERRORS as error:
        raise Failed(f"The generated image is damaged: {error}.") from error
    return image
