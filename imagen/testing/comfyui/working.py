"""What nodes do to a picture or a mask, near enough to tell that they did it."""

from __future__ import annotations

import re
from hashlib import sha1
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageChops, ImageFilter, ImageOps

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_FILTERS = {
    "lanczos": Image.Resampling.LANCZOS,
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "area": Image.Resampling.BOX,
}
_FACTOR = re.compile(r"(?<!\d)([2348])x|x([2348])(?!\d)", re.IGNORECASE)


def worked(picture: Image.Image, kind: str, said: Mapping[str, Any], model: str) -> Image.Image:
    """The picture that a node of this class gives; `model` is the file that it works with."""
    work = _WORK.get(kind)
    if work is not None:
        return work(picture, said, model)
    # A preprocessor of a pack that nobody here knows: something, and always the same.
    return _preprocessed(picture, kind) if kind.endswith("Preprocessor") else picture


def scaled(picture: Image.Image, width: int, height: int, how: str = "") -> Image.Image:
    """At this size, in pixels."""
    chosen = _FILTERS.get(how, Image.Resampling.NEAREST)
    return picture.resize((max(1, width), max(1, height)), chosen)


def padded(picture: Image.Image, said: Mapping[str, Any]) -> Image.Image:
    """Grey beyond its sides."""
    return ImageOps.expand(picture, _border(said), (128, 128, 128))


def padding_mask(picture: Image.Image, said: Mapping[str, Any]) -> Image.Image:
    """White beyond its sides."""
    return ImageOps.expand(Image.new("L", picture.size), _border(said), 255)


def grown(mask: Image.Image, pixels: int) -> Image.Image:
    """A mask whose white goes on for so many pixels."""
    if pixels == 0:
        return mask
    size = min(2 * abs(pixels) + 1, 2 * (min(mask.size) // 2) - 1)
    if size < 3:
        return mask
    return mask.filter(ImageFilter.MaxFilter(size) if pixels > 0 else ImageFilter.MinFilter(size))


def _border(said: Mapping[str, Any]) -> tuple[int, int, int, int]:
    left, top, right, bottom = (int(said[side]) for side in ("left", "top", "right", "bottom"))
    return left, top, right, bottom


def _invert(picture: Image.Image, _: Mapping[str, Any], __: str) -> Image.Image:
    return ImageOps.invert(picture)


def _scale(picture: Image.Image, said: Mapping[str, Any], _: str) -> Image.Image:
    how = str(said["upscale_method"])
    size = int(said["width"]), int(said["height"])
    if said.get("crop") == "center":
        return ImageOps.fit(picture, size, _FILTERS.get(how, Image.Resampling.NEAREST))
    return scaled(picture, *size, how)


def _scale_by(picture: Image.Image, said: Mapping[str, Any], _: str) -> Image.Image:
    factor = float(said["scale_by"])
    width, height = (round(side * factor) for side in picture.size)
    return scaled(picture, width, height, str(said["upscale_method"]))


def _scale_to_pixels(picture: Image.Image, said: Mapping[str, Any], _: str) -> Image.Image:
    pixels = float(said["megapixels"]) * (1 << 20)
    factor = (pixels / (picture.width * picture.height)) ** 0.5
    width, height = (round(side * factor) for side in picture.size)
    return scaled(picture, width, height, str(said["upscale_method"]))


def _upscale(picture: Image.Image, _: Mapping[str, Any], model: str) -> Image.Image:
    """By the factor in the upscaler's name, or else by four."""
    found = _FACTOR.search(model)
    factor = int(found[1] or found[2]) if found else 4
    return scaled(picture, picture.width * factor, picture.height * factor, "lanczos")


def _edges(picture: Image.Image, _: Mapping[str, Any], __: str) -> Image.Image:
    return picture.convert("L").filter(ImageFilter.FIND_EDGES).convert("RGB")


def _restore(picture: Image.Image, said: Mapping[str, Any], model: str) -> Image.Image:
    """Sharper the less faithful, in a tint of the restorer's."""
    tint = Image.new("RGB", picture.size, _colour(model))
    share = 0.5 * (1 - float(said["codeformer_fidelity"])) + 0.1
    return Image.blend(picture, tint, share)


def _pad(picture: Image.Image, said: Mapping[str, Any], _: str) -> Image.Image:
    return padded(picture, said)


def _preprocessed(picture: Image.Image, kind: str) -> Image.Image:
    colour = Image.new("RGB", picture.size, _colour(kind))
    return ImageChops.multiply(ImageOps.autocontrast(picture), colour)


def _colour(word: str) -> tuple[int, int, int]:
    red, green, blue = sha1(word.encode(), usedforsecurity=False).digest()[:3]
    return red, green, blue


_WORK: dict[str, Callable[[Image.Image, Any, str], Image.Image]] = {
    "Canny": _edges,
    "FaceRestoreCFWithModel": _restore,
    "ImageInvert": _invert,
    "ImagePadForOutpaint": _pad,
    "ImageScale": _scale,
    "ImageScaleBy": _scale_by,
    "ImageScaleToTotalPixels": _scale_to_pixels,
    "ImageUpscaleWithModel": _upscale,
}
