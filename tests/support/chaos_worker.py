"""A worker of no-op jobs that may be killed or frozen at any moment.

Its engine is a file: a line with the id of the ticket is a submission.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from imagen.config import JobSettings, LibrarySettings, Settings
from imagen.errors import LetGo, LibraryError
from imagen.jobs.row_store import RowJobStore
from imagen.jobs.sql_store import open_job_store
from support.queued_jobs import QUEUE, planned, recorded

if TYPE_CHECKING:
    from imagen.jobs.model import QueuedJob
    from imagen.jobs.sql_store import SqlJobStore

STALL_SECONDS = 1.5
_WORK_SECONDS = 0.2


def settings_at(url: str, queue: str) -> Settings:
    """A worker vanishes quickly, and no job is set aside for the deaths of its workers."""
    jobs = {"queue": queue, "lease_seconds": STALL_SECONDS, "deaths": 100}
    return Settings(library=LibrarySettings(url=url), jobs=JobSettings.model_validate(jobs))


def submissions(engine: Path) -> list[str]:
    """The ids of the tickets that the engine got."""
    return engine.read_text(encoding="ascii").split() if engine.exists() else []


def _submit(engine: Path, ticket: str) -> None:
    file = os.open(engine, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{ticket}\n".encode("ascii"))
    os.close(file)


def _run(store: SqlJobStore, settings: Settings, row: QueuedJob, engine: Path) -> None:
    rows = RowJobStore(store, row.fence, settings)
    job = planned(row) if row.job is None else row.job
    with rows.keep(job) as stored:
        if not job.ticket.submitted:
            job = job.with_ticket(job.ticket.sent())
            stored.write(job)
            _submit(engine, job.id)
        elif job.id not in submissions(engine):
            # Its owner may be about to submit it: look again after one more lease.
            time.sleep(STALL_SECONDS)
            stored.write(job)
            if job.id not in submissions(engine):
                _submit(engine, job.id)
        time.sleep(_WORK_SECONDS)
        stored.record(job.with_record(recorded(row)), settings)


class _Worker:
    """One lane and its heart."""

    def __init__(self, store: SqlJobStore, settings: Settings, name: str, engine: Path) -> None:
        self.store, self.settings, self.name, self.engine = store, settings, name, engine
        self.token: str | None = None

    def beat_for_ever(self) -> None:
        count = 0
        while True:
            with suppress(LibraryError):
                token = self.token
                self.store.queue.beat([] if token is None else [token])
                for stalled in self.store.queue.stalled():
                    self.store.redeliver(stalled)
                count += 1
                if count % 5 == 0:
                    self.store.redeliver_missing()
            time.sleep(STALL_SECONDS / 5)

    def work_for_ever(self) -> None:
        while True:
            row = self.take()
            if row is None:
                self.store.queue.wait(0.5)
                continue
            with suppress(LetGo):
                _run(self.store, self.settings, row, self.engine)
            self.token = None

    def take(self) -> QueuedJob | None:
        with suppress(LibraryError):
            if not self.store.queue.is_beat_fresh():
                return None
            delivery = self.store.queue.fetch([[QUEUE]])
            if delivery is not None:
                self.token = delivery.token
                return self.store.take(delivery, worker=self.name, backend="gpu")
        return None


def main(url: str, queue: str, name: str, engine: str) -> None:
    """Work until killed."""
    settings = settings_at(url, queue)
    with open_job_store(settings, worker_id=name) as store:
        worker = _Worker(store, settings, name, Path(engine))
        threading.Thread(target=worker.beat_for_ever, daemon=True).start()
        print("ready", flush=True)  # noqa: T201 - the test waits for it
        worker.work_for_ever()


if __name__ == "__main__":
    main(*sys.argv[1:])
