"""When a job may start, as people write it."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from imagen.cli.queue_options import parse_when

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the zone cannot be set")


@pytest.fixture(autouse=True)
def _zurich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as changed:
        changed.setenv("TZ", "Europe/Zurich")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    ("text", "now", "moment"),
    [
        ("22:30", "2026-06-01T12:00", "2026-06-01T20:30"),
        ("7:05", "2026-06-01T12:00", "2026-06-02T05:05"),
        ("22:30:15", "2026-06-01T12:00", "2026-06-01T20:30:15"),
        ("today 23:00", "2026-06-01T12:00", "2026-06-01T21:00"),
        ("Tomorrow at 7:00", "2026-06-01T12:00", "2026-06-02T05:00"),
        ("tomorrow", "2026-06-01T12:00", "2026-06-01T22:00"),
        ("tomorrow 7:00", "2026-10-24T12:00", "2026-10-25T06:00"),  # the clocks go back
        ("7:00", "2026-03-28T12:00", "2026-03-29T05:00"),  # the clocks go forward
        ("in 2h", "2026-06-01T12:00", "2026-06-01T14:00"),
        ("in 24h", "2026-10-24T12:00", "2026-10-25T12:00"),
        ("in 1h 30min", "2026-06-01T12:00", "2026-06-01T13:30"),
        ("in 90m", "2026-06-01T12:00", "2026-06-01T13:30"),
        ("in 2d", "2026-06-01T12:00", "2026-06-03T12:00"),
        ("2026-12-01 22:30", "2026-06-01T12:00", "2026-12-01T21:30"),
        ("2026-12-01T22:30Z", "2026-06-01T12:00", "2026-12-01T22:30"),
        ("2026-12-01", "2026-06-01T12:00", "2026-11-30T23:00"),
    ],
)
def test_a_time_is_by_the_clock_of_the_machine(text: str, now: str, moment: str) -> None:
    found = parse_when(text, datetime.fromisoformat(now).replace(tzinfo=UTC))
    assert found.astimezone(UTC) == datetime.fromisoformat(moment).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["", "soon", "25:00", "7:60", "in", "in 2", "in 2x", "in 2h please", "today in 2h"]
)
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_when(text, datetime(2026, 6, 1, tzinfo=UTC))
