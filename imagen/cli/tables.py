"""Plain text in columns, and parameters as rows of it."""

from __future__ import annotations

import json
import os
import shutil
import sys
import unicodedata
from itertools import accumulate
from typing import TYPE_CHECKING

import click

from imagen.text import one_line, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from imagen.capabilities import Parameter

_WIDTH = 94
_NARROWEST = 12
"""What is cut keeps so many columns of a terminal at least."""


def columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Lines whose cells stand under each other."""
    cells = [[one_line(cell, limit=400) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]


def terminal_width() -> int | None:
    """How wide the terminal is; None where lines go elsewhere."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def listing(rows: Sequence[tuple[str, ...]], width: int | None) -> Iterator[tuple[str, str]]:
    """The first cell and the rest of each line; cells stand under each other.

    A column without anything in it is left out. The last one is cut to a terminal's `width`.
    """
    kept = [column for column in zip(*rows, strict=True) if any(column)]
    widths = [max(map(_wide, column)) for column in kept]
    for row in zip(*kept, strict=True):
        *cells, last = map(_padded, row, [*widths[:-1], 0])
        head = "  ".join(cells) + "  "
        rest = last if width is None else _cut(last, width - _wide(head))
        yield cells[0], (head[len(cells[0]) :] + rest).rstrip()


def table(
    rows: Sequence[tuple[str, ...]], *, left: int, has_heading: bool = False
) -> Iterator[str]:
    """Lines of a table: so many columns of text, and numbers to the right of them.

    A column without anything in it but its heading is left out.
    """
    columns = list(zip(*rows, strict=True))
    filled = [(n, column) for n, column in enumerate(columns) if any(column[has_heading:])]
    widths = [max(map(_wide, column)) for _, column in filled]
    for row in zip(*(column for _, column in filled), strict=True):
        cells = (
            _padded(cell, width, is_right=number >= left)
            for cell, width, (number, _) in zip(row, widths, filled, strict=True)
        )
        yield "  ".join(cells).rstrip()


def _padded(text: str, width: int, *, is_right: bool = False) -> str:
    blanks = " " * (width - _wide(text))
    return blanks + text if is_right else text + blanks


def _wide(text: str) -> int:
    """How many columns of a terminal it takes."""
    return sum(map(_columns_of, text))


def _columns_of(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _cut(text: str, width: int) -> str:
    """At most so wide; what is left out is told by an ellipsis."""
    room = max(width, _NARROWEST)
    if _wide(text) <= room:
        return text
    kept = sum(1 for end in accumulate(map(_columns_of, text)) if end < room)
    return text[:kept] + "…"


def tinted(text: str, colour: str) -> str:
    """In this colour, on a terminal whose user did not forbid it."""
    is_plain = bool(os.environ.get("NO_COLOR")) or not sys.stdout.isatty()
    return text if is_plain else click.style(text, colour)


def section(heading: str, rows: Sequence[tuple[tuple[str, ...], str]]) -> Iterator[str]:
    """A heading, and under it each row with what more there is to say of it on lines below."""
    if rows:
        yield from ("", heading)
    for line, (_, more) in zip(columns([row for row, _ in rows]), rows, strict=True):
        yield f"  {line}"
        yield from (f"      {part}" for part in wrapped(more))


def wrapped(text: str) -> list[str]:
    """Lines that fit a page."""
    from textwrap import wrap

    return wrap(printable(text), _WIDTH, break_long_words=False, break_on_hyphens=False)


def parameter_row(name: str, parameter: Parameter) -> tuple[str, ...]:
    """Its name, type, default and range."""
    default = parameter.default
    shown = "" if default is None else f"= {json.dumps(default, ensure_ascii=False)}"
    return name, parameter.type, shown, _range(parameter)


def _range(parameter: Parameter) -> str:
    if parameter.choices is not None:
        return "one of " + ", ".join(parameter.choices)
    low, high = parameter.min, parameter.max
    span = f"{_number(low)} to {_number(high)}" if low is not None and high is not None else ""
    span = span or (f"at least {_number(low)}" if low is not None else "")
    span = span or (f"at most {_number(high)}" if high is not None else "")
    step = f"in steps of {parameter.multiple_of}" if parameter.multiple_of else ""
    return ", ".join(part for part in (span, step) if part)


def _number(value: float) -> str:
    """As short as it is exact: `8`, `0.5`, `2^64-1`."""
    if not isinstance(value, int):
        return f"{value:g}"
    bits = value.bit_length()
    return f"2^{bits}-1" if bits > 16 and value == 2**bits - 1 else str(value)
