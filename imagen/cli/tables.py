"""Tables fitted to the terminal, or plain lines in a pipe; and parameters as rows."""

from __future__ import annotations

import json
import sys
from dataclasses import KW_ONLY, dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

import click

from imagen.cli.terminal import (
    apply_style,
    display_width,
    is_copied,
    split_words,
    terminal_width,
    wrap,
)
from imagen.core.text import one_line, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from imagen.core.capabilities import Parameter
    from imagen.views.parameters import ParameterView

LONGEST_CELL = 100_000
_PAGE_WIDTH = 94
"""Of paragraphs that do not go to a terminal."""
_GAP = 2
_BELOW_INDENT = 4
_LEAST_BESIDE = 30
"""A column that may go below its row stays beside it if it gets this many columns."""
_LONGEST_PART = 400
"""Of a parameter's default and range, which come from a server."""
_JOIN = 10
"""Columns with a lower `drop` are left out before columns are joined."""
_LONGEST_WORD = 32
"""A longer word does not keep its column wide; it is broken."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table, and how it gives way on a narrow terminal."""

    heading: str
    _: KW_ONLY
    is_right: bool = False
    """Aligned to the right and never broken, as numbers are."""
    is_whole: bool = False
    """Never broken, such as a date or a file."""
    may_go_below: bool = False
    """As one of the last columns: printed below the row if there is too little room beside it."""
    may_join: bool = False
    """On a narrow terminal joined, with commas, to the other columns that may be."""
    drop: int = 0
    """A narrow terminal leaves out the column with the lowest number first; 0 always stays.

    Columns that may be joined are joined before those from 10 on are left out.
    """
    most_lines: int = 0
    """The limit of a text below its row; 0 means unlimited."""
    is_ragged: bool = False
    """Not padded in a pipe."""
    is_kept: bool = False
    """Kept in a pipe even if it is empty."""
    colour: str = ""


@dataclass(frozen=True, slots=True)
class _FilledColumn:
    column: Column
    heading: str
    """As printed; empty without headings."""
    cells: list[str]

    @property
    def width(self) -> int:
        return max(map(display_width, {self.heading, *self.cells}))

    @property
    def least(self) -> int:
        """The width below which words would break, or cells get many lines."""
        heading = max(map(display_width, self.heading.split()), default=0)
        if self.column.is_right or self.column.is_whole:
            return max(heading, *map(display_width, self.cells))
        widths = (
            display_width(word) if is_copied(word) else min(display_width(word), _LONGEST_WORD)
            for cell in self.cells
            for word in split_words(cell)
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
    """Print rows on stdout: with headings and fitted to a terminal, or as plain lines in a pipe.

    `below` has a text for each row, printed under it. Empty columns are left out. With
    `has_heading` a pipe gets headings too.
    """
    if not any(map(any, rows)):
        return
    width = terminal_width(sys.stdout)
    filled = [
        _FilledColumn(
            column,
            column.heading.upper() if width is not None else column.heading if has_heading else "",
            [one_line(cell, limit=LONGEST_CELL) for cell in cells],
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
        lines += (apply_style(margin + line, bold=True) for line in headings)
    for number, text in enumerate(texts):
        cells = [each.cells[number] for each in filled]
        if any(cells):
            lines += (margin + line for line in _row_lines(cells, widths, filled, is_coloured=True))
        lines += format_paragraph(text, indent=indent + _BELOW_INDENT) if text else ()
    click.echo("\n".join(lines))


def _give_way(
    filled: list[_FilledColumn], below: list[str], width: int
) -> tuple[list[_FilledColumn], list[str]]:
    """The columns that fit, and the texts below the rows with what was moved there."""

    def wanted(each: _FilledColumn) -> int:
        if not each.column.may_go_below:
            return each.width
        return max(each.least, min(each.width, _LEAST_BESIDE))

    while filled[1:] and filled[-1].column.may_go_below and _total(map(wanted, filled)) > width:
        limit = filled[-1].column.most_lines * width
        cells = [one_line(cell, limit=limit) if limit else cell for cell in filled[-1].cells]
        below = ["\n".join(filter(None, pair)) for pair in zip(cells, below, strict=True)]
        filled = filled[:-1]
    for step in sorted({_JOIN, *(each.column.drop for each in filled)} - {0}):
        if _total(each.least for each in filled) <= width:
            break
        if step != _JOIN:
            filled = [each for each in filled if each.column.drop != step]
            continue
        joined = [each for each in filled if each.column.may_join]
        if len(joined) > 1:
            rows = zip(*(each.cells for each in joined), strict=True)
            cells = [", ".join(filter(None, row)) for row in rows]
            heading = ", ".join(each.heading for each in joined)
            first = _FilledColumn(joined[0].column, heading, cells)
            filled = [first, *(each for each in filled if each not in joined)]
    return filled, below


def _total(widths: Iterable[int]) -> int:
    """The width of a row with columns of these widths."""
    each = list(widths)
    return sum(each) + _GAP * (len(each) - 1)


def _fit_widths(filled: Sequence[_FilledColumn], width: int) -> list[int]:
    """The widths of the columns: the widest shrink first, and words are broken last."""
    widths = [each.width for each in filled]
    whole_words = [each.least for each in filled]
    shortest = [each.least if each.column.is_whole else 1 for each in filled]
    for leasts in (whole_words, shortest):
        while _total(widths) > width:
            wide = [n for n, least in enumerate(leasts) if widths[n] > least]
            if not wide:
                break
            widths[max(wide, key=widths.__getitem__)] -= 1
    return widths


def _row_lines(
    cells: Sequence[str],
    widths: Sequence[int],
    filled: Sequence[_FilledColumn],
    *,
    is_coloured: bool = False,
) -> Iterator[str]:
    wrapped = [
        [cell]
        if not width or (cell.isascii() and len(cell) <= width)
        else wrap(cell, width, keeps_copied=False)
        for cell, width in zip(cells, widths, strict=True)
    ]
    for parts in zip_longest(*wrapped, fillvalue=""):
        shown = []
        for text, width, each in zip(parts, widths, filled, strict=True):
            blanks = " " * (width - display_width(text))
            if is_coloured and each.column.colour and text:
                text = apply_style(text, fg=each.column.colour)
            shown.append(blanks + text if each.column.is_right else text + blanks)
        yield (" " * _GAP).join(shown).rstrip()


def print_section(
    title: str,
    columns: Sequence[Column],
    rows: Sequence[tuple[str, ...]],
    *,
    below: Sequence[str] = (),
) -> None:
    """Print a title and a table under it; nothing without rows."""
    if rows:
        click.echo()
        click.echo(apply_style(printable(title), bold=True))
        print_table(columns, rows, below=below, indent=2)


def format_paragraph(text: str, *, indent: int = 0) -> list[str]:
    """Lines that fit the terminal, or a page."""
    from textwrap import wrap as wrap_page

    width = terminal_width(sys.stdout)
    lines: list[str] = []
    for part in printable(text).splitlines():
        if width is None:
            lines += wrap_page(part, _PAGE_WIDTH, break_long_words=False, break_on_hyphens=False)
        else:
            lines += wrap(part, width - indent)
    return [(" " * indent + line).rstrip() for line in lines]


PARAMETER_COLUMNS = (
    Column("name"),
    Column("type"),
    Column("default", is_kept=True),
    Column("range", may_go_below=True),
)


def parameter_row(name: str, parameter: Parameter | ParameterView) -> tuple[str, ...]:
    """The cells of `PARAMETER_COLUMNS`."""
    default = parameter.default
    shown = "" if default is None else f"= {json.dumps(default, ensure_ascii=False)}"
    low, high = parameter.min, parameter.max
    if parameter.choices is not None:
        span = "one of " + ", ".join(parameter.choices)
    elif low is not None and high is not None:
        span = f"{_format_bound(low)} to {_format_bound(high)}"
    elif low is not None:
        span = f"at least {_format_bound(low)}"
    else:
        span = "" if high is None else f"at most {_format_bound(high)}"
    if parameter.multiple_of and parameter.choices is None:
        span = ", ".join(filter(None, (span, f"in steps of {parameter.multiple_of}")))
    parts = (name, parameter.type, shown, span)
    return tuple(one_line(part, limit=_LONGEST_PART) for part in parts)


def _format_bound(value: float) -> str:
    """As short as it is exact: `8`, `0.5`, `2^64-1`."""
    if not isinstance(value, int):
        return f"{value:g}"
    bits = value.bit_length()
    return f"2^{bits}-1" if bits > 16 and value == 2**bits - 1 else str(value)
