"""A picture as sixels: bands of six rows, drawn one colour after another.

https://vt100.net/docs/vt3xx-gp/chapter14.html
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL import Image

_BAND = 6
_COLOURS = 256
_EMPTY = b"?"
_FIRST = ord(_EMPTY)
"""A column of six dots is this character and up, a bit for each dot."""
_DOTS = bytes(_FIRST + bits if bits < 1 << _BAND else 0 for bits in range(256))
_RUN = re.compile(rb"([?-~])\1{3,}")


def encode_sixel(picture: Image.Image) -> bytes:
    """The picture, in at most 256 colours of its own."""
    plain = picture.convert("RGB").quantize(_COLOURS)
    head = b'\x1bP0;1q"1;1;%d;%d' % plain.size
    return b"".join([head, *_palette(plain), b"-".join(_bands(plain)), b"\x1b\\"])


def _palette(picture: Image.Image) -> Iterator[bytes]:
    """The colours, each channel out of a hundred."""
    values = picture.getpalette() or []
    for colour in range(len(values) // 3):
        channels = (round(v * 100 / 255) for v in values[3 * colour : 3 * colour + 3])
        yield b"#%d;2;%d;%d;%d" % (colour, *channels)


def _bands(picture: Image.Image) -> Iterator[bytes]:
    width, height = picture.size
    data = picture.tobytes()
    for top in range(0, height, _BAND):
        rows = [data[y * width : (y + 1) * width] for y in range(top, min(top + _BAND, height))]
        yield b"$".join(_layer(rows, colour) for colour in sorted({*b"".join(rows)}))


def _layer(rows: list[bytes], colour: int) -> bytes:
    """What one colour draws in a band; its rows are numbers, a byte for each dot."""
    only = bytes(index == colour for index in range(256))
    bits = 0
    for place, row in enumerate(rows):
        bits |= int.from_bytes(row.translate(only)) << place
    columns = bits.to_bytes(len(rows[0])).translate(_DOTS).rstrip(_EMPTY)
    return b"#%d%b" % (colour, _RUN.sub(_counted, columns))


def _counted(run: re.Match[bytes]) -> bytes:
    return b"!%d%b" % (len(run[0]), run[1])
