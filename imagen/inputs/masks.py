"""Masks: one channel, white where the picture is to be redrawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image, ImageChops, ImageFilter

from imagen.errors import RequestError
from imagen.inputs.decode import decode_file, flatten

if TYPE_CHECKING:
    from imagen.inputs.decode import DecodedImage
    from imagen.inputs.sizes import ImageSize

_WHITE = _OPAQUE = 250
_SHAPE_DIFFERS = 0.01


def read_mask(path: str, size: ImageSize) -> tuple[Image.Image, DecodedImage, list[str]]:
    """The mask for a picture of this size, its file, and what the user should know of it.

    Raises RequestError for a mask of another shape, and for one that would redraw nothing.
    """
    file = decode_file(path, "mask")
    warnings = list(file.warnings)
    mask = file.image.convert("L")
    if file.is_transparent:
        mask = _by_transparency(file, warnings)
    _refuse_empty(mask, file)
    if mask.getextrema() == (255, 255):
        warnings.append(f"mask: {file.source.name} is all white, so that all is redrawn.")
    return _of_size(mask, file, size, warnings), file, warnings


def feathered(mask: Image.Image, pixels: int) -> Image.Image:
    """The mask with its white fading away over so many pixels beyond its edge.

    All that was white stays white: what was to be redrawn still is, to the full.
    """
    if pixels == 0:
        return mask
    blurred = mask.filter(ImageFilter.GaussianBlur(pixels / 2))
    # A straight edge is half white after the blur; doubled, it is white, and fades from there on.
    return ImageChops.lighter(mask, blurred.point([min(255, 2 * shade) for shade in range(256)]))


def _by_transparency(file: DecodedImage, warnings: list[str]) -> Image.Image:
    """White strokes on nothing are the mask; else nothing is: so ComfyUI's editor saves them."""
    alpha = file.image.getchannel("A")
    shown = file.image.convert("RGB").convert("L")
    unseen = alpha.point([255 * (opacity < _OPAQUE) for opacity in range(256)])
    darkest = ImageChops.lighter(shown, unseen).getextrema()[0]
    if isinstance(darkest, int) and darkest >= _WHITE:
        return flatten(file.image, "black").convert("L")
    warnings.append(f"mask: {file.source.name} is taken by its transparency, which is redrawn.")
    return ImageChops.invert(alpha)


def _refuse_empty(mask: Image.Image, file: DecodedImage) -> None:
    if mask.getextrema() == (0, 0):
        raise RequestError(
            f"mask: {file.source.name} is all black, so that nothing would be redrawn.",
            remedy="White is redrawn, black is kept.",
        )


def _of_size(
    mask: Image.Image, file: DecodedImage, size: ImageSize, warnings: list[str]
) -> Image.Image:
    if file.size == size:
        return mask
    if abs(file.size.width * size.height / (file.size.height * size.width) - 1) > _SHAPE_DIFFERS:
        raise RequestError(
            f"mask: {file.source.name} is {file.size} pixels, and the image {size}.",
            remedy="A mask must have the size of its image, or at least its shape.",
        )
    warnings.append(f"mask: {file.source.name} ({file.size}) was scaled to the image's {size}.")
    return mask.resize(size, Image.Resampling.LANCZOS)
