"""Writes a large RGB picture as PNG, fast: in bands, which several processors pack at once."""

from __future__ import annotations

import os
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from PIL import Image, ImageChops

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER = struct.Struct(">IIBBBBB")
_RGB = 2
_UP = b"\x02"
"""Each line as its difference from the line above: one filter for all, where choosing would cost
more time than it saves bytes."""
_BAND_BYTES = 2**20
"""As large as this or one line: enough that packing by itself costs a band next to nothing."""
_LEVEL = 1
_ZLIB_HEADER = b"\x78\x01"
_WORKERS = min(4, os.cpu_count() or 1)


class _Band(NamedTuple):
    """Some lines, packed; what follows needs nothing of it."""

    packed: bytes
    lines: bytes


def write_png(picture: Image.Image, file: BinaryIO) -> None:
    """Write an RGB picture to `file`. Raises OSError."""
    file.write(_SIGNATURE)
    header = _HEADER.pack(picture.width, picture.height, 8, _RGB, 0, 0, 0)
    file.write(_chunk(b"IHDR", header))
    checksum, before = 1, _ZLIB_HEADER
    for band in _bands(picture):
        checksum = zlib.adler32(band.lines, checksum)
        file.write(_chunk(b"IDAT", before + band.packed))
        before = b""
    file.write(_chunk(b"IDAT", struct.pack(">I", checksum)))
    file.write(_chunk(b"IEND", b""))


def _bands(picture: Image.Image) -> Iterator[_Band]:
    """In order; of those to come, only as many are held as there are workers."""
    height = max(1, _BAND_BYTES // (3 * picture.width))
    tops = range(0, picture.height, height)
    with ThreadPoolExecutor(_WORKERS) as pool:
        for first in range(0, len(tops), _WORKERS):
            group = tops[first : first + _WORKERS]
            yield from pool.map(lambda top: _packed(picture, top, top + height), group)


def _packed(picture: Image.Image, top: int, bottom: int) -> _Band:
    lines = _filtered(picture, top, min(bottom, picture.height))
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    end = zlib.Z_FINISH if bottom >= picture.height else zlib.Z_FULL_FLUSH
    return _Band(packer.compress(lines) + packer.flush(end), lines)


def _filtered(picture: Image.Image, top: int, bottom: int) -> bytes:
    """The lines as PNG wants them: a byte that names the filter, then the differences."""
    here = picture.crop((0, top, picture.width, bottom))
    # Above the first line PNG sees zeros, as Pillow does outside a picture.
    above = picture.crop((0, top - 1, picture.width, bottom - 1))
    raw = ImageChops.subtract_modulo(here, above).tobytes()
    length = 3 * picture.width
    return b"".join(_UP + raw[at : at + length] for at in range(0, len(raw), length))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
