"""A sixel decoder, written from the manual: https://vt100.net/docs/vt3xx-gp/chapter14.html"""

from __future__ import annotations

import re

from PIL import Image

_TOKEN = re.compile(rb'"([\d;]+)|#(\d+);2;(\d+);(\d+);(\d+)|#(\d+)|!(\d+)([?-~])|([?-~])|([$-])')


def decode_sixels(sixels: bytes) -> Image.Image:
    """The image that a terminal would draw; undrawn pixels are magenta."""
    found = re.fullmatch(rb"\x1bP[\d;]*q(.*)\x1b\\", sixels, re.DOTALL)
    assert found is not None
    assert _TOKEN.sub(b"", found[1]) == b""
    page = _Page()
    for token in _TOKEN.finditer(found[1]):
        page.take(*token.groups(b""))
    return page.image


class _Page:
    def __init__(self) -> None:
        self.image = Image.new("RGB", (0, 0))
        self._colours: dict[bytes, tuple[int, int, int]] = {}
        self._colour = (0, 0, 0)
        self._x = self._y = 0

    def take(
        self,
        raster: bytes,
        number: bytes,
        red: bytes,
        green: bytes,
        blue: bytes,
        chosen: bytes,
        times: bytes,
        repeated: bytes,
        single: bytes,
        control: bytes,
    ) -> None:
        if raster:
            _, _, width, height = map(int, raster.split(b";"))
            self.image = Image.new("RGB", (width, height), "magenta")
        if number:
            self._colours[number] = (_channel(red), _channel(green), _channel(blue))
        if chosen:
            self._colour = self._colours[chosen]
        for _ in range(int(times or 1) if repeated or single else 0):
            self._draw((repeated or single)[0] - ord("?"))
        if control:
            self._x = 0
            self._y += 6 if control == b"-" else 0

    def _draw(self, dots: int) -> None:
        for place in range(6):
            if dots >> place & 1:
                self.image.putpixel((self._x, self._y + place), self._colour)
        self._x += 1


def _channel(percent: bytes) -> int:
    return round(int(percent) * 255 / 100)
