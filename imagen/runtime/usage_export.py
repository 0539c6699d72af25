"""The ledger as a file: CSV for spreadsheets, or JSON."""

from __future__ import annotations

import csv
import json
from io import StringIO
from typing import TYPE_CHECKING

from imagen.views.usage import UsageRowView

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet runs as a formula if a cell begins with it."""


def write_csv(rows: Iterable[Mapping[str, object]]) -> Iterator[str]:
    """A line for each row, below the names of the columns."""
    text = StringIO()
    writer = csv.writer(text)
    writer.writerow(UsageRowView.model_fields)
    for row in rows:
        writer.writerow([_plain_cell(row[name]) for name in UsageRowView.model_fields])
        yield text.getvalue()
        text.seek(0)
        text.truncate()
    yield text.getvalue()


def _plain_cell(value: object) -> object:
    is_formula = isinstance(value, str) and value.startswith(_FORMULA)
    return f"'{value}" if is_formula else value


def write_json(rows: Iterable[Mapping[str, object]]) -> Iterator[str]:
    """One object with all rows, as `GET /usage/generations` answers."""
    yield '{"rows": ['
    for number, row in enumerate(rows):
        yield ("," if number else "") + "\n" + json.dumps(row)
    yield "\n]}\n"
