"""The ledger: what each successful generation cost, in money and in time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from statistics import median
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from sqlalchemy import case, func, literal, select, tuple_

from imagen.core.json_values import as_mapping
from imagen.core.text import one_line
from imagen.errors import NotFound
from imagen.library.schema import datetime_of, jobs, milliseconds, usage

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime, tzinfo

    from sqlalchemy import ColumnElement, Connection, Row, Select

    from imagen.config import UsageSettings
    from imagen.library.database import Library
    from imagen.library.records import GenerationRecord

UsageGrouping = Literal["day", "week", "month", "backend", "model", "caller"]
_JOULES_PER_KWH = 3_600_000
_PERIOD_FORMATS: Mapping[str, str] = {"day": "%Y-%m-%d", "week": "%G-W%V", "month": "%Y-%m"}
_COST = func.coalesce(usage.c.actual_cost, usage.c.estimated_cost)
_SUMMED = ("images", "latency_seconds", "engine_seconds", "estimated_cost")
_AT_ONCE = 500
_RECENT_ROWS = 10_000
_RECENT_IMAGES = 20
_DAY_MS = 24 * 60 * 60 * 1000
_FIRST_WEEKDAY = 3
"""1970-01-01 was a Thursday, three days after the Monday of its week."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRow:
    """One row of the ledger."""

    generation: str
    at: datetime
    """When it ended, in UTC."""
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
    """As expected beforehand; None if unknown."""
    actual_cost: float | None
    currency: str
    is_paid: bool
    """Whether the engine is a paid service."""
    caller: str

    @property
    def cost(self) -> float | None:
        """The actual cost, or else the estimate; None if unknown."""
        return self.estimated_cost if self.actual_cost is None else self.actual_cost

    @property
    def is_unknown(self) -> bool:
        """Whether it was paid for, and its cost is unknown."""
        return self.is_paid and self.cost is None


class UsageTotal(NamedTuple):
    """The sums of a group of generations; costs by currency."""

    key: tuple[str, ...]
    """The values of the groupings, in their order."""
    generations: int
    images: int
    latency_seconds: float
    engine_seconds: float
    costs: dict[str, float]
    estimates: dict[str, float]
    unknown: int
    """How many paid generations have an unknown cost."""


class Spending(NamedTuple):
    """What was spent in a period."""

    cost: float
    unknown: int
    """How many paid generations have an unknown cost."""


class ModelUsage(NamedTuple):
    """What an image of a model of a backend usually takes and costs."""

    backend: str
    model: str
    images: int
    """Of the recent ones."""
    last_used: datetime
    seconds: float | None
    usd: float | None
    """None if it is free, or unknown."""

    @classmethod
    def of(cls, rows: Sequence[LedgerRow]) -> ModelUsage:
        """That of these generations, the newest first."""
        recent = [row for row in rows if row.images][:_RECENT_IMAGES]
        seconds = [row.latency_seconds / row.images for row in recent if row.latency_seconds]
        costs = [row.cost / row.images for row in recent if row.is_paid and row.cost is not None]
        return cls(
            backend=rows[0].backend,
            model=rows[0].model,
            images=sum(row.images for row in rows),
            last_used=rows[0].at,
            seconds=median(seconds) if seconds else None,
            usd=median(costs) if costs else None,
        )


def build_row(record: GenerationRecord, costs: UsageSettings | None) -> dict[str, Any]:
    """The row of this generation. Of its prompt it has only the hash."""
    request, estimate, facts = record.ticket.request, record.ticket.estimate, record.facts
    seed = request.seed if facts.get("seed") is None else facts["seed"]
    is_paid = estimate is not None or bool(record.cost_usd)
    engine_seconds = facts.get("executing_seconds")
    if engine_seconds is None:
        engine_seconds = facts.get("latency_seconds")
    # The electricity of the user's own machine, if its power and price are configured.
    watts = costs.watts.get(record.backend) if costs else None
    price = costs.price_per_kwh if costs else None
    electricity = None
    if price is not None and watts is not None and engine_seconds is not None:
        electricity = engine_seconds * watts / _JOULES_PER_KWH * price
    return {
        "generation": record.id,
        "at_ms": milliseconds(record.ended_at),
        "backend": record.backend,
        "kind": record.kind,
        "model": record.model,
        "seed": None if seed is None else str(seed),
        "prompt_sha256": record.prompt_sha256,
        "images": len(record.images),
        "latency_seconds": facts.get("latency_seconds"),
        "engine_seconds": engine_seconds,
        "estimated_cost": estimate.usd if estimate else None,
        "actual_cost": record.cost_usd if is_paid else electricity,
        "currency": "USD" if is_paid or costs is None else costs.currency,
        "is_paid": int(is_paid),
        "caller": record.caller,
    }


def list_rows(
    library: Library,
    since: datetime | None = None,
    until: datetime | None = None,
    *,
    after: str | None = None,
    limit: int | None = None,
) -> Iterator[LedgerRow]:
    """Every row from `since` on and before `until`, oldest first.

    `after` is the generation after which a page begins. Raises NotFound if it is unknown.
    """
    place = usage.c.at_ms, usage.c.generation
    statement = select(usage).where(*_within(since, until)).order_by(*place).limit(limit)
    if after is not None:
        last = find_row(library, after)
        if last is None:
            raise NotFound(f"There is no generation {one_line(after, limit=60)!r}.")
        statement = statement.where(
            tuple_(*place) > tuple_(literal(milliseconds(last.at)), literal(after))
        )
    with library.reading() as connection:
        for row in connection.execution_options(yield_per=1000).execute(statement):
            yield _ledger_row(row)


def find_row(library: Library, generation: str) -> LedgerRow | None:
    """The row of one generation; None if it has none."""
    with library.reading() as connection:
        row = connection.execute(select(usage).where(usage.c.generation == generation)).first()
    return None if row is None else _ledger_row(row)


def find_rows(library: Library, generations: Sequence[str]) -> dict[str, LedgerRow]:
    """The rows of these generations, by generation; unknown ones are left out."""
    found: dict[str, LedgerRow] = {}
    with library.reading() as connection:
        for first in range(0, len(generations), _AT_ONCE):
            some = usage.c.generation.in_(generations[first : first + _AT_ONCE])
            rows = map(_ledger_row, connection.execute(select(usage).where(some)))
            found |= {row.generation: row for row in rows}
    return found


def usual_seconds(library: Library, backends: Iterable[str]) -> dict[tuple[str, str], float]:
    """How long an image usually takes, by backend and model: the median of recent ones."""
    newest = (
        select(usage.c.backend, usage.c.model, usage.c.images, usage.c.latency_seconds)
        .order_by(usage.c.at_ms.desc())
        .limit(_RECENT_ROWS)
        .subquery()
    )
    measured = newest.c.latency_seconds.is_not(None) & (newest.c.images > 0)
    seconds: dict[tuple[str, str], list[float]] = {}
    with library.reading() as connection:
        statement = select(newest).where(measured, newest.c.backend.in_([*backends]))
        for row in connection.execute(statement):
            each = row.latency_seconds / row.images
            seconds.setdefault((row.backend, row.model), []).append(each)
    return {key: median(values[:_RECENT_IMAGES]) for key, values in seconds.items()}


def list_model_usage(library: Library) -> list[ModelUsage]:
    """What an image of each model took and cost of late, the last used first."""
    newest = select(usage).order_by(usage.c.at_ms.desc()).limit(_RECENT_ROWS)
    rows: dict[tuple[str, str], list[LedgerRow]] = {}
    with library.reading() as connection:
        for one in map(_ledger_row, connection.execute(newest)):
            rows.setdefault((one.backend, one.model), []).append(one)
    return [ModelUsage.of(group) for group in rows.values()]


def _within(since: datetime | None, until: datetime | None) -> list[ColumnElement[bool]]:
    conditions = []
    if since is not None:
        conditions.append(usage.c.at_ms >= milliseconds(since))
    if until is not None:
        conditions.append(usage.c.at_ms < milliseconds(until))
    return conditions


def _ledger_row(row: Row[Any]) -> LedgerRow:
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
    """The sums of each group, sorted by key; a single total without groupings.

    Days, weeks and months begin in `zone`; None is this machine's time zone.
    """
    parts: dict[tuple[str, ...], list[UsageTotal]] = {}
    is_by_week = _is_by_week(by)
    with library.reading() as connection:
        for row in connection.execute(_sum_statement(connection, by, _within(since, until), zone)):
            key = tuple(
                _period_name(grouping, row.period, is_by_week)
                if grouping in _PERIOD_FORMATS
                else str(getattr(row, grouping))
                for grouping in by
            )
            total = UsageTotal(
                key,
                row.generations,
                int(row.images),
                row.latency_seconds or 0.0,
                row.engine_seconds or 0.0,
                {} if row.cost is None else {row.currency: row.cost},
                {} if row.estimated_cost is None else {row.currency: row.estimated_cost},
                int(row.unknown or 0),
            )
            parts.setdefault(key, []).append(total)
    # There is a part for each currency, and for each day of a month.
    return [
        group[0] if len(group) == 1 else _add(group, key) for key, group in sorted(parts.items())
    ]


def add_totals(groups: Sequence[UsageTotal]) -> UsageTotal | None:
    """The sum of all groups; None if there are none."""
    return _add(groups, ()) if groups else None


def _add(parts: Sequence[UsageTotal], key: tuple[str, ...]) -> UsageTotal:
    return UsageTotal(
        key,
        sum(part.generations for part in parts),
        sum(part.images for part in parts),
        sum(part.latency_seconds for part in parts),
        sum(part.engine_seconds for part in parts),
        _add_by_currency(part.costs for part in parts),
        _add_by_currency(part.estimates for part in parts),
        sum(part.unknown for part in parts),
    )


def _add_by_currency(costs: Iterable[Mapping[str, float]]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for each in costs:
        for currency, amount in each.items():
            sums[currency] = sums.get(currency, 0.0) + amount
    return sums


def _sum_statement(
    connection: Connection,
    by: Sequence[UsageGrouping],
    conditions: Sequence[ColumnElement[bool]],
    zone: tzinfo | None,
) -> Select[Any]:
    """Sums in as few groups as the groupings need: by day or week, as months are made of days."""
    names = {grouping for grouping in by if grouping in ("backend", "model", "caller")}
    columns: list[ColumnElement[Any]] = [
        *(usage.c[name] for name in sorted(names)),
        usage.c.currency,
    ]
    if names != set(by):
        ends = (
            select(usage.c.at_ms).where(*conditions).order_by(order).limit(1).scalar_subquery()
            for order in (usage.c.at_ms, usage.c.at_ms.desc())
        )
        first, last = connection.execute(select(*ends)).one()
        period = _day_number(usage.c.at_ms, first or 0, last or 0, zone)
        if _is_by_week(by):
            period = (period + _FIRST_WEEKDAY) // 7
        columns.insert(0, period.label("period"))  # first, as sorting by a number is cheap
    sums = [func.sum(usage.c[name]).label(name) for name in _SUMMED]
    unknown = func.sum(usage.c.is_paid).filter(_COST.is_(None)).label("unknown")
    cost, number = func.sum(_COST).label("cost"), func.count().label("generations")
    return select(*columns, *sums, cost, unknown, number).where(*conditions).group_by(*columns)


def _is_by_week(by: Sequence[UsageGrouping]) -> bool:
    """Whether weeks are the only periods, so that rows need not be grouped by day."""
    return set(by) & set(_PERIOD_FORMATS) == {"week"}


@lru_cache(maxsize=4096)
def _period_name(grouping: UsageGrouping, number: int, is_week: bool) -> str:
    day = number * 7 - _FIRST_WEEKDAY if is_week else number
    return format(datetime_of(day * _DAY_MS).date(), _PERIOD_FORMATS[grouping])


def _day_number(
    at_ms: ColumnElement[int], first_ms: int, last_ms: int, zone: tzinfo | None
) -> ColumnElement[int]:
    """The number of the day since 1970 in a time zone, as an expression to group by.

    It has one case for each change of the clock between the first and the last moment.
    """
    changes = []
    for ms in range(first_ms, last_ms, _DAY_MS):
        later = min(ms + _DAY_MS, last_ms)
        if _utc_offset(ms, zone) != _utc_offset(later, zone):
            changes.append((at_ms < _find_change(ms, later, zone), _utc_offset(ms, zone)))
    last = _utc_offset(last_ms, zone)
    return (at_ms + (case(*changes, else_=last) if changes else last)) // _DAY_MS


def _find_change(before: int, after: int, zone: tzinfo | None) -> int:
    """The first moment with the offset of `after`, by bisection."""
    while after - before > 1:
        middle = (before + after) // 2
        if _utc_offset(middle, zone) == _utc_offset(after, zone):
            after = middle
        else:
            before = middle
    return after


def _utc_offset(ms: int, zone: tzinfo | None) -> int:
    """In milliseconds."""
    offset = datetime_of(ms).astimezone(zone).utcoffset()
    return round(offset.total_seconds() * 1000) if offset else 0


def sum_spending(
    connection: Connection,
    since: datetime,
    *,
    currency: str,
    backend: str | None = None,
    caller: str | None = None,
    without: Sequence[str] = (),
) -> Spending:
    """What was spent from `since` on in this currency, with one backend or all, by one caller or
    all.

    Generations with an id in `without` do not count.
    """
    conditions = [usage.c.at_ms >= milliseconds(since), usage.c.currency == currency]
    if backend is not None:
        conditions.append(usage.c.backend == backend)
    if caller is not None:
        conditions.append(usage.c.caller == caller)
    if without:
        conditions.append(usage.c.generation.not_in(without))
    unknown = func.sum(usage.c.is_paid).filter(_COST.is_(None))
    statement = select(func.sum(_COST), unknown).where(*conditions)
    known, unknown_count = connection.execute(statement).one()
    return Spending(float(known or 0.0), int(unknown_count or 0))


def sum_reserved(
    connection: Connection,
    *,
    backend: str | None = None,
    caller: str | None = None,
    without: Collection[str] = (),
) -> Spending:
    """What the submitted jobs of the queue will cost in USD, with one backend or all, for one
    caller or all.

    Those whose ticket has an id in `without` do not count.
    """
    chosen = select(jobs.c.ticket_id, jobs.c.reserved_usd, jobs.c.job).where(
        jobs.c.state.in_(("queued", "running", "cancelling")), jobs.c.reserved_usd.is_not(None)
    )
    if backend is not None:
        chosen = chosen.where(jobs.c.backend == backend)
    if caller is not None:
        chosen = chosen.where(jobs.c.caller == caller)
    cost, unknown = 0.0, 0
    for row in connection.execute(chosen):
        if row.ticket_id not in without:
            estimate = as_mapping(as_mapping(as_mapping(row.job).get("ticket")).get("estimate"))
            cost += row.reserved_usd
            unknown += estimate.get("usd") is None
    return Spending(cost, unknown)
