"""imagen jobs wait, cancel, retry and move."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from imagen.cli.command_table import Command, usage_error
from imagen.cli.commands.resume import resume
from imagen.cli.library_common import count_noun
from imagen.cli.options import config_option, json_option, quiet_option
from imagen.cli.progress import count_progress, show_progress
from imagen.cli.queue_common import (
    exit_code_of,
    find_job,
    find_queued_jobs,
    job_argument,
    jobs_argument,
    open_queue,
)
from imagen.cli.queue_options import parse_start, priority_option
from imagen.cli.terminal import echo
from imagen.core.ids import short_id
from imagen.core.text import one_line
from imagen.errors import Cancelled, WaitTimedOut

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from imagen.jobs.model import QueuedJob
    from imagen.jobs.sql_store import SqlJobStore

_POLL_SECONDS = 0.25
_CONFIRM_SECONDS = 5.0
"""How long `cancel` waits for workers to confirm."""
_LONGEST_SENTENCE = 400


# --- wait ---


@click.command("wait", cls=Command)
@jobs_argument
@click.option(
    "--timeout",
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="Stop waiting after so long, with exit code 124.",
)
@json_option
@quiet_option
@config_option
def wait(
    words: tuple[str, ...],
    timeout: float | None,
    as_json: bool,
    quiet: bool,
    config_path: Path | None,
) -> int:
    """Wait until jobs have ended, and print the paths of their images.

    The exit code is 0 if all are done, 130 if one was cancelled, and that of its error if one
    failed. Ctrl-C stops the waiting; the jobs go on.
    """
    from imagen.jobs.overview import list_job_images

    with open_queue(config_path) as (store, settings):
        ids = [job.id for job in find_queued_jobs(words, store, settings)]
        with _show_waiting(ids, store, quiet=quiet or as_json) as show:
            found = _wait_for_end(ids, store, show, timeout)
        images = {job.id: [str(one.path) for one in list_job_images(job, store)] for job in found}
    if as_json:
        outcomes = [
            {"id": job.id, "state": job.state, "error": job.error, "images": images[job.id]}
            for job in found
        ]
        click.echo(json.dumps({"jobs": outcomes}, indent=2))
    else:
        for job in found:
            if job.state != "done":
                why = one_line(str((job.error or {}).get("message", "")), limit=_LONGEST_SENTENCE)
                echo(f"{short_id(job.id, 0)} {job.state}{why and ': '}{why}", err=True)
            for path in images[job.id]:
                click.echo(path)
    return max(map(exit_code_of, found))


def _wait_for_end(
    ids: Sequence[str],
    store: SqlJobStore,
    show: Callable[[Sequence[QueuedJob]], None],
    seconds: float | None,
) -> list[QueuedJob]:
    """The jobs once all have ended; raises WaitTimedOut, and what `show` raises."""
    from imagen.jobs.model import ENDED

    until = None if seconds is None else time.monotonic() + seconds
    while True:
        found = [store.read(id) for id in ids]
        active = sum(job.state not in ENDED for job in found)
        if not active:
            return found
        if until is not None and time.monotonic() >= until:
            raise WaitTimedOut(
                f"{count_noun(active, 'job')} had not ended after {seconds:g} s.",
                remedy="The jobs go on. To look at them: imagen jobs",
            )
        show(found)
        time.sleep(_POLL_SECONDS)


@contextmanager
def _show_waiting(
    ids: Sequence[str], store: SqlJobStore, *, quiet: bool
) -> Iterator[Callable[[Sequence[QueuedJob]], None]]:
    """A function that shows how far jobs are, on one line; it raises Cancelled after Ctrl-C."""
    from imagen.cli.job_tables import as_progress, count_done
    from imagen.jobs.model import ENDED, PARENTS

    is_one = len(ids) == 1 and store.read(ids[0]).kind not in PARENTS
    with (
        show_progress(short_id(ids[0], 0), quiet=quiet or not is_one) as draw,
        count_progress("Jobs that have ended:", quiet=quiet or is_one) as count,
    ):

        def show(found: Sequence[QueuedJob]) -> None:
            parents = [job.id for job in found if job.kind in PARENTS]
            sums = [count_done(counts) for counts in store.children_counts(parents).values()]
            sums += [(int(job.state in ENDED), 0, 1) for job in found if job.id not in parents]
            count(sum(done + wrong for done, wrong, _ in sums), sum(total for *_, total in sums))
            try:
                draw(as_progress(found[0]))
            except Cancelled as error:
                remedy = "The jobs go on. To cancel them: imagen jobs cancel JOB"
                raise Cancelled("Stopped waiting.", remedy=remedy) from error

        yield show


# --- cancel ---


@click.command("cancel", cls=Command)
@jobs_argument
@json_option
@config_option
def cancel(words: tuple[str, ...], as_json: bool, config_path: Path | None) -> int:
    """Cancel jobs, or all jobs of a batch.

    A job that waits is cancelled at once; that of an engine once its worker has confirmed it. Jobs
    that have ended are not changed.
    """
    from imagen.jobs.model import ENDED

    with open_queue(config_path) as (store, settings):
        ids = [job.id for job in find_queued_jobs(words, store, settings)]
        for id in ids:
            store.cancel(id)
        until = time.monotonic() + _CONFIRM_SECONDS
        while True:
            found = [store.read(id) for id in ids]
            if all(job.state in ENDED for job in found) or time.monotonic() >= until:
                break
            time.sleep(_POLL_SECONDS)
    if as_json:
        outcomes = [{"id": job.id, "state": job.state} for job in found]
        click.echo(json.dumps({"jobs": outcomes}, indent=2))
    else:
        for job in found:
            if job.state == "cancelled":
                echo(f"Cancelled {short_id(job.id, 0)}.")
            elif job.state in ENDED:
                echo(f"{short_id(job.id, 0)} had ended before: it is {job.state}.", err=True)
            else:
                echo(f"{short_id(job.id, 0)} will be cancelled once its worker answers.", err=True)
    return 0


# --- retry ---


@click.command("retry", cls=Command)
@jobs_argument
@click.option(
    "--resubmit",
    is_flag=True,
    help="Also if the job may have run already, and cost money.",
)
@json_option
@quiet_option
@config_option
@click.pass_context
def retry(
    ctx: click.Context,
    words: tuple[str, ...],
    resubmit: bool,
    as_json: bool,
    quiet: bool,
    config_path: Path | None,
) -> int:
    """Run failed, cancelled or lost jobs again.

    Of a batch, all such jobs run again. An interrupted job of a plain command is finished at once,
    as by imagen resume; jobs of the queue wait for a worker.
    """
    from imagen.jobs.overview import PlainJob

    with open_queue(config_path) as (store, settings):
        found = [find_job(word, store, settings) for word in words]
        plain = [job.id for job in found if isinstance(job, PlainJob)]
        if plain and len(found) > 1:
            raise usage_error(f"{plain[0]} is an interrupted job. Retry it by itself.")
        if not plain:
            retried = {job.id: store.retry(job.id, is_confirmed=resubmit) for job in found}
    if plain:
        code: int = ctx.invoke(
            resume,
            job=plain[0],
            resubmit=resubmit,
            as_json=as_json,
            quiet=quiet,
            config_path=config_path,
        )
        return code
    if as_json:
        jobs = [{"id": id, "jobs": number} for id, number in retried.items()]
        click.echo(json.dumps({"retried": jobs}, indent=2))
    else:
        for id, number in retried.items():
            echo(f"{short_id(id, 0)}: {count_noun(number, 'job')} in line again.")
    return 0


# --- move ---


@click.command("move", cls=Command)
@job_argument
@click.option("--first", is_flag=True, help="Before all other jobs that wait.")
@priority_option
@click.option(
    "--at",
    callback=parse_start,
    metavar="TIME",
    help="Not before 22:30, 'tomorrow 7:00', 'in 2h' or '2026-12-01 22:30'.",
)
@json_option
@config_option
def move(
    word: str,
    first: bool,
    priority: int | None,
    at: datetime | None,
    as_json: bool,
    config_path: Path | None,
) -> None:
    """Change the place in line of a waiting job or batch."""
    if first and priority is not None:
        raise usage_error("--first and --priority exclude each other. Use one of them.")
    if not first and priority is None and at is None:
        raise usage_error("Say where to move it: --first, --priority N or --at TIME.")
    with open_queue(config_path) as (store, settings):
        (job,) = find_queued_jobs([word], store, settings)
        if first:
            priority = store.first_priority()
        moved = store.move(job.id, priority=priority, due=at)
    if as_json:
        click.echo(json.dumps({"id": job.id, "jobs": moved, "priority": priority}))
    else:
        echo(f"Moved {count_noun(moved, 'job')}.")
