"""Ask the terminal for its size, and whether it supports sixel."""

from __future__ import annotations

import os
import re
import select
import shutil
import struct
import sys
import time
from contextlib import suppress
from dataclasses import dataclass

if sys.platform != "win32":
    import fcntl
    import termios
    import tty

_ATTRIBUTES = re.compile(rb"\x1b\[\?([\d;]*)c")
"""The answer to `ESC [ c`: https://vt100.net/docs/vt510-rm/DA1.html"""
_SIXEL = b"4"
_TIMEOUT_SECONDS = 1.0
"""Terminals answer at once; only a slow connection needs this long."""
_DEFAULT_CELL = (8, 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalSize:
    """The size of a terminal, in cells and in pixels."""

    columns: int
    rows: int
    width: int
    height: int


def measure_terminal(descriptor: int) -> TerminalSize:
    """The size of this terminal; that of a common one if it is unknown."""
    columns, rows = shutil.get_terminal_size()
    width = height = 0
    if sys.platform != "win32":
        with suppress(OSError):
            answer = fcntl.ioctl(descriptor, termios.TIOCGWINSZ, bytes(8))
            rows, columns, width, height = struct.unpack("HHHH", answer)
    columns, rows = columns or 80, rows or 24
    return TerminalSize(
        columns=columns,
        rows=rows,
        width=width or columns * _DEFAULT_CELL[0],
        height=height or rows * _DEFAULT_CELL[1],
    )


def supports_sixel(
    reading: int = 0, writing: int = 1, *, timeout_seconds: float = _TIMEOUT_SECONDS
) -> bool:
    """Ask the terminal on these descriptors whether it supports sixel."""
    if sys.platform == "win32":
        return False
    try:
        if not (os.isatty(reading) and os.isatty(writing)):
            return False
        if os.tcgetpgrp(reading) != os.getpgrp():  # a background job would be stopped
            return False
    except OSError:
        return False
    answer = b""
    deadline = time.monotonic() + timeout_seconds
    before = termios.tcgetattr(reading)
    tty.setcbreak(reading, termios.TCSANOW)  # read the answer at once, and do not print it
    try:
        os.write(writing, b"\x1b[c")
        while not (attributes := _ATTRIBUTES.search(answer)):
            left = max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select([reading], [], [], left)
            more = os.read(reading, 1024) if ready else b""
            if not more:
                return False
            answer += more
    finally:
        termios.tcsetattr(reading, termios.TCSANOW, before)
    return _SIXEL in attributes[1].split(b";")
