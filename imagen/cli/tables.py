"""Plain text in columns, and parameters as rows of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from imagen.text import one_line, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from imagen.capabilities import Parameter

_WIDTH = 94


def columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Lines whose cells stand under each other."""
    cells = [[one_line(cell, limit=400) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]


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
