"""The store of the queue: rows of the library, which are the truth about each job."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, insert, select, update

from imagen import delivery
from imagen.core.json_values import json_safe
from imagen.core.text import one_line, printable
from imagen.core.ticket import new_id
from imagen.errors import ConfigError, ImagenError, RequestError
from imagen.jobs.job_rows import AT_ENGINE, OWNED, JobRows, queued_job, select_jobs
from imagen.jobs.model import ENDED, PARENTS
from imagen.jobs.open_queue import open_queue
from imagen.jobs.schedules import ScheduleRows
from imagen.jobs.submission import find_known, insert_jobs, refuse_over_rate, with_known
from imagen.jobs.transitions import Transition, is_submitted, keeps_engine
from imagen.jobs.user_changes import UserChanges
from imagen.jobs.worker_rows import WorkerRows
from imagen.library import open_library
from imagen.library.schema import job_previews, jobs
from imagen.library.tokens import find_token
from imagen.pipeline.budgets import lock_budgets, refuse_over_budget

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pydantic import JsonValue
    from sqlalchemy import Connection, Row

    from imagen.config import Settings
    from imagen.core.result import Progress
    from imagen.jobs.model import Fence, Job, NewJob, QueuedJob, QueueState
    from imagen.jobs.queue import JobDelivery, JobQueue
    from imagen.library.database import Library
    from imagen.library.records import GenerationRecord

_BUSY_SECONDS = 0.5
"""How long a job waits that was fetched for a resource without a free place."""
_PROGRESS_SECONDS = 0.5
_MOST_PREVIEW_BYTES = 512 * 1024
_LONGEST_MESSAGE = 4000


class SqlJobStore(JobRows, UserChanges, ScheduleRows, WorkerRows):
    """Jobs in the tables of a library, and a queue that carries them. Threads may share it.

    Each change that a worker makes is fenced by the attempt of the job: once another worker may
    have it, the change raises LetGo and has no effect.
    """

    def __init__(
        self, library: Library, queue: JobQueue, *, lease_seconds: float = 20.0, deaths: int = 3
    ) -> None:
        self.library = library
        self.queue = queue
        self.lease_seconds = lease_seconds
        self._deaths = deaths
        self._reported: dict[Fence, _Reported] = {}

    def submit(self, new: Sequence[NewJob]) -> list[str]:
        """Store jobs and put them in line, all or none; their ids, in order.

        A parent comes before its children. A job with a known key or id is not stored again, nor
        are the children of a known parent: the ids are those of the known jobs. Raises RequestError
        if a job is to run after one that does not exist, or has ended without success;
        RateLimited if the token of a caller allows no more jobs now.
        """
        with self._exclusive() as change:
            known = find_known(change.connection, new)
            unknown = [with_known(job, known) for job in new if job.id not in known]
            refuse_over_rate(change, unknown)
            insert_jobs(change, unknown)
        return [known.get(job.id, job.id) for job in new]

    def extend(
        self, parent: str, new: Sequence[NewJob], sheet: Mapping[str, JsonValue]
    ) -> list[str]:
        """Add jobs to a comparison that is not drawn yet, and change its sheet job; their ids.

        Raises RequestError if its sheet is being drawn, RateLimited if the token of a caller allows
        no more jobs now.
        """
        with self._exclusive() as change:
            owner = change.lock(parent)
            children = select(jobs.c.id, jobs.c.state, jobs.c.spec).where(
                jobs.c.parent == parent, jobs.c.kind == "sheet"
            )
            row = change.connection.execute(children.with_for_update()).first()
            if row is None or owner is None or owner.state in ENDED or row.state == "running":
                raise RequestError(
                    "This comparison has just been generated.", remedy="Add the rest now."
                )
            refuse_over_rate(change, new)
            spec = row.spec | {"comparison": json_safe(dict(sheet))}
            change.connection.execute(update(jobs).where(jobs.c.id == row.id).values(spec=spec))
            insert_jobs(change, new)
        return [job.id for job in new]

    def take(
        self,
        delivery: JobDelivery,
        *,
        worker: str,
        backend: str,
        resource: str = "",
        at_once: int | None = None,
        rate: tuple[int, float] | None = None,
    ) -> QueuedJob | None:
        """Make a worker the owner of a delivered job.

        None if the delivery is outdated, or if the resource has no free place, or has started as
        many jobs as its rate (so many in so many seconds) allows: then the job is put back. A job
        that may be at its engine already needs no place.
        """
        with self._changing() as change:
            if resource:
                change.lock_resource(resource)
            row = change.lock(delivery.job)
            is_valid = row is not None and row.token == delivery.token and row.state not in ENDED
            if row is None or not is_valid:
                taken = None
            elif not keeps_engine(row) and (wait := _busy_for(change, resource, at_once, rate)):
                change.put_in_line(row, row.state, delay_seconds=wait, is_noted=False)
                taken = None
            else:
                taken = self._own(change, row, worker, backend, resource)
        if taken is None:
            self._drop(delivery.token)
        return taken

    def _own(
        self, change: Transition, row: Row[Any], worker: str, backend: str, resource: str
    ) -> QueuedJob:
        values = {
            "attempt": row.attempt + 1,
            "owner": worker,
            "backend": backend,
            "resource": resource,
            "is_at_engine": int(bool(resource)),
            "started_ms": change.now,
            "progress": None,
            "error": None,
        }
        state: QueueState = "running" if row.state == "queued" else row.state
        change.set_state(row.id, state, **values)
        change.start_parents(row.parent)
        owned = change.connection.execute(select_jobs().where(jobs.c.id == row.id)).one()
        return queued_job(owned)

    def write(self, fence: Fence, job: Job, settings: Settings) -> list[str]:
        """Store the job as it is now; warnings about budgets.

        When its ticket becomes submitted, the budgets are checked and its estimate is reserved, in
        the same transaction. Raises LetGo, and OverBudget before the submission.
        """
        stored = json_safe(job.model_dump(mode="json"))
        if not job.ticket.submitted or job.ticket.estimate is None:
            with self._changing() as change:
                change.update_owned(fence, job=stored, ticket_id=job.id)
            return []
        warnings: list[str] = []
        with lock_budgets(settings, [job.ticket]), self._exclusive() as change:
            row = change.lock_owned(fence)
            values: dict[str, Any] = {"job": stored, "ticket_id": job.id}
            is_reserved = row.reserved_usd is not None and row.ticket_id == job.id
            if not is_reserved or not is_submitted(row.job):
                budgets = () if row.spec.get("is_over_budget") else settings.budgets
                token = find_token(change.connection, row.caller)
                if token is not None and token.budget is not None:
                    budgets = (*budgets, token.budget)
                warnings = refuse_over_budget(
                    [job.ticket],
                    settings.model_copy(update={"budgets": budgets}),
                    connection=change.connection,
                    caller=row.caller,
                )
                values["reserved_usd"] = job.ticket.estimate.usd or 0.0
            change.update_owned(fence, **values)
        return warnings

    def leave_engine(self, fence: Fence) -> None:
        """Free the place of the job at its resource, which works on the next one already."""
        with self._changing() as change:
            change.update_owned(fence, is_at_engine=0)
        self.queue.wake()

    def report(self, fence: Fence, progress: Progress) -> bool:
        """Note the progress of a job, at most twice a second, and its first time in each stage.

        Whether the job is to be cancelled, as far as that was looked up.
        """
        reported = self._reported.setdefault(fence, _Reported())
        now = time.monotonic()
        is_new = progress.stage not in reported.stages
        if not is_new and now - reported.at < _PROGRESS_SECONDS:
            return False
        reported.stages.add(progress.stage)
        reported.at = now
        data: dict[str, JsonValue] = {
            "stage": progress.stage,
            "fraction": round(progress.fraction, 4),
            "node": one_line(progress.node),
            "step": progress.step,
            "steps": progress.steps,
            "queue_position": progress.queue_position,
            "image": progress.image,
            "images": progress.images,
        }
        with self._changing() as change:
            change.update_owned(fence, progress=json_safe(data))
            change.add_event(fence.job, "progress", json_safe(data))
            preview = progress.preview
            if preview is not None and len(preview) <= _MOST_PREVIEW_BYTES:
                change.connection.execute(
                    delete(job_previews).where(job_previews.c.job == fence.job)
                )
                row = {"job": fence.job, "at_ms": change.now, "image": preview}
                change.connection.execute(insert(job_previews).values(**row))
            flag = select(jobs.c.cancel).where(jobs.c.id == fence.job)
            return bool(change.connection.execute(flag).scalar())

    def finish(
        self,
        fence: Fence,
        record: GenerationRecord | None,
        settings: Settings,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        """Record what a job made, and end it, in one transaction. A sheet has no record."""
        self._end(fence, "done", record, settings, environ, {"job": None, "error": None})

    def fail(
        self,
        fence: Fence,
        error: ImagenError,
        *,
        state: QueueState = "failed",
        record: GenerationRecord | None = None,
        settings: Settings | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        """End a job without success: `failed`, `cancelled` or `lost`; its record is optional."""
        self._end(fence, state, record, settings, environ, {"error": error_data(error)})

    def _end(
        self,
        fence: Fence,
        state: QueueState,
        record: GenerationRecord | None,
        settings: Settings | None,
        environ: Mapping[str, str],
        values: dict[str, Any],
    ) -> None:
        # With Pillow, which a command that only submits does not need.
        from imagen.library.write import (
            insert_prepared,
            prepare_generation,
            uids_of,
            write_exclusively,
        )

        prepared = None
        if record is not None:
            assert settings is not None
            deliveries = delivery.deliveries_of(record, settings, environ)
            prepared = prepare_generation(record, deliveries, settings.usage)

        def work(connection: Connection, salt: int) -> str | None:
            change = Transition(connection, self.queue)
            row = change.lock_owned(fence)
            if prepared is not None:
                replaced = insert_prepared(connection, prepared, salt)
                added = [] if replaced is None else uids_of(prepared.record)
                if replaced:
                    change.add_event(fence.job, "images_removed", {"images": [*replaced]})
                if added:
                    change.add_event(fence.job, "images_added", {"images": [*added]})
            change.end(row, state, **values)
            change.write_events()
            token: str | None = row.token
            return token

        token = write_exclusively(self.library, work)
        self._reported.pop(fence, None)
        if token is not None:
            self._drop(token)

    def again(
        self,
        fence: Fence,
        *,
        delay_seconds: float = 0.0,
        error: ImagenError | None = None,
        pool: str | None = None,
        keep_job: bool = True,
        is_failure: bool = True,
    ) -> QueueState:
        """Give a job back to the queue, for another attempt; its state.

        Without `keep_job` it is prepared anew, and if it was submitted, under a new id. One that is
        to be cancelled ends here, unless it may still be at its engine.
        """
        with self._exclusive() as change:
            row = change.lock_owned(fence)
            is_kept = keep_job and keeps_engine(row)
            values: dict[str, Any] = {"failures": row.failures + is_failure}
            if error is not None:
                values["error"] = error_data(error)
            if not keep_job:
                values["job"] = None
                if is_submitted(row.job):
                    values["ticket_id"] = new_id()
            state: QueueState = "queued"
            if row.cancel and not is_kept:
                state = "cancelled"
                change.end(row, state, **values)
            else:
                state = "cancelling" if row.cancel else "queued"
                values |= {"delay_seconds": delay_seconds, "pool": pool}
                change.put_in_line(row, state, is_kept=is_kept, **values)
        self._reported.pop(fence, None)
        self._drop(row.token)
        return state

    def redeliver(self, stalled: JobDelivery) -> bool:
        """Give the job of a stalled delivery a new one; False if that was done, or it is over.

        A job that was running when its owner vanished too often has failed.
        """
        with self._exclusive() as change:
            row = change.lock(stalled.job)
            is_current = row is not None and row.token == stalled.token and row.state not in ENDED
            if row is not None and is_current:
                self._deliver_anew(change, row, deaths=row.deaths + bool(row.owner))
        self._drop(stalled.token)
        return is_current

    def redeliver_missing(self) -> int:
        """Give new deliveries to jobs whose delivery has vanished; how many."""
        chosen = select(jobs.c.id, jobs.c.token)
        its = jobs.c.state.in_(("queued", *OWNED)), jobs.c.kind.not_in(PARENTS)
        chosen = chosen.where(jobs.c.ended_ms.is_(None), *its)
        with self.library.reading() as connection:
            rows = connection.execute(chosen).all()
        # A delivery that is put after the rows were read is live all the same.
        live = self.queue.live()
        redelivered = 0
        for lost in rows:
            if lost.token in live:
                continue
            with self._exclusive() as change:
                row = change.lock(lost.id)
                if row is not None and row.token == lost.token and row.state not in ENDED:
                    self._deliver_anew(change, row, deaths=row.deaths)
                    redelivered += 1
        return redelivered

    def _deliver_anew(self, change: Transition, row: Row[Any], *, deaths: int) -> None:
        if row.owner and deaths >= self._deaths:
            is_paid = keeps_engine(row) and row.job["ticket"]["estimate"] is not None
            error = {
                "code": "poison",
                "message": f"{deaths} workers died while they worked on this job."
                + (" It may have run, and cost money." if is_paid else ""),
                "remedy": "See the logs of the workers, then try it again with: "
                f"imagen jobs retry {row.id}",
            }
            state: QueueState = "lost" if is_paid else "failed"
            change.end(row, state, deaths=deaths, error=error)
            return
        is_kept = keeps_engine(row)
        if row.cancel and not is_kept:
            change.end(row, "cancelled", deaths=deaths)
            return
        state = "cancelling" if row.cancel else "queued"
        change.put_in_line(row, state, is_kept=is_kept, is_first=bool(row.owner), deaths=deaths)


@dataclass
class _Reported:
    """What was stored of the progress of an attempt."""

    at: float = 0.0
    stages: set[str] = field(default_factory=set)


def error_data(error: ImagenError) -> dict[str, JsonValue]:
    """An error as it is stored in a row."""
    message = printable(error.message)[:_LONGEST_MESSAGE]
    remedy = printable(error.remedy)[:_LONGEST_MESSAGE]
    data: dict[str, JsonValue] = json_safe(
        {"code": error.code, "message": message, "remedy": remedy}, keep_nul=False
    )
    return data


def _busy_for(
    change: Transition, resource: str, at_once: int | None, rate: tuple[int, float] | None
) -> float:
    """For how many seconds a resource can certainly start no job; 0 if it can."""
    its = jobs.c.resource == resource
    if resource and at_once is not None:
        places = its, AT_ENGINE
        taken = change.connection.execute(select(func.count()).where(*places))
        if taken.scalar_one() >= at_once:
            return _BUSY_SECONDS
    if resource and rate is not None:
        most, seconds = rate
        period = round(seconds * 1000)
        started = select(jobs.c.started_ms).where(its, jobs.c.started_ms > change.now - period)
        newest = started.order_by(jobs.c.started_ms.desc()).offset(most - 1).limit(1)
        blocking = change.connection.execute(newest).scalar()
        if blocking is not None:
            return max(0.001, float(blocking + period - change.now) / 1000)
    return 0.0


@contextmanager
def open_job_store(
    settings: Settings, *, worker_id: str = "", environ: Mapping[str, str] = os.environ
) -> Iterator[SqlJobStore]:
    """The store of these settings: their library, and the queue that carries its jobs.

    Raises ConfigError if the library is switched off, or another queue carries its jobs;
    LibraryError.
    """
    if not settings.library.enabled:
        raise ConfigError(
            "Jobs are kept in the library, which is switched off: library.enabled is false.",
            remedy="Set it to true, or leave it out of imagen.yaml.",
        )
    with open_library(settings, environ=environ) as library:
        lease = settings.jobs.lease_seconds
        queue = open_queue(library, settings, worker_id)
        try:
            yield SqlJobStore(library, queue, lease_seconds=lease, deaths=settings.jobs.deaths)
        finally:
            queue.close()
