"""Picture: a file that a request names, read whole, and what is known of it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING
from warnings import catch_warnings

from imagen.errors import RequestError

if TYPE_CHECKING:
    from PIL import Image

DAMAGE = (OSError, SyntaxError, ValueError, TypeError, EOFError, struct.error)
"""What Pillow raises for a damaged file."""
MEDIA_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
"""What every engine takes, by Pillow's name."""
LARGEST_BYTES = 256 * 2**20
"""Of a file that is read whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
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
        from PIL import Image

        with catch_warnings(action="ignore"):  # of odd metadata, and of a great size
            picture = Image.open(BytesIO(self.data))
            picture.load()
        return picture


def read_picture(path: str, what: str = "image") -> Picture:
    """The picture in a file; `what` names the parameter in the error.

    Raises RequestError where there is no such file, or no picture that can be read to its end.
    """
    from PIL import Image, UnidentifiedImageError

    file = Path(path).expanduser()
    data = _bytes(file, what)
    try:
        with catch_warnings(action="ignore"), Image.open(BytesIO(data)) as picture:
            picture.load()
            kind = picture.format or ""
            width, height = picture.size
    except UnidentifiedImageError as error:
        raise RequestError(f"{what}: {file} is no picture that can be read.") from error
    except (*DAMAGE, Image.DecompressionBombError) as error:
        raise RequestError(f"{what}: the picture {file} is damaged: {error}.") from error
    return Picture(data=data, name=file.name, kind=kind, width=width, height=height)


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
        with file.open("rb") as source:
            return source.read(LARGEST_BYTES + 1)
    except FileNotFoundError as error:
        raise RequestError(f"{what}: there is no file {file}.") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RequestError(f"{what}: {file} can't be read: {reason}.") from error
