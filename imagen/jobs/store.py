"""Where a running job is kept: the seam between the pipeline and files, or rows of the queue.

A job is written before it is submitted, again with what its engine says about it, and a last time
with its record. What happens to it after an error is the store's business too.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Protocol

from imagen import delivery
from imagen.errors import (
    Cancelled,
    Failed,
    ImagenError,
    LetGo,
    Lost,
    OutputError,
    Rejected,
    TimedOut,
)
from imagen.jobs import file_store
from imagen.pipeline.record import MOST_DEFERRED, is_library_loaded, record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from imagen.config import Settings
    from imagen.jobs.model import Job

_FINAL = (Failed, Rejected, TimedOut, Cancelled)
"""Errors after which the engine has nothing of the job left, unless it could not be stopped."""


class StoredJob(Protocol):
    """One job while it runs. Every method raises LetGo once another process has the job."""

    def write(self, job: Job) -> None:
        """Write the job as it is now, durably: its ticket was submitted, or changed.

        An error prevents the submission. Raises OutputError, OverBudget or LibraryUnreachable.
        """

    def record(self, job: Job, settings: Settings, *, error: ImagenError | None = None) -> str:
        """Record the job, which is over and has its `record`; a sentence if that has to wait.

        `error` is the one with which it failed for good.
        """


class JobStore(Protocol):
    """Keeps the jobs of the pipeline. `FileJobStore` for plain commands, or a row of the queue."""

    def keep(self, job: Job, *, is_resumed: bool = False) -> AbstractContextManager[StoredJob]:
        """Write the job, and keep it during the block; after it if the outcome is open.

        A job that `is_resumed` was left by an earlier process or command. LetGo changes nothing:
        the job stays as it was last written.
        """


class FileJobStore:
    """Keeps jobs as files of the state directory, for `imagen resume`."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir

    @contextmanager
    def keep(self, job: Job, *, is_resumed: bool = False) -> Iterator[JobFile]:
        """Write the job, and keep it during the block; after it if the outcome is open.

        An error that leaves images at the engine names the command that fetches them. A job that
        `is_resumed` also stays if it could not be submitted. Raises OutputError if the job cannot
        be written.
        """
        kept = JobFile(job, self._state_dir)
        kept.write(job)
        try:
            yield kept
        except LetGo:
            raise
        except ImagenError as error:
            latest = kept.latest
            if latest.record is not None:
                raise
            if latest.ticket.submitted and _may_have_images(error):
                remedy = f"Fetch it again with: imagen resume {job.id}"
                raise error.with_remedy(remedy) from error
            if is_resumed and not latest.ticket.submitted and not isinstance(error, _FINAL):
                raise error.with_remedy(f"Try it again with: imagen resume {job.id}") from error
            file_store.forget(job.id, self._state_dir)
            raise


def _may_have_images(error: ImagenError) -> bool:
    """Whether the engine may still have images of the job, or may still make some."""
    if isinstance(error, OutputError):
        return error.lost
    if isinstance(error, Lost):
        return error.never_ran or not error.is_certain
    return not (isinstance(error, _FINAL) and error.is_stopped)


class JobFile:
    """The file of one job while it runs."""

    def __init__(self, job: Job, state_dir: Path) -> None:
        self.latest = job
        self._state_dir = state_dir

    def write(self, job: Job) -> None:
        self.latest = job
        file_store.write(job, self._state_dir)

    def record(
        self,
        job: Job,
        settings: Settings,
        *,
        error: ImagenError | None = None,  # noqa: ARG002 - the record says it
        environ: Mapping[str, str] = os.environ,
    ) -> str:
        """Write the finished job down, and record it unless a later command can."""
        assert job.record is not None
        # Another command can record it as well if nothing is to be delivered, the library is a
        # file, and loading it takes time.
        is_deferred = (
            settings.library.enabled
            and "://" not in (settings.library.url or "")
            and not is_library_loaded(settings)
            and len(file_store.pending(self._state_dir)) <= MOST_DEFERRED
            and not delivery.is_any_enabled(settings, environ)
        )
        library = os.path.abspath(settings.library_at) if is_deferred else ""
        with suppress(OutputError):  # the disk of the library may have space
            self.write(job.model_copy(update={"deferred_to": library}))
            if is_deferred:
                return ""
        return record(job.record, settings, environ)
