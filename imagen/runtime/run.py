"""Submit the requests of clients, and get what became of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from imagen.errors import (
    BackendError,
    Cancelled,
    ConfigError,
    ImagenError,
    LibraryError,
    OutputError,
    RequestError,
)
from imagen.jobs.model import ENDED, INTERPOLATION, PARENTS
from imagen.jobs.overview import list_job_images
from imagen.jobs.submit import SubmitOptions, submit_request
from imagen.pipeline.generate import is_interpolation

if TYPE_CHECKING:
    from datetime import datetime

    from imagen.core.request import Request
    from imagen.jobs.model import QueuedJob
    from imagen.jobs.sql_store import SqlJobStore
    from imagen.jobs.submit import Submission
    from imagen.library import LibraryImage
    from imagen.runtime.caller import Caller
    from imagen.runtime.runtime import Runtime


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedJob:
    """A job that has ended, or a parent, with all images that were generated."""

    job: QueuedJob
    images: tuple[LibraryImage, ...]
    error: ImagenError | None
    """Why it failed, or why some of its jobs did; None if all are done."""


def submit_client_request(
    request: Request,
    runtime: Runtime,
    caller: Caller,
    *,
    backend: str = "",
    priority: int = 0,
    at: datetime | None = None,
    after: str | None = None,
    key: str | None = None,
    is_strict: bool = False,
) -> Submission:
    """Submit a request that `parse_client_request` read.

    `key` is the client's own, so that a repeated submission is one. Raises what `submit_request`
    raises.
    """
    name = backend or runtime.backend
    needs_no_engine = is_interpolation(request) and INTERPOLATION not in runtime.settings.backends
    options = SubmitOptions(
        backend=INTERPOLATION if needs_no_engine else name,
        priority=priority,
        at=at,
        after=after,
        strict=is_strict,
        key=None if key is None else f"{caller.name}/{key}",
        caller=caller.name,
        is_served=runtime.has_worker,
    )
    return submit_request(request, runtime.settings, options, store=runtime.store)


def read_finished(id: str, runtime: Runtime) -> FinishedJob | None:
    """The job, once it has ended, with its images; None before. Raises NotFound."""
    job = runtime.store.read(id)
    if job.state not in ENDED:
        return None
    images = tuple(list_job_images(job, runtime.store))
    return FinishedJob(job=job, images=images, error=_find_error(job, runtime.store))


def _find_error(job: QueuedJob, store: SqlJobStore) -> ImagenError | None:
    if job.state == "done":
        return None
    if job.error is None and job.kind in PARENTS:
        children = store.list_jobs(parent=job.id, states=("failed", "lost"), limit=1)
        if children:
            return _find_error(children[0], store)
    if job.state == "cancelled":
        return Cancelled("The job was cancelled.")
    return stored_error(job)


def stored_error(job: QueuedJob) -> ImagenError:
    """The error with which a job failed, of the class that its code names."""
    stored = job.error or {}
    message = str(stored.get("message") or f"The job has ended: {job.state}.")
    remedy = str(stored.get("remedy", ""))
    kinds: list[type[ImagenError]] = [
        *(BackendError, ConfigError, LibraryError, OutputError, RequestError)
    ]
    for kind in kinds:
        kinds += kind.__subclasses__()
    simple = {kind.code: kind for kind in kinds if kind.__init__ in _SIMPLE}
    kind = simple.get(str(stored.get("code", "")), BackendError)
    return kind(message, remedy=remedy)


_SIMPLE = (ImagenError.__init__, BackendError.__init__, ConfigError.__init__, OutputError.__init__)
"""Errors that are made of a message and a remedy."""
