"""Operations on images that need no engine: rotate, scale, blur, sharpen, composite, convert."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from PIL import Image, ImageFilter, ImageOps
from pydantic import BaseModel, ConfigDict, Field, model_validator

from imagen.core.image_file import LARGER_IMAGES, TooManyPixels, max_megapixels, read_image_bytes
from imagen.core.request import LARGEST_SIDE
from imagen.errors import OutputError, RequestError
from imagen.inputs.decode import decode_image, encode_png
from imagen.inputs.upscale import FILTERS
from imagen.outputs import metadata
from imagen.outputs.convert import ConvertedImage, convert_image
from imagen.outputs.metadata import KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.outputs.metadata import Kind

READABLE = ("PNG", "JPEG", "WEBP")
"""The formats of images that operations take, by Pillow's names."""
_QUARTERS = {
    90: Image.Transpose.ROTATE_270,
    180: Image.Transpose.ROTATE_180,
    270: Image.Transpose.ROTATE_90,
}
"""Clockwise; Pillow counts the other way."""
_KIND_OF: dict[str, Kind] = {"PNG": "png", "JPEG": "jpeg", "WEBP": "webp"}

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos", "area"]
OutputFormat = Literal["png", "jpg", "webp"]


class Operation(BaseModel):
    """The parameters of an operation. `label` is its name for people."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    label: ClassVar[str]

    def apply(self, image: Image.Image, _images: Mapping[str, bytes], /) -> Image.Image:
        """The changed image; the others are those that the operation names, by parameter."""
        return image


class Rotate(Operation):
    """Rotate an image clockwise."""

    label = "Rotate"
    degrees: float = Field(ge=-360, le=360, allow_inf_nan=False, description="Clockwise.")
    expand: bool = Field(True, description="Grow the image so that all of it stays visible.")

    def apply(self, image: Image.Image, _images: Mapping[str, bytes], /) -> Image.Image:
        degrees = self.degrees % 360
        if degrees == 0:
            return image
        if degrees in _QUARTERS and (self.expand or degrees == 180):
            return image.transpose(_QUARTERS[int(degrees)])
        if self.expand:
            diagonal = int((image.width**2 + image.height**2) ** 0.5) + 2
            _check_size((diagonal, diagonal))
        opaque = image.convert("RGBA")
        return opaque.rotate(-degrees, Image.Resampling.BICUBIC, expand=self.expand)


class Scale(Operation):
    """Scale an image by a factor or to a size, by interpolation."""

    label = "Scale"
    factor: float | None = Field(None, gt=0, le=16, allow_inf_nan=False)
    width: int | None = Field(None, ge=1, le=LARGEST_SIDE, description="Pixels.")
    height: int | None = Field(
        None, ge=1, le=LARGEST_SIDE, description="Pixels; alone, the width follows the shape."
    )
    method: Interpolation = "lanczos"

    @model_validator(mode="after")
    def _require_size(self) -> Scale:
        has_size = self.width is not None or self.height is not None
        if has_size == (self.factor is not None):
            raise ValueError("needs either a factor, or a width or a height")
        return self

    def apply(self, image: Image.Image, _images: Mapping[str, bytes], /) -> Image.Image:
        if self.factor is not None:
            size = image.width * self.factor, image.height * self.factor
        elif self.width is not None:
            size = self.width, self.height or image.height * self.width / image.width
        else:
            height = self.height or 1
            size = image.width * height / image.height, height
        sides = max(1, round(size[0])), max(1, round(size[1]))
        _check_size(sides)
        return image.resize(sides, FILTERS[self.method])


class Blur(Operation):
    """Blur an image."""

    label = "Blur"
    radius: float = Field(2.0, ge=0, le=200, allow_inf_nan=False, description="Pixels.")

    def apply(self, image: Image.Image, _images: Mapping[str, bytes], /) -> Image.Image:
        return image.filter(ImageFilter.GaussianBlur(self.radius))


class Sharpen(Operation):
    """Sharpen an image by an unsharp mask."""

    label = "Sharpen"
    radius: float = Field(2.0, ge=0, le=200, allow_inf_nan=False, description="Pixels.")
    percent: int = Field(150, ge=0, le=1000, description="How strong.")
    threshold: int = Field(3, ge=0, le=255, description="Smaller differences stay as they are.")

    def apply(self, image: Image.Image, _images: Mapping[str, bytes], /) -> Image.Image:
        return image.filter(ImageFilter.UnsharpMask(self.radius, self.percent, self.threshold))


class Grayscale(Operation):
    """Remove the colours of an image."""

    label = "Grayscale"

    def apply(self, image: Image.Image, _images: Mapping[str, bytes], /) -> Image.Image:
        grey = ImageOps.grayscale(image)
        if image.mode == "RGBA":
            return Image.merge("LA", (grey, image.getchannel("A"))).convert("RGBA")
        return grey


class Composite(Operation):
    """Put another image over an image."""

    label = "Composite"
    overlay: str = Field(min_length=1, description="The image on top.")
    mask: str | None = Field(
        None, min_length=1, description="An image of the overlay's size: white shows the overlay."
    )
    x: int = Field(0, ge=-LARGEST_SIDE, le=LARGEST_SIDE, description="Its left edge.")
    y: int = Field(0, ge=-LARGEST_SIDE, le=LARGEST_SIDE, description="Its upper edge.")
    opacity: float = Field(1.0, ge=0, le=1, allow_inf_nan=False)

    def apply(self, image: Image.Image, images: Mapping[str, bytes], /) -> Image.Image:
        overlay_file = read_image_bytes(images["overlay"], "overlay", formats=READABLE)
        overlay = decode_image(overlay_file, "overlay").image.convert("RGBA")
        alpha = overlay.getchannel("A")
        if "mask" in images:
            mask_file = read_image_bytes(images["mask"], "mask", formats=READABLE)
            mask = decode_image(mask_file, "mask").image.convert("L")
            if mask.size != overlay.size:
                raise RequestError(
                    f"mask: it has {mask.width}x{mask.height} pixels, but the overlay has "
                    f"{overlay.width}x{overlay.height}."
                )
            alpha = Image.composite(alpha, Image.new("L", alpha.size, 0), mask)
        overlay.putalpha(alpha.point([round(shade * self.opacity) for shade in range(256)]))
        layer = Image.new("RGBA", image.size, (0, 0, 0, 0))
        layer.paste(overlay, (self.x, self.y))
        result = Image.alpha_composite(image.convert("RGBA"), layer)
        return result if image.mode == "RGBA" else result.convert("RGB")


class Convert(Operation):
    """Convert an image to another format, with its metadata."""

    label = "Convert"
    keep_metadata: bool = Field(True, description="Whether the settings that made it stay in it.")


OPERATIONS: dict[str, type[Operation]] = {
    kind.label.lower(): kind
    for kind in (Rotate, Scale, Blur, Sharpen, Grayscale, Composite, Convert)
}
"""By the names that clients use."""


def apply_operation(
    operation: Operation,
    data: bytes,
    images: Mapping[str, bytes],
    *,
    format: OutputFormat | None = None,
    quality: int | None = None,
) -> ConvertedImage:
    """The changed image, upright and in sRGB, with the texts of its metadata.

    `images` are those that the operation names, by parameter. The format is by default that of the
    image. Raises RequestError for an image that cannot be read or would become too large,
    OutputError if the format cannot hold it.
    """
    source = read_image_bytes(data, "image", formats=READABLE)
    kind = _KIND_OF[source.kind] if format is None else KINDS[format]
    if kind == "png":
        quality = None
    if isinstance(operation, Convert):
        return convert_image(data, kind, quality, keeps_metadata=operation.keep_metadata)
    changed = operation.apply(decode_image(source, "image").image, images)
    png = encode_png(changed)
    remarks: tuple[str, ...] = ()
    try:
        if texts := metadata.read_texts(data, (*metadata.WANTED, "workflow")):
            png, _ = metadata.embed(png, texts)
    except OutputError as error:
        remarks = (f"Its texts were left out: {error.message}.",)
    converted = convert_image(png, kind, quality)
    return converted._replace(remarks=(*converted.remarks, *remarks))


def _check_size(size: tuple[int, int]) -> None:
    """Raises RequestError for an image that would be too large."""
    most = max_megapixels()
    if max(size) > LARGEST_SIDE or size[0] * size[1] > most * 1e6:
        reason = TooManyPixels(size, most)
        raise RequestError(f"The result would be too large: {reason}.", remedy=LARGER_IMAGES)
