"""One running program: its output as it comes, and its end, whatever ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from queue import Empty, Queue
from threading import Thread
from typing import IO, TYPE_CHECKING

from imagen.core.text import one_line
from imagen.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PIECE = 1 << 16
_GRACE_SECONDS = 3.0
"""How long it may take to end when it is asked to."""
_LAST_WORDS_SECONDS = 2.0
_OUT, _ERR = "out", "err"


class Process:
    """A program in a process group of its own, so that what it starts ends with it."""

    def __init__(self, command: Sequence[str]) -> None:
        """Start it; raises Unavailable where that fails."""
        try:
            self._popen = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                **_apart(),  # type: ignore[call-overload]  # by system
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise Unavailable(f"{one_line(command[0])} can't be started: {reason}.") from error
        self._pieces: Queue[tuple[str, bytes]] = Queue()
        self._open = {_OUT, _ERR}
        streams = {_OUT: self._popen.stdout, _ERR: self._popen.stderr}
        self._threads = [
            Thread(target=self._pump, args=item, daemon=True) for item in streams.items()
        ]
        for thread in self._threads:
            thread.start()

    @property
    def pid(self) -> int:
        return int(self._popen.pid)

    def read(self, seconds: float) -> tuple[str, bytes] | None:
        """The next piece of `out` or `err`; empty where that stream ended; None for silence."""
        if not self._open:  # all is said, and it has yet to end
            with suppress(subprocess.TimeoutExpired):
                self._popen.wait(seconds)
            return None
        try:
            name, piece = self._pieces.get(timeout=seconds)
        except Empty:
            return None
        if not piece:
            self._open.discard(name)
        return name, piece

    @property
    def has_ended(self) -> bool:
        """Whether it is gone and all that it said was read."""
        if self._popen.poll() is None:
            return False
        # Something that it left behind may hold its streams open.
        return not self._open or (self._pieces.empty() and self._is_quiet())

    def wait(self) -> int:
        """Its exit status, once it has ended; below 0, the signal that ended it."""
        return int(self._popen.wait())

    def stop(self) -> None:
        """End it and all that it started: asked first, then made to."""
        try:
            if self._popen.poll() is None:
                _ask_to_end(self._popen)
                with suppress(subprocess.TimeoutExpired):
                    self._popen.wait(_GRACE_SECONDS)
        finally:  # also where the user's patience ends first
            _make_end(self._popen)
            with suppress(subprocess.TimeoutExpired):
                self._popen.wait(_GRACE_SECONDS)

    def close(self) -> None:
        """Let go of its streams; the program must have ended."""
        for thread in self._threads:
            thread.join(_LAST_WORDS_SECONDS)
        for stream, thread in zip(
            (self._popen.stdout, self._popen.stderr), self._threads, strict=True
        ):
            if stream is not None and not thread.is_alive():
                stream.close()

    def _is_quiet(self) -> bool:
        """Whether nothing more comes although it has ended."""
        until = time.monotonic() + _LAST_WORDS_SECONDS
        while time.monotonic() < until:
            if not self._pieces.empty() or not any(t.is_alive() for t in self._threads):
                return False
            time.sleep(0.05)
        return True

    def _pump(self, name: str, stream: IO[bytes]) -> None:
        with suppress(OSError, ValueError):
            while piece := stream.read1(_PIECE):  # type: ignore[attr-defined]  # a BufferedReader
                self._pieces.put((name, piece))
        self._pieces.put((name, b""))


def _apart(system: str = sys.platform) -> Mapping[str, int]:
    """Out of reach of the terminal's Ctrl-C, which is ours to act on."""
    if system == "win32":
        return {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
    return {"process_group": 0}


def _ask_to_end(popen: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":
        _end_tree(popen)
    else:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(popen.pid, signal.SIGTERM)


def _make_end(popen: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":
        popen.kill()
    else:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(popen.pid, signal.SIGKILL)


def _end_tree(popen: subprocess.Popen[bytes]) -> None:
    """Windows knows no groups that can be ended; where its own tool is missing, only the head."""
    try:
        subprocess.run(
            ["taskkill", "/PID", str(popen.pid), "/T", "/F"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_GRACE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        popen.kill()
