"""Small pictures for listings: WebP, made once, when a picture is taken in."""

from __future__ import annotations

import warnings
from io import BytesIO
from typing import TYPE_CHECKING

# Pillow would load all of its formats for one that it does not know yet, in three times the time.
from PIL import Image, WebPImagePlugin  # noqa: F401

from imagen.core.image_file import DECODE_ERRORS

if TYPE_CHECKING:
    from pathlib import Path

SIDE = 320
"""Pixels of the longer side, at most."""
_QUALITY = 80
_MOST_BYTES = 220 * 2**20
"""To decode one image; a file of a few kilobytes may hold any number of pixels."""
_PIXEL_BYTES = {"1": 1, "L": 1, "P": 1}
"""Of a decoded pixel; 4 for all other modes."""
_PROGRESSIVE_BYTES, _WEBP_BYTES, _COPY_BYTES = 6, 17, 4
"""Of a pixel, what decoding needs for all passes of a JPEG, and for a WebP; and a copy of it."""
_UNSHOWABLE = (*DECODE_ERRORS, MemoryError, Image.DecompressionBombError)
"""What Pillow raises for files that are damaged, or are none of its kinds."""


def thumbnail(path: Path) -> bytes | None:
    """The picture at `path` in small; None for what is no picture that can be shown."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as picture:
            return _small(picture)
    except _UNSHOWABLE:
        return None


def _small(picture: Image.Image) -> bytes | None:
    has_alpha = "A" in picture.getbands() or "transparency" in picture.info
    mode = "RGBA" if has_alpha else "RGB"
    is_scaled_first = picture.mode in ("L", "LA", "RGB", "RGBA") and (
        "transparency" not in picture.info
    )
    if _needed_bytes(picture, is_copied=not is_scaled_first) > _MOST_BYTES:
        return None
    picture.draft("RGB", (SIDE, SIDE))  # a JPEG need not be decoded in full
    small = picture if is_scaled_first else picture.convert(mode)
    small.thumbnail((SIDE, SIDE))
    buffer = BytesIO()
    small.convert(mode).save(buffer, "WEBP", quality=_QUALITY, method=2)
    return buffer.getvalue()


def _needed_bytes(picture: Image.Image, *, is_copied: bool) -> int:
    """About how much memory it takes to decode the image."""
    each = _PIXEL_BYTES.get(picture.mode, 4) + (_COPY_BYTES if is_copied else 0)
    if picture.format == "WEBP":
        each = _WEBP_BYTES
    elif picture.format == "JPEG":  # scaled to an eighth while it is decoded, unless in passes
        each = _PROGRESSIVE_BYTES if "progressive" in picture.info else 1
    return picture.width * picture.height * each
