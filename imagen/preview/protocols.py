"""Encode an image in the protocols that terminals draw images from."""

from __future__ import annotations

import re
from base64 import b64encode
from io import BytesIO
from typing import TYPE_CHECKING, Literal

from imagen.core.image_file import read_image_file

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

    from imagen.preview.terminal import TerminalSize

_HEIGHT_SHARE = 0.6
"""Of the terminal's height, so that the output before it stays visible."""
_KITTY_CHUNK = 4096
_SIXEL_ROWS = 6
_SIXEL_COLOURS = 256
_NO_DOTS = b"?"
_FIRST_COLUMN = ord(_NO_DOTS)
"""A column of six dots is this character plus a bit for each dot."""
_COLUMNS = bytes(_FIRST_COLUMN + bits if bits < 1 << _SIXEL_ROWS else 0 for bits in range(256))
_REPEATS = re.compile(rb"([?-~])\1{3,}")


def draw_image(
    path: Path, protocol: Literal["kitty", "iterm2", "sixel"], size: TerminalSize
) -> bytes:
    """The image for this terminal. Raises RequestError if it cannot be read."""
    image = fit_to_terminal(read_image_file(str(path), "preview").decode(), size)
    match protocol:
        case "kitty":
            return encode_kitty(image)
        case "iterm2":
            return encode_iterm2(image)
        case "sixel":
            return encode_sixel(image)


def fit_to_terminal(image: Image.Image, terminal: TerminalSize) -> Image.Image:
    """In RGB, on white if it is transparent, and no larger than the terminal has room for."""
    from PIL import Image

    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    plain = image.convert("RGB")
    room = (terminal.width, int(terminal.height * _HEIGHT_SHARE))
    scale = min(1.0, room[0] / image.width, room[1] / image.height)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return plain if plain.size == size else plain.resize(size)


def encode_kitty(image: Image.Image) -> bytes:
    """https://sw.kovidgoyal.net/kitty/graphics-protocol/"""
    data = b64encode(_encode_png(image))
    parts = [data[at : at + _KITTY_CHUNK] for at in range(0, len(data), _KITTY_CHUNK)]
    keys = [b"a=T,f=100,q=2,", *[b""] * (len(parts) - 1)]
    more = [b"m=1"] * (len(parts) - 1) + [b"m=0"]
    chunks = zip(keys, more, parts, strict=True)
    return b"".join(b"\x1b_G%b%b;%b\x1b\\" % chunk for chunk in chunks)


def encode_iterm2(image: Image.Image) -> bytes:
    """https://iterm2.com/documentation-images.html"""
    data = _encode_png(image)
    return b"\x1b]1337;File=inline=1;size=%d:%b\x07" % (len(data), b64encode(data))


def _encode_png(image: Image.Image) -> bytes:
    data = BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


def encode_sixel(image: Image.Image) -> bytes:
    """Bands of six rows, each drawn colour by colour, with 256 colours of the image's own.

    https://vt100.net/docs/vt3xx-gp/chapter14.html
    """
    indexed = image.convert("RGB").quantize(_SIXEL_COLOURS)
    width, height = indexed.size
    palette = indexed.getpalette() or []
    parts = [b'\x1bP0;1q"1;1;%d;%d' % (width, height)]
    for colour in range(len(palette) // 3):
        percent = (round(v * 100 / 255) for v in palette[3 * colour : 3 * colour + 3])
        parts.append(b"#%d;2;%d;%d;%d" % (colour, *percent))
    bands = []
    data = indexed.tobytes()
    for top in range(0, height, _SIXEL_ROWS):
        bottom = min(top + _SIXEL_ROWS, height)
        rows = [data[y * width : (y + 1) * width] for y in range(top, bottom)]
        layers = []
        for colour in sorted({*b"".join(rows)}):
            only = bytes(index == colour for index in range(256))
            bits = 0  # each row is a number with a byte for each dot
            for place, row in enumerate(rows):
                bits |= int.from_bytes(row.translate(only)) << place
            columns = bits.to_bytes(width).translate(_COLUMNS).rstrip(_NO_DOTS)
            counted = _REPEATS.sub(lambda run: b"!%d%b" % (len(run[0]), run[1]), columns)
            layers.append(b"#%d%b" % (colour, counted))
        bands.append(b"$".join(layers))
    return b"".join((*parts, b"-".join(bands), b"\x1b\\"))
