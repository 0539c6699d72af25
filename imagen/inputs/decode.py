"""Decode image files to upright 8-bit sRGB, and encode them again."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import PureWindowsPath
from warnings import catch_warnings

from PIL import Image, ImageOps

from imagen.core.image_file import DECODE_ERRORS, ImageFile, read_image_file
from imagen.core.ticket import InputImage
from imagen.inputs.sizes import ImageSize

_STEREO_FORMATS = ("MPO",)
"""A camera's second frame is a preview or the other eye's view; the first frame is the image."""
_PRIVATE_METADATA = frozenset(("exif", "xmp", "comment", "photoshop", "XML:com.adobe.xmp"))
_SRGB_MODES = {"RGB": "RGB", "RGBA": "RGBA", "CMYK": "RGB"}
"""The modes that have colour profiles, and the mode after conversion to sRGB."""


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """A decoded image: RGB, or RGBA if parts of it are transparent."""

    source: ImageFile
    """The file as it was read."""
    image: Image.Image
    is_untouched: bool
    """Whether the file shows these pixels in a format that every engine takes, without metadata."""
    warnings: tuple[str, ...] = ()

    @property
    def size(self) -> ImageSize:
        return ImageSize(*self.image.size)

    @property
    def is_transparent(self) -> bool:
        return self.image.mode == "RGBA"


def decode_file(path: str, what: str) -> DecodedImage:
    """Read and decode a file; `what` names the parameter in errors and warnings.

    Raises RequestError as `read_image_file` does.
    """
    return decode_image(read_image_file(path, what), what)


def decode_image(source: ImageFile, what: str) -> DecodedImage:
    """Decode an image and turn it as its EXIF orientation says; of an animation the first frame."""
    with catch_warnings(action="ignore"), source.decode() as opened:
        try:
            upright = ImageOps.exif_transpose(opened)
        except DECODE_ERRORS:  # the metadata is damaged, the pixels are not
            upright = opened.copy()
        converted = _convert_to_srgb(upright)
        image = _convert_to_eight_bits(converted)
        if image.mode == "RGBA" and image.getchannel("A").getextrema() == (255, 255):
            image = image.convert("RGB")
        frames = 1
        if source.kind not in _STEREO_FORMATS:
            with suppress(*DECODE_ERRORS, Image.DecompressionBombError):  # damage after the first
                frames = getattr(opened, "n_frames", 1)
        has_metadata = getattr(opened, "text", {}) or _PRIVATE_METADATA & opened.info.keys()
        is_untouched = (
            not has_metadata
            and bool(source.media_type)
            and frames == 1
            and converted is upright
            and image.mode == opened.mode
        )
    warning = f"{what}: {source.name} has {frames} frames; the first one is used."
    return DecodedImage(source, image, is_untouched, (warning,) if frames > 1 else ())


def describe_input(file: DecodedImage, parameter: str) -> InputImage:
    """What the record keeps about the user's file."""
    return InputImage(
        parameter=parameter,
        name=PureWindowsPath(file.source.name).name,
        sha256=file.source.sha256,
        width=file.size.width,
        height=file.size.height,
    )


def flatten(image: Image.Image, colour: str = "white") -> Image.Image:
    """Place the image on a background; the result is RGB."""
    if image.mode != "RGBA":
        return image
    background = Image.new("RGBA", image.size, colour)
    return Image.alpha_composite(background, image).convert("RGB")


def cover(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Scale the image to cover this size, and crop it around its centre."""
    return image if image.size == size else ImageOps.fit(image, size, Image.Resampling.LANCZOS)


def encode_png(image: Image.Image) -> bytes:
    """Encode as PNG without any metadata."""
    image.info = {}
    data = BytesIO()
    image.save(data, "PNG", compress_level=3)
    return data.getvalue()


def as_png_file(image: Image.Image, name: str) -> ImageFile:
    """Encode as a PNG file of this name, with its extension replaced."""
    stem, dot, _ = name.rpartition(".")
    width, height = image.size
    data = encode_png(image)
    return ImageFile(
        data=data, name=f"{stem if dot else name}.png", kind="PNG", width=width, height=height
    )


def _convert_to_srgb(image: Image.Image) -> Image.Image:
    """Apply the colour profile; returns the same image if there is nothing to convert."""
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in _SRGB_MODES:
        return image
    from PIL import ImageCms  # only some photographs need it

    try:
        own = ImageCms.ImageCmsProfile(BytesIO(profile))
        if image.mode != "CMYK" and "srgb" in ImageCms.getProfileDescription(own).lower():
            return image
        srgb = ImageCms.createProfile("sRGB")
        mode = _SRGB_MODES[image.mode]
        return ImageCms.profileToProfile(image, own, srgb, outputMode=mode) or image
    except (ImageCms.PyCMSError, OSError, ValueError):  # a damaged profile is ignored
        return image


def _convert_to_eight_bits(image: Image.Image) -> Image.Image:
    """To RGB or RGBA; greys of up to 65535, and fractions of up to 1, are scaled to 255."""
    if image.mode not in ("I", "F") and not image.mode.startswith("I;"):
        wanted = "RGBA" if image.has_transparency_data else "RGB"
        return image if image.mode == wanted else image.convert(wanted)
    wide = image if image.mode in ("I", "F") else image.convert("I")
    extrema = wide.getextrema()[1]
    most = extrema if isinstance(extrema, int | float) else 0.0
    factor = 1 / 257 if most > 255 else 255.0 if wide.mode == "F" and most <= 1 else 1.0
    grey = wide.convert("F").point(lambda shade: shade * factor + 0.5).convert("L")
    return grey.convert("RGB")
