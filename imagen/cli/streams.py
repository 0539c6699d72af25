"""Standard streams that cannot break a command: a failed write is remembered, not raised."""

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
    """The bytes of stdout or stderr.

    After a failed write stdout gets nothing more, since a gap would be worse than an early end.
    stderr continues as soon as writing works again.
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
            raise io.UnsupportedOperation("this stream was closed before the program started")
        return self._raw.fileno()

    def write(self, data: Buffer) -> int:
        if self.failure is None or self._is_log:
            try:
                if self._raw is None:
                    raise OSError(errno.EBADF, os.strerror(errno.EBADF))
                while (written := self._raw.write(data)) is None:  # a full non-blocking pipe
                    from select import select

                    select([], [self._raw], [])
                return written
            except OSError as error:
                self.failure = error
        return memoryview(data).nbytes


def open_safely() -> SafeOutput:
    """Replace stdin, stdout and stderr with streams that never raise; returns stdout's bytes."""
    for number in range(3):  # a file opened later must not get the number of a closed stream
        try:
            os.fstat(number)
        except OSError:
            with suppress(OSError):
                os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    sys.stdin = sys.stdin or open(os.devnull, encoding="utf-8")  # noqa: SIM115
    sys.stdout, output = _wrap_stream(sys.stdout, is_log=False)
    sys.stderr, _ = _wrap_stream(sys.stderr, is_log=True)
    return output


def _wrap_stream(stream: TextIO | None, *, is_log: bool) -> tuple[TextIO, SafeOutput]:
    """The same stream over bytes that never raise; None is a closed one."""
    buffer = getattr(stream, "buffer", None)
    output = SafeOutput(getattr(buffer, "raw", buffer), is_log=is_log)
    is_unbuffered = getattr(stream, "write_through", False)  # as with python -u
    text = io.TextIOWrapper(
        io.BufferedWriter(output),
        encoding=getattr(stream, "encoding", "utf-8"),
        errors="backslashreplace",  # a Windows pipe may lack letters of a prompt
        line_buffering=is_log or is_unbuffered or output.isatty(),
    )
    return text, output
