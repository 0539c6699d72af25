"""Days and weeks of a time zone, as expressions that a database can group by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import case

from imagen.library.keys import moment_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date, tzinfo

    from sqlalchemy import ColumnElement

_DAY_MS = 24 * 60 * 60 * 1000
_THURSDAY = 3
"""1970 began on a Thursday, three days after the Monday of its week."""


def day_number(
    at_ms: ColumnElement[int], first_ms: int, last_ms: int, zone: tzinfo | None
) -> ColumnElement[int]:
    """How many days after the first of 1970 a moment is, in this time zone (None: this machine's).

    All moments are from `first_ms` to `last_ms`.
    """
    changes = [(at_ms < until, offset) for until, offset in _offsets(first_ms, last_ms, zone)]
    last = _offset(last_ms, zone)
    return (at_ms + (case(*changes, else_=last) if changes else last)) // _DAY_MS


def week_number(day: ColumnElement[int]) -> ColumnElement[int]:
    """How many weeks after that of the first of 1970 a day is; weeks begin on Mondays."""
    return (day + _THURSDAY) // 7


def date_of(day: int) -> date:
    """The day of this number."""
    return moment_of(day * _DAY_MS).date()


def monday_of(week: int) -> date:
    """The first day of the week of this number."""
    return date_of(week * 7 - _THURSDAY)


def _offsets(first_ms: int, last_ms: int, zone: tzinfo | None) -> Iterator[tuple[int, int]]:
    """When the clock is put forward or back, and how far it was ahead of UTC before."""
    for ms in range(first_ms, last_ms, _DAY_MS):
        later = min(ms + _DAY_MS, last_ms)
        if _offset(ms, zone) != _offset(later, zone):
            yield _change(ms, later, zone), _offset(ms, zone)


def _change(before: int, after: int, zone: tzinfo | None) -> int:
    """The moment in between from which on it is as it is in the end."""
    while after - before > 1:
        middle = (before + after) // 2
        if _offset(middle, zone) == _offset(after, zone):
            after = middle
        else:
            before = middle
    return after


def _offset(ms: int, zone: tzinfo | None) -> int:
    """How far the clock is ahead of UTC then."""
    offset = moment_of(ms).astimezone(zone).utcoffset()
    return round(offset.total_seconds() * 1000) if offset else 0
