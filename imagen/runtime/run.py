"""Submit the requests of clients, and get what became of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from imagen.core.request import Request
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
from imagen.jobs.overview import list_job_images, read_job_overview
from imagen.jobs.submit import SubmitOptions, submit_request
from imagen.library.detail import load_generations
from imagen.pipeline.generate import is_interpolation
from imagen.views.base import ErrorView
from imagen.views.generations import GenerationView, ResultView
from imagen.views.images import image_views
from imagen.views.jobs import JobView

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from imagen.jobs.model import QueuedJob
    from imagen.jobs.sql_store import SqlJobStore
    from imagen.jobs.submit import Submission
    from imagen.library import LibraryImage
    from imagen.runtime.caller import Caller
    from imagen.runtime.runtime import Runtime

_WITHOUT_CHECKPOINT = ("upscale", "restore", "preprocess")
_MOST_CHILDREN = 2000
"""More than one request has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedJob:
    """A job that has ended, or a parent, with all images that were generated."""

    job: QueuedJob
    images: tuple[LibraryImage, ...]
    error: ImagenError | None
    """Why it failed, or why some of its jobs did; None if all are done."""


def choose_backend(request: Request, runtime: Runtime, name: str = "") -> str:
    """The backend or pool that runs a request: the named one, or that of the server."""
    needs_no_engine = is_interpolation(request) and INTERPOLATION not in runtime.settings.backends
    return INTERPOLATION if needs_no_engine else name or runtime.backend


def with_default_model(request: Request, runtime: Runtime, name: str = "") -> Request:
    """The request with the server's checkpoint, if it names none and goes to its own backend."""
    model = runtime.settings.server.model
    is_own = model and name in ("", runtime.backend) and request.model is None
    if not is_own or request.task in _WITHOUT_CHECKPOINT:
        return request
    return request.with_values({"model": model})


def submit_client_request(
    request: Request | Sequence[Request],
    runtime: Runtime,
    caller: Caller,
    *,
    backend: str = "",
    priority: int = 0,
    at: datetime | None = None,
    after: str | None = None,
    key: str | None = None,
    is_strict: bool = False,
    is_over_budget: bool = False,
) -> Submission:
    """Submit a request that `parse_client_request` read, or several together.

    `key` is the client's own, so that a repeated submission is one. Raises what `submit_request`
    raises.
    """
    given = [request] if isinstance(request, Request) else request
    requests = [with_default_model(one, runtime, backend) for one in given]
    options = SubmitOptions(
        backend=choose_backend(requests[0], runtime, backend),
        priority=priority,
        at=at,
        after=after,
        strict=is_strict,
        over_budget=is_over_budget,
        key=None if key is None else f"{caller.name}/{key}",
        caller=caller.name,
        is_served=runtime.has_worker,
    )
    return submit_request(requests, runtime.settings, options, store=runtime.store)


def read_finished(id: str, runtime: Runtime) -> FinishedJob | None:
    """The job, once it has ended, with its images; None before. Raises NotFound."""
    job = runtime.store.read(id)
    if job.state not in ENDED:
        return None
    images = list_job_images(job, runtime.store)
    if job.kind == "request":  # without the control images that were made for it
        children = runtime.store.list_jobs(parent=job.id, limit=_MOST_CHILDREN)
        made_for = {id for one in children if one.spec for id in one.spec.control_jobs.values()}
        controls = {one.ticket_id for one in children if one.id in made_for}
        images = [image for image in images if image.generation not in controls]
    return FinishedJob(job=job, images=tuple(images), error=_find_error(job, runtime.store))


def read_result(id: str, runtime: Runtime, caller: Caller) -> ResultView:
    """What became of a submission so far, as JSON for this caller. Raises NotFound."""
    job = runtime.store.read(id)
    images = tuple(list_job_images(job, runtime.store))
    error = _find_error(job, runtime.store) if job.state in ENDED else None
    return describe_result(FinishedJob(job=job, images=images, error=error), runtime, caller)


def describe_result(
    finished: FinishedJob, runtime: Runtime, caller: Caller, *, warnings: Sequence[str] = ()
) -> ResultView:
    """A result as JSON for this caller, with warnings of the submission."""
    job, images, error = finished.job, finished.images, finished.error
    ids = dict.fromkeys([job.ticket_id, *(image.generation for image in images)])
    generations = load_generations(runtime.library, [*ids])
    every = [*warnings, *(text for one in generations for text in one.warnings)]
    result = ResultView(
        job=JobView.of(job, read_job_overview(job, runtime.store, runtime.settings)),
        images=image_views(images, is_local=caller.is_local),
        generations=tuple(map(GenerationView.of, generations)),
        warnings=tuple(dict.fromkeys(every)),
        error=error and ErrorView(code=error.code, message=error.message, remedy=error.remedy),
    )
    return result if caller.is_local else result.without_paths()


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
