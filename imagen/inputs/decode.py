"""A picture from a file, the right way up, in eight bits of red, green and blue."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import PureWindowsPath
from warnings import catch_warnings

from PIL import Image, ImageOps

from imagen.core.image_file import DECODE_ERRORS, ImageFile, read_image_file
from imagen.core.ticket import InputImage
from imagen.inputs.colours import convert_to_srgb
from imagen.inputs.sizes import ImageSize

_STEREO = ("MPO",)
"""A camera's second frame is a preview, or the other eye's: the first is the picture."""
_TELLING = frozenset(("exif", "xmp", "comment", "photoshop", "XML:com.adobe.xmp"))
"""Where a file tells of its maker: a place on earth, a name, a prompt."""


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """The decoded picture: RGB, or RGBA where some of it is transparent."""

    source: ImageFile
    """As the file has it."""
    image: Image.Image
    is_untouched: bool
    """Whether the file itself shows just this, in a format every engine takes, and no more."""
    warnings: tuple[str, ...] = ()

    @property
    def size(self) -> ImageSize:
        return ImageSize(*self.image.size)

    @property
    def is_transparent(self) -> bool:
        return self.image.mode == "RGBA"


def decode_file(path: str, what: str) -> DecodedImage:
    """The picture in a file; `what` names the parameter in errors and warnings.

    Raises RequestError as `read_picture` does.
    """
    return decode_image(read_image_file(path, what), what)


def decode_image(source: ImageFile, what: str) -> DecodedImage:
    """This picture, as its EXIF says it is to be held; of an animation the first frame."""
    with catch_warnings(action="ignore"), source.opened() as opened:
        image = _turned(opened)
        converted = convert_to_srgb(image)
        is_as_it_was = converted is image
        image = _opaque_if_so(_eight_bit(converted))
        frames = 1 if source.kind in _STEREO else _frames(opened)
        is_plain = _is_plain(opened) and bool(source.media_type) and frames == 1
        is_untouched = is_plain and is_as_it_was and image.mode == opened.mode
    warnings = (
        f"{what}: {source.name} has {frames} frames, and the first of them is used."
        for _ in range(frames > 1)
    )
    return DecodedImage(source, image, is_untouched, tuple(warnings))


def describe_input(file: DecodedImage, parameter: str) -> InputImage:
    """What is remembered of the user's own file."""
    return InputImage(
        parameter=parameter,
        name=PureWindowsPath(file.source.name).name,
        sha256=file.source.sha256,
        width=file.size.width,
        height=file.size.height,
    )


def flatten(image: Image.Image, colour: str = "white") -> Image.Image:
    """In RGB, with this colour behind what is transparent."""
    if image.mode != "RGBA":
        return image
    ground = Image.new("RGBA", image.size, colour)
    return Image.alpha_composite(ground, image).convert("RGB")


def encode_png(image: Image.Image) -> bytes:
    """The picture as a PNG file, without a word of where it came from."""
    image.info = {}
    data = BytesIO()
    image.save(data, "PNG", compress_level=3)
    return data.getvalue()


def as_png_file(image: Image.Image, name: str) -> ImageFile:
    """The picture as a PNG file of the same name, but for the ending."""
    stem, dot, _ = name.rpartition(".")
    width, height = image.size
    called = f"{stem if dot else name}.png"
    return ImageFile(data=encode_png(image), name=called, kind="PNG", width=width, height=height)


def _frames(opened: Image.Image) -> int:
    try:
        return getattr(opened, "n_frames", 1)
    except (*DECODE_ERRORS, Image.DecompressionBombError):  # of those that come after the first
        return 1


def _is_plain(opened: Image.Image) -> bool:
    texts = getattr(opened, "text", {})
    return not (texts or _TELLING & opened.info.keys())


def _turned(opened: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(opened)
    except DECODE_ERRORS:  # of the metadata: the picture itself is whole
        return opened.copy()


def _eight_bit(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        return _reduced_to_eight_bits(image).convert("RGB")
    wanted = "RGBA" if image.has_transparency_data else "RGB"
    return image if image.mode == wanted else image.convert(wanted)


def _reduced_to_eight_bits(image: Image.Image) -> Image.Image:
    """Whole numbers up to 65535, or fractions up to 1, as shades of grey."""
    wide = image if image.mode in ("I", "F") else image.convert("I")
    most = _most(wide)
    factor = 1 / 257 if most > 255 else 255.0 if wide.mode == "F" and most <= 1 else 1.0
    return wide.convert("F").point(lambda shade: shade * factor + 0.5).convert("L")


def _opaque_if_so(image: Image.Image) -> Image.Image:
    """Without an alpha channel that says nothing."""
    if image.mode == "RGBA" and image.getchannel("A").getextrema() == (255, 255):
        return image.convert("RGB")
    return image


def _most(image: Image.Image) -> float:
    """The greatest value of a picture of one channel."""
    most = image.getextrema()[1]
    return most if isinstance(most, int | float) else 0.0
