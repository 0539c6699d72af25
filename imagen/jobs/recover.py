"""Recover jobs that killed, crashed or disconnected processes left unfinished; nothing runs twice.

`finish_job` is the one way to finish a job that is on disk, for `imagen resume` and `compare`.
"""

from __future__ import annotations

from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from imagen.core.result import Facts, Result, no_progress
from imagen.core.ticket import new_id
from imagen.errors import Cancelled, ImagenError, LetGo, Lost, OverBudget, RequestError
from imagen.jobs import file_store
from imagen.outputs import SavedImage
from imagen.pipeline.budgets import within_budgets
from imagen.pipeline.generate import Generation, run_job
from imagen.pipeline.pools import open_named
from imagen.pipeline.record import record, recorded_error, with_job_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from imagen.backends import Backend
    from imagen.config import OutputSettings, Settings
    from imagen.core.result import OnProgress
    from imagen.jobs.model import Job

RecoveryOutcome = Literal[
    "fetched", "generated", "regenerated", "resubmitted", "queued", "saved", "busy", "failed"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveredJob:
    """What became of one job that was left unfinished."""

    id: str
    outcome: RecoveryOutcome
    """`fetched`: its engine had it. `generated`: it had never been submitted. `regenerated`: it had
    been submitted and certainly never arrived. `resubmitted`: its engine no longer knew it, and it
    was submitted again on request. `queued`: it was lost in the queue, and is in line again.
    `saved`: its images were on disk. `busy`: another process works on it. `failed`: see `error`."""
    job: Job | None = None
    """None if it cannot be read."""
    generation: Generation | None = None
    error: ImagenError | None = None

    @property
    def is_forgotten(self) -> bool:
        """Whether its engine no longer knows it and is free: then a user may resubmit it."""
        is_lost = isinstance(self.error, Lost) and self.error.is_certain
        return is_lost and self.job is not None and self.job.ticket.estimate is None


def resume(
    id: str,
    settings: Settings,
    on_progress: OnProgress = no_progress,
    *,
    output: OutputSettings | None = None,
    resubmit: bool = False,
) -> Generation:
    """Finish one job that was left when its process died; `id` is that of its ticket.

    Its images are saved where they were to be saved, or where `output` says. A job that was never
    submitted, or certainly never arrived, is submitted now. Raises Lost if the engine no longer
    knows the job and it may have run; with `resubmit` it is submitted again. Raises RequestError
    if there is no such job, or another process works on it.
    """
    recovered = recover(id, settings, on_progress, output=output, resubmit=resubmit)
    if recovered.error is not None:
        raise recovered.error
    if recovered.generation is None:
        raise file_store.job_busy(id)
    return recovered.generation


def recover_all(
    settings: Settings,
    watch: Callable[[str], AbstractContextManager[OnProgress]] = lambda _: nullcontext(no_progress),
    *,
    output: OutputSettings | None = None,
) -> Iterator[RecoveredJob]:
    """Finish every job that was left, in the order in which they began.

    A job that fails does not stop the others. `watch` gets the short id of a job and gives the
    callback for its progress. Raises Cancelled.
    """
    for id in file_store.list_ids(settings.state_dir):
        with suppress(RequestError):  # another process has finished it meanwhile
            with watch(id[:8]) as on_progress:
                recovered = recover(id, settings, on_progress, output=output)
            yield recovered


def recover(
    id: str,
    settings: Settings,
    on_progress: OnProgress,
    *,
    output: OutputSettings | None = None,
    resubmit: bool = False,
) -> RecoveredJob:
    """Finish one job; raises RequestError if there is none, and Cancelled."""
    job: Job | None = None
    try:
        with file_store.claim(id, settings.state_dir) as job:
            if job is None:
                return RecoveredJob(id=id, outcome="busy")
            settings = _settings_of(job, settings, output)
            try:
                open_engine = partial(_open, job, settings)
                outcome, generation = finish_job(job, open_engine, settings, on_progress)
            except Lost as error:
                if error.never_ran or not error.is_certain:
                    raise error.with_remedy(_FORGET.format(id=id)) from error
                if resubmit:
                    outcome, generation = "resubmitted", _resubmit(job, settings, on_progress)
                    return RecoveredJob(id=id, outcome=outcome, job=job, generation=generation)
                file_store.write(job, settings.state_dir)  # the user decides
                remedy = _MAY_HAVE_RUN if job.ticket.estimate is None else _MAY_BE_PAID
                remedy = f"{remedy}\n{_FORGET}".format(id=id)
                raise error.with_remedy(remedy) from error
            return RecoveredJob(id=id, outcome=outcome, job=job, generation=generation)
    except (Cancelled, LetGo):
        raise
    except ImagenError as error:
        if job is None and isinstance(error, RequestError):
            raise
        return RecoveredJob(id=id, outcome="failed", job=job, error=error)


_FORGET = "Forget it with: imagen resume {id} --forget"
_MAY_HAVE_RUN = "It may have run. Submit it again with: imagen resume --resubmit {id}"
_MAY_BE_PAID = (
    "It may have run and cost money, so it is not submitted again automatically. Submit it again "
    "with: imagen resume --resubmit {id}"
)


def finish_job(
    job: Job,
    open_engine: Callable[[], AbstractContextManager[Backend]],
    settings: Settings,
    on_progress: OnProgress,
) -> tuple[RecoveryOutcome, Generation]:
    """Finish a job that this process holds: record what is saved, fetch or submit the rest.

    Raises the error with which the job failed; Lost if its engine no longer knows it and it may
    have run.
    """
    if job.record is not None:
        remark = record(job.record, settings)
        if job.record.state == "failed":
            raise recorded_error(job.record)
        result = Result(outputs=(), facts=Facts.of(job.record.facts), warnings=job.record.warnings)
        saved = tuple(
            SavedImage(**image.model_dump(exclude={"size_bytes"})) for image in job.record.images
        )
        return "saved", Generation(ticket=job.ticket, result=result, saved=saved, remark=remark)
    with open_engine() as engine:
        try:
            generation = run_job(engine, job, settings, on_progress, is_resumed=True)
        except Lost as error:
            if not error.never_ran:
                raise
            job = job.as_unsubmitted()
            return "regenerated", run_job(engine, job, settings, on_progress, is_resumed=True)
    return "fetched" if job.ticket.submitted else "generated", generation


def _resubmit(lost: Job, settings: Settings, on_progress: OnProgress) -> Generation:
    """Run a job that its engine no longer knows under a new id, if the budgets allow it."""
    job = lost.with_id(new_id()).as_unsubmitted()
    with file_store.lock_job(job.id, settings.state_dir):
        try:
            with within_budgets([job.ticket], settings):
                file_store.write(job, settings.state_dir)
        except OverBudget:
            file_store.write(lost, settings.state_dir)  # it can still be resubmitted later
            raise
        with _open(job, settings) as engine:
            return run_job(engine, job, settings, on_progress, is_resumed=True)


def _open(job: Job, settings: Settings) -> AbstractContextManager[Backend]:
    return closing(open_named(job.ticket.backend, settings))


def _settings_of(job: Job, settings: Settings, output: OutputSettings | None) -> Settings:
    """The settings for a job of an earlier command: its own output folder and its own workflow."""
    if output is None:
        own = {name: value for name, value in job.output.items() if name != "cloud_sync"}
        values: dict[str, object] = dict(own)
        if "directory" in own:
            values["directory"] = Path(str(own["directory"]))
        output = settings.output.model_copy(update=values)
    settings = with_job_settings(settings.model_copy(update={"output": output}), job)
    backend, workflow = job.ticket.backend, job.ticket.engine.get("workflow")
    has_another = settings.backends.get(backend, {}).get("workflow") != workflow
    if workflow and has_another and backend in (*settings.backends, "comfyui"):
        settings = settings.with_workflow(backend, str(workflow))
    return settings
