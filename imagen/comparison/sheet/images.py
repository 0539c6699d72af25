"""The images of a contact sheet: their size, and their pixels, scaled down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image, ImageOps

from imagen.core.image_file import DECODE_ERRORS, open_image

if TYPE_CHECKING:
    from pathlib import Path

    Colour = tuple[int, int, int]
    Size = tuple[int, int]

UNREADABLE = (*DECODE_ERRORS, MemoryError, Image.DecompressionBombError)
"""What Pillow raises for files that are missing, truncated, not images, or far too large."""
_SIDEWAYS = (5, 6, 7, 8)
_ORIENTATION = 0x0112


def displayed_size(path: Path) -> Size:
    """Width and height as the image is shown; only its header is read.

    Raises one of UNREADABLE.
    """
    with open_image(path) as image:
        width, height = image.size
        return (height, width) if _is_sideways(image) else (width, height)


def _is_sideways(image: Image.Image) -> bool:
    """By its EXIF orientation; without EXIF, Pillow would read all pixels to look for it."""
    return "exif" in image.info and image.getexif().get(_ORIENTATION) in _SIDEWAYS


def fit_size(size: Size, box: Size) -> Size:
    """The largest size of the same shape within `box`, and no larger than the image is."""
    scale = min(1.0, box[0] / size[0], box[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def load_reduced(path: Path, size: Size, *, background: Colour) -> Image.Image:
    """The image in RGB and in exactly this size, on a background where it is transparent.

    Raises one of UNREADABLE.
    """
    with open_image(path) as image:
        as_stored = size[::-1] if _is_sideways(image) else size
        image.draft("RGB", as_stored)
        image.load()
        # Reduce first, if that is exact or leaves enough for a finer filter: all that follows then
        # works on a quarter of the pixels.
        width, height = as_stored
        factor = int(min(image.width / width, image.height / height))
        if image.size != (width * factor, height * factor):
            factor //= 2
        reduced: Image.Image = image
        if factor >= 2 and image.mode in ("RGB", "L"):
            reduced = image.reduce(factor)
            reduced.info = image.info
        small = _convert_to_rgb(reduced, background)
        if "exif" in image.info:
            small.info = image.info
            small = ImageOps.exif_transpose(small)
        return small if small.size == size else small.resize(size, Image.Resampling.LANCZOS)


def _convert_to_rgb(image: Image.Image, background: Colour) -> Image.Image:
    """From any mode: palettes, transparency, 16 bits, CMYK."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith(("I", "F")):
        # 16 bits of grey, or any numbers between the least and the greatest.
        numbers = image.convert("F")
        low, high = 0.0, 65535.0
        if not image.mode.startswith("I;16"):
            low, high = (float(str(end)) for end in numbers.getextrema())
        scale = 255 / max(high - low, 1e-9)
        return numbers.point(lambda value: value * scale - low * scale).convert("RGB")
    if image.mode in ("CMYK", "YCbCr", "LAB", "HSV") or not image.has_transparency_data:
        return image.convert("RGB")
    over = image.convert("RGBA")
    under = Image.new("RGB", over.size, background)
    under.paste(over, mask=over)
    return under
