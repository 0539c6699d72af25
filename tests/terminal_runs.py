"""Runs of the program on a terminal of a given width."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from contextlib import suppress


def run_on_terminal(columns: int, *arguments: str, piped: str = "", **environ: str) -> str:
    """What a run shows on a terminal so wide; `piped` names the streams that go elsewhere.

    Colours are off, unless `NO_COLOR` is "".
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "imagen", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL if "stdout" in piped else theirs,
        stderr=subprocess.DEVNULL if "stderr" in piped else theirs,
        env=os.environ | environ,
    )
    os.close(theirs)
    shown = b""
    with open(ours, "rb", buffering=0) as terminal, suppress(OSError):  # so ends a closed one
        while data := terminal.read(65536):
            shown += data
    process.wait()
    return shown.decode().replace("\r\n", "\n")
