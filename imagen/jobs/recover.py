"""Brings to an end what killed, crashed or disconnected processes left behind; nothing twice."""

from __future__ import annotations

from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from imagen.core.result import Facts, Result, no_progress
from imagen.core.ticket import new_id
from imagen.errors import Cancelled, ImagenError, Lost, OverBudget, RequestError
from imagen.jobs import file_store
from imagen.outputs import SavedImage
from imagen.pipeline.budgets import within_budgets
from imagen.pipeline.generate import Generation, run_job
from imagen.pipeline.prepare import open_named
from imagen.pipeline.record import record, recorded_error, with_job_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from imagen.config import OutputSettings, Settings
    from imagen.core.result import OnProgress
    from imagen.jobs.file_store import Job
    from imagen.library.records import GenerationRecord, StoredImage

How = Literal["fetched", "made", "made again", "made anew", "kept", "busy", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveredJob:
    """What became of one job that was left behind."""

    id: str
    how: How
    """`fetched`: its engine had it. `made`: it had never been sent. `made again`: it was sent and
    certainly never arrived. `made anew`: its engine forgot it, and it was to be made all the same.
    `kept`: its pictures were on disk. `busy`: a process that lives works on it. `failed`: see
    `error`."""
    job: Job | None = None
    """None where it can't be read."""
    made: Generation | None = None
    error: ImagenError | None = None

    @property
    def is_forgotten(self) -> bool:
        """Whether its engine forgot it, and costs nothing: then it may be made again on request."""
        is_lost = isinstance(self.error, Lost) and self.error.is_certain
        return is_lost and self.job is not None and self.job.ticket.estimate is None


def resume(
    id: str,
    settings: Settings,
    on_progress: OnProgress = no_progress,
    *,
    output: OutputSettings | None = None,
    again: bool = False,
) -> Generation:
    """Bring one job to its end that was left when its process died; `id` is its ticket's.

    The pictures go where they were to go, or where `output` says. What was never sent, or
    certainly never arrived, is made now. Raises Lost where the engine no longer knows the job and
    it may have run; with `again` it is made anew then. Raises RequestError where there is no such
    job, or another process is at work on it.
    """
    done = recover(id, settings, on_progress, output=output, again=again)
    if done.error is not None:
        raise done.error
    if done.made is None:
        raise file_store.job_busy(id)
    return done.made


def recover_all(
    settings: Settings,
    watch: Callable[[str], AbstractContextManager[OnProgress]],
    *,
    output: OutputSettings | None = None,
) -> Iterator[RecoveredJob]:
    """Bring every job to its end that was left behind, in order; one that fails does not
    keep the others. Raises Cancelled."""
    for id in file_store.list_ids(settings.state_dir):
        with suppress(RequestError):  # another process has brought it to its end meanwhile
            with watch(id[:8]) as on_progress:
                done = recover(id, settings, on_progress, output=output)
            yield done


def recover(
    id: str,
    settings: Settings,
    on_progress: OnProgress,
    *,
    output: OutputSettings | None = None,
    again: bool = False,
) -> RecoveredJob:
    """The same for one job. Raises RequestError where there is none, Cancelled."""
    try:
        with file_store.claim(id, settings.state_dir) as job:
            if job is None:
                return RecoveredJob(id=id, how="busy")
            output = output or settings.output.model_copy(update=_output(job.output))
            whole = with_job_settings(settings.model_copy(update={"output": output}), job)
            return _finished(job, whole, on_progress, again=again)
    except (RequestError, Cancelled):
        raise
    except ImagenError as error:
        return RecoveredJob(id=id, how="failed", error=error)


def _finished(
    job: Job, settings: Settings, on_progress: OnProgress, *, again: bool
) -> RecoveredJob:
    try:
        return _ended(job, settings, on_progress, again=again)
    except Cancelled:
        raise
    except ImagenError as error:
        return RecoveredJob(id=job.id, how="failed", job=job, error=error)


def _ended(job: Job, settings: Settings, on_progress: OnProgress, *, again: bool) -> RecoveredJob:
    if job.entry is not None:
        remark = record(job.entry, settings)
        if job.entry.state == "failed":
            raise recorded_error(job.entry)
        return RecoveredJob(id=job.id, how="kept", job=job, made=_made(job.entry, remark))
    try:
        made = _run(job, settings, on_progress)
    except Lost as error:
        if error.never_ran:
            made = _run(job.unsent(), settings, on_progress)
            return RecoveredJob(id=job.id, how="made again", job=job, made=made)
        if error.is_certain and again:
            anew = job.renamed(new_id()).unsent()
            with file_store.lock_job(anew.id, settings.state_dir):
                _reserve(anew, job, settings)
                made = _run(anew, settings, on_progress)
            return RecoveredJob(id=job.id, how="made anew", job=job, made=made)
        if error.is_certain:
            file_store.write(
                job, settings.state_dir
            )  # whether to make it anew is the user's to say
            advice = _MAY_HAVE_RUN if job.ticket.estimate is None else _MAY_BE_PAID
            error = error.with_remedy(advice.format(id=job.id))
        raise error.with_remedy(f"Be rid of it with: imagen resume {job.id} --forget") from error
    how: How = "fetched" if job.ticket.submitted else "made"
    return RecoveredJob(id=job.id, how=how, job=job, made=made)


_MAY_HAVE_RUN = "It may have run. Make it again with: imagen resume --again {id}"
_MAY_BE_PAID = (
    "It may have run and be paid, so it is not made again by itself. Make it all the same with: "
    "imagen resume --again {id}"
)


def _reserve(anew: Job, lost: Job, settings: Settings) -> None:
    """Write down the job that takes the place of a lost one, if the budgets allow it."""
    try:
        with within_budgets([anew.ticket], settings):
            file_store.write(anew, settings.state_dir)
    except OverBudget:
        file_store.write(lost, settings.state_dir)  # it can still be made anew later
        raise


def _run(job: Job, settings: Settings, on_progress: OnProgress) -> Generation:
    backend, workflow = job.ticket.backend, job.ticket.engine.get("workflow")
    has_another = settings.backends.get(backend, {}).get("workflow") != workflow
    if workflow and has_another and backend in (*settings.backends, "comfyui"):
        settings = settings.with_workflow(backend, str(workflow))
    with closing(open_named(backend, settings)) as engine:
        return run_job(engine, job, settings, on_progress, is_resumed=True)


def _output(meant: dict[str, Any]) -> dict[str, Any]:
    """Where they were to go then; whether to the cloud as well is also for now to say."""
    known = {name: value for name, value in meant.items() if name != "cloud_sync"}
    return known | ({"directory": Path(meant["directory"])} if "directory" in meant else {})


def _made(entry: GenerationRecord, remark: str) -> Generation:
    """The run of a job whose pictures were on disk when its process died."""
    result = Result(outputs=(), facts=Facts.of(entry.facts), warnings=entry.warnings)
    saved = tuple(map(_saved, entry.images))
    return Generation(ticket=entry.ticket, result=result, saved=saved, remark=remark)


def _saved(kept: StoredImage) -> SavedImage:
    return SavedImage(
        path=kept.path,
        sidecar=kept.sidecar,
        index=kept.index,
        media_type=kept.media_type,
        width=kept.width,
        height=kept.height,
        seed=kept.seed,
        sha256=kept.sha256,
    )
