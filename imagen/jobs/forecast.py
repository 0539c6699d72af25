"""Estimate when the waiting jobs of the queue start and end, from what earlier ones took."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import select

from imagen.jobs.job_rows import IN_LINE
from imagen.library.schema import datetime_of, jobs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from imagen.jobs.model import QueuedJob, Speed, WorkerInfo
    from imagen.library import Library

_MOST_WAITING = 20_000


class WaitingJob(NamedTuple):
    """A job in line, without what it is to do."""

    id: str
    parent: str | None
    pool: str
    affinity: str
    due: datetime


class Forecast(NamedTuple):
    """What is to be expected of a waiting job, or of a parent."""

    position: int
    """How many jobs of its pool are before it, plus one."""
    start: datetime | None
    """None where it is unknown: no worker serves its pool, or the time of a job before it is
    unknown."""
    end: datetime | None


class _Place:
    """One place of an engine, and when it is free."""

    def __init__(self, backends: Sequence[str], now: datetime) -> None:
        self.backends = backends
        self.free: datetime | None = now
        self.is_taken = False


def read_line(library: Library) -> list[WaitingJob]:
    """The jobs that wait for a worker, the next one first."""
    columns = (jobs.c.id, jobs.c.parent, jobs.c.pool, jobs.c.affinity, jobs.c.due_ms)
    order = (jobs.c.priority.desc(), jobs.c.created_ms, jobs.c.number, jobs.c.id)
    waiting = select(*columns).where(*IN_LINE, jobs.c.state == "queued").order_by(*order)
    with library.reading() as connection:
        rows = connection.execute(waiting.limit(_MOST_WAITING))
        return [WaitingJob(*row[:4], datetime_of(row.due_ms)) for row in rows]


def forecast(
    line: Iterable[WaitingJob],
    running: Sequence[QueuedJob],
    workers: Sequence[WorkerInfo],
    pools: Mapping[str, Sequence[str]],
    speeds: Mapping[tuple[str, str], Speed],
    now: datetime,
) -> dict[str, Forecast]:
    """What to expect of each job in line and of each parent of one, by id.

    Each job goes to the place that ends it first. `pools` has the backends of pools; any other name
    is a backend.
    """

    def seconds(backend: str, affinity: str) -> timedelta | None:
        speed = speeds.get((backend, affinity))
        return None if speed is None else timedelta(seconds=speed.seconds)

    # Workers that serve one engine share its places.
    resources = {one.name: one for worker in workers for one in worker.resources}
    places = [
        _Place(resource.backends, now)
        for resource in resources.values()
        for _ in range(resource.at_once)
    ]
    for job in running:
        free = (one for one in places if not one.is_taken and job.backend in one.backends)
        if job.is_at_engine and (place := next(free, None)) is not None:
            place.is_taken = True
            usual = seconds(job.backend, job.affinity)
            started = job.started or now
            place.free = None if usual is None else max(now, started + usual)
    found: dict[str, Forecast] = {}
    ahead: dict[str, int] = {}
    for one in line:
        position = ahead[one.pool] = ahead.get(one.pool, 0) + 1
        members = pools.get(one.pool, (one.pool,))
        able = [
            (place, seconds(name, one.affinity))
            for place in places
            if (name := next((name for name in place.backends if name in members), None))
        ]
        start, end = _take_place(one, able)
        found[one.id] = Forecast(position, start, end)
        if one.parent is not None:
            known = found.get(one.parent, found[one.id])
            starts = [moment for moment in (known.start, start) if moment is not None]
            last = None if known.end is None or end is None else max(known.end, end)
            found[one.parent] = Forecast(known.position, min(starts, default=None), last)
    return found


def _take_place(
    job: WaitingJob, able: Sequence[tuple[_Place, timedelta | None]]
) -> tuple[datetime | None, datetime | None]:
    """When a job starts and ends at the best of these places, which is taken until then."""
    known = [
        (max(place.free, job.due) + duration, place, duration)
        for place, duration in able
        if place.free is not None and duration is not None
    ]
    if known:
        end, place, duration = min(known, key=lambda one: one[0])
        place.free = end
        return end - duration, end
    free = [(place.free, place) for place, _ in able if place.free is not None]
    if not free:
        return None, None
    moment, first = min(free, key=lambda one: one[0])
    first.free = None
    return max(moment, job.due), None
