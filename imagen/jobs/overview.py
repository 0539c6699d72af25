"""What the queue holds: the jobs to list, with their places in line and what to expect of them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, NamedTuple

from sqlalchemy import or_, select

from imagen.errors import OutputError, RequestError
from imagen.jobs import file_store
from imagen.jobs.forecast import Forecast, WaitingJob, forecast, read_line
from imagen.jobs.job_rows import queued_job, select_jobs
from imagen.jobs.model import ENDED, INTERPOLATION, PARENTS
from imagen.jobs.submission import SHEET_POOL
from imagen.library.schema import jobs
from imagen.library.search import images_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from pathlib import Path

    from sqlalchemy import ColumnElement, Row

    from imagen.config import Settings
    from imagen.jobs.model import Job, QueuedJob, QueueState, WaitingQueue, WorkerInfo
    from imagen.jobs.sql_store import SqlJobStore
    from imagen.library import LibraryImage

ACTIVE: tuple[QueueState, ...] = ("running", "cancelling", "queued", "held")
"""In the order of listings."""
_PAGE = 500


class PlainJob(NamedTuple):
    """A job of a plain command, which is a file: it runs, or was interrupted."""

    id: str
    job: Job | None
    """None if it cannot be read."""
    is_running: bool
    error: str = ""

    @property
    def state(self) -> Literal["running", "interrupted"]:
        return "running" if self.is_running else "interrupted"


@dataclass(frozen=True, kw_only=True)
class QueueOverview:
    """Jobs of the queue, and what is to be expected of them."""

    jobs: list[QueuedJob]
    """Those that run, then those in line, those that are held, and those that ended, newest
    first."""
    left_out: int
    """How many more jobs match that have not ended."""
    counts: dict[str, dict[QueueState, int]]
    """Of each parent, how many of its jobs are in which state."""
    in_line: int
    """How many jobs wait for a worker."""
    forecasts: dict[str, Forecast]
    """Of those in line and their parents, by id."""
    running: list[QueuedJob]
    """All jobs that workers have, whether they are listed or not."""
    usual_seconds: dict[str, float]
    """How long each running job takes as a rule, by id, if that is known."""
    workers: list[WorkerInfo]
    now: datetime
    plain: list[PlainJob]


def read_overview(
    store: SqlJobStore,
    settings: Settings,
    *,
    states: Collection[str] = (),
    pool: str | None = None,
    parent: str | None = None,
    most_active: int | None = None,
    most_ended: int | None = None,
    after: str | None = None,
) -> QueueOverview:
    """The jobs in these states, or in any; of a parent, of a pool, or else those without a parent.

    At most so many are listed that have not ended, and that have. `after` is the last job of the
    page before. `interrupted` is the state of plain jobs that no process works on.
    """
    expected = _read_expectations(store, settings)
    line = expected.line
    in_line = dict.fromkeys(one.id if parent or pool else one.parent or one.id for one in line)
    active = [state for state in ACTIVE if state in states or not states]
    found = _find_active(store, active, pool, parent, list(in_line))
    last_ended = None
    if after in found:
        found = found[found.index(after) + 1 :]
    elif after is not None:
        found, last_ended = [], after
    shown = _read_all(store, found[:most_active])
    if ended := [state for state in ENDED if state in states or not states]:
        shown += _list_ended(store, ended, pool, parent, most_ended, last_ended)
    return QueueOverview(
        jobs=shown,
        left_out=len(found) - len(found[:most_active]),
        counts=store.children_counts([job.id for job in shown if job.kind in PARENTS]),
        in_line=len(line),
        forecasts=expected.forecasts,
        running=expected.running,
        usual_seconds=expected.usual_seconds,
        workers=expected.workers,
        now=expected.now,
        plain=[]
        if parent is not None or after is not None
        else [
            one
            for one in list_plain_jobs(settings.state_dir)
            if (not states or one.state in states)
            and (pool is None or (one.job is not None and one.job.ticket.backend == pool))
        ],
    )


def read_job_overview(job: QueuedJob, store: SqlJobStore, settings: Settings) -> QueueOverview:
    """What is to be expected of one job, and the counts of its children."""
    expected = _Expectations([], [], [], {}, {}, datetime.now(UTC))
    if job.state not in ENDED:
        expected = _read_expectations(store, settings)
    return QueueOverview(
        jobs=[job],
        left_out=0,
        counts=store.children_counts([job.id]) if job.kind in PARENTS else {},
        in_line=len(expected.line),
        forecasts=expected.forecasts,
        running=expected.running,
        usual_seconds=expected.usual_seconds,
        workers=expected.workers,
        now=expected.now,
        plain=[],
    )


class _Expectations(NamedTuple):
    line: list[WaitingJob]
    running: list[QueuedJob]
    workers: list[WorkerInfo]
    forecasts: dict[str, Forecast]
    usual_seconds: dict[str, float]
    now: datetime


def _read_expectations(store: SqlJobStore, settings: Settings) -> _Expectations:
    now = datetime.now(UTC)
    workers, running, line = store.workers(), store.running(), read_line(store.library)
    backends = {name for worker in workers for name in worker.backends}
    speeds = store.speeds({job.backend for job in running} | backends)
    usual = {
        job.id: speeds[job.backend, job.affinity].seconds
        for job in running
        if (job.backend, job.affinity) in speeds
    }
    forecasts = forecast(line, running, workers, settings.pools, speeds, now)
    return _Expectations(line, running, workers, forecasts, usual, now)


def _find_active(
    store: SqlJobStore,
    states: Sequence[QueueState],
    pool: str | None,
    parent: str | None,
    line: Sequence[str],
) -> list[str]:
    """The ids of jobs that have not ended, by state, then as they are in this line."""
    own: list[ColumnElement[bool]] = []
    if pool is not None:  # and not ended, as the index of open jobs has it
        own += [or_(jobs.c.pool == pool, jobs.c.backend == pool), jobs.c.ended_ms.is_(None)]
    if pool is None or parent is not None:
        own += [jobs.c.parent.is_(None) if parent is None else jobs.c.parent == parent]
    columns = (jobs.c.id, jobs.c.state, jobs.c.created_ms, jobs.c.number)
    place = {id: number for number, id in enumerate(line)}

    def position(row: Row[str, QueueState, int, int]) -> tuple[int, int, int, int]:
        line_place = place.get(row.id, len(place))
        return ACTIVE.index(row.state), line_place, row.created_ms, row.number

    with store.library.reading() as connection:
        rows = connection.execute(select(*columns).where(jobs.c.state.in_(states), *own))
        return [row.id for row in sorted(rows.all(), key=position)]


def _read_all(store: SqlJobStore, ids: Sequence[str]) -> list[QueuedJob]:
    """The jobs with these ids, in this order."""
    found: dict[str, QueuedJob] = {}
    with store.library.reading() as connection:
        for first in range(0, len(ids), _PAGE):
            page = select_jobs().where(jobs.c.id.in_(ids[first : first + _PAGE]))
            found |= {row.id: queued_job(row) for row in connection.execute(page)}
    return [found[id] for id in ids if id in found]


def _list_ended(
    store: SqlJobStore,
    states: Sequence[QueueState],
    pool: str | None,
    parent: str | None,
    most: int | None,
    after: str | None,
) -> list[QueuedJob]:
    found: list[QueuedJob] = []
    while most is None or len(found) < most:
        limit = _PAGE if most is None else min(_PAGE, most - len(found))
        before = found[-1].id if found else after
        page = store.list_jobs(states=states, pool=pool, parent=parent, limit=limit, before=before)
        found += page
        if len(page) < limit:
            break
    return found


def list_job_images(job: QueuedJob, store: SqlJobStore) -> list[LibraryImage]:
    """The images of a job, or of all jobs of a parent, in order."""
    if job.kind not in PARENTS:
        return [*images_of(store.library, job.ticket_id)]
    found: list[LibraryImage] = []
    before = None
    while children := store.list_jobs(parent=job.id, limit=_PAGE, before=before):
        for child in children:
            found += list_job_images(child, store)
        before = children[-1].id
    return found


def count_unserved(
    waiting: Iterable[WaitingQueue], workers: Sequence[WorkerInfo], settings: Settings
) -> dict[str, int]:
    """How many jobs wait for each pool that none of these workers serves."""
    served = {name for one in workers for name in one.backends}
    served |= {SHEET_POOL, INTERPOLATION} if workers else set()  # they need no engine
    counts: dict[str, int] = {}
    for queue in waiting:
        if not served & {queue.pool, *settings.members(queue.pool)}:
            counts[queue.pool] = counts.get(queue.pool, 0) + queue.jobs
    return counts


def list_plain_jobs(state_dir: Path) -> list[PlainJob]:
    """The unfinished jobs of plain commands, in the order in which they began."""
    found: list[PlainJob] = []
    for id in file_store.list_ids(state_dir):
        with suppress(RequestError):  # it has ended meanwhile
            is_running = file_store.is_worked_on(id, state_dir)
            try:
                found.append(PlainJob(id, file_store.read(id, state_dir), is_running))
            except OutputError as error:
                found.append(PlainJob(id, None, is_running, error.message))
    return found
