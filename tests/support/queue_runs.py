"""Jobs of the queue for tests, and workers that run them in a thread of this process."""

from __future__ import annotations

import time
from contextlib import contextmanager
from threading import Thread
from typing import TYPE_CHECKING, Any

from imagen.core.request import Request
from imagen.jobs.model import JobSpec, NewJob
from imagen.jobs.worker import StopRequest, WorkerEvent, run_worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from imagen.config import Settings
    from imagen.jobs.model import QueuedJob
    from imagen.jobs.sql_store import SqlJobStore

LONGEST_SECONDS = 60.0
STEPS = 4


def new_job(
    seed: int = 1,
    *,
    backend: str = "lab",
    affinity: str = "",
    steps: int = STEPS,
    spec: dict[str, Any] | None = None,
    **fields: Any,
) -> NewJob:
    """One small image of its own seed."""
    request = Request(prompt=f"fox {seed}", seed=seed, width=64, height=64, steps=steps)
    values = {"request": request, "backend": backend} | (spec or {})
    return NewJob(spec=JobSpec(**values), affinity=affinity or backend, **fields)


def wait_until(is_true: Callable[[], object], *, seconds: float = LONGEST_SECONDS) -> None:
    """Wait for something that another thread or process does; fail if it takes too long."""
    end = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.02)


def drain(settings: Settings, **options: Any) -> list[WorkerEvent]:
    """Run a worker until no job is due; its events."""
    events: list[WorkerEvent] = []
    run_worker(settings, drain=True, on_event=events.append, **options)
    return events


class WorkerThread:
    """A worker that runs until it is asked to stop."""

    def __init__(self, settings: Settings) -> None:
        self.stop = StopRequest()
        self.events: list[WorkerEvent] = []
        self._thread = Thread(target=self._work, args=(settings,), daemon=True)

    def _work(self, settings: Settings) -> None:
        run_worker(settings, stop=self.stop, on_event=self.events.append)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self.stop.set()
        self._thread.join(LONGEST_SECONDS)
        assert not self._thread.is_alive()


@contextmanager
def working(settings: Settings) -> Iterator[WorkerThread]:
    """A worker during the block."""
    worker = WorkerThread(settings)
    worker.start()
    try:
        yield worker
    finally:
        worker.end()


def read_all(store: SqlJobStore, ids: list[str]) -> list[QueuedJob]:
    return [store.read(id) for id in ids]
