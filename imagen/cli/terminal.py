"""Text on a terminal: width, colour, and line breaks between words."""

from __future__ import annotations

import errno
import io
import os
import re
import sys
import unicodedata
from contextlib import suppress
from itertools import accumulate
from typing import TYPE_CHECKING, Any, TextIO

import click

from imagen.core.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Buffer


_USUAL_WIDTH, _LEAST_WIDTH = 80, 20
_COMMAND = r"(?:imagen|pip|curl|python3?) .+?(?=[),;](?:\s|$)|\.\s|$)"
_WORD = re.compile(rf"`[^`]+`\S*|(?<=: ){_COMMAND}|^(?:[/~]|\w:\\).*$|\S+")
"""A command (in backticks or after a colon) and a line that is a path each count as one word."""
_COPIED = re.compile(rf"`|\S*[/\\]|{_COMMAND}")
"""Words that people copy: paths, URLs and commands."""


def terminal_width(stream: TextIO) -> int | None:
    """The columns of the stream's terminal; None if it is not a terminal."""
    if not stream.isatty():
        return None
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns):
        return max(int(columns), _LEAST_WIDTH)
    try:
        width = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        width = 0
    return max(width or _USUAL_WIDTH, _LEAST_WIDTH)


def apply_style(text: str, stream: TextIO | None = None, **style: Any) -> str:
    """The text in click's `style`, if the stream (stdout) is a terminal and NO_COLOR is not set."""
    is_plain = bool(os.environ.get("NO_COLOR")) or not (stream or sys.stdout).isatty()
    return click.style(text, **style) if style and not is_plain else text


def echo(text: str, *, err: bool = False, hanging: int = 0, mark: str = "", **style: Any) -> None:
    """Print sentences; on a terminal, lines are broken between words.

    `hanging` indents all lines but the first. click's `style` applies to `mark`, a part of the
    first line, or to the whole text without a mark.
    """
    stream = sys.stderr if err else sys.stdout
    width = terminal_width(stream)
    shown = printable(text)
    lines = [shown] if width is None else wrap(shown, width, hanging=hanging)
    if mark:
        lines[0] = lines[0].replace(mark, apply_style(mark, stream, **style), 1)
    for line in lines:
        click.echo(line if mark else apply_style(line, stream, **style), err=err)


def display_width(text: str) -> int:
    """How many columns the text takes on a terminal."""
    return len(text) if text.isascii() else sum(map(_columns_of, text))


def _columns_of(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def truncate(text: str, width: int) -> str:
    """The text in at most `width` columns, with an ellipsis if it is longer."""
    if display_width(text) <= width:
        return text
    ends = accumulate(map(_columns_of, text))
    return text[: sum(1 for end in ends if end < width)] + "…" if width > 0 else ""


def wrap(text: str, width: int, *, hanging: int = 0, keeps_copied: bool = True) -> list[str]:
    """Lines of at most `width` columns, broken between words; `hanging` indents all but the first.

    A word is broken only if it is wider than a line. Paths, URLs and commands are kept whole even
    then, unless `keeps_copied` is False.
    """
    return [line for part in text.split("\n") for line in _wrap(part, width, hanging, keeps_copied)]


def _wrap(text: str, width: int, hanging: int, keeps_copied: bool) -> Iterator[str]:
    if display_width(text) <= width:
        yield text
        return
    line = text[: len(text) - len(text.lstrip(" "))]
    if line and is_copied(text.lstrip(" ")) and not text.endswith("."):
        yield text
        return
    indent = line + " " * hanging
    end = len(line)
    for match in _WORD.finditer(text, end):
        gap, word, end = text[end : match.start()], match[0], match.end()
        if display_width(line + gap + word) <= width:
            line += gap + word
        elif (keeps_copied and is_copied(word)) or display_width(indent + word) <= width:
            if line.strip():
                yield line
                line = indent
            line += word
        else:
            if word.isascii() and line.strip():  # wide characters have no words to keep together
                yield line
                line, gap = indent, ""
            for character in gap + word:
                if display_width(line + character) <= width:
                    line += character
                else:
                    yield line.rstrip()
                    line = indent + character.strip()
    yield line


def split_words(text: str) -> list[str]:
    """The parts between which lines may be broken."""
    return _WORD.findall(text)


def is_copied(word: str) -> bool:
    """Whether this is a path, a URL or a command."""
    return _COPIED.match(word) is not None


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
