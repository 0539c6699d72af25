"""Fakes for programs that show an image: a terminal, tmux, a viewer."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import sys
import termios
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

QUESTION = b"\x1b[c"


class Terminal:
    """A pseudo-terminal that answers the attributes query and records the output."""

    def __init__(self, answer: bytes = b"", *, pixels: tuple[int, int] = (640, 384)) -> None:
        self._answer = answer
        self.master, self.slave = pty.openpty()
        size = struct.pack("HHHH", 24, 80, *pixels)
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, size)
        self.heard = b""
        self._listener = threading.Thread(target=self._listen)

    def __enter__(self) -> Terminal:
        self._listener.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.hang_up()
        os.close(self.master)

    def hang_up(self) -> bytes:
        """All output, once the writers have closed it."""
        with suppress(OSError):
            os.close(self.slave)
        self._listener.join()
        return self.heard

    def _listen(self) -> None:
        with suppress(OSError):  # so ends a terminal whose other end is closed
            while data := os.read(self.master, 65536):
                asked = QUESTION in self.heard
                self.heard += data
                if QUESTION in self.heard and not asked:
                    os.write(self.master, self._answer)


def write_program(folder: Path, name: str, body: str) -> Path:
    """Write an executable Python program of this name."""
    path = folder / name
    path.write_text(f"#!{sys.executable}\nimport sys, json\n{body}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def write_recorder(folder: Path, name: str, log: Path) -> Path:
    """Write an executable that appends its arguments to a log, as a JSON list each time."""
    note = f"open({str(log)!r}, 'a').write(json.dumps(sys.argv[1:]) + '\\n')"
    return write_program(folder, name, note)
