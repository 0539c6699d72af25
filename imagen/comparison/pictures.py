"""Reads pictures for a sheet: how large they are, and their pixels, reduced."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image, ImageOps

from imagen.core.image_file import DECODE_ERRORS, open_image

if TYPE_CHECKING:
    from pathlib import Path

    Colour = tuple[int, int, int]
    Size = tuple[int, int]

UNREADABLE = (*DECODE_ERRORS, MemoryError, Image.DecompressionBombError)
"""What Pillow raises for files that are missing, truncated, of no known kind, or far too large."""
_SIDEWAYS = (5, 6, 7, 8)
_ORIENTATION = 0x0112


def displayed_size(path: Path) -> Size:
    """Width and height as the picture is to be seen; only its header is read.

    Raises one of UNREADABLE.
    """
    with open_image(path) as picture:
        width, height = picture.size
        turned = _is_sideways(picture)
    return (height, width) if turned else (width, height)


def _is_sideways(picture: Image.Image) -> bool:
    """As the header says; to ask Pillow where there is no EXIF would have it read all pixels."""
    return "exif" in picture.info and picture.getexif().get(_ORIENTATION) in _SIDEWAYS


def fit_size(size: Size, box: Size) -> Size:
    """The largest size of the same shape within `box`, and no larger than the picture is."""
    scale = min(1.0, box[0] / size[0], box[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def load_reduced(path: Path, size: Size, *, ground: Colour) -> Image.Image:
    """The picture in RGB and in exactly this size; what is transparent shows `ground`.

    Raises one of UNREADABLE.
    """
    with open_image(path) as picture:
        as_stored = size[::-1] if _is_sideways(picture) else size
        picture.draft("RGB", as_stored)
        picture.load()
        # The reduction comes first: all that follows then works on a quarter of the pixels.
        small = _colours(_halved(picture, as_stored), ground)
        if "exif" in picture.info:
            small.info = picture.info
            small = ImageOps.exif_transpose(small)
        return small if small.size == size else small.resize(size, Image.Resampling.LANCZOS)


def _halved(picture: Image.Image, size: Size) -> Image.Image:
    """A half, a third, … of it, where that is exact or leaves enough to a finer filter."""
    by_width, by_height = picture.width / size[0], picture.height / size[1]
    factor = int(min(by_width, by_height))
    exact = picture.size == (size[0] * factor, size[1] * factor)
    if not exact:
        factor //= 2
    if factor < 2 or picture.mode not in ("RGB", "L"):
        return picture
    small = picture.reduce(factor)
    small.info = picture.info
    return small


def _colours(picture: Image.Image, ground: Colour) -> Image.Image:
    """In RGB, whatever the mode: palettes, transparency, 16 bits, CMYK."""
    if picture.mode == "RGB" and "transparency" not in picture.info:
        return picture
    if picture.mode.startswith(("I", "F")):
        return _eight_bits(picture)
    if picture.mode in ("CMYK", "YCbCr", "LAB", "HSV") or not picture.has_transparency_data:
        return picture.convert("RGB")
    over = picture.convert("RGBA")
    under = Image.new("RGB", over.size, ground)
    under.paste(over, mask=over)
    return under


def _eight_bits(picture: Image.Image) -> Image.Image:
    """From 16 bits of grey, or from any numbers between the least and the most there are."""
    numbers = picture.convert("F")
    low, high = 0.0, 65535.0
    if not picture.mode.startswith("I;16"):
        low, high = (float(str(end)) for end in numbers.getextrema())
    scale = 255 / max(high - low, 1e-9)
    return numbers.point(lambda value: value * scale - low * scale).convert("RGB")
