"""Run the command line on a terminal of a given width."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios
import threading
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path

from imagen.cli import run


def run_on_terminal(columns: int, *arguments: str, streams: str = "stdout, stderr") -> str:
    """The terminal output of a run; only these streams go there, others to a file."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    shown = bytearray()

    def listen() -> None:
        with suppress(OSError):  # so ends a terminal whose other end is closed
            while data := os.read(ours, 65536):
                shown.extend(data)

    listener = threading.Thread(target=listen)
    listener.start()
    with (
        Path("elsewhere.txt").open("w", encoding="utf-8") as file,
        open(theirs, "w", encoding="utf-8") as terminal,
        redirect_stdout(terminal if "stdout" in streams else file),
        redirect_stderr(terminal if "stderr" in streams else file),
    ):
        run(list(arguments))
    listener.join()
    os.close(ours)
    return shown.decode().replace("\r\n", "\n")
