"""Picture: a file that a request names, read whole, and what is known of it."""

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

from imagen.core.filesystem import read_at_most
from imagen.errors import ConfigError, RequestError

if TYPE_CHECKING:
    from typing import BinaryIO

    from PIL import Image

DECODE_ERRORS = (
    *(OSError, SyntaxError, ValueError, TypeError, EOFError, LookupError, ArithmeticError),
    *(RuntimeError, struct.error),
)
"""What Pillow raises for a damaged file, or one of a kind or a variant that it does not read."""
MEDIA_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
"""What every engine takes, by Pillow's name."""
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
LARGEST_BYTES = 256 * 2**20
"""Of a file that is read whole."""
MAX_MEGAPIXELS = 300
"""What is decoded at most where IMAGEN_MAX_MEGAPIXELS does not say otherwise.

The largest image that imagen makes itself, 16384 × 16384, has 268."""
_PILLOW_LIMIT = Lock()


class TooManyPixels(ValueError):
    """An image that is larger than imagen decodes; its words end a sentence about it."""

    def __init__(self, size: tuple[int, int], most: float) -> None:
        width, height = size
        super().__init__(
            f"it has {width} × {height} pixels ({width * height / 1e6:.4g} megapixels), "
            f"and at most {most:g} megapixels are decoded"
        )
        self.size = size


LARGER_IMAGES = "Make it smaller, or set IMAGEN_MAX_MEGAPIXELS to decode larger images."
"""The remedy for TooManyPixels."""


def max_megapixels() -> float:
    """How large an image may be to be decoded; raises ConfigError where that is not a number."""
    text = os.environ.get("IMAGEN_MAX_MEGAPIXELS", "").strip() or str(MAX_MEGAPIXELS)
    try:
        most = float(text)
    except ValueError:
        most = 0.0
    if not 0 < most < 1e6:
        raise ConfigError(
            f"IMAGEN_MAX_MEGAPIXELS is {text!r}, but should be a number above 0, such as 300."
        )
    return most


def open_image(source: Path | BinaryIO) -> Image.Image:
    """The image with its header read, as `Image.open` gives it, whatever Pillow's own limit is.

    Raises TooManyPixels where it must not be decoded, else what `Image.open` raises.
    """
    most = max_megapixels()
    image = _open_any_size(source)
    if image.width * image.height > most * 1e6:
        image.close()
        raise TooManyPixels(image.size, most)
    return image


def image_size(source: Path | BinaryIO) -> tuple[int, int]:
    """Width and height as the header says, of an image of any size; raises as `Image.open` does."""
    with _open_any_size(source) as image:
        return image.size


def _open_any_size(source: Path | BinaryIO) -> Image.Image:
    """Pillow's own limit is lower than ours, and a global that other code may depend on."""
    from PIL import Image

    with _PILLOW_LIMIT, catch_warnings(action="ignore"):  # of odd metadata
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(source)
        finally:
            Image.MAX_IMAGE_PIXELS = before


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFile:
    """The bytes of one picture; its sides are pixels."""

    data: bytes
    name: str
    """The file's own name, without its folder."""
    kind: str
    """Pillow's name for the format: PNG, JPEG, WEBP, BMP, …"""
    width: int
    height: int

    @property
    def sha256(self) -> str:
        return sha256(self.data).hexdigest()

    @property
    def media_type(self) -> str:
        """`image/png`; "" for a format that not every engine takes."""
        return MEDIA_TYPES.get(self.kind, "")

    def opened(self) -> Image.Image:
        """The decoded picture, as the file has it."""
        with catch_warnings(action="ignore"):  # of odd metadata
            picture = open_image(BytesIO(self.data))
            picture.load()
        return picture


def is_url(path: str) -> bool:
    """Whether this is an address such as https://example.org/fox.png, rather than a file's path."""
    return _URL.match(path) is not None


def read_image_file(path: str, what: str = "image") -> ImageFile:
    """The picture in a file; `what` names the parameter in the error.

    Raises RequestError where there is no such file, or no picture that can be read to its end, or
    one of too many pixels.
    """
    from PIL import Image, UnidentifiedImageError

    if is_url(path):
        raise RequestError(
            f"{what}: {path} is a URL, and imagen reads files only.",
            remedy="Download it and name the file, or set inputs.allow_urls: true in imagen.yaml.",
        )
    file = Path(path).expanduser()
    data = _bytes(file, what)
    try:
        with catch_warnings(action="ignore"), open_image(BytesIO(data)) as picture:
            picture.load()
            kind = picture.format or ""
            width, height = picture.size
    except UnidentifiedImageError as error:
        raise RequestError(f"{what}: {file} is no picture that can be read.") from error
    except TooManyPixels as error:
        raise RequestError(
            f"{what}: {file} is too large: {error}.", remedy=LARGER_IMAGES
        ) from error
    except (
        *DECODE_ERRORS,
        Image.DecompressionBombError,
    ) as error:  # of a frame beyond the image's size
        raise RequestError(f"{what}: {file} can't be decoded: {error}.") from error
    return ImageFile(data=data, name=file.name, kind=kind, width=width, height=height)


def _bytes(file: Path, what: str) -> bytes:
    data = _beginning(file, what)
    if len(data) > LARGEST_BYTES:
        raise RequestError(
            f"{what}: {file} is larger than {LARGEST_BYTES >> 20} MiB: no picture for an engine."
        )
    return data


def _beginning(file: Path, what: str) -> bytes:
    """All of the file, or a little more than may be: a device never ends."""
    try:
        return read_at_most(file, LARGEST_BYTES + 1)
    except FileNotFoundError as error:
        is_word = re.fullmatch(r"last(~\d+)?", file.name, re.IGNORECASE)
        remedy = f"Give the path of a file: `imagen show {file.name}` has that of the image."
        raise RequestError(
            f"{what}: there is no file {file}.", remedy=remedy if is_word else ""
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RequestError(f"{what}: {file} can't be read: {reason}.") from error
