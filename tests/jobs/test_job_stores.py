"""The stores of running jobs: files of plain commands, and rows of the queue."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from job_store_contract import REQUEST, JobPlace, JobStoreContract, RemoteEngine, read_generations

from imagen.config import LibrarySettings, OutputSettings, Settings
from imagen.core.result import no_progress
from imagen.errors import LetGo
from imagen.jobs import file_store
from imagen.jobs.embedded import EmbeddedQueue
from imagen.jobs.model import ENDED, JobSpec, NewJob
from imagen.jobs.queue import JobDelivery
from imagen.jobs.row_store import RowJobStore
from imagen.jobs.sql_store import SqlJobStore
from imagen.jobs.store import FileJobStore
from imagen.library import open_library
from imagen.pipeline.generate import create_jobs, run_job

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imagen.jobs.model import Job, QueuedJob
    from imagen.jobs.store import JobStore


@pytest.fixture
def settings(tmp_path: Path, library_url: str) -> Settings:
    return Settings(
        output=OutputSettings(directory=tmp_path / "out"),
        state_dir=tmp_path / "state",
        library=LibrarySettings(url=library_url),
    )


class _Files:
    """The job of a plain command."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def begin(self, engine: RemoteEngine) -> tuple[JobStore, Job]:
        (job,) = create_jobs([engine.prepare(REQUEST)], REQUEST, self.settings)
        return FileJobStore(self.settings.state_dir), job

    def adopt(self) -> tuple[JobStore, Job]:
        (id,) = file_store.pending(self.settings.state_dir)
        job = file_store.read(id, self.settings.state_dir)
        return FileJobStore(self.settings.state_dir), job

    def is_left(self) -> bool:
        return file_store.pending(self.settings.state_dir) != []


class TestFiles(JobStoreContract):
    @pytest.fixture
    def place(self, settings: Settings) -> JobPlace:
        return _Files(settings)


class _Rows:
    """A row of the queue, which one worker after the other takes."""

    def __init__(self, settings: Settings, stack: ExitStack) -> None:
        self.settings = settings
        self._stack = stack
        self._row: QueuedJob | None = None

    def begin(self, engine: RemoteEngine) -> tuple[JobStore, Job]:
        sql = self._open("w1")
        sql.submit([NewJob(spec=JobSpec(request=REQUEST, backend="gpu"))])
        store, row = self._take(sql, "w1")
        return store, self._prepare(engine, row)

    def _prepare(self, engine: RemoteEngine, row: QueuedJob) -> Job:
        ticket = engine.prepare(REQUEST).model_copy(update={"id": row.ticket_id})
        (job,) = create_jobs([ticket], REQUEST, self.settings)
        return job

    def adopt(self) -> tuple[JobStore, Job]:
        assert self._row is not None
        sql = self._open("w2")
        token = sql.read(self._row.id).token or ""
        assert sql.redeliver(JobDelivery(self._row.id, token, "gpu/"))
        store, row = self._take(sql, "w2")
        # A job that was never submitted is prepared anew, under the same id.
        return store, row.job or self._prepare(RemoteEngine(), row)

    def is_left(self) -> bool:
        assert self._row is not None
        return self._open("looker").read(self._row.id).state not in ENDED

    def _open(self, worker: str) -> SqlJobStore:
        library = self._stack.enter_context(open_library(self.settings))
        queue = EmbeddedQueue(library, worker, stall_seconds=30)
        self._stack.callback(queue.close)
        return SqlJobStore(library, queue)

    def _take(self, sql: SqlJobStore, worker: str) -> tuple[RowJobStore, QueuedJob]:
        delivery = sql.queue.fetch([["gpu/"]])
        assert delivery is not None
        self._row = sql.take(delivery, worker=worker, backend="gpu")
        assert self._row is not None
        return RowJobStore(sql, self._row.fence, self.settings), self._row


class TestRows(JobStoreContract):
    @pytest.fixture
    def place(self, settings: Settings) -> Iterator[JobPlace]:
        with ExitStack() as stack:
            yield _Rows(settings, stack)

    def test_a_former_worker_submits_and_records_nothing(self, place: JobPlace) -> None:
        engine = RemoteEngine()
        former, job = place.begin(engine)
        with former.keep(job):
            store, adopted = place.adopt()
            with pytest.raises(LetGo):
                run_job(engine, job, place.settings, no_progress, store=former)
            assert (engine.submissions, read_generations(place)) == ([], [])
            run_job(engine, adopted, place.settings, no_progress, store=store)
        assert (engine.submissions, read_generations(place)) == ([job.id], ["done"])
