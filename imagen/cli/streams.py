"""Standard streams that can't break a command: a failed write is remembered, not raised."""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from typing_extensions import Buffer


class SafeOutput(io.RawIOBase):
    """The bytes of stdout or stderr, written as long as that works.

    After a failure stdout gets no more: a hole in it would be worse than an early end. A log goes
    on once there is room again.
    """

    def __init__(self, raw: io.RawIOBase | None, *, is_log: bool) -> None:
        self._raw, self._is_log = raw, is_log
        self.failure: OSError | None = None

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self._raw is not None and self._raw.isatty()

    def fileno(self) -> int:
        if self._raw is None:
            raise io.UnsupportedOperation("this stream was closed before the program began")
        return self._raw.fileno()

    def write(self, data: Buffer) -> int:
        if self.failure is None or self._is_log:
            try:
                return self._write(data)
            except OSError as error:
                self.failure = error
        return memoryview(data).nbytes

    def _write(self, data: Buffer) -> int:
        if self._raw is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        while (written := self._raw.write(data)) is None:  # a pipe that does not block, and is full
            from select import select

            select([], [self._raw], [])
        return written


def open_safely() -> SafeOutput:
    """Replace stdin, stdout and stderr by streams that never raise; returns that of stdout."""
    _occupy_closed()
    sys.stdin = sys.stdin or open(os.devnull, encoding="utf-8")  # noqa: SIM115
    sys.stdout, output = _safe(sys.stdout, is_log=False)
    sys.stderr, _ = _safe(sys.stderr, is_log=True)
    return output


def _occupy_closed() -> None:
    """A file that is opened later must not get a standard stream's number, and its output."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            with suppress(OSError):
                os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _safe(stream: TextIO | None, *, is_log: bool) -> tuple[TextIO, SafeOutput]:
    """The same stream over bytes that never raise; None stands for one that is closed."""
    buffer = getattr(stream, "buffer", None)
    output = SafeOutput(getattr(buffer, "raw", buffer), is_log=is_log)
    is_unbuffered = getattr(stream, "write_through", False)  # as with python -u
    text = io.TextIOWrapper(
        io.BufferedWriter(output),
        encoding=getattr(stream, "encoding", "utf-8"),
        errors="backslashreplace",  # a Windows pipe may lack a prompt's letters
        line_buffering=is_log or is_unbuffered or output.isatty(),
    )
    return text, output
