"""Dates of the command line."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

from imagen.cli.parsing import parse_moment

if TYPE_CHECKING:
    from collections.abc import Iterator

_HERE = timezone(timedelta(hours=1))
_NOW = datetime(2026, 11, 27, 22, 30, tzinfo=_HERE)


@pytest.fixture(autouse=True)
def _in_zurich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A time zone with daylight saving time."""
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def _at(*date: int, utc: int = 1) -> datetime:
    year, month, day, hour, minute, second = (*date, 0, 0, 0)[:6]
    here = timezone(timedelta(hours=utc))
    return datetime(year, month, day, hour, minute, second, tzinfo=here)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        pytest.param("2026-11-27", _at(2026, 11, 27), id="a day"),
        pytest.param("2026-07-01", _at(2026, 7, 1, utc=2), id="a day in summer"),
        pytest.param("2026-11-27 14:00", _at(2026, 11, 27, 14), id="an hour"),
        pytest.param("2026-11-27T14:00:30", _at(2026, 11, 27, 14, 0, 30), id="to the second"),
        pytest.param("2026-11-27T14:00Z", datetime(2026, 11, 27, 14, tzinfo=UTC), id="of UTC"),
        pytest.param(" 2026-11-27   14:00 ", _at(2026, 11, 27, 14), id="blanks"),
        pytest.param("2026-11", _at(2026, 11, 1), id="a month"),
        pytest.param("2026", _at(2026, 1, 1), id="a year"),
        pytest.param("today", _at(2026, 11, 27), id="today"),
        pytest.param("yesterday", _at(2026, 11, 26), id="yesterday"),
        pytest.param("7d", _at(2026, 11, 20, 22, 30), id="days ago"),
        pytest.param("3h", _at(2026, 11, 27, 19, 30), id="hours ago"),
        pytest.param("15min", _at(2026, 11, 27, 22, 15), id="minutes ago"),
        pytest.param("2 w", _at(2026, 11, 13, 22, 30), id="weeks ago"),
    ],
)
def test_a_date_is_the_start_of_its_period(text: str, meant: datetime) -> None:
    assert parse_moment(text, _NOW) == meant


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        pytest.param("2026-11-27", _at(2026, 11, 28), id="a day"),
        pytest.param("2026-03-29", _at(2026, 3, 30, utc=2), id="a day of 23 hours"),
        pytest.param("2026-12", _at(2027, 1, 1), id="a month"),
        pytest.param("2026", _at(2027, 1, 1), id="a year"),
        pytest.param("2026-02", _at(2026, 3, 1), id="a short month"),
        pytest.param("yesterday", _at(2026, 11, 27), id="yesterday"),
        pytest.param("2026-11-27 14:00", _at(2026, 11, 27, 14), id="an hour"),
        pytest.param("7d", _at(2026, 11, 20, 22, 30), id="days ago"),
    ],
)
def test_an_end_date_includes_its_whole_period(text: str, meant: datetime) -> None:
    assert parse_moment(text, _NOW, is_end=True) == meant


_TOKYO = ZoneInfo("Asia/Tokyo")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        pytest.param("2026-11-27", datetime(2026, 11, 27, tzinfo=_TOKYO), id="a day"),
        pytest.param("today", datetime(2026, 11, 28, tzinfo=_TOKYO), id="tomorrow's day there"),
        pytest.param("2026-11-27 14:00", datetime(2026, 11, 27, 14, tzinfo=_TOKYO), id="an hour"),
        pytest.param("2026-11-27T14:00Z", datetime(2026, 11, 27, 14, tzinfo=UTC), id="of UTC"),
        pytest.param("3h", _at(2026, 11, 27, 19, 30), id="hours ago"),
    ],
)
def test_a_date_is_read_in_the_given_time_zone(text: str, meant: datetime) -> None:
    assert parse_moment(text, _NOW, _TOKYO) == meant


def test_a_day_with_a_clock_change_starts_at_midnight() -> None:
    zone = ZoneInfo("America/New_York")
    assert parse_moment("2026-03-08", _NOW, zone) == datetime(2026, 3, 8, 5, tzinfo=UTC)
    assert parse_moment("2026-03-08", _NOW, zone, is_end=True) == datetime(
        2026, 3, 9, 4, tzinfo=UTC
    )


@pytest.mark.parametrize(
    "text",
    ["", "soon", "2026-13-01", "2026-02-30", "2026-13", "7", "7y", "-7d", "999999w", "14:00"],
)
def test_an_invalid_date_is_refused(text: str) -> None:
    with pytest.raises((ValueError, OverflowError)):
        parse_moment(text, _NOW)
