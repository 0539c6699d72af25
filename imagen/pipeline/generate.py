"""Generate images: prepare a request, submit its jobs, collect, save and record the images."""

from __future__ import annotations

import os
import time
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from imagen import delivery, outputs
from imagen.core.request import INTERPOLATIONS, Request, Upscale
from imagen.core.result import count_images, no_progress
from imagen.errors import (
    BackendError,
    Cancelled,
    ConfigError,
    Failed,
    Failure,
    ImagenError,
    Lost,
    MissingDependency,
    OutputError,
    RateLimited,
    Rejected,
    RequestError,
    SomeFailed,
    TimedOut,
    Unauthorized,
    Unavailable,
    WorkflowError,
)
from imagen.inputs import check_request
from imagen.jobs import file_store
from imagen.jobs.model import Job
from imagen.jobs.store import FileJobStore
from imagen.pipeline.budgets import plan_within_budgets, refuse_over_budget
from imagen.pipeline.pools import Candidate, list_candidates, open_named
from imagen.pipeline.prepare import (
    Preparation,
    prepare,
    refuse_unhonoured,
    with_local_images,
)
from imagen.pipeline.record import (
    build_failure,
    build_record,
    find_caller,
    preload_library,
    stored_copies,
    stored_image,
)
from imagen.pipeline.resolve import apply_style

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from imagen.backends import Backend
    from imagen.config import Settings
    from imagen.core.result import OnProgress, Progress, Result
    from imagen.core.ticket import Ticket
    from imagen.jobs.store import JobStore, StoredJob
    from imagen.outputs import SavedImage

    OnMade = Callable[["Generation"], None]

__all__ = [
    "Generation",
    "create_jobs",
    "generate",
    "is_interpolation",
    "open_named",
    "prepare",
    "preprocess_controls",
    "run_job",
    "upscale_locally",
    "with_local_images",
]


_NOT_RUN = (Unavailable, RateLimited)
"""Errors before a submission after which another backend is tried."""
_NOT_ABLE = (ConfigError, MissingDependency, RequestError, Unauthorized, WorkflowError)
"""Why a backend of a failover chain is passed over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """What one job produced: the ticket that was run, the result, and the saved images."""

    ticket: Ticket
    result: Result
    saved: tuple[SavedImage, ...]
    remark: str = ""
    """A sentence if something other than the images failed."""


def generate(
    request: Request | Sequence[Request],
    settings: Settings,
    *,
    backend: str | None = None,
    strict: bool = False,
    keep_going: bool = False,
    on_progress: OnProgress = no_progress,
    on_made: OnMade = lambda _: None,
) -> list[Generation]:
    """Generate the images of one or several requests with the backend of this name, and save them.

    Each image is a job of its own, unless a request or the engine makes a batch of them; control
    images that must be made come first. `on_made` is called with each generation once its images
    are saved. Of a pool, the backend is one that is idle. If it cannot be reached, the next one is
    tried, and then those of a failover chain, which have to honour every parameter.

    Raises any ImagenError, whose `kept` are the images that were saved before it; with
    `keep_going`, SomeFailed after the last job if some failed; with `strict`, RequestError if
    a parameter cannot be honoured; OverBudget if a budget of the settings is not enough.
    """
    requests = [request] if isinstance(request, Request) else [*request]
    if is_interpolation(requests[0]):
        return [made for one in requests for made in upscale_locally(one, settings, strict=strict)]
    requests = [with_local_images(one, settings) for one in requests]
    delivery.check_settings(settings, os.environ)
    candidates = list_candidates(backend or settings.default_backend, settings)
    first: ImagenError | None = None
    for candidate in candidates:
        attempt = _Attempt(candidate, requests, settings, on_progress, on_made)
        try:
            return attempt.run(
                strict=strict or bool(candidate.moved_from),
                keep_going=keep_going,
                warning=f"{first.message} {candidate.backend} was used instead." if first else "",
            )
        except ImagenError as error:
            passed_on = _NOT_RUN if not candidate.moved_from else (*_NOT_RUN, *_NOT_ABLE)
            if attempt.has_begun or not isinstance(error, passed_on):
                raise
            first = first or error
    assert first is not None
    raise first


class _Attempt:
    """The requests on one of the backends that may run them."""

    def __init__(
        self,
        candidate: Candidate,
        requests: Sequence[Request],
        settings: Settings,
        on_progress: OnProgress,
        on_made: OnMade,
    ) -> None:
        self._candidate = candidate
        self._requests = requests
        self._settings = settings
        self._on_progress = on_progress
        self._on_made = on_made
        self._is_submitted = False
        self.made: list[Generation] = []

    @property
    def has_begun(self) -> bool:
        """Whether the engine has made something, or may have a job."""
        return self._is_submitted or bool(self.made)

    def _watch(self, progress: Progress) -> None:
        if progress.ticket is not None:
            self._is_submitted = progress.ticket.submitted
        self._on_progress(progress)

    def run(self, *, strict: bool, keep_going: bool, warning: str) -> list[Generation]:
        settings, made = self._settings, self.made
        with closing(open_named(self._candidate.backend, settings)) as engine:
            plans = [Preparation(engine, one, settings, strict=strict) for one in self._requests]
            warnings = refuse_over_budget([t for plan in plans for t in plan.tickets], settings)
            warnings = [*filter(None, [warning]), *warnings]
            jobs = self._make_controls(engine, plans)
            images = sum(job.ticket.images for job in jobs)
            before = 0
            failures: list[Failure] = []
            with _adding_saved(made), plan_within_budgets(jobs, settings):
                for job in jobs:
                    try:
                        watched = count_images(self._watch, before, images)
                        generation = run_job(engine, job, settings, watched)
                    except BackendError as error:
                        if not keep_going or len(jobs) == 1:
                            raise
                        failure = Failure(
                            image=before + 1,
                            images=job.ticket.images,
                            seed=job.ticket.request.seed,
                            error=error,
                        )
                        failures.append(failure)
                    else:
                        told = (*warnings, *generation.result.warnings)
                        result = replace(generation.result, warnings=told)
                        made.append(replace(generation, result=result))
                        self._on_made(made[-1])
                        warnings = []
                    before += job.ticket.images
                if failures:
                    raise SomeFailed(failures, images, backend=failures[0].error.backend)
            return made

    def _make_controls(self, engine: Backend, plans: Sequence[Preparation]) -> list[Job]:
        """The jobs of the requests, once the control images that they need are made."""
        jobs: list[Job] = []
        known: dict[tuple[str, str], str] = {}
        receipt = self._candidate.receipt()
        for plan, request in zip(plans, self._requests, strict=True):
            with _adding_saved(self.made):
                tickets, controls = preprocess_controls(
                    engine, plan, self._settings, self._watch, known
                )
            for control in controls:
                self.made.append(control)
                self._on_made(control)
            tickets = [t.model_copy(update={"receipt": t.receipt | receipt}) for t in tickets]
            jobs += create_jobs(tickets, request, self._settings)
        return jobs


@contextmanager
def _adding_saved(made: Sequence[Generation]) -> Iterator[None]:
    """Raise each ImagenError with the images that were saved before it."""
    try:
        yield
    except ImagenError as error:
        saved = tuple(image.path for generation in made for image in generation.saved)
        raise error.replace(kept=(*saved, *error.kept)) from error


def preprocess_controls(
    engine: Backend,
    plan: Preparation,
    settings: Settings,
    on_progress: OnProgress,
    known: dict[tuple[str, str], str] | None = None,
) -> tuple[list[Ticket], list[Generation]]:
    """Make the control images that the plan needs first; the tickets to run, and what was made.

    `known` has control images that exist already, by kind and file; new ones are added to it.
    """
    if not plan.controls_to_make:
        return plan.tickets, []
    files = {} if known is None else known
    made: list[Generation] = []
    images: dict[int, str] = {}
    for number, control in plan.controls_to_make.items():
        key = control.kind, control.image
        if key not in files:
            # It is saved beside the results, under a name with its kind.
            request = Request(image=control.image, preprocess=control.kind)
            name = f"{settings.output.name}-{control.kind}"
            output = settings.output.model_copy(update={"name": name})
            own = settings.model_copy(update={"output": output})
            with _adding_saved(made):
                (job,) = create_jobs(prepare(engine, request, own), request, own)
                with plan_within_budgets([job], own):
                    made.append(run_job(engine, job, own, on_progress))
            files[key] = str(made[-1].saved[0].path)
        images[number] = files[key]
    return plan.with_control_images(images), made


def create_jobs(tickets: Sequence[Ticket], request: Request, settings: Settings) -> list[Job]:
    """A job for each ticket that was prepared of a request with these settings.

    A job means the same in any working directory.
    """
    output = settings.output.model_dump(mode="json")
    output["directory"] = str(settings.output.directory.absolute())
    caller = find_caller(settings.usage)
    jobs: list[Job] = []
    first = 0
    for ticket in tickets:
        kind = settings.backends.get(ticket.backend, {}).get("type", ticket.backend)
        job = Job(ticket=ticket, request=request, first=first, output=output, kind=str(kind))
        jobs.append(job.model_copy(update={"caller": caller}))
        first += ticket.images
    return jobs


def run_job(
    engine: Backend,
    job: Job,
    settings: Settings,
    on_progress: OnProgress,
    *,
    store: JobStore | None = None,
    is_resumed: bool = False,
) -> Generation:
    """Submit one job (or find it again), wait for its images, save and record them.

    The store has the job from before the submission until the library has its images; by default
    it is the state directory. A job that `is_resumed` keeps the time at which it began, and finds
    the files that it had saved by then.
    """
    job = job if is_resumed else job.start()
    was_submitted = is_resumed and job.ticket.submitted
    submitted_at = time.monotonic()
    is_finished = False
    store = store or FileJobStore(settings.state_dir)
    with store.keep(job, is_resumed=is_resumed) as stored:

        def tell(progress: Progress) -> None:
            nonlocal job, is_finished, submitted_at
            is_finished = progress.stage in ("fetching", "done")
            if progress.ticket is not None:
                is_update = job.ticket.submitted
                job = job.with_ticket(progress.ticket)
                submitted_at = submitted_at if is_update else time.monotonic()
                with suppress(OutputError) if is_update else nullcontext():
                    stored.write(job)
            if job.ticket.submitted and not is_finished:
                preload_library(settings, time.monotonic() - submitted_at)
            on_progress(progress)

        try:
            result = engine.collect(job.ticket, tell)
        except ImagenError as error:
            if is_finished and isinstance(error, Cancelled):
                remedy = "The images are finished, and the engine still has them."
                raise error.as_unstopped(remedy) from error
            if _is_final(error):
                stored.record(job.with_record(build_failure(job, error)), settings, error=error)
            raise
        if was_submitted:  # by another process: how long it took in all is unknown
            result = replace(result, facts=replace(result.facts, latency_seconds=None))
        told = (*job.ticket.warnings, *result.warnings)
        return _save(replace(result, warnings=told), job, stored, settings, is_resumed=is_resumed)


def _is_final(error: ImagenError) -> bool:
    """Whether the job has failed for good, and is recorded and delivered as a failure."""
    if isinstance(error, Lost):
        return error.is_certain and not error.never_ran
    return isinstance(error, Failed | Rejected | TimedOut) and error.is_stopped


def _save(
    result: Result, job: Job, stored: StoredJob, settings: Settings, *, is_resumed: bool = False
) -> Generation:
    """Save the images of a job and record them."""
    try:
        saved = outputs.save_outputs(
            result,
            job.ticket,
            settings.output,
            asked=job.request,
            first=job.first,
            now=job.began,
            rescue=settings.state_dir / "rescued",
            is_resumed=is_resumed,
        )
    except OutputError as error:
        if not error.lost:  # they exist elsewhere, and may have cost something
            images = stored_copies(error.kept, result, job.ticket)
            stored.record(job.with_record(build_record(job, result, images)), settings)
        raise
    record = build_record(job, result, [stored_image(image) for image in saved])
    remark = stored.record(job.with_record(record), settings)
    return Generation(ticket=job.ticket, result=result, saved=tuple(saved), remark=remark)


def is_interpolation(request: Request) -> bool:
    """Whether the request only enlarges an image by interpolation, which needs no engine."""
    method = request.upscale.method if request.upscale else None
    return request.task == "upscale" and method in INTERPOLATIONS


def upscale_locally(
    request: Request,
    settings: Settings,
    *,
    strict: bool = False,
    store: JobStore | None = None,
    id: str = "",
) -> list[Generation]:
    """Enlarge the initial image by interpolation, without an engine, and save it.

    The ticket and the sidecar name the backend `interpolation`. The job is kept in the state
    directory, or in `store` under this `id`. Raises RequestError for a method
    that is not an interpolation, and with `strict` if a parameter cannot be honoured.
    """
    from imagen.inputs.upscale import run_interpolation  # with Pillow

    delivery.check_settings(settings, os.environ)
    outputs.check_output_settings(settings.output)
    outputs.refuse_unwritable(settings.output.directory)
    request = with_local_images(request, settings)
    whole = apply_style(request, settings).with_values({"upscale": request.upscale or Upscale()})
    ticket, result = run_interpolation(check_request(whole)[0])
    if strict:
        refuse_unhonoured(ticket)
    (job,) = create_jobs([ticket], request, settings)
    if store is not None:
        with store.keep(job.with_id(id)) as stored:
            return [_save(result, job.with_id(id), stored, settings)]
    with (
        file_store.plan_jobs([job], settings.state_dir),
        FileJobStore(settings.state_dir).keep(job) as stored,
    ):
        return [_save(result, job, stored, settings)]
