"""A picture as the bytes that a terminal draws it from, shrunk to fit."""

from __future__ import annotations

from base64 import b64encode
from io import BytesIO
from typing import TYPE_CHECKING, Literal

from imagen.core.image_file import read_image_file
from imagen.preview.sixel import encode_sixel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from PIL import Image

    from imagen.preview.terminal import TerminalSize

Protocol = Literal["kitty", "iterm2", "sixel"]

_SHARE = 0.6
"""Of the terminal's height: what was said before should stay in sight."""
_KITTY_CHUNK = 4096
"""https://sw.kovidgoyal.net/kitty/graphics-protocol/#remote-client"""


def draw_image(path: Path, protocol: Protocol, screen: TerminalSize) -> bytes:
    """The picture in this file, for this terminal; raises RequestError where it can't be read."""
    picture = fit_to_terminal(read_image_file(str(path), "preview").decode(), screen)
    return _DRAWERS[protocol](picture)


def fit_to_terminal(picture: Image.Image, screen: TerminalSize) -> Image.Image:
    """In RGB, on white where it is transparent, and no larger than the terminal has room for."""
    size = _size(picture.size, (screen.width, int(screen.height * _SHARE)))
    plain = _on_white(picture)
    return plain if plain.size == size else plain.resize(size)


def _size(size: tuple[int, int], room: tuple[int, int]) -> tuple[int, int]:
    scale = min(1.0, room[0] / size[0], room[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _on_white(picture: Image.Image) -> Image.Image:
    from PIL import Image

    if not picture.has_transparency_data:
        return picture.convert("RGB")
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")


def kitty(picture: Image.Image) -> bytes:
    """https://sw.kovidgoyal.net/kitty/graphics-protocol/"""
    data = b64encode(_png(picture))
    parts = [data[at : at + _KITTY_CHUNK] for at in range(0, len(data), _KITTY_CHUNK)]
    keys = [b"a=T,f=100,q=2,", *[b""] * (len(parts) - 1)]
    more = [b"m=1"] * (len(parts) - 1) + [b"m=0"]
    pieces = zip(keys, more, parts, strict=True)
    return b"".join(b"\x1b_G%b%b;%b\x1b\\" % piece for piece in pieces)


def iterm2(picture: Image.Image) -> bytes:
    """https://iterm2.com/documentation-images.html"""
    data = _png(picture)
    return b"\x1b]1337;File=inline=1;size=%d:%b\x07" % (len(data), b64encode(data))


def _png(picture: Image.Image) -> bytes:
    whole = BytesIO()
    picture.save(whole, "PNG")
    return whole.getvalue()


_DRAWERS: Mapping[Protocol, Callable[[Image.Image], bytes]] = {
    "kitty": kitty,
    "iterm2": iterm2,
    "sixel": encode_sixel,
}
