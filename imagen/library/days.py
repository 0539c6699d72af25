"""Days by this machine's clock, as an expression that a database can group by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import case

from imagen.library.keys import moment_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

    from sqlalchemy import ColumnElement

_DAY_MS = 24 * 60 * 60 * 1000


def day_number(at_ms: ColumnElement[int], first_ms: int, last_ms: int) -> ColumnElement[int]:
    """How many days after the first of 1970 a moment is; all lie between the two that are given."""
    changes = [(at_ms < until, offset) for until, offset in _offsets(first_ms, last_ms)]
    last = _offset(last_ms)
    return (at_ms + (case(*changes, else_=last) if changes else last)) // _DAY_MS


def date_of(day: int) -> date:
    """The day of this number."""
    return moment_of(day * _DAY_MS).date()


def _offsets(first_ms: int, last_ms: int) -> Iterator[tuple[int, int]]:
    """When the clock is put forward or back, and how far it was ahead of UTC before."""
    for ms in range(first_ms, last_ms, _DAY_MS):
        later = min(ms + _DAY_MS, last_ms)
        if _offset(ms) != _offset(later):
            yield _change(ms, later), _offset(ms)


def _change(before: int, after: int) -> int:
    """The moment in between from which on it is as it is in the end."""
    while after - before > 1:
        middle = (before + after) // 2
        if _offset(middle) == _offset(after):
            after = middle
        else:
            before = middle
    return after


def _offset(ms: int) -> int:
    """How far this machine's clock is ahead of UTC then."""
    offset = moment_of(ms).astimezone().utcoffset()
    return round(offset.total_seconds() * 1000) if offset else 0
