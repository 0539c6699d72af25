"""Images of A1111's clients: from base64, resized as it does, and only their masked part."""

from __future__ import annotations

import base64
import binascii
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image, ImageFilter, ImageOps

from imagen.errors import RequestError
from imagen.inputs.decode import cover, decode_image, encode_png
from imagen.outputs import metadata
from imagen.runtime.client_requests import read_client_image, store_image

if TYPE_CHECKING:
    from imagen.runtime import Runtime

    Box = tuple[int, int, int, int]
    Size = tuple[int, int]

CROP, FILL = 1, 2
"""Values of `resize_mode`; with any other an image is stretched."""


def decode_base64(text: str, what: str) -> bytes:
    """The bytes of an image, which may be a data URL; raises RequestError."""
    head, comma, _ = text[:200].partition(",")
    if comma and head.startswith("data:"):
        text = text[len(head) + 1 :]
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError(f"{what}: not an image in base64.") from error


def decode_pixels(data: bytes, what: str, runtime: Runtime) -> Image.Image:
    """An upright image, RGB or RGBA. Raises RequestError for anything else."""
    file = read_client_image(data, what, runtime)
    return decode_image(file, what).image


class RepaintedPart(NamedTuple):
    """The part of an image that is redrawn, and how the result goes back into the whole."""

    whole: Image.Image
    mask: Image.Image
    box: Box

    def paste(self, drawn: bytes, parameters: str) -> bytes:
        """The whole image with the part as it was drawn, as a PNG with this infotext."""
        left, top, right, bottom = self.box
        with Image.open(BytesIO(drawn)) as opened:
            part = opened.convert("RGB").resize((right - left, bottom - top), _SMOOTH)
        result = self.whole.copy()
        result.paste(part, (left, top))
        result = Image.composite(result, self.whole, self.mask)
        return metadata.embed(encode_png(result), {"parameters": parameters})[0]


_SMOOTH = Image.Resampling.LANCZOS


class ClientImages(NamedTuple):
    """The images of a request, stored."""

    image: str
    mask: str | None = None
    part: RepaintedPart | None = None


def store_inputs(
    init: str,
    mask: str,
    runtime: Runtime,
    *,
    size: Size | None,
    resize_mode: int,
    is_inverted: bool,
    blur: int,
    padding: int | None,
) -> ClientImages:
    """Store the initial image at the size that is asked for, and its mask.

    With a `padding`, only the part around the mask is kept, enlarged to the size. Raises
    RequestError.
    """
    data = decode_base64(init, "init_images")
    image = decode_pixels(data, "init_images", runtime)
    if not mask:
        resized = image if size is None else _resize(image, size, resize_mode)
        stored = data if resized is image else encode_png(resized)
        return ClientImages(store_image(stored, "image", runtime))
    sent = decode_pixels(decode_base64(mask, "mask"), "mask", runtime)
    shades = _read_mask(sent, is_inverted)
    if shades.size != image.size:
        shades = shades.resize(image.size, _SMOOTH)
    box = shades.getbbox()
    if box is None:
        raise RequestError(
            "mask: it is all black, so nothing would be repainted.",
            remedy="White areas are repainted, black areas are kept.",
        )
    part = None
    if padding is not None:
        wanted = size or image.size
        box = _grow_box(box, padding, wanted, image.size)
        soft = shades.filter(ImageFilter.GaussianBlur(blur / 2)) if blur else shades
        part = RepaintedPart(image.convert("RGB"), soft, box)
        image, shades = (one.crop(box).resize(wanted, _SMOOTH) for one in (image, shades))
    elif size is not None:
        image, shades = (_resize(one, size, resize_mode) for one in (image, shades))
    return ClientImages(
        store_image(encode_png(image), "image", runtime),
        store_image(encode_png(shades), "mask", runtime),
        part,
    )


def _read_mask(image: Image.Image, is_inverted: bool) -> Image.Image:
    """White where the image is repainted: where a transparent mask is opaque."""
    mask = image.getchannel("A") if image.mode == "RGBA" else image.convert("L")
    return ImageOps.invert(mask) if is_inverted else mask


def _resize(image: Image.Image, size: Size, mode: int) -> Image.Image:
    if image.size == size:
        return image
    if mode == CROP:
        return cover(image, size)
    if mode == FILL:  # the image whole, on a blurred copy that fills the rest
        inner = ImageOps.contain(image, size, _SMOOTH)
        outer = cover(image, size).filter(ImageFilter.GaussianBlur(max(size) / 32))
        outer.paste(inner, ((size[0] - inner.width) // 2, (size[1] - inner.height) // 2))
        return outer
    return image.resize(size, _SMOOTH)


def _grow_box(box: Box, padding: int, shape: Size, limits: Size) -> Box:
    """The box with a margin, and then with the shape of what is drawn, as far as there is room."""
    sides = []
    for axis in (0, 1):
        start, end = max(0, box[axis] - padding), min(limits[axis], box[axis + 2] + padding)
        sides.append((start, end))
    scale = max((sides[axis][1] - sides[axis][0]) / shape[axis] for axis in (0, 1))
    for axis in (0, 1):
        start, end = sides[axis]
        length = min(limits[axis], max(end - start, round(shape[axis] * scale)))
        start = min(max(0, (start + end - length) // 2), limits[axis] - length)
        sides[axis] = (start, start + length)
    (left, right), (top, bottom) = sides
    return left, top, right, bottom
