"""Images from one format into another: pixels, colour profile, and all that their texts say."""

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
from imagen.outputs.metadata import NAMES, exif

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imagen.outputs.metadata import Kind

_QUALITY: Mapping[Kind, int] = {"jpeg": 90, "webp": 90, "avif": 80}
"""With these no difference can be seen at the size of the image, and a file has a tenth of a PNG's
bytes. The scale of AVIF is another: its 80 looks like a JPEG of 90."""
_LOSSLESS = 100
_MOST_PIXELS: Mapping[Kind, int] = {"jpeg": 65500, "webp": 16383, "avif": 65535}
"""Of a side."""
_MODES: Mapping[Kind, tuple[str, ...]] = {
    "png": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "jpeg": ("L", "RGB", "CMYK"),
    "webp": ("RGB", "RGBA"),
    "avif": ("RGB", "RGBA"),
}
"""Pillow's names for what pixels each format holds."""
_SPACES = {"L": b"GRAY", "LA": b"GRAY", "1": b"GRAY", "I;16": b"GRAY", "CMYK": b"CMYK"}
"""The colours that a profile is for, as it says itself; of all other modes red, green and blue."""
_LARGEST_EXIF = 60_000
"""Of a JPEG, so that a comment still fits."""
_GRAPHS = ("prompt", "workflow")
_XMP = "XML:com.adobe.xmp"
_ORIENTATION = 0x0112


class ConvertedImage(NamedTuple):
    """A file in another format."""

    data: bytes
    quality: int | None
    """None for a format that has none."""
    remarks: tuple[str, ...]
    """Sentences about what the format can't hold."""


def refuse_unwritable_format(kind: Kind) -> None:
    """Raises OutputError where the installed Pillow can't write images of this kind."""
    if kind in ("webp", "avif") and not features.check(kind):
        raise OutputError(
            f"The installed Pillow can't write {NAMES[kind]} images.",
            remedy="Update it with: pip install --upgrade pillow",
        )


def convert_image(
    data: bytes, kind: Kind, quality: int | None = None, *, keeps_metadata: bool = True
) -> ConvertedImage:
    """The image as a file of this kind, with its texts, its EXIF block and its colour profile.

    The pixels of an image that is of this kind already are not touched where no quality is asked.
    Raises OutputError where that can't be; nothing is written anywhere.
    """
    if metadata.kind(data) == kind and quality is None:
        return ConvertedImage(data if keeps_metadata else _bare(data), None, ())
    refuse_unwritable_format(kind)
    try:
        with catch_warnings(action="ignore"), open_image(BytesIO(data)) as image:
            return _converted(image, data, kind, quality, keeps_metadata=keeps_metadata)
    except UnidentifiedImageError as error:
        raise OutputError("It is not an image that can be read.") from error
    except (*DECODE_ERRORS, MemoryError, Image.DecompressionBombError) as error:
        raise OutputError(f"The image can't be converted to {NAMES[kind]}: {error}.") from error


def _bare(data: bytes) -> bytes:
    try:
        return metadata.strip_metadata(data)
    except OutputError as error:
        raise OutputError(f"Its metadata can't be removed: {error.message}.") from error


def _converted(
    image: Image.Image, data: bytes, kind: Kind, quality: int | None, *, keeps_metadata: bool
) -> ConvertedImage:
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
        raise OutputError("An animation can't be converted; only still images are.")
    largest = _MOST_PIXELS.get(kind)
    if largest is not None and max(image.size) > largest:
        width, height = image.size
        raise OutputError(
            f"It has {width} × {height} pixels, and {NAMES[kind]} takes at most {largest} a side."
        )
    image.load()
    texts: dict[str, str] = {}
    unread: list[str] = []
    try:
        texts = _texts(data) if keeps_metadata else {}
    except OutputError as error:
        unread = [f"Its texts were left out: {error.message}."]
    block = _exif_block(image, keeps_metadata=keeps_metadata)
    if kind != "png":
        block, texts = _with_exif_texts(block, texts, kind)
    quality = None if kind == "png" else quality or _QUALITY[kind]
    options = _options(kind, quality)
    if block:
        options["exif"] = b"Exif\0\0" + block
    if keeps_metadata:
        options |= _xmp(image, kind)
    profile = image.info.get("icc_profile")
    pixels, remarks = _fitting(image, data, kind)
    remarks += unread
    if profile and profile[16:20] == _SPACES.get(pixels.mode, b"RGB "):
        options["icc_profile"] = profile
    elif profile:
        remarks.append(f"Its colour profile does not fit the colours of {NAMES[kind]}.")
    if kind == "png" and pixels is image and "transparency" in image.info:
        options["transparency"] = image.info["transparency"]
    pixels.info = {}  # Pillow would write what is there, too
    buffer = BytesIO()
    pixels.save(buffer, kind.upper(), **options)
    if not texts:
        return ConvertedImage(buffer.getvalue(), quality, tuple(remarks))
    whole, remark = metadata.embed(buffer.getvalue(), texts)
    return ConvertedImage(whole, quality, (*remarks, *([remark] if remark else [])))


def _texts(data: bytes) -> dict[str, str]:
    """All that any program wrote about the making of the image, by name."""
    found = metadata.texts(data, (*metadata.WANTED, "workflow"))
    if found or metadata.kind(data) not in ("png", "webp"):
        return found
    from imagen.outputs.metadata import stealth

    hidden = stealth.read_hidden_text(data)
    return {"parameters": hidden} if hidden else {}


def _exif_block(image: Image.Image, *, keeps_metadata: bool) -> bytes:
    """The image's own; Pillow makes one where the format says otherwise how it is to be held."""
    block: bytes = image.info.get("exif", b"")
    if not block and (way := image.getexif().get(_ORIENTATION)):
        made = Image.Exif()
        made[_ORIENTATION] = way
        block = made.tobytes()
    block = block.removeprefix(b"Exif\0\0")
    return block if keeps_metadata else exif.keep_orientation(block)


def _with_exif_texts(
    block: bytes, texts: Mapping[str, str], kind: Kind
) -> tuple[bytes, dict[str, str]]:
    """The block with the texts that other programs look for there, and the texts that are left.

    In AVIF the block can't be changed later, so all of them stay among those, too.
    """
    left = dict(texts)
    graphs = {name: texts[name] for name in _GRAPHS if name in texts}
    with suppress(OutputError):  # a block that can't be read is left as it is
        if graphs:
            whole = exif.write_graphs(block, graphs)
            if kind != "jpeg" or len(whole) < _LARGEST_EXIF:
                block = whole
                left = {name: text for name, text in left.items() if name not in graphs}
        if kind == "avif" and "parameters" in texts:
            block = exif.write_comment(block, texts["parameters"])
    return block, left


def _options(kind: Kind, quality: int | None) -> dict[str, Any]:
    if kind == "png":
        return {}
    if kind == "webp":
        is_lossless = quality == _LOSSLESS
        return {"quality": quality, "lossless": is_lossless, "exact": is_lossless}
    return {"quality": quality, "subsampling": "4:4:4"}  # coloured lines stay sharp


def _xmp(image: Image.Image, kind: Kind) -> dict[str, Any]:
    packet = image.info.get("xmp") or image.info.get(_XMP) or b""
    packet = packet.encode() if isinstance(packet, str) else packet
    if not packet:
        return {}
    if kind != "png":
        return {"xmp": packet}
    info = PngInfo()
    info.add_itxt(_XMP, packet.decode("utf-8", "replace"))
    return {"pnginfo": info}


def _fitting(image: Image.Image, data: bytes, kind: Kind) -> tuple[Image.Image, list[str]]:
    """The image with pixels that the format can hold, and what was lost of them."""
    remarks = list(_losses(image, data, kind))
    if image.mode.startswith("I") and kind != "png":
        image = image.convert("I").point(lambda shade: shade / 257).convert("L")
        image.info.pop("transparency", None)  # a shade of 16 bits
    if image.mode == "I":
        image = image.convert("I;16")
    if image.mode == "F":
        raise OutputError("Its pixels are fractions, which no format for the web holds.")
    if kind == "jpeg" and image.has_transparency_data:
        image = _flattened(image)
    if image.mode in _MODES[kind]:
        return image, remarks
    return image.convert("RGBA" if image.has_transparency_data else "RGB"), remarks


def _losses(image: Image.Image, data: bytes, kind: Kind) -> Iterator[str]:
    is_deep_colour = metadata.kind(data) == "png" and data[24] == 16 and image.mode[:1] != "I"
    if is_deep_colour or (image.mode.startswith("I") and kind != "png"):
        yield f"Its 16 bits a channel became 8 in {NAMES[kind]}."
    if kind == "jpeg" and image.has_transparency_data:
        lowest = image.convert("RGBA").getchannel("A").getextrema()[0]
        if lowest != 255:
            yield "Transparent parts became white, since a JPEG has no transparency."


def _flattened(image: Image.Image) -> Image.Image:
    """On white."""
    ground = Image.new("RGBA", image.size, "white")
    flat = Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")
    return flat.convert("L") if image.mode == "LA" else flat
