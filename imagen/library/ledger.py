"""The ledger: what each generation that succeeded did cost, in money and in time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from sqlalchemy import case, func, select

from imagen.library.schema import usage
from imagen.library.stored_values import datetime_of, milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import date, datetime, tzinfo

    from sqlalchemy import ColumnElement, Connection, Row, Select

    from imagen.config import UsageSettings
    from imagen.library.database import Library
    from imagen.library.records import GenerationRecord


UsageGrouping = Literal["day", "week", "month", "backend", "model", "caller"]
_JOULES_PER_KWH = 3_600_000
_FORMS: Mapping[str, str] = {"day": "%Y-%m-%d", "week": "%G-W%V", "month": "%Y-%m"}
_COST = func.coalesce(usage.c.actual_cost, usage.c.estimated_cost)
_SUMMED = ("images", "latency_seconds", "engine_seconds", "estimated_cost")


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRow:
    """One row of the ledger."""

    generation: str
    at: datetime
    """When it came to its end, in UTC."""
    backend: str
    kind: str
    model: str
    seed: int | None
    prompt_sha256: str
    images: int
    latency_seconds: float | None
    engine_seconds: float | None
    """How long the engine computed."""
    estimated_cost: float | None
    """What was expected beforehand; None is unknown."""
    actual_cost: float | None
    currency: str
    is_paid: bool
    """Whether the engine's owner is paid for it."""
    caller: str

    @property
    def cost(self) -> float | None:
        """What it did cost, else what was expected; None is unknown."""
        return self.estimated_cost if self.actual_cost is None else self.actual_cost

    @property
    def is_unknown(self) -> bool:
        """Whether it cost money, and nobody knows how much."""
        return self.is_paid and self.cost is None


class UsageTotal(NamedTuple):
    """What several generations came to. Sums are per currency, which nobody can add up."""

    key: tuple[str, ...]
    """Of the groupings, in their order."""
    generations: int
    images: int
    latency_seconds: float
    engine_seconds: float
    costs: dict[str, float]
    estimates: dict[str, float]
    unknown: int
    """How many cost money that nobody knows."""


def build_row(entry: GenerationRecord, costs: UsageSettings | None) -> dict[str, Any]:
    """The row of this generation. Its prompt stands there as a hash only."""
    request, estimate = entry.ticket.request, entry.ticket.estimate
    seed = entry.facts.get("seed") if entry.facts.get("seed") is not None else request.seed
    is_paid = estimate is not None or bool(entry.cost_usd)
    return {
        "generation": entry.id,
        "at_ms": milliseconds(entry.ended_at),
        "backend": entry.backend,
        "kind": entry.kind,
        "model": entry.model,
        "seed": None if seed is None else str(seed),
        "prompt_sha256": entry.prompt_sha256,
        "images": len(entry.images),
        "latency_seconds": entry.facts.get("latency_seconds"),
        "engine_seconds": _engine_seconds(entry),
        "estimated_cost": estimate.usd if estimate else None,
        "actual_cost": entry.cost_usd if is_paid else _electricity(entry, costs),
        "currency": "USD" if is_paid or costs is None else costs.currency,
        "is_paid": int(is_paid),
        "caller": entry.caller,
    }


def _engine_seconds(entry: GenerationRecord) -> float | None:
    """As the engine told; of one that tells nothing, as long as it took in all."""
    told = entry.facts.get("executing_seconds")
    return told if told is not None else entry.facts.get("latency_seconds")


def _electricity(entry: GenerationRecord, costs: UsageSettings | None) -> float | None:
    """What a machine of ours drew for it, where the user says what that costs."""
    seconds = _engine_seconds(entry)
    watts = costs.watts.get(entry.backend) if costs else None
    if costs is None or costs.price_per_kwh is None or watts is None or seconds is None:
        return None
    return seconds * watts / _JOULES_PER_KWH * costs.price_per_kwh


def list_rows(
    library: Library, since: datetime | None = None, until: datetime | None = None
) -> Iterator[LedgerRow]:
    """Every row from `since` on and before `until`, the oldest first."""
    statement = select(usage).where(*_within(since, until)).order_by(usage.c.at_ms)
    with library.reading() as connection:
        for row in connection.execution_options(yield_per=1000).execute(statement):
            yield _use(row)


def find_row(library: Library, generation: str) -> LedgerRow | None:
    """The row of one generation; None where it has none."""
    with library.reading() as connection:
        row = connection.execute(select(usage).where(usage.c.generation == generation)).first()
    return None if row is None else _use(row)


def _within(since: datetime | None, until: datetime | None) -> list[Any]:
    found = [] if since is None else [usage.c.at_ms >= milliseconds(since)]
    return found if until is None else [*found, usage.c.at_ms < milliseconds(until)]


def _use(row: Row[Any]) -> LedgerRow:
    values = dict(row._mapping)
    at = datetime_of(values.pop("at_ms"))
    seed = values.pop("seed")
    is_paid = bool(values.pop("is_paid"))
    return LedgerRow(at=at, seed=None if seed is None else int(seed), is_paid=is_paid, **values)


def sum_usage(
    library: Library,
    by: Sequence[UsageGrouping] = (),
    since: datetime | None = None,
    until: datetime | None = None,
    *,
    zone: tzinfo | None = None,
) -> list[UsageTotal]:
    """What was used, in groups, in the order of their keys; a single one where there are none.

    Days, weeks and months begin in `zone`; None is this machine's time zone.
    """
    parts: dict[tuple[str, ...], list[UsageTotal]] = {}
    is_by_week = _is_by_week(by)
    with library.reading() as connection:
        for row in connection.execute(_summed(connection, by, _within(since, until), zone)):
            key = tuple(
                _period_name(grouping, row.period, is_by_week)
                if grouping in _FORMS
                else str(getattr(row, grouping))
                for grouping in by
            )
            parts.setdefault(key, []).append(_total(key, row))
    # Each currency is a part; as a rule there is one.
    return [
        found[0] if len(found) == 1 else _sum(found, key) for key, found in sorted(parts.items())
    ]


def add_totals(groups: Sequence[UsageTotal]) -> UsageTotal | None:
    """What all groups come to together; None where there are none."""
    return _sum(groups, ()) if groups else None


def _sum(parts: Sequence[UsageTotal], key: tuple[str, ...]) -> UsageTotal:
    return UsageTotal(
        key,
        sum(part.generations for part in parts),
        sum(part.images for part in parts),
        sum(part.latency_seconds for part in parts),
        sum(part.engine_seconds for part in parts),
        _sum_by_currency(part.costs for part in parts),
        _sum_by_currency(part.estimates for part in parts),
        sum(part.unknown for part in parts),
    )


def _sum_by_currency(costs: Iterable[Mapping[str, float]]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for each in costs:
        for currency, amount in each.items():
            sums[currency] = sums.get(currency, 0.0) + amount
    return sums


def _summed(
    connection: Connection,
    by: Sequence[UsageGrouping],
    conditions: Sequence[Any],
    zone: tzinfo | None,
) -> Select[Any]:
    """Sums of as few groups as can still be told apart by what is asked for."""
    named = {grouping for grouping in by if grouping in ("backend", "model", "caller")}
    columns: list[ColumnElement[Any]] = [
        *(usage.c[name] for name in sorted(named)),
        usage.c.currency,
    ]
    if named != set(by):
        day = _day(connection, conditions, zone)
        period = week_number(day) if _is_by_week(by) else day
        columns.insert(0, period.label("period"))  # a number first: rows are sorted by these
    sums = [func.sum(usage.c[name]).label(name) for name in _SUMMED]
    unknown = func.sum(usage.c.is_paid).filter(_COST.is_(None)).label("unknown")
    cost, number = func.sum(_COST).label("cost"), func.count().label("generations")
    return select(*columns, *sums, cost, unknown, number).where(*conditions).group_by(*columns)


def _day(
    connection: Connection, conditions: Sequence[Any], zone: tzinfo | None
) -> ColumnElement[int]:
    ends = (
        select(usage.c.at_ms).where(*conditions).order_by(order).limit(1).scalar_subquery()
        for order in (usage.c.at_ms, usage.c.at_ms.desc())
    )
    first, last = connection.execute(select(*ends)).one()
    return day_number(usage.c.at_ms, first or 0, last or 0, zone)


def _is_by_week(by: Sequence[UsageGrouping]) -> bool:
    """Whether weeks are the shortest periods, and not days."""
    return set(by) & set(_FORMS) == {"week"}


@lru_cache(maxsize=4096)
def _period_name(grouping: UsageGrouping, number: int, is_week: bool) -> str:
    return format(monday_of(number) if is_week else date_of(number), _FORMS[grouping])


def _total(key: tuple[str, ...], row: Row[Any]) -> UsageTotal:
    return UsageTotal(
        key,
        row.generations,
        int(row.images),
        row.latency_seconds or 0.0,
        row.engine_seconds or 0.0,
        {} if row.cost is None else {row.currency: row.cost},
        {} if row.estimated_cost is None else {row.currency: row.estimated_cost},
        int(row.unknown or 0),
    )


class Spending(NamedTuple):
    """What was spent since a moment."""

    cost: float
    unknown: int
    """How many generations cost money that nobody knows."""


def sum_spending(
    library: Library,
    since: datetime,
    *,
    currency: str,
    backend: str | None = None,
    without: Sequence[str] = (),
) -> Spending:
    """What was spent from `since` on in this currency; with all backends where none is named.

    The generations of these ids `without` are left out.
    """
    conditions = [usage.c.at_ms >= milliseconds(since), usage.c.currency == currency]
    if backend is not None:
        conditions.append(usage.c.backend == backend)
    if without:
        conditions.append(usage.c.generation.not_in(without))
    unknown = func.sum(usage.c.is_paid).filter(_COST.is_(None))
    statement = select(func.sum(_COST), unknown).where(*conditions)
    with library.reading() as connection:
        known, lacking = connection.execute(statement).one()
    return Spending(float(known or 0.0), int(lacking or 0))


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
    return datetime_of(day * _DAY_MS).date()


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
    offset = datetime_of(ms).astimezone(zone).utcoffset()
    return round(offset.total_seconds() * 1000) if offset else 0
