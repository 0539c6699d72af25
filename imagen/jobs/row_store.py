"""Keep a running job of the pipeline in its row of the queue."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from imagen.errors import ImagenError, LetGo, LibraryUnreachable
from imagen.pipeline.record import with_job_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from imagen.config import Settings
    from imagen.jobs.model import Fence, Job
    from imagen.jobs.sql_store import SqlJobStore
    from imagen.library.records import GenerationRecord

T = TypeVar("T")
_PATIENCE_SECONDS = 3600.0
"""How long to wait for a database that is away; the engine goes on meanwhile."""
_PAUSE_SECONDS = 0.5


class RowJobStore:
    """A `JobStore` for one job, which a worker has taken.

    While the database is away its writes wait. What becomes of the job after an error is up to the
    worker, which finds the record of a final failure in `failure`.
    """

    def __init__(
        self,
        store: SqlJobStore,
        fence: Fence,
        settings: Settings,
        *,
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._store = store
        self._fence = fence
        self._settings = settings
        self._is_stopping = is_stopping
        self.failure: GenerationRecord | None = None
        self.warnings: list[str] = []
        """About budgets."""

    @contextmanager
    def keep(self, job: Job, *, is_resumed: bool = False) -> Iterator[RowJobStore]:  # noqa: ARG002
        """Write the job, and keep it during the block; an error changes nothing."""
        self.write(job)
        yield self

    def write(self, job: Job) -> None:
        """Write the job as it is now; raises LetGo, and OverBudget before its submission.

        Before a submission, the write is repeated if it took so long that this process may have
        been frozen in it, and lost the job meanwhile.
        """
        is_late = True
        while is_late:
            began = _clocks()
            self.warnings += self.persist(
                lambda: self._store.write(self._fence, job, self._settings)
            )
            age = max(now - then for now, then in zip(_clocks(), began, strict=True))
            is_late = age > self._store.lease_seconds / 3

    def record(self, job: Job, settings: Settings, *, error: ImagenError | None = None) -> str:
        """Record the finished job in the library, and end its row.

        A job that failed is left to the worker.
        """
        assert job.record is not None
        if error is not None:
            self.failure = job.record
            return ""
        record, own = job.record, with_job_settings(settings, job)
        self.write(job)
        self.persist(lambda: self._store.finish(self._fence, record, own))
        return ""

    def persist(self, change: Callable[[], T]) -> T:
        """Make a change once the database can be reached; raises LetGo if the worker stops."""
        until = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                return change()
            except LibraryUnreachable:
                if self._is_stopping():
                    raise LetGo("The worker stops while the database is away.") from None
                if time.monotonic() > until:
                    raise
            time.sleep(_PAUSE_SECONDS)


def _clocks() -> tuple[float, float]:
    """The monotonic clock stops while a computer sleeps, and the other one may be set."""
    return time.monotonic(), time.time()
