"""Keep a running job of the pipeline in its row of the queue."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from imagen.errors import (
    ConfigError,
    Failed,
    ImagenError,
    LetGo,
    LibraryError,
    LibraryUnreachable,
    Lost,
    OutputError,
)
from imagen.jobs.clock import Stopwatch
from imagen.jobs.outage import retry_until_reachable
from imagen.pipeline.record import with_job_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from threading import Event

    from imagen.config import Settings
    from imagen.jobs.blobs import BlobStore
    from imagen.jobs.model import Fence, Job
    from imagen.jobs.sql_store import SqlJobStore
    from imagen.library.records import GenerationRecord, StoredImage

T = TypeVar("T")


class RowJobStore:
    """A `JobStore` for one job, which a worker has taken.

    While the database is away its writes wait, until `stop` is set: then they raise LetGo.
    """

    def __init__(
        self,
        store: SqlJobStore,
        fence: Fence,
        settings: Settings,
        *,
        caller: str = "",
        owner: str = "",
        blobs: BlobStore | None = None,
        stop: Event | None = None,
    ) -> None:
        """`caller` and `owner` are those of the row.

        `blobs` gets the images, if other machines can read them there.
        """
        self._store = store
        self._blobs = blobs if blobs is not None and blobs.is_shared else None
        self._fence = fence
        self._settings = settings
        self._facts = {
            name: value for name, value in (("caller", caller), ("owner", owner)) if value
        }
        self._stop = stop
        self.warnings: list[str] = []
        """About budgets."""
        self.saved: tuple[StoredImage, ...] = ()
        """The images that were saved, recorded or not."""

    @contextmanager
    def keep(self, job: Job, *, is_resumed: bool = False) -> Iterator[RowJobStore]:  # noqa: ARG002 - by its port
        """Keep the job during the block; an error changes nothing.

        It is written once it is submitted: before that, another worker would prepare it anew.
        """
        yield self

    def write(self, job: Job) -> None:
        """Write the job as it is now; raises LetGo, and OverBudget before its submission.

        Before a submission, the write is repeated if it took so long that this process may have
        been frozen in it, and lost the job meanwhile.
        """
        is_late = True
        while is_late:
            watch = Stopwatch()
            self.warnings += self._persist(
                lambda: self._store.write(self._fence, job, self._settings)
            )
            is_late = watch.seconds > self._store.lease_seconds / 3

    def record(self, job: Job, settings: Settings, *, error: ImagenError | None = None) -> str:
        """Record the finished job in the library, and end its row.

        One that was lost by an engine that charges nothing is left to the worker: it runs again.
        So is one that an earlier worker had asked its engine to stop.
        """
        assert job.record is not None
        record = job.record.model_copy(update=self._facts)
        own = with_job_settings(settings, job)
        if error is None:
            self.saved = record.images
            self.write(job)
            remark = self._store_copies(record)  # before they can be found in the library
            self._persist(lambda: self._store.finish(self._fence, record, own))
            return remark
        if is_stopped_by_us(error, job):
            return ""
        if not isinstance(error, Lost):
            self._persist(lambda: self._store.fail(self._fence, error, record=record, settings=own))
        elif job.ticket.estimate is not None:
            self._persist(
                lambda: self._store.fail(
                    self._fence, error, state="lost", record=record, settings=own
                )
            )
        return ""

    def _store_copies(self, record: GenerationRecord) -> str:
        """Store the images for other machines; a sentence if that failed for good."""
        try:
            if self._blobs is not None:
                for image in record.images:
                    self._persist(partial(self._blobs.put, image.path))
        except (ConfigError, LibraryError, OutputError) as error:
            return f"No copy could be stored for other machines: {error.message}"
        return ""

    def _persist(self, change: Callable[[], T]) -> T:
        try:
            return retry_until_reachable(change, stop=self._stop)
        except LibraryUnreachable as error:
            raise LetGo("The worker stops while the database is away.") from error


def is_stopped_by_us(error: ImagenError, job: Job | None) -> bool:
    """Whether a job failed because its engine was asked to stop it, without confirming it then."""
    return isinstance(error, Failed) and job is not None and "is_stopped" in job.ticket.engine
