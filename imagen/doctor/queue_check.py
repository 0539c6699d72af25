"""The check of the queue: who runs its jobs, and which jobs nothing will run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from imagen.core.text import one_line
from imagen.doctor.checks import Finding
from imagen.jobs.job_rows import JobRows
from imagen.jobs.overview import count_unserved
from imagen.jobs.schedules import ScheduleRows
from imagen.jobs.worker_rows import WorkerRows
from imagen.library import open_library

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imagen.config import Settings
    from imagen.jobs.model import QueueState
    from imagen.library import Library

_LATE = timedelta(minutes=2)
_LOST: tuple[QueueState, ...] = ("lost",)
_MOST_LOST = 100
_START = "Start one with: imagen worker"


class _QueueRows(JobRows, ScheduleRows, WorkerRows):
    """The tables of the queue, to read them without opening the queue."""

    def __init__(self, library: Library, lease_seconds: float) -> None:
        self.library = library
        self.lease_seconds = lease_seconds


def check_queue(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Workers, and the jobs, engines and schedules that need attention. Changes nothing."""
    now = datetime.now(UTC)
    with open_library(settings, environ=environ) as library:
        rows = _QueueRows(library, settings.jobs.lease_seconds)
        workers, pauses = rows.workers(), rows.pauses()
        alive = {one.id for one in workers}
        stalled = [job for job in rows.running() if job.owner and job.owner not in alive]
        waiting = rows.waiting()
        lost = len(rows.list_jobs(states=_LOST, limit=_MOST_LOST))
        schedules = rows.schedules()
    names = [
        f"{one_line(one.host, limit=40)}:{one.pid} serves {', '.join(one.backends)}"
        for one in workers
    ]
    total = sum(queue.jobs for queue in waiting)
    yield Finding(
        subject="queue",
        state="warning" if total and not workers else "ok",
        says=f"{_count(total, 'job')} waiting; {'; '.join(names) or 'no worker is running'}",
        remedies=(_START,) if total and not workers else (),
    )
    for pool, jobs in count_unserved(waiting, workers, settings).items() if workers else ():
        says = f"{_count(jobs, 'job')} for {one_line(pool)}, which no running worker serves"
        remedy = f"Start a worker for it: imagen worker --backends {one_line(pool)}"
        yield Finding(subject="queue", state="warning", says=says, remedies=(remedy,))
    if stalled:
        says = f"{_count(len(stalled), 'job')} of workers that have vanished"
        remedy = "A running worker takes them over." if workers else _START
        yield Finding(subject="queue", state="warning", says=says, remedies=(remedy,))
    for name, pause in pauses.items():
        if pause.until > now:
            until = f"{pause.until.astimezone():%H:%M:%S}"
            why = one_line(str((pause.error or {}).get("message", "")), limit=200)
            says = f"{one_line(name)} is paused until {until}{why and ': '}{why}"
            yield Finding(subject="queue", state="warning", says=says)
    if lost:
        says = f"{_count(lost, 'job')} lost, which may have run and cost money"
        remedies = ("List them with: imagen jobs list --state lost",)
        yield Finding(subject="queue", state="warning", says=says, remedies=remedies)
    late = [one for one in schedules if not one.is_paused and one.next < now - _LATE]
    if late:
        says = f"{_count(len(late), 'schedule')} overdue, as no worker has submitted the jobs"
        remedies = ("A running worker submits them.",) if workers else (_START,)
        yield Finding(subject="schedules", state="warning", says=says, remedies=remedies)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
