"""Jobs of the queue, and what a worker does with them."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import select

from imagen.config import Settings
from imagen.core.request import Request
from imagen.core.ticket import Estimate, Ticket
from imagen.errors import Failed
from imagen.jobs.model import Job, JobSpec, NewJob, QueuedJob
from imagen.library.records import GenerationRecord
from imagen.library.schema import generations

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagen.jobs.model import QueueState
    from imagen.jobs.sql_store import SqlJobStore

QUEUE = "gpu/"
_REQUEST = Request(prompt="a fox")
_DEADLINE_SECONDS = 30.0


def new_job(**changes: object) -> NewJob:
    """A job for the backend `gpu`."""
    return NewJob.model_validate({"spec": JobSpec(request=_REQUEST, backend="gpu"), **changes})


def new_batch(**changes: object) -> NewJob:
    """A parent."""
    return NewJob.model_validate({"kind": "batch", "name": "foxes", **changes})


def planned(taken: QueuedJob, usd: float | None = None, backend: str = "gpu") -> Job:
    """The job of a row, prepared; it costs something if `usd` is given."""
    estimate = None if usd is None else Estimate(usd=usd, basis="a price")
    ticket = Ticket(
        id=taken.ticket_id, backend=backend, request=_REQUEST, receipt={}, estimate=estimate
    )
    return Job(ticket=ticket, request=_REQUEST)


def submitted(taken: QueuedJob, usd: float | None = None, backend: str = "gpu") -> Job:
    """The job of a row, once its engine may have it."""
    job = planned(taken, usd, backend)
    return job.with_ticket(job.ticket.sent())


def recorded(taken: QueuedJob) -> GenerationRecord:
    """What the job of a row produced: nothing that has a file."""
    now = datetime.now(UTC)
    ticket = planned(taken).ticket
    return GenerationRecord(
        id=ticket.id,
        backend="gpu",
        ticket=ticket,
        request=_REQUEST,
        created_at=now,
        ended_at=now,
    )


def take_next(store: SqlJobStore, worker: str = "w1", *, queue: str = QUEUE) -> QueuedJob:
    """The next job, which this worker owns."""
    delivery = store.queue.fetch([[queue]])
    assert delivery is not None
    taken = store.take(delivery, worker=worker, backend="gpu")
    assert taken is not None
    return taken


def fetch_all(store: SqlJobStore, *queues: str) -> list[str]:
    """The ids of all jobs that are due, in order; their deliveries are not taken."""
    fetched: list[str] = []
    while (delivery := store.queue.fetch([queues or [QUEUE]])) is not None:
        fetched.append(delivery.job)
    return fetched


def wait_until(is_done: Callable[[], bool]) -> None:
    """Look again and again, until the deadline of the test."""
    end = time.monotonic() + _DEADLINE_SECONDS
    while not is_done():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.02)


def finish_job(store: SqlJobStore, taken: QueuedJob) -> None:
    """Record what the job made, and end it."""
    store.finish(taken.fence, recorded(taken), Settings())


def fail_job(store: SqlJobStore, taken: QueuedJob, state: QueueState = "failed") -> None:
    """End the job without success."""
    store.fail(taken.fence, Failed("Out of memory."), state=state)


def states_of(store: SqlJobStore, *ids: str) -> list[str]:
    """The states of these jobs."""
    return [store.read(id).state for id in ids]


def recorded_states(store: SqlJobStore) -> dict[str, str]:
    """The states of all generations in the library, by their ids."""
    with store.library.reading() as connection:
        return dict(connection.execute(select(generations.c.id, generations.c.state)).all())


def redeliver(store: SqlJobStore, token: str | None) -> bool:
    """Wait until the worker of a delivery has vanished, and give its job a new one."""
    wait_until(lambda: token in {each.token for each in store.queue.stalled()})
    (stalled,) = (each for each in store.queue.stalled() if each.token == token)
    return store.redeliver(stalled)
