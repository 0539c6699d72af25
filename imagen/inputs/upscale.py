"""Enlarging by interpolation: arithmetic on the pixels there are, which needs no engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image

from imagen.core.request import INTERPOLATIONS, LARGEST_SIDE
from imagen.core.text import did_you_mean
from imagen.errors import RequestError
from imagen.inputs.decode import as_png_file, decode_file, decode_image, describe_input
from imagen.inputs.sizes import ImageSize

if TYPE_CHECKING:
    from imagen.core.image_file import ImageFile
    from imagen.core.ticket import InputImage

_FILTERS = {
    "lanczos": Image.Resampling.LANCZOS,
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "nearest": Image.Resampling.NEAREST,
    "area": Image.Resampling.BOX,
}


def upscale_file(
    path: str, factor: float, method: str
) -> tuple[ImageFile, InputImage, tuple[str, ...]]:
    """The picture in a file, enlarged; what is remembered of the file; and what is to be told.

    Raises RequestError as `enlarged` does, and for a picture that can't be read.
    """
    file = decode_file(path, "image")
    name = file.source.name
    picture = as_png_file(resize(file.image, name, factor, method), name)
    return picture, describe_input(file, "image"), file.warnings


def upscale_image(picture: ImageFile, factor: float, method: str = INTERPOLATIONS[0]) -> ImageFile:
    """The picture upright, its sides times `factor`, as a PNG; transparency is kept.

    Raises RequestError for a method that is none, and for a size beyond what imagen makes.
    """
    upright = decode_image(picture, "image")
    return as_png_file(resize(upright.image, picture.name, factor, method), picture.name)


def resize(image: Image.Image, name: str, factor: float, method: str) -> Image.Image:
    """The decoded picture, its sides times `factor`; `name` is for the error."""
    if method not in _FILTERS:
        raise RequestError(
            f"There is no interpolation {method!r}.{did_you_mean(method, INTERPOLATIONS)}",
            remedy=f"Known: {', '.join(INTERPOLATIONS)}.",
        )
    size = ImageSize(*image.size)
    wanted = size.times(factor)
    if max(wanted) > LARGEST_SIDE:
        raise RequestError(
            f"image: {name} is {size} pixels; {factor:g} times that is {wanted}, "
            f"and no side may be more than {LARGEST_SIDE}."
        )
    return image if wanted == size else image.resize(wanted, _FILTERS[method])
