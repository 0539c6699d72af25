"""Convert images to another format, with their pixels, colour profile and metadata."""

from __future__ import annotations

from contextlib import suppress
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple
from warnings import catch_warnings

from PIL import Image, UnidentifiedImageError, features
from PIL.PngImagePlugin import PngInfo

from imagen.core.image_file import DECODE_ERRORS, open_image
from imagen.errors import OutputError
from imagen.outputs import metadata
from imagen.outputs.metadata import NAMES, exif, stealth

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.outputs.metadata import Kind

_QUALITY: Mapping[Kind, int] = {"jpeg": 90, "webp": 90, "avif": 80}
"""At these values no difference is visible at the size of the image, and a file has a tenth of the
bytes of a PNG. AVIF has another scale: its 80 looks like a JPEG of 90."""
_LOSSLESS = 100
_LONGEST_SIDE: Mapping[Kind, int] = {"jpeg": 65500, "webp": 16383, "avif": 65535}
_MODES: Mapping[Kind, tuple[str, ...]] = {
    "png": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "jpeg": ("L", "RGB", "CMYK"),
    "webp": ("RGB", "RGBA"),
    "avif": ("RGB", "RGBA"),
}
"""Pillow's names for the pixels that each format can hold."""
_PROFILE_SPACES = {"L": b"GRAY", "LA": b"GRAY", "1": b"GRAY", "I;16": b"GRAY", "CMYK": b"CMYK"}
"""The colour space that a profile must have; of all other modes RGB."""
_LARGEST_EXIF = 60_000
"""Of a JPEG, so that a comment still fits."""
_GRAPHS = ("prompt", "workflow")
_XMP = "XML:com.adobe.xmp"
_ORIENTATION = 0x0112


class ConvertedImage(NamedTuple):
    """A file in another format."""

    data: bytes
    quality: int | None
    """None for a format that has no quality."""
    remarks: tuple[str, ...]
    """Sentences about what the format cannot hold."""


def refuse_unwritable_format(kind: Kind) -> None:
    """Raise OutputError if the installed Pillow cannot write this format."""
    if kind in ("webp", "avif") and not features.check(kind):
        raise OutputError(
            f"The installed Pillow cannot write {NAMES[kind]} images.",
            remedy="Update it with: pip install --upgrade pillow",
        )


def convert_image(
    data: bytes, kind: Kind, quality: int | None = None, *, keeps_metadata: bool = True
) -> ConvertedImage:
    """The image in this format, with its texts, its EXIF block and its colour profile.

    An image that has the format already keeps its pixels unless a quality is given. Raises
    OutputError if that is impossible; nothing is written anywhere.
    """
    if metadata.kind(data) == kind and quality is None:
        if keeps_metadata:
            return ConvertedImage(data, None, ())
        try:
            return ConvertedImage(metadata.strip_metadata(data), None, ())
        except OutputError as error:
            raise OutputError(f"Its metadata cannot be removed: {error.message}.") from error
    refuse_unwritable_format(kind)
    try:
        with catch_warnings(action="ignore"), open_image(BytesIO(data)) as image:
            return _encode(image, data, kind, quality, keeps_metadata=keeps_metadata)
    except UnidentifiedImageError as error:
        raise OutputError("It is not an image that imagen can read.") from error
    except (*DECODE_ERRORS, MemoryError, Image.DecompressionBombError) as error:
        raise OutputError(f"The image cannot be converted to {NAMES[kind]}: {error}.") from error


def _encode(
    image: Image.Image, data: bytes, kind: Kind, quality: int | None, *, keeps_metadata: bool
) -> ConvertedImage:
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
        raise OutputError("An animation cannot be converted, only still images.")
    longest = _LONGEST_SIDE.get(kind)
    if longest is not None and max(image.size) > longest:
        width, height = image.size
        raise OutputError(
            f"It has {width} × {height} pixels, but a side of {NAMES[kind]} has at most {longest}."
        )
    image.load()
    texts: dict[str, str] = {}
    unread: list[str] = []
    try:
        if keeps_metadata:
            texts = metadata.read_texts(data, (*metadata.WANTED, "workflow"))
            if not texts and metadata.kind(data) in ("png", "webp"):
                hidden = stealth.read_hidden_text(data)
                texts = {"parameters": hidden} if hidden else {}
    except OutputError as error:
        unread = [f"Its texts were left out: {error.message}."]
    quality = None if kind == "png" else quality or _QUALITY[kind]
    options, texts = _metadata_options(image, kind, texts, keeps_metadata=keeps_metadata)
    if kind == "webp":
        is_lossless = quality == _LOSSLESS
        options |= {"quality": quality, "lossless": is_lossless, "exact": is_lossless}
    elif kind != "png":
        options |= {"quality": quality, "subsampling": "4:4:4"}  # keeps coloured lines sharp
    profile = image.info.get("icc_profile")
    pixels, remarks = _fit_pixels(image, data, kind)
    remarks += unread
    if profile and profile[16:20] == _PROFILE_SPACES.get(pixels.mode, b"RGB "):
        options["icc_profile"] = profile
    elif profile:
        remarks.append(f"Its colour profile does not fit the colours of {NAMES[kind]}.")
    if kind == "png" and pixels is image and "transparency" in image.info:
        options["transparency"] = image.info["transparency"]
    pixels.info = {}  # Pillow would write it too
    buffer = BytesIO()
    pixels.save(buffer, kind.upper(), **options)
    converted = buffer.getvalue()
    if texts:
        converted, remark = metadata.embed(converted, texts)
        remarks += [remark] if remark else []
    return ConvertedImage(converted, quality, tuple(remarks))


def _metadata_options(
    image: Image.Image, kind: Kind, texts: Mapping[str, str], *, keeps_metadata: bool
) -> tuple[dict[str, Any], dict[str, str]]:
    """Pillow's options for EXIF and XMP, and the texts that are still to be embedded.

    In AVIF the EXIF block cannot be changed later, so `parameters` goes into both.
    """
    block: bytes = image.info.get("exif", b"")
    orientation = None if block else image.getexif().get(_ORIENTATION)
    if orientation:  # the format says it elsewhere
        made = Image.Exif()
        made[_ORIENTATION] = orientation
        block = made.tobytes()
    block = block.removeprefix(b"Exif\0\0")
    if not keeps_metadata:
        block = exif.keep_orientation(block)
    left = dict(texts)
    graphs = {name: texts[name] for name in _GRAPHS if name in texts}
    with suppress(OutputError):  # a damaged block stays as it is
        if graphs and kind != "png":
            whole = exif.write_graphs(block, graphs)
            if kind != "jpeg" or len(whole) < _LARGEST_EXIF:
                block = whole
                left = {name: text for name, text in left.items() if name not in graphs}
        if kind == "avif" and "parameters" in texts:
            block = exif.write_comment(block, texts["parameters"])
    options: dict[str, Any] = {"exif": b"Exif\0\0" + block} if block else {}
    packet = (image.info.get("xmp") or image.info.get(_XMP) or b"") if keeps_metadata else b""
    packet = packet.encode() if isinstance(packet, str) else packet
    if packet and kind == "png":
        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt(_XMP, packet.decode("utf-8", "replace"))
    elif packet:
        options["xmp"] = packet
    return options, left


def _fit_pixels(image: Image.Image, data: bytes, kind: Kind) -> tuple[Image.Image, list[str]]:
    """The image with pixels that the format can hold, and what was lost of them."""
    remarks: list[str] = []
    is_deep_colour = metadata.kind(data) == "png" and data[24] == 16 and image.mode[:1] != "I"
    if is_deep_colour or (image.mode.startswith("I") and kind != "png"):
        remarks.append(f"Its 16 bits per channel became 8 in {NAMES[kind]}.")
    if kind == "jpeg" and image.has_transparency_data:
        lowest = image.convert("RGBA").getchannel("A").getextrema()[0]
        if lowest != 255:
            remarks.append("Transparent areas became white, since JPEG has no transparency.")
    if image.mode.startswith("I") and kind != "png":
        image = image.convert("I").point(lambda shade: shade / 257).convert("L")
        image.info.pop("transparency", None)  # a shade of 16 bits
    if image.mode == "I":
        image = image.convert("I;16")
    if image.mode == "F":
        raise OutputError("Its pixels are fractions, which these formats cannot hold.")
    if kind == "jpeg" and image.has_transparency_data:
        is_grey = image.mode == "LA"
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
        image = image.convert("L") if is_grey else image
    if image.mode in _MODES[kind]:
        return image, remarks
    return image.convert("RGBA" if image.has_transparency_data else "RGB"), remarks
