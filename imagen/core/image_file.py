"""Image files: read and decode them, find their type and size, and check that they are complete."""

from __future__ import annotations

import os
import re
import struct
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING
from warnings import catch_warnings
from zlib import crc32

from imagen.core.filesystem import read_at_most
from imagen.errors import ConfigError, RequestError

if TYPE_CHECKING:
    from typing import BinaryIO

    from PIL import Image

DECODE_ERRORS = (
    *(OSError, SyntaxError, ValueError, TypeError, EOFError, LookupError, ArithmeticError),
    *(RuntimeError, struct.error),
)
"""What Pillow raises for a damaged file, and for a format or variant that it does not read."""
MEDIA_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
"""The formats that every engine accepts, by Pillow's name."""
LARGEST_BYTES = 256 * 2**20
"""The largest file that is read into memory."""
MAX_MEGAPIXELS = 300
"""The default of IMAGEN_MAX_MEGAPIXELS.

The largest image that imagen produces, 16384 × 16384, has 268.
"""
LARGER_IMAGES = "Make it smaller, or set IMAGEN_MAX_MEGAPIXELS to decode larger images."
"""The remedy for TooManyPixels."""
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_BLOB = re.compile(r"blob:([0-9a-f]{64})/(.+)", re.DOTALL)
_PILLOW_LIMIT = Lock()

_PNG = b"\x89PNG\r\n\x1a\n"
_MAGIC_BYTES = {
    _PNG: "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
    b"II*\0": "image/tiff",
    b"MM\0*": "image/tiff",
}
IMAGE_EXTENSIONS = ("png", "jpg", "jpeg", "webp", "gif", "avif", "bmp", "tif", "tiff")
_PAGE_TYPES = ("text/html", "application/xhtml+xml", "application/json")
_PAGE_EXTENSIONS = ("html", "htm", "xhtml", "json")
_PAGE_STARTS = (b"<!doctype html", b"<html")


class TooManyPixels(ValueError):
    """An image is larger than imagen decodes; the message completes a sentence about it."""

    def __init__(self, size: tuple[int, int], most: float) -> None:
        width, height = size
        super().__init__(
            f"it has {width} × {height} pixels ({width * height / 1e6:.4g} megapixels), "
            f"and at most {most:g} megapixels are decoded"
        )
        self.size = size


def max_megapixels() -> float:
    """The largest image that is decoded. Raises ConfigError if the setting is not a number."""
    text = os.environ.get("IMAGEN_MAX_MEGAPIXELS", "").strip() or str(MAX_MEGAPIXELS)
    try:
        most = float(text)
    except ValueError:
        most = 0.0
    if not 0 < most < 1e6:
        raise ConfigError(
            f"IMAGEN_MAX_MEGAPIXELS is {text!r}; expected a number above 0, such as 300."
        )
    return most


def open_image(
    source: Path | BinaryIO,
    *,
    formats: tuple[str, ...] | None = None,
    most: float = float("inf"),
) -> Image.Image:
    """`Image.open` with imagen's size limit in place of Pillow's.

    `most` is a lower limit in megapixels. Raises TooManyPixels, and whatever `Image.open` raises.
    """
    most = min(max_megapixels(), most)
    image = _open_any_size(source, formats)
    if image.width * image.height > most * 1e6:
        image.close()
        raise TooManyPixels(image.size, most)
    return image


def image_size(source: Path | BinaryIO) -> tuple[int, int]:
    """Width and height from the header, for an image of any size. Raises as `Image.open` does."""
    with _open_any_size(source) as image:
        return image.size


def _open_any_size(source: Path | BinaryIO, formats: tuple[str, ...] | None = None) -> Image.Image:
    """Open without Pillow's limit, a global below ours that other code may depend on."""
    from PIL import Image

    with _PILLOW_LIMIT, catch_warnings(action="ignore"):  # warnings about odd metadata
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(source, formats=formats)
        finally:
            Image.MAX_IMAGE_PIXELS = before


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFile:
    """An image as encoded bytes."""

    data: bytes
    name: str
    """The file name, without its folder."""
    kind: str
    """Pillow's name for the format: PNG, JPEG, WEBP, BMP, …"""
    width: int
    height: int

    @property
    def sha256(self) -> str:
        return sha256(self.data).hexdigest()

    @property
    def media_type(self) -> str:
        """`image/png`; "" for a format that not every engine accepts."""
        return MEDIA_TYPES.get(self.kind, "")

    def decode(self) -> Image.Image:
        """The pixels, as they are in the file."""
        with catch_warnings(action="ignore"):
            image = open_image(BytesIO(self.data))
            image.load()
        return image


def is_url(path: str) -> bool:
    """Whether this is a URL such as https://example.org/fox.png, and not a file path."""
    return _URL.match(path) is not None


def blob_name(digest: str, name: str) -> str:
    """How a request of the queue names an input file: `blob:<sha256>/<name>`."""
    return f"blob:{digest}/{name}"


def parse_blob_name(path: str) -> tuple[str, str] | None:
    """The hash and the file name; None for any other text."""
    match = _BLOB.fullmatch(path)
    return (match[1], match[2]) if match else None


def read_image_file(path: str, what: str = "image") -> ImageFile:
    """Read and check an image file; `what` names the parameter in errors.

    Raises RequestError if the file is missing, is not a complete image, or has too many pixels.
    """
    if is_url(path):
        raise RequestError(
            f"{what}: {path} is a URL, and imagen reads files only.",
            remedy="Download it and name the file, or set inputs.allow_urls: true in imagen.yaml.",
        )
    file = Path(path).expanduser()
    try:
        data = read_at_most(file, LARGEST_BYTES + 1)  # a device never ends
    except FileNotFoundError as error:
        is_shorthand = re.fullmatch(r"last(~\d+)?", file.name, re.IGNORECASE)
        remedy = f"Name a file: `imagen show {file.name}` prints the path of that image."
        raise RequestError(
            f"{what}: there is no file {file}.", remedy=remedy if is_shorthand else ""
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RequestError(f"{what}: {file} cannot be read: {reason}.") from error
    if len(data) > LARGEST_BYTES:
        raise RequestError(
            f"{what}: {file} is larger than {LARGEST_BYTES >> 20} MiB.",
            remedy="Make it smaller: no engine takes such an image.",
        )
    return _decode_file(data, f"{what}: {file}", file.name)


def read_image_bytes(
    data: bytes, what: str, *, formats: tuple[str, ...], most: float = float("inf")
) -> ImageFile:
    """Check an image that was sent, in one of these formats by Pillow's names.

    Raises RequestError if it is not a complete image, or has too many pixels: more than `most`
    megapixels, or than imagen decodes.
    """
    image = _decode_file(data, f"{what}: the file", "", formats, most)
    if image.kind not in formats:
        raise RequestError(f"{what}: expected an image as {', '.join(formats)}.")
    return image


def _decode_file(
    data: bytes,
    subject: str,
    name: str,
    formats: tuple[str, ...] | None = None,
    most: float = float("inf"),
) -> ImageFile:
    """Raises RequestError, with the subject of its sentence."""
    from PIL import Image, UnidentifiedImageError

    try:
        with (
            catch_warnings(action="ignore"),
            open_image(BytesIO(data), formats=formats, most=most) as image,
        ):
            image.load()
            kind = image.format or ""
            width, height = image.size
    except UnidentifiedImageError as error:
        readable = f"as {', '.join(formats)}" if formats else "that imagen can read"
        raise RequestError(f"{subject} is not an image {readable}.") from error
    except TooManyPixels as error:
        remedy = LARGER_IMAGES if most >= max_megapixels() else ""
        raise RequestError(f"{subject} is too large: {error}.", remedy=remedy) from error
    except (*DECODE_ERRORS, Image.DecompressionBombError) as error:  # a frame beyond the image
        raise RequestError(f"{subject} cannot be decoded: {error}.") from error
    return ImageFile(data=data, name=name, kind=kind, width=width, height=height)


def media_type(data: bytes) -> str | None:
    """The type of an image, from its first bytes; None for anything else."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    if data[4:12] in (b"ftypavif", b"ftypavis"):
        return "image/avif"
    if data[:2] == b"BM" and data[6:10] == bytes(4):
        return "image/bmp"
    return next((kind for magic, kind in _MAGIC_BYTES.items() if data.startswith(magic)), None)


def is_complete(data: bytes) -> bool:
    """Whether an image is not truncated, as far as its format shows it.

    Other files are complete if they are not empty.
    """
    match media_type(data):
        case "image/png":
            return _png_is_complete(data)
        case "image/jpeg":
            # Neither marker occurs within the pixels; an end before the scan is a thumbnail's.
            return data.rfind(b"\xff\xd9") > data.rfind(b"\xff\xda")
        case "image/webp":
            return len(data) >= int.from_bytes(data[4:8], "little") + 8
        case "image/gif":
            return data.rstrip(b"\0").endswith(b";")
        case "image/avif":
            return _boxes_are_complete(data)
    return len(data) > 0


def download_fault(data: bytes, name: str, declared_type: str = "") -> str:
    """What is wrong with a downloaded file of this name; "" if it is fine.

    `declared_type` is the server's. A gateway may send an error page in place of any file.
    """
    extension = name.rpartition(".")[2].lower()
    if media_type(data) is None and extension in IMAGE_EXTENSIONS and data:
        if declared_type.startswith("image/"):
            return f"is not an image, although its type is given as {declared_type}"
        return f"is not an image but {declared_type or 'something else'}"
    is_page = declared_type in _PAGE_TYPES or data[:64].lstrip().lower().startswith(_PAGE_STARTS)
    if media_type(data) is None and is_page and extension not in _PAGE_EXTENSIONS:
        return f"is not the file but {declared_type or 'a web page'}"
    return "" if is_complete(data) else "came cut short or damaged"


def _png_is_complete(data: bytes) -> bool:
    """Whether every chunk that the pixels need has its checksum; data after IEND is harmless."""
    view, at = memoryview(data), len(_PNG)
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(view[at : at + 4], "big")
        kind = data[at + 4 : at + 8]
        checksum = int.from_bytes(view[end : end + 4], "big")
        if kind[:1].isupper() and crc32(view[at + 4 : end]) != checksum:
            return False
        if kind == b"IEND":
            return True
        at = end + 4
    return False


def _boxes_are_complete(data: bytes) -> bool:
    """Whether the boxes end where the file does; a box of size 0 extends to the end."""
    at = 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        if size < 8:
            return size == 0
        at += size
    return at == len(data)


def png_text(data: bytes, keyword: str) -> str:
    """The uncompressed text chunk with this keyword; "" if there is none."""
    start = keyword.encode("latin-1") + b"\0"
    at = len(_PNG)
    while data.startswith(_PNG) and at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == b"tEXt" and data.startswith(start, at + 8):
            return data[at + 8 + len(start) : end].decode("latin-1")
        at = end + 4
    return ""


def png_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a PNG."""
    if not data.startswith(_PNG) or data[12:16] != b"IHDR":
        return None
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
