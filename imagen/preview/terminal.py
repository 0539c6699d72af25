"""What a terminal says of itself: its size, and whether it draws sixels."""

from __future__ import annotations

import os
import re
import select
import shutil
import struct
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if sys.platform != "win32":
    import fcntl
    import termios
    import tty

if TYPE_CHECKING:
    from collections.abc import Iterator

_ATTRIBUTES = re.compile(rb"\x1b\[\?([\d;]*)c")
"""The answer to `ESC [ c`: https://vt100.net/docs/vt510-rm/DA1.html"""
_SIXELS = b"4"
_PATIENCE_SECONDS = 1.0
"""Every terminal answers at once; only a slow line needs this long."""
_USUAL_CELL = (8, 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalSize:
    """The size of a terminal, in cells and in pixels."""

    columns: int
    rows: int
    width: int
    height: int


def measure_terminal(descriptor: int) -> TerminalSize:
    """The size of this terminal; of a usual one where it does not say."""
    columns, rows = shutil.get_terminal_size()
    width = height = 0
    if sys.platform != "win32":
        rows, columns, width, height = _window_size(descriptor) or (rows, columns, 0, 0)
    columns, rows = columns or 80, rows or 24
    width, height = width or columns * _USUAL_CELL[0], height or rows * _USUAL_CELL[1]
    return TerminalSize(columns=columns, rows=rows, width=width, height=height)


def supports_sixel(
    reading: int = 0, writing: int = 1, *, patience_seconds: float = _PATIENCE_SECONDS
) -> bool:
    """Whether the terminal on both of these descriptors says that it draws sixels."""
    if sys.platform == "win32" or not _can_be_asked(reading, writing):
        return False
    with _unechoed(reading):
        os.write(writing, b"\x1b[c")
        answer = _ATTRIBUTES.search(_heard(reading, patience_seconds))
    return answer is not None and _SIXELS in answer[1].split(b";")


if sys.platform != "win32":

    def _window_size(descriptor: int) -> tuple[int, int, int, int] | None:
        """Rows, columns, width and height."""
        try:
            answer = fcntl.ioctl(descriptor, termios.TIOCGWINSZ, bytes(8))
        except OSError:
            return None
        rows, columns, width, height = struct.unpack("HHHH", answer)
        return rows, columns, width, height

    def _can_be_asked(reading: int, writing: int) -> bool:
        """A job in the background would be stopped for touching the terminal."""
        try:
            both = os.isatty(reading) and os.isatty(writing)
            return both and os.tcgetpgrp(reading) == os.getpgrp()
        except OSError:
            return False

    @contextmanager
    def _unechoed(descriptor: int) -> Iterator[None]:
        """What is typed, or answered, is neither shown nor kept until the line ends."""
        before = termios.tcgetattr(descriptor)
        tty.setcbreak(descriptor, termios.TCSANOW)
        try:
            yield
        finally:
            termios.tcsetattr(descriptor, termios.TCSANOW, before)


def _heard(descriptor: int, patience_seconds: float) -> bytes:
    """What the terminal says, up to the end of its answer."""
    heard = b""
    until = time.monotonic() + patience_seconds
    while not _ATTRIBUTES.search(heard):
        ready, _, _ = select.select([descriptor], [], [], max(0.0, until - time.monotonic()))
        more = os.read(descriptor, 1024) if ready else b""
        if not more:
            break
        heard += more
    return heard
