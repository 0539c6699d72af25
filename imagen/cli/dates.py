"""Dates as people type them: `2026-11-27`, `2026-11-27 14:00`, `2026-11`, `2026`, `7d`, `today`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import tzinfo

_AGO = re.compile(r"(\d{1,6}) ?(min|h|d|w)")
_UNITS: Mapping[str, str] = {"min": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_YEAR = re.compile(r"\d{4}")
_MONTH = re.compile(r"(\d{4})-(\d{2})")


@dataclass(frozen=True, slots=True)
class TypedDate:
    """A date of the command line, which becomes a moment once the time zone is known."""

    text: str
    is_end: bool

    def moment(self, zone: tzinfo | None = None) -> datetime:
        """In this time zone; None is this machine's."""
        return moment(self.text, datetime.now().astimezone(), zone, is_end=self.is_end)


def _parsed(
    ctx: click.Context, param: click.Parameter, text: str | None, *, is_end: bool
) -> TypedDate | None:
    if text is None:
        return None
    typed = TypedDate(text, is_end)
    try:
        typed.moment()
    except (ValueError, OverflowError, OSError) as error:
        raise click.BadParameter(
            f"{text!r} is no date. Write it as 2026-11-27, '2026-11-27 14:00', 2026-11, 2026, 7d, "
            "3h, today or yesterday.",
            ctx,
            param,
        ) from error
    return typed


since_option = click.option(
    "--since",
    callback=partial(_parsed, is_end=False),
    metavar="DATE",
    help="From then on: 2026-11-27, '2026-11-27 14:00', 2026-11, 2026, 7d, 3h, today, yesterday.",
)
until_option = click.option(
    "--until",
    callback=partial(_parsed, is_end=True),
    metavar="DATE",
    help="Up to then; a day, a month or a year with all of it.",
)


def moment(
    text: str, now: datetime, zone: tzinfo | None = None, *, is_end: bool = False
) -> datetime:
    """The moment that is meant in this time zone, None being this machine's.

    As the end of a period, a day, a month or a year is meant with all of it. Raises ValueError or
    OverflowError.
    """
    word = " ".join(text.split())
    if match := _AGO.fullmatch(word):
        return now - timedelta(**{_UNITS[match[2]]: int(match[1])})
    if days := _days(word, now.astimezone(zone)):
        return _in_zone(datetime.combine(days[int(is_end)], datetime.min.time()), zone)
    return _in_zone(datetime.fromisoformat(word), zone)


def _in_zone(meant: datetime, zone: tzinfo | None) -> datetime:
    if meant.tzinfo is None and zone is not None:
        return meant.replace(tzinfo=zone)
    return meant.astimezone(zone)


def _days(word: str, now: datetime) -> tuple[date, date] | None:
    """The first day of what is named, and the one after its last; None for a time of day."""
    if _YEAR.fullmatch(word):
        return date(int(word), 1, 1), date(int(word) + 1, 1, 1)
    if match := _MONTH.fullmatch(word):
        first = date(int(match[1]), int(match[2]), 1)
        return first, (first + timedelta(days=31)).replace(day=1)
    day = _day(word, now)
    return (day, day + timedelta(days=1)) if day else None


def _day(word: str, now: datetime) -> date | None:
    if word in ("today", "yesterday"):
        return now.date() - timedelta(days=int(word == "yesterday"))
    try:
        return date.fromisoformat(word)
    except ValueError:
        return None
