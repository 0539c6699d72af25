"""The spine: resolve, open, prepare, submit, collect, save; all else is built on it."""

from __future__ import annotations

import os
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from imagen import delivery, outputs
from imagen.core.request import INTERPOLATIONS, Request, Upscale
from imagen.core.result import count_images, no_progress
from imagen.errors import (
    BackendError,
    Cancelled,
    Failed,
    Failure,
    ImagenError,
    Lost,
    OutputError,
    Rejected,
    SomeFailed,
    TimedOut,
)
from imagen.inputs import check_request
from imagen.jobs import file_store
from imagen.jobs.file_store import Job
from imagen.pipeline.budgets import planned_within_budgets, refuse_over_budget
from imagen.pipeline.caller import find_caller
from imagen.pipeline.prepare import (
    capabilities_for,
    open_named,
    prepare,
    refuse_unhonoured,
    to_preprocess,
    with_local_images,
)
from imagen.pipeline.record import (
    build_failure,
    build_record,
    preload_library,
    record,
    stored_copies,
    stored_image,
)
from imagen.pipeline.resolve import apply_style

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from imagen.backends import Backend
    from imagen.config import OutputSettings, Settings
    from imagen.core.request import Control
    from imagen.core.result import OnProgress, Progress, Result
    from imagen.core.ticket import Ticket
    from imagen.library.records import GenerationRecord
    from imagen.outputs import SavedImage

    Write = Callable[[Job], None]
    OnMade = Callable[["Generation"], None]

_ENDED_BADLY = (Failed, Rejected, TimedOut)

__all__ = [
    "Generation",
    "create_job",
    "generate",
    "is_interpolation",
    "open_named",
    "prepare",
    "preprocess_controls",
    "run_job",
    "upscale_locally",
    "with_local_images",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One run that came to its end: what was used, what came back, and where it lies."""

    ticket: Ticket
    result: Result
    saved: tuple[SavedImage, ...]
    remark: str = ""
    """A sentence, where something beside the pictures did not work."""


def no_generations(made: Generation) -> None:
    """An `on_made` for those who wait for all runs."""


def generate(
    request: Request,
    settings: Settings,
    *,
    backend: str | None = None,
    strict: bool = False,
    keep_going: bool = False,
    on_progress: OnProgress = no_progress,
    on_made: OnMade = no_generations,
) -> list[Generation]:
    """Make the images of one request with the backend of this name, and keep them.

    Each image is a run of its own, unless the request or the engine makes a batch of them; control
    images that had to be made come first. `on_made` is called with each run once it is saved.
    Raises any ImagenError, whose `kept` are the images that were made before it; with
    `keep_going`, SomeFailed after the last run where some failed; with `strict`, RequestError where
    a parameter can't be honoured; OverBudget where a budget of the settings does not suffice.
    """
    if is_interpolation(request):
        return upscale_locally(request, settings, strict=strict)
    request = with_local_images(request, settings)
    delivery.check_settings(settings, os.environ)
    with closing(open_named(backend or settings.default_backend, settings)) as engine:
        plan = prepare(engine, request, settings, strict=strict)
        warnings = refuse_over_budget(plan, settings)
        found, made = preprocess_controls(engine, plan, request, settings, on_progress)
        for control in made:
            on_made(control)
        *starts, images = accumulate((ticket.images for ticket in found), initial=0)
        numbered = zip(found, starts, strict=True)
        jobs = [create_job(ticket, request, settings, first=first) for ticket, first in numbered]
        failures: list[Failure] = []
        with _naming(made), planned_within_budgets(jobs, settings):
            for job in jobs:
                try:
                    watched = count_images(on_progress, job.first, images)
                    run = run_job(engine, job, settings, watched)
                except BackendError as error:
                    if not keep_going or len(jobs) == 1:
                        raise
                    failures.append(_failure(job, error))
                    continue
                made.append(_warned(run, warnings))
                on_made(made[-1])
                warnings = []
            if failures:
                raise SomeFailed(failures, images, backend=failures[0].error.backend)
        return made


def _failure(job: Job, error: BackendError) -> Failure:
    ticket = job.ticket
    return Failure(image=job.first + 1, images=ticket.images, seed=ticket.request.seed, error=error)


def _warned(made: Generation, warnings: Sequence[str]) -> Generation:
    told = replace(made.result, warnings=(*warnings, *made.result.warnings))
    return replace(made, result=told) if warnings else made


def is_interpolation(request: Request) -> bool:
    """Whether all that is asked for is arithmetic, which no engine needs to do."""
    method = request.upscale.method if request.upscale else None
    return request.task == "upscale" and method in INTERPOLATIONS


@contextmanager
def _naming(made: Sequence[Generation]) -> Iterator[None]:
    """Names in each ImagenError the images of the runs before the one that failed."""
    try:
        yield
    except ImagenError as error:
        saved = tuple(image.path for run in made for image in run.saved)
        raise error.replace(kept=(*saved, *error.kept)) from error


def preprocess_controls(
    engine: Backend,
    plan: Sequence[Ticket],
    request: Request,
    settings: Settings,
    on_progress: OnProgress,
    known: dict[tuple[str, str], str] | None = None,
) -> tuple[Sequence[Ticket], list[Generation]]:
    """The tickets of a plan, and the control pictures that had to be made for them first.

    `known` holds, by kind and file, the control pictures that are there; new ones are put into it.
    """
    pictures = {} if known is None else known
    capabilities = capabilities_for(engine, request, settings)
    made: list[Generation] = []
    controls = list(request.controls)
    for number, control in to_preprocess(engine, request, capabilities, settings):
        key = control.kind, control.image
        if key not in pictures:
            with _naming(made):
                made.append(_preprocess(engine, control, settings, on_progress))
            pictures[key] = str(made[-1].saved[0].path)
        values = {"image": pictures[key], "preprocess": False}
        controls[number] = control.model_copy(update=values)
    if tuple(controls) == request.controls:
        return plan, made
    steered = request.model_copy(update={"controls": tuple(controls)})
    prepared = prepare(engine, steered, settings)
    return [_in_the_words_of(plan[0], ticket) for ticket in prepared], made


def _in_the_words_of(plan: Ticket, ticket: Ticket) -> Ticket:
    """The ticket telling of the user's own pictures, as the plan does."""
    asked = plan.receipt["controls"].asked
    controls = ticket.receipt["controls"].model_copy(update={"asked": asked})
    receipt = ticket.receipt | {"controls": controls}
    return ticket.model_copy(update={"inputs": plan.inputs, "receipt": receipt})


def _preprocess(
    engine: Backend, control: Control, settings: Settings, on_progress: OnProgress
) -> Generation:
    """Make one control picture, and keep it beside the results under a name that tells its kind."""
    asked = Request(image=control.image, preprocess=control.kind)
    name = f"{settings.output.name}-{control.kind}"
    output = settings.output.model_copy(update={"name": name})
    settings = settings.model_copy(update={"output": output})
    (ticket,) = prepare(engine, asked, settings)
    job = create_job(ticket, asked, settings)
    with planned_within_budgets([job], settings):
        return run_job(engine, job, settings, on_progress)


def create_job(ticket: Ticket, asked: Request, settings: Settings, *, first: int = 0) -> Job:
    """The job of a ticket that was prepared with these settings, for `tickets.planned`."""
    kind = settings.backends.get(ticket.backend, {}).get("type", ticket.backend)
    output = _from_anywhere(settings.output)
    caller = find_caller(settings.usage)
    return Job(
        ticket=ticket, asked=asked, first=first, output=output, kind=str(kind), caller=caller
    )


def run_job(
    engine: Backend,
    job: Job,
    settings: Settings,
    on_progress: OnProgress,
    *,
    is_resumed: bool = False,
) -> Generation:
    """Submit one job (or find it again), wait for its pictures, save them and keep a record.

    The job lies on disk from before the submission until the library knows its pictures. One that
    `is_resumed` keeps the time at which it began, and finds the files it had saved by then.
    """
    job = job if is_resumed else job.begun()
    was_sent = is_resumed and job.ticket.submitted
    is_made = False
    with file_store.create_jobs(job, settings.state_dir, is_resumed=is_resumed) as write:

        def tell(progress: Progress) -> None:
            nonlocal job, is_made
            is_made = progress.stage in ("fetching", "done")
            if progress.ticket is not None:
                is_update = job.ticket.submitted
                job = job.of(progress.ticket)
                with suppress(OutputError) if is_update else nullcontext():
                    write(job)
                preload_library(settings)
            on_progress(progress)

        try:
            result = engine.collect(job.ticket, tell)
        except ImagenError as error:
            if is_made and isinstance(error, Cancelled):
                remedy = "The images are finished, and the engine still has them."
                raise error.as_unstopped(remedy) from error
            if _came_to_nothing(error):
                _end(job, build_failure(job, error), write, settings)
            raise
        result = replace(result, warnings=(*job.ticket.warnings, *result.warnings))
        result = _untimed(result) if was_sent else result
        return _kept(result, job, write, settings, is_resumed=is_resumed)


def _untimed(result: Result) -> Result:
    """Of a job that another process sent, nobody knows how long it took in all."""
    return replace(result, facts=replace(result.facts, latency_seconds=None))


def _came_to_nothing(error: ImagenError) -> bool:
    """Whether the library keeps it, and others are told, as a generation that failed."""
    is_lost = isinstance(error, Lost) and error.is_certain and not error.never_ran
    return is_lost or (isinstance(error, _ENDED_BADLY) and error.is_stopped)


def _kept(
    result: Result, job: Job, write: Write, settings: Settings, *, is_resumed: bool = False
) -> Generation:
    """Save the pictures, and have the library know them."""
    try:
        saved = tuple(
            outputs.save_outputs(
                result,
                job.ticket,
                settings.output,
                asked=job.asked,
                first=job.first,
                now=job.began,
                rescue=settings.state_dir / "rescued",
                is_resumed=is_resumed,
            )
        )
    except OutputError as error:
        if not error.lost:  # they were made, and may have cost something, wherever they lie
            pictures = stored_copies(error.kept, result, job.ticket)
            _end(job, build_record(job, result, pictures), write, settings)
        raise
    remark = _end(job, build_record(job, result, list(map(stored_image, saved))), write, settings)
    return Generation(ticket=job.ticket, result=result, saved=saved, remark=remark)


def _end(job: Job, entry: GenerationRecord, write: Write, settings: Settings) -> str:
    """Write down what it came to, and have the library take that in; a sentence where it waits."""
    with suppress(OutputError):  # the library may lie where there is room
        write(job.ended(entry))
    return record(entry, settings)


def _from_anywhere(output: OutputSettings) -> dict[str, Any]:
    """The settings of the output as JSON that means the same in any working directory."""
    whole = output.model_dump(mode="json")
    return whole | {"directory": str(output.directory.absolute())}


def upscale_locally(
    request: Request, settings: Settings, *, strict: bool = False
) -> list[Generation]:
    """Enlarge the initial image by interpolation, which needs no engine, and keep it.

    Its ticket and sidecar name the backend `interpolation`. Raises RequestError for a method that
    is none, and with `strict` where the request holds more than can be honoured.
    """
    from imagen.inputs.upscale import run_interpolation  # only ever needed here

    delivery.check_settings(settings, os.environ)
    outputs.check_output_settings(settings.output)
    outputs.refuse_unwritable(settings.output.directory)
    request = with_local_images(request, settings)
    whole = apply_style(request, settings).with_values({"upscale": request.upscale or Upscale()})
    ticket, result = run_interpolation(check_request(whole)[0])
    if strict:
        refuse_unhonoured(ticket)
    job = create_job(ticket, request, settings)
    with (
        file_store.planned_jobs([job], settings.state_dir),
        file_store.create_jobs(job, settings.state_dir) as write,
    ):
        return [_kept(result, job, write, settings)]
