"""imagen resume: finish jobs that were interrupted."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imagen.cli.command_table import Command, usage_error
from imagen.cli.completers import complete_jobs
from imagen.cli.generation import (
    images_on_stderr,
    plan_previews,
    show_previews,
    write_image,
)
from imagen.cli.options import (
    config_option,
    json_option,
    no_cloud_option,
    output_option,
    over_budget_option,
    preview_option,
    quiet_option,
    refuse_stdout,
    settings_from_options,
)
from imagen.cli.tables import Column, print_table
from imagen.cli.terminal import echo
from imagen.core.text import one_line, printable
from imagen.errors import Cancelled, LibraryError, Lost, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from imagen.cli.parsing import OutputTarget
    from imagen.config import OutputSettings, Settings
    from imagen.core.result import OnProgress
    from imagen.jobs.model import Job, QueueState
    from imagen.jobs.recover import RecoveredJob

_MOST_LOST = 500
_OUTCOMES = {
    "fetched": "fetched from its engine",
    "generated": "generated now, since it had never been submitted",
    "regenerated": "generated again, since it had never reached its engine",
    "resubmitted": "submitted again, since its engine no longer knew it",
    "saved": "was already saved and is in the library now",
    "busy": "skipped; another process is working on it",
    "queued": "in line again; a worker will run it",
}


@click.command(cls=Command)
@click.argument("job", required=False, shell_complete=complete_jobs)
@click.option("--list", "only_list", is_flag=True, help="List interrupted jobs and do nothing.")
@click.option(
    "--resubmit",
    is_flag=True,
    help="Submit JOB again if its engine no longer knows it; it may have run already.",
)
@click.option("--yes", is_flag=True, help="Resubmit jobs that are lost, without asking.")
@click.option("--forget", is_flag=True, help="Discard JOB, whatever became of it.")
@output_option
@preview_option
@over_budget_option
@no_cloud_option
@json_option
@quiet_option
@config_option
def resume(
    job: str | None,
    only_list: bool,
    resubmit: bool,
    yes: bool,
    forget: bool,
    output: OutputTarget | None,
    preview: bool | None,
    over_budget: bool,
    no_cloud: bool,
    as_json: bool,
    quiet: bool,
    config_path: Path | None,
) -> int:
    """Finish jobs that were interrupted.

    JOB is the ID that the interrupted command printed, the beginning of it, or last; without JOB,
    all jobs are finished. Finished images are fetched from their engine, and jobs that were never
    sent are run; nothing is generated twice. The path of each image is printed on its own line.
    Jobs of the queue are finished by its workers; those that are lost wait for your decision.
    """
    from imagen.cli.progress import show_progress
    from imagen.delivery.background import sync_afterwards

    is_stdout = output is not None and output.is_stdout
    if is_stdout:
        refuse_stdout(as_json=as_json)
    settings = settings_from_options(
        config_path, output, no_cloud=no_cloud, over_budget=over_budget
    )
    if job is None and (resubmit or forget or is_stdout):
        hint = "To list the jobs: imagen resume --list"
        raise usage_error(f"--resubmit, --forget and --output - need a JOB. {hint}")
    if only_list:
        _print_jobs(settings, as_json=as_json)
        return 0
    if job is not None:
        job = _find_job(job, settings)
        if forget:
            _forget(job, settings, as_json=as_json)
            return 0
    previews = plan_previews(settings.output, preview, as_json=as_json, quiet=quiet)
    with sync_afterwards(settings), images_on_stderr() if is_stdout else nullcontext():
        watch = partial(show_progress, quiet=quiet)
        target = None if output is None or is_stdout else settings.output
        recovered: list[RecoveredJob] = []
        try:
            for one in _recover(job, settings, watch, target, resubmit, yes, as_json):
                recovered.append(one)
        except Cancelled:
            if recovered and not as_json:  # JSON has room for one value: the error
                _print_recovered(recovered, as_json=False)
            raise
        _print_recovered(recovered, as_json=as_json, is_stdout=is_stdout)
    done = [(one.generation, one.job.request) for one in recovered if one.generation and one.job]
    show_previews(previews, done)
    if is_stdout:
        write_image([saved for generation, _ in done for saved in generation.saved])
    return max((one.error.exit_code for one in recovered if one.error is not None), default=0)


def _recover(
    job: str | None,
    settings: Settings,
    watch: Callable[[str], AbstractContextManager[OnProgress]],
    output: OutputSettings | None,
    resubmit: bool,
    yes: bool,
    as_json: bool,
) -> Iterator[RecoveredJob]:
    """Finish each job; those that an engine forgot are resubmitted if the user agrees."""
    from imagen.jobs.recover import recover, recover_all

    lost = _find_lost_in_queue(settings)

    def recover_one(id: str, *, resubmit: bool) -> RecoveredJob:
        if id in lost and resubmit:
            from imagen.jobs.sql_store import open_job_store

            with open_job_store(settings) as store:
                store.retry(id, is_confirmed=True)
            return replace(lost[id], outcome="queued", error=None)
        if id in lost:
            return lost[id]
        with watch(id[:8]) as on_progress:
            return recover(id, settings, on_progress, output=output, resubmit=resubmit)

    each: Iterable[RecoveredJob] = (
        chain(recover_all(settings, watch, output=output), lost.values())
        if job is None
        else [recover_one(job, resubmit=resubmit)]
    )
    for one in each:
        if one.is_forgotten and (yes or (not as_json and _ask(one))):
            one = recover_one(one.id, resubmit=True)
        if job is not None and one.error is not None:
            raise one.error
        yield one


def _find_job(word: str, settings: Settings) -> str:
    """The ID of an interrupted job, or of one that is lost in the queue; raises RequestError."""
    from imagen.jobs import file_store

    try:
        return file_store.resolve_id(word, settings.state_dir)
    except RequestError:
        lost = [id for id in _find_lost_in_queue(settings) if id.startswith(word.lower())]
        if len(lost) != 1:
            raise
        return lost[0]


def _find_lost_in_queue(settings: Settings) -> dict[str, RecoveredJob]:
    """The lost jobs of the queue by ID, each with its error; none where there is no queue."""
    from imagen.jobs.recover import RecoveredJob

    has_library = settings.is_library_shared or Path(settings.library_at).exists()
    if not settings.library.enabled or not has_library:
        return {}
    from imagen.jobs.model import PARENTS
    from imagen.jobs.sql_store import open_job_store

    try:
        with open_job_store(settings) as store:
            states: tuple[QueueState, ...] = ("lost",)
            rows = []
            for top in store.list_jobs(states=states, limit=_MOST_LOST):
                rows += (
                    store.list_jobs(states=states, parent=top.id, limit=_MOST_LOST)
                    if top.kind in PARENTS
                    else [top]
                )
    except LibraryError as error:
        echo(f"The jobs of the queue are not listed: {error.message}", err=True)
        return {}
    return {
        row.id: RecoveredJob(
            id=row.id,
            outcome="failed",
            job=row.job,
            error=Lost(
                str((row.error or {}).get("message") or "The job is lost."),
                remedy=f"It may have run. Run it again with: imagen resume --resubmit {row.id}",
                backend=row.backend,
            ),
        )
        for row in rows
    }


def _ask(one: RecoveredJob) -> bool:
    """Ask on the terminal whether to resubmit; without one, the error names the command."""
    if not sys.stdin.isatty() or one.job is None:
        return False
    ticket = one.job.ticket
    text = ticket.request.prompt
    prompt = f" Prompt: {one_line(text, limit=40)!r}." if text else ""
    question = f"{ticket.backend} no longer knows job {one.id[:8]}, which may have run.{prompt}"
    try:
        return click.confirm(printable(f"{question} Submit it again?"), err=True)
    except click.Abort:
        click.echo(err=True)  # end the line of the question
        raise Cancelled from None


def _print_recovered(
    recovered: Sequence[RecoveredJob], *, as_json: bool, is_stdout: bool = False
) -> None:
    from imagen.cli.output import generations_json, print_generations

    generations = [one.generation for one in recovered if one.generation is not None]
    if as_json:
        body = generations_json(generations) if generations else {"images": [], "generations": []}
        jobs: list[dict[str, object]] = []
        for one in recovered:
            row: dict[str, object] = {"id": one.id, "outcome": one.outcome}
            if one.job is not None:
                ticket = one.job.ticket
                row |= {"backend": ticket.backend, "prompt": ticket.request.prompt}
            if one.error is not None:
                keys = ("code", "message", "remedy")
                row["error"] = {key: getattr(one.error, key) for key in keys}
            jobs.append(row)
        click.echo(json.dumps(body | {"jobs": jobs}, indent=2))
        return
    if not recovered:
        echo("There are no interrupted jobs.", err=True)
    for one in recovered:
        label = f"{one.id[:8]}, {one.job.ticket.backend}" if one.job else one.id[:8]
        if one.error is None:
            echo(f"{label}: {_OUTCOMES[one.outcome]}.", err=True)
        else:
            message = one_line(one.error.message, limit=400)
            echo(f"{label}: {message}\n{one.error.remedy}", err=True)
    print_generations(generations, as_json=False, is_stdout=is_stdout)


def _forget(job: str, settings: Settings, *, as_json: bool) -> None:
    from imagen.jobs import file_store

    with file_store.try_lock(job, settings.state_dir) as is_locked:
        if not is_locked:
            raise file_store.job_busy(job)
        file_store.forget(job, settings.state_dir)
    if as_json:
        click.echo(json.dumps({"forgotten": job}))
    else:
        echo(f"Discarded {job}.", err=True)


# --- --list ---

_JOB_COLUMNS = (
    Column("id", is_whole=True, is_ragged=True, colour="cyan"),
    Column("state", is_ragged=True),
    Column("backend", is_ragged=True, may_go_below=True),
    Column("prompt", may_go_below=True),
)


def _print_jobs(settings: Settings, *, as_json: bool) -> None:
    """Print each job and how far it got; or its ID and why it cannot be read."""
    from imagen.errors import OutputError
    from imagen.jobs import file_store

    state_dir = settings.state_dir
    jobs: list[dict[str, object]] = []
    rows: list[tuple[str, ...]] = []

    def add(id: str, job: Job, state: str) -> None:
        backend, prompt = job.ticket.backend, job.ticket.request.prompt
        began = job.began.isoformat(timespec="seconds")
        jobs.append(
            {"id": id, "backend": backend, "prompt": prompt, "state": state, "began": began}
        )
        rows.append((id, f"{state:<9}", backend, one_line(prompt or "", limit=60)))

    for id in file_store.list_ids(state_dir):
        try:
            job = file_store.read(id, state_dir)
        except OutputError as error:
            jobs.append({"id": id, "error": error.message})
            rows.append((id, one_line(error.message), "", ""))
            continue
        add(id, job, "busy" if file_store.is_worked_on(id, state_dir) else job.state)
    for lost in _find_lost_in_queue(settings).values():
        if lost.job is not None:
            add(lost.id, lost.job, "lost")
    if as_json:
        click.echo(json.dumps({"jobs": jobs}, indent=2))
        return
    print_table(_JOB_COLUMNS, rows)
    if not rows:
        echo("There are no interrupted jobs.", err=True)
