"""The pictures that came out: whether each is whole, how large, and enlarging the rest."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from imagen.backends.whole import is_whole
from imagen.errors import Failed

if TYPE_CHECKING:
    from pathlib import Path


def read(path: Path) -> bytes:
    """The bytes of a picture that can be decoded to its end; raises Failed otherwise."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Failed(
            f"The picture that was made can't be read: {error.strerror or error}."
        ) from error
    size(data)
    return data


def size(data: bytes) -> tuple[int, int]:
    """Width and height of a picture that is whole; raises Failed for any other."""
    from PIL import Image

    if not is_whole(data):
        raise Failed("The picture that was made is damaged: its end is missing.")
    try:
        with Image.open(BytesIO(data)) as picture:
            picture.load()
            return picture.size
    except (OSError, SyntaxError, ValueError) as error:
        raise Failed(f"The picture that was made is damaged: {error}.") from error


def resized(data: bytes, to: tuple[int, int]) -> bytes:
    """A model enlarges by its own factor; the rest is done by interpolation."""
    from PIL import Image

    with Image.open(BytesIO(data)) as picture:
        if picture.size == to:
            return data
        whole = BytesIO()
        picture.resize(to, Image.Resampling.LANCZOS).save(whole, "PNG")
    return whole.getvalue()
