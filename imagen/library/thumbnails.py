"""Small pictures for listings: WebP, made once, when a picture is taken in."""

from __future__ import annotations

import warnings
from io import BytesIO
from typing import TYPE_CHECKING

# Pillow would load all of its formats for one that it does not know yet, in three times the time.
from PIL import Image, WebPImagePlugin  # noqa: F401

from imagen.pictures import DAMAGE

if TYPE_CHECKING:
    from pathlib import Path

SIDE = 320
"""Pixels of the longer side, at most."""
_QUALITY = 80
_LARGEST_PIXELS = 100_000_000
_UNSHOWABLE = (*DAMAGE, LookupError, ArithmeticError, MemoryError, Image.DecompressionBombError)
"""What Pillow raises for files that are damaged, or are none of its kinds."""


def thumbnail(path: Path) -> bytes | None:
    """The picture at `path` in small; None for what is no picture that can be shown."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as picture:
            return _small(picture)
    except _UNSHOWABLE:
        return None


def _small(picture: Image.Image) -> bytes | None:
    if picture.width * picture.height > _LARGEST_PIXELS:
        return None
    picture.draft("RGB", (SIDE, SIDE))  # a JPEG need not be decoded in full
    mode = "RGBA" if "A" in picture.getbands() or "transparency" in picture.info else "RGB"
    whole = picture.convert(mode)
    whole.thumbnail((SIDE, SIDE))
    buffer = BytesIO()
    whole.save(buffer, "WEBP", quality=_QUALITY, method=2)
    return buffer.getvalue()
