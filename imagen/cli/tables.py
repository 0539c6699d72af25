"""Listings: rows and headings, printed for the place they go to; and parameters as rows."""

from __future__ import annotations

import json
import sys
from dataclasses import KW_ONLY, dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

import click

from imagen.cli.terminal import display_width, is_copied, styled, terminal_width, words, wrap
from imagen.core.text import one_line, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from imagen.core.capabilities import Parameter

_PAGE_WIDTH = 94
"""Of paragraphs that go to no terminal."""
_GAP = 2
_BELOW = 4
"""How far text below a row is indented."""
_LEAST_FLOW = 30
"""A column that may go below its row stays beside where it gets so many columns."""
_LONGEST_CELL = 100_000
_LONGEST_PART = 400
"""Of a parameter's default and range, which a server names."""
_JOIN = 10
"""Columns with a lower `drop` are left out before others are joined."""
_LONGEST_WORD = 32
"""A longer word does not keep a column from getting narrower; it is broken."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a listing: its heading, and how it gives way on a narrow terminal."""

    heading: str
    _: KW_ONLY
    is_right: bool = False
    """Aligned to the right and never broken, as numbers are."""
    is_whole: bool = False
    """Never broken, such as a date or a file."""
    may_go_below: bool = False
    """As one of the last columns: printed below its row where there is too little room beside."""
    may_join: bool = False
    """On a narrow terminal joined with the other columns that may, into one with commas."""
    drop: int = 0
    """A narrow terminal leaves out the column with the lowest number first; one with 0 stays.

    Columns that may be joined are joined before those from 10 on are left out.
    """
    most_lines: int = 0
    """Of a text below its row, where it is bounded."""
    is_ragged: bool = False
    """Not padded in a pipe."""
    is_kept: bool = False
    """Not left out of a pipe even where it is empty."""
    colour: str = ""


@dataclass(frozen=True, slots=True)
class _Filled:
    """A column with its cells."""

    column: Column
    heading: str
    """As it is printed; empty where headings are not."""
    cells: list[str]

    @property
    def width(self) -> int:
        texts = {self.heading, *self.cells}  # many rows repeat a few texts
        return max(map(display_width, texts))

    @property
    def least(self) -> int:
        """Narrower, it would break words, or have many lines."""
        heading = max(map(display_width, self.heading.split()), default=0)
        if self.column.is_right or self.column.is_whole:
            return max(heading, *map(display_width, self.cells))
        widths = (
            display_width(word) if is_copied(word) else min(display_width(word), _LONGEST_WORD)
            for cell in self.cells
            for word in words(cell)
        )
        return max(heading, min(self.width // 2, _LONGEST_WORD), *widths)


def print_table(
    columns: Sequence[Column],
    rows: Sequence[tuple[str, ...]],
    *,
    below: Sequence[str] = (),
    indent: int = 0,
    has_heading: bool = False,
) -> None:
    """Print rows on stdout: on a terminal under headings and fitted to its width, else plainly.

    `below` has a text for each row, printed under it. Empty columns are left out. With
    `has_heading` a pipe gets the headings, too.
    """
    if not any(map(any, rows)):
        return
    width = terminal_width(sys.stdout)
    is_headed = has_heading or width is not None
    filled = [
        _Filled(
            column,
            "" if not is_headed else column.heading if width is None else column.heading.upper(),
            [one_line(cell, limit=_LONGEST_CELL) for cell in cells],
        )
        for column, cells in zip(columns, zip(*rows, strict=True), strict=True)
        if any(cells) or (column.is_kept and width is None)
    ]
    texts = list(below) or [""] * len(rows)
    widths = [0 if each.column.is_ragged else each.width for each in filled]
    if width is not None:
        filled, texts = _give_way(filled, texts, width - indent)
        widths = _fit_widths(filled, width - indent)
    margin = " " * indent
    lines: list[str] = []
    if any(each.heading for each in filled):
        headings = _row_lines([each.heading for each in filled], widths, filled)
        lines += (styled(margin + line, bold=True) for line in headings)
    for number, text in enumerate(texts):
        cells = [each.cells[number] for each in filled]
        if any(cells):
            lines += (margin + line for line in _row_lines(cells, widths, filled, is_coloured=True))
        lines += paragraph(text, indent=indent + _BELOW) if text else ()
    click.echo("\n".join(lines))


def _give_way(
    filled: list[_Filled], below: list[str], width: int
) -> tuple[list[_Filled], list[str]]:
    """The columns that fit, and the texts below the rows, with what the columns moved there."""
    while filled[1:] and filled[-1].column.may_go_below and _wanted(filled) > width:
        most = filled[-1].column.most_lines * width
        cells = [one_line(cell, limit=most) if most else cell for cell in filled[-1].cells]
        below = ["\n".join(filter(None, pair)) for pair in zip(cells, below, strict=True)]
        filled = filled[:-1]
    for first in sorted({_JOIN, *(each.column.drop for each in filled)} - {0}):
        if _least(filled) > width and first == _JOIN:
            filled = _joined(filled)
        elif _least(filled) > width:
            filled = [each for each in filled if each.column.drop != first]
    return filled, below


def _wanted(filled: Sequence[_Filled]) -> int:
    """The width of all columns, where those that may go below are narrow."""
    narrow = (
        max(each.least, min(each.width, _LEAST_FLOW)) if each.column.may_go_below else each.width
        for each in filled
    )
    return sum(narrow) + _GAP * (len(filled) - 1)


def _least(filled: Sequence[_Filled]) -> int:
    return sum(each.least for each in filled) + _GAP * (len(filled) - 1)


def _joined(filled: list[_Filled]) -> list[_Filled]:
    parts = [each for each in filled if each.column.may_join]
    if len(parts) < 2:
        return filled
    rows = zip(*(each.cells for each in parts), strict=True)
    cells = [", ".join(filter(None, row)) for row in rows]
    heading = ", ".join(each.heading for each in parts)
    return [_Filled(parts[0].column, heading, cells), *(e for e in filled if e not in parts)]


def _fit_widths(filled: Sequence[_Filled], width: int) -> list[int]:
    """The widths of the columns on a terminal: the widest give way, and words break last."""
    widths = [each.width for each in filled]
    room = width - _GAP * (len(filled) - 1)
    whole_words = [each.least for each in filled]
    shortest = [each.least if each.column.is_whole else 1 for each in filled]
    for leasts in (whole_words, shortest):
        while sum(widths) > room:
            wide = [n for n, least in enumerate(leasts) if widths[n] > least]
            if not wide:
                break
            widths[max(wide, key=widths.__getitem__)] -= 1
    return widths


def _row_lines(
    cells: Sequence[str],
    widths: Sequence[int],
    filled: Sequence[_Filled],
    *,
    is_coloured: bool = False,
) -> Iterator[str]:
    columns = [each.column for each in filled]
    wrapped = [
        [cell]
        if not width or (cell.isascii() and len(cell) <= width)
        else wrap(cell, width, keeps_copied=False)
        for cell, width in zip(cells, widths, strict=True)
    ]
    for parts in zip_longest(*wrapped, fillvalue=""):
        shown = []
        for text, width, column in zip(parts, widths, columns, strict=True):
            blanks = " " * (width - display_width(text))
            if is_coloured and column.colour and text:
                text = styled(text, fg=column.colour)
            shown.append(blanks + text if column.is_right else text + blanks)
        yield (" " * _GAP).join(shown).rstrip()


def print_section(
    title: str,
    columns: Sequence[Column],
    rows: Sequence[tuple[str, ...]],
    *,
    below: Sequence[str] = (),
) -> None:
    """Print a title and a table under it, or nothing where there are no rows."""
    if rows:
        click.echo()
        click.echo(styled(printable(title), bold=True))
        print_table(columns, rows, below=below, indent=2)


def paragraph(text: str, *, indent: int = 0) -> list[str]:
    """Lines that fit the terminal, or a page."""
    from textwrap import wrap as wrap_page

    margin = " " * indent
    width = terminal_width(sys.stdout)
    lines = [
        line
        for part in printable(text).splitlines()
        for line in (
            wrap_page(part, _PAGE_WIDTH, break_long_words=False, break_on_hyphens=False)
            if width is None
            else wrap(part, width - indent)
        )
    ]
    return [(margin + line).rstrip() for line in lines]


PARAMETERS = (
    Column("name"),
    Column("type"),
    Column("default", is_kept=True),
    Column("range", may_go_below=True),
)
"""The columns of `parameter_row`."""


def parameter_row(name: str, parameter: Parameter) -> tuple[str, ...]:
    """Its name, type, default and range."""
    default = parameter.default
    shown = "" if default is None else f"= {json.dumps(default, ensure_ascii=False)}"
    parts = (name, parameter.type, shown, _range(parameter))
    return tuple(one_line(part, limit=_LONGEST_PART) for part in parts)


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
