"""Measure the queue: `python benchmarks/job_queue.py [--history N] [--queue NAME] [URL]`.

The URL is that of an empty PostgreSQL database; without one it is an SQLite file. There the queue
can also be `procrastinate`. The worker of the
first measurement is a process of its own.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from measure import Within, report
from sqlalchemy import insert, text

from imagen import Request
from imagen.config import JobSettings, LibrarySettings, Settings
from imagen.core.result import Progress
from imagen.core.ticket import Ticket, new_id
from imagen.jobs.model import Job, JobSpec, NewJob
from imagen.jobs.overview import read_overview
from imagen.jobs.sql_store import SqlJobStore, open_job_store
from imagen.library.records import GenerationRecord
from imagen.library.schema import jobs

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagen.jobs.model import QueuedJob
    from imagen.jobs.queue import JobDelivery

_STARTS = 25
_NO_OPS = 100
_ROWS = 10_000
_CHUNK = 10_000
_CHILDREN = 500
_QUEUE = "gpu/sdxl"
_WORKER = """
import sys, time
sys.path.insert(0, {folder!r})
from job_queue import settings_at, take_next
from imagen.errors import Failed
from imagen.jobs.sql_store import open_job_store
with open_job_store(settings_at({url!r}, {queue!r}), worker_id="worker") as store:
    store.queue.beat(())
    print("ready", flush=True)
    while True:
        if (job := take_next(store)) is not None:
            now = time.time()
            store.fail(job.fence, Failed("no-op"))
            print(now, flush=True)
        else:
            store.queue.wait(1)
"""


def settings_at(url: str, queue: str) -> Settings:
    """Settings whose library is there, and whose jobs this queue carries."""
    jobs = JobSettings.model_validate({"queue": queue})
    return Settings(library=LibrarySettings(url=url), jobs=jobs)


def new_job(seed: int = 0, **changes: object) -> NewJob:
    """A job as `imagen batch` submits it."""
    prompt = f"a fox in a forest, number {seed}, soft light, detailed fur, autumn leaves"
    request = Request(prompt=prompt, width=1024, height=1024, seed=seed, steps=30)
    spec = JobSpec(request=request, backend="gpu", output={"name": "{date}-{seed}"})
    return NewJob.model_validate({"spec": spec, "name": prompt, "affinity": "sdxl", **changes})


def take_next(store: SqlJobStore) -> QueuedJob | None:
    """The next job, taken as a worker does."""
    delivery = store.queue.fetch([[_QUEUE]])
    if delivery is None:
        return None
    return store.take(delivery, worker="worker", backend="gpu", resource="gpu", at_once=10**6)


def run_no_op(store: SqlJobStore, settings: Settings) -> None:
    """What a worker writes about a job, without any work."""
    taken = take_next(store)
    assert taken is not None
    assert taken.spec is not None
    request = taken.spec.request
    ticket = Ticket(id=taken.ticket_id, backend="gpu", request=request, receipt={})
    job = Job(ticket=ticket, request=request)
    store.write(taken.fence, job, settings)
    store.write(taken.fence, job.with_ticket(ticket.sent(prompt_id=ticket.id)), settings)
    store.report(taken.fence, Progress(stage="running", fraction=0.5))
    store.leave_engine(taken.fence)
    now = datetime.now(UTC)
    record = GenerationRecord(
        id=ticket.id, backend="gpu", ticket=ticket, request=request, created_at=now, ended_at=now
    )
    store.finish(taken.fence, record, settings)


def timed(work: Callable[[], object], times: int) -> tuple[float, ...]:
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return tuple(seconds)


def measure_starts(url: str, settings: Settings) -> tuple[float, ...]:
    """From before a submission to when a worker has the job."""
    folder = os.path.dirname(os.path.abspath(__file__))
    code = _WORKER.format(folder=folder, url=url, queue=settings.jobs.queue)
    command = [sys.executable, "-c", code]
    with (
        open_job_store(settings) as store,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker,
    ):
        assert worker.stdout is not None
        worker.stdout.readline()
        seconds = []
        for number in range(_STARTS):
            time.sleep(0.1)
            began = time.time()
            store.submit([new_job(number)])
            seconds.append(float(worker.stdout.readline()) - began)
        worker.kill()
    return tuple(seconds)


def measure_claims(store: SqlJobStore, place: str) -> list[Within]:
    """To get a delivery, and to own its job."""
    deliveries: list[JobDelivery] = []

    def fetch() -> None:
        delivery = store.queue.fetch([[_QUEUE]])
        assert delivery is not None
        deliveries.append(delivery)

    def take() -> None:
        store.take(deliveries.pop(), worker="worker", backend="gpu", resource="gpu", at_once=10**6)

    return [
        Within(f"{place}: fetch a delivery", timed(fetch, 50), 0.005),
        Within(f"{place}: take its job", timed(take, 50), 0.005),
    ]


def fill_history(store: SqlJobStore, rows: int) -> None:
    """Add ended jobs: batches of 500, and 1 % that failed."""
    now = round(time.time() * 1000)
    spec = new_job().spec
    assert spec is not None
    stored = spec.model_dump(mode="json", exclude_defaults=True)
    parent = ""
    for first in range(0, rows, _CHUNK):
        values = []
        for number in range(first, min(first + _CHUNK, rows)):
            is_parent = number % _CHILDREN == 0
            id = new_id()
            parent = id if is_parent else parent
            state = "failed" if number % 100 == 1 else "done"
            values.append(
                {
                    "id": id,
                    "parent": None if is_parent else parent,
                    "number": number % _CHILDREN,
                    "kind": "batch" if is_parent else "image",
                    "name": "a fox in a forest, number 1, soft light, detailed fur",
                    "state": state,
                    "pool": "" if is_parent else "gpu",
                    "queue_pool": "" if is_parent else "gpu",
                    "affinity": "sdxl",
                    "priority": 0,
                    "due_ms": now - (rows - number) * 1000,
                    "created_ms": now - (rows - number) * 1000,
                    "started_ms": now - (rows - number) * 1000,
                    "ended_ms": now - (rows - number) * 1000,
                    "ticket_id": id,
                    "spec": None if is_parent else stored,
                    "backend": "gpu",
                    "resource": "gpu",
                    "is_at_engine": 0,
                    "attempt": 1,
                    "failures": 0,
                    "deaths": 0,
                    "owner": "",
                    "cancel": 0,
                    "caller": "ada",
                    "key": None if is_parent else f"row {number}",
                }
            )
        with store.library.writing() as connection:
            connection.execute(insert(jobs), values)
    with store.library.writing() as connection:
        connection.execute(text("ANALYZE"))


def measure(url: str, history: int, queue: str) -> list[Within]:
    settings = settings_at(url, queue)
    is_file = "://" not in url
    place = "SQLite" if is_file else "PostgreSQL" if queue == "embedded" else "Procrastinate"
    found = [
        Within(
            f"{place}: submit to start",
            measure_starts(url, settings),
            0.060 if is_file else 0.025,
        )
    ]
    with open_job_store(settings, worker_id="worker") as store:
        store.queue.beat(())
        store.submit([new_job(number) for number in range(_NO_OPS)])
        spent = timed(lambda: run_no_op(store, settings), _NO_OPS)
        found.append(Within(f"{place}: a job without work", spent, 0.050))
        parent = NewJob(kind="batch", name="10,000 prompts")
        rows = [new_job(n, parent=parent.id, number=n, key=f"{n}") for n in range(_ROWS)]
        spent = timed(lambda: store.submit([parent, *rows]), 1)
        found.append(Within(f"{place}: submit {_ROWS:,} jobs", spent, 2.0))
        spent = timed(lambda: store.submit([parent, *rows]), 1)
        found.append(Within(f"{place}: submit the same again, known by their keys", spent, 2.0))
        if history:
            fill_history(store, history)
            place = f"{place}, {history:,} ended"
        found += [
            *measure_claims(store, place),
            Within(
                f"{place}: list the newest 50", timed(lambda: store.list_jobs(limit=50), 9), 0.5
            ),
            Within(
                f"{place}: what `jobs list` reads, with estimates",
                timed(lambda: read_overview(store, settings, most_active=50, most_ended=10), 9),
                0.5,
            ),
            Within(
                f"{place}: list failed jobs of a pool",
                timed(lambda: store.list_jobs(states=["failed"], pool="gpu", limit=50), 9),
                0.5,
            ),
            Within(
                f"{place}: list a batch",
                timed(lambda: store.list_jobs(parent=parent.id, limit=100), 9),
                0.5,
            ),
            Within(f"{place}: what waits", timed(lambda: store.waiting(["gpu"]), 9), 0.05),
            Within(f"{place}: what runs", timed(store.running, 9), 0.05),
            Within(f"{place}: look for missing deliveries", timed(store.redeliver_missing, 3), 0.5),
        ]
        spent = timed(lambda: store.cancel(parent.id), 1)
        found.append(Within(f"{place}: cancel the batch of {_ROWS:,}", spent, 5.0))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", nargs="?", help="an empty PostgreSQL database")
    parser.add_argument("--history", type=int, default=1_000_000, help="ended jobs")
    parser.add_argument("--queue", default="embedded", choices=["embedded", "procrastinate"])
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory())
        url = arguments.url or os.path.join(folder, "library.db")
        found = measure(url, arguments.history, arguments.queue)
    report(found)


if __name__ == "__main__":
    main()
