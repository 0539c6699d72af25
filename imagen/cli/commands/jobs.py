"""imagen jobs: list and show the jobs of the queue, and what happened to them."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, get_args

import click

from imagen.cli.command_table import Group
from imagen.cli.commands.jobs_change import cancel, move, retry, wait
from imagen.cli.commands.jobs_every import every
from imagen.cli.commands.jobs_watch import watch
from imagen.cli.completers import complete_backends, complete_queued_jobs
from imagen.cli.library_common import count_noun
from imagen.cli.options import config_option, json_option
from imagen.cli.queue_common import (
    find_job,
    find_queued_jobs,
    job_argument,
    open_queue,
)
from imagen.cli.queue_options import parse_duration
from imagen.cli.tables import Column, print_section, print_table
from imagen.cli.terminal import echo
from imagen.core.ids import short_id
from imagen.core.json_values import as_list, as_mapping
from imagen.core.text import did_you_mean, one_line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from imagen.jobs.model import QueuedJob
    from imagen.jobs.overview import QueueOverview
    from imagen.library.events import LibraryEvent

_MOST_ACTIVE, _MOST_ENDED = 50, 10
_EVENTS_PAGE = 1000
_FOLLOW_SECONDS = 0.5
_LONGEST_SENTENCE = 400
_STORED = re.compile(r"\bblob:[0-9a-f]{64}/")
"""Before the name of an input file that is stored for the job."""
_PLAIN_FIELDS = ("id", "kind", "state", "backend", "caller", "started", "name")
_FIELD_COLUMNS = (Column("field"), Column("value", may_go_below=True))
_EVENT_COLUMNS = (Column("time", is_whole=True), Column("event", may_go_below=True))


class _JobsGroup(Group):
    """`imagen jobs` is `imagen jobs list`, also with its options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        is_list = not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names)
        return super().parse_args(ctx, ["list", *args] if is_list else args)


@click.group(cls=_JobsGroup)
def jobs() -> None:
    """List the jobs of the queue, wait for them, and change them.

    Without a command, the jobs are listed. JOB is an ID, the beginning of one, or last for the
    newest.
    """


# --- list ---


def _parse_states(
    ctx: click.Context, param: click.Parameter, words: tuple[str, ...]
) -> tuple[str, ...]:
    from imagen.jobs.model import QueueState

    known = (*get_args(QueueState), "interrupted")
    names = [name.strip() for word in words for name in word.split(",")]
    for name in names:
        if name not in known:
            raise click.BadParameter(
                f"Unknown state {name!r}.{did_you_mean(name, known)} Known: {', '.join(known)}.",
                ctx,
                param,
            )
    return tuple(names)


@jobs.command("list")
@click.option(
    "--state",
    "states",
    multiple=True,
    callback=_parse_states,
    metavar="STATE,…",
    help="Only jobs in these states: held, queued, running, cancelling, done, failed, cancelled, "
    "lost, interrupted.",
)
@click.option(
    "--backend",
    "-b",
    shell_complete=complete_backends,
    metavar="NAME",
    help="Only jobs for this backend or pool.",
)
@click.option(
    "--batch",
    shell_complete=complete_queued_jobs,
    metavar="JOB",
    help="The jobs of this batch, comparison or request.",
)
@click.option("--all", "all_", is_flag=True, help="All jobs, also those that ended long ago.")
@json_option
@config_option
def list_jobs(
    states: tuple[str, ...],
    backend: str | None,
    batch: str | None,
    all_: bool,
    as_json: bool,
    config_path: Path | None,
) -> None:
    """List running and waiting jobs, and the last that ended.

    A batch is one line. Start and end are estimated from what earlier jobs took.
    """
    from imagen.cli.job_tables import JOB_COLUMNS, job_row, plain_row
    from imagen.jobs.overview import read_overview
    from imagen.views.jobs import JobsPageView

    with open_queue(config_path) as (store, settings):
        parent = find_queued_jobs([batch], store, settings)[0].id if batch else None
        overview = read_overview(
            store,
            settings,
            states=states,
            pool=backend,
            parent=parent,
            most_active=None if all_ or as_json else _MOST_ACTIVE,
            most_ended=None if all_ or batch else _MOST_ENDED,
        )
    if as_json:
        click.echo(json.dumps(JobsPageView.of(overview).as_data(), indent=2))
        return
    rows = [plain_row(one, overview.now) for one in overview.plain]
    rows += [job_row(job, overview) for job in overview.jobs]
    print_table(JOB_COLUMNS, rows)
    if not rows:
        echo("There are no jobs.", err=True)
    if overview.left_out:
        waiting = count_noun(overview.left_out, "more job")
        echo(f"To list {waiting} that have not ended: imagen jobs list --all", err=True)
    if any(job.state == "queued" for job in overview.jobs) and not overview.workers:
        echo("No worker is running. Start one with: imagen worker", err=True)
    if any(not one.is_running for one in overview.plain):
        echo("To finish interrupted jobs: imagen resume", err=True)


# --- show ---


@jobs.command("show")
@job_argument
@json_option
@config_option
def show_job(word: str, as_json: bool, config_path: Path | None) -> None:
    """Show a job: its request, what happened to it, and its images."""
    from imagen.jobs.overview import PlainJob, list_job_images, read_job_overview
    from imagen.views.jobs import JobDetailView, PlainJobView

    with open_queue(config_path) as (store, settings):
        job = find_job(word, store, settings)
        if isinstance(job, PlainJob):
            plain = PlainJobView.of(job).as_data()
            if as_json:
                click.echo(json.dumps(plain, indent=2))
                return
            rows = [(name, str(plain[name])) for name in _PLAIN_FIELDS if plain[name]]
            print_table(_FIELD_COLUMNS, rows)
            if job.error:
                echo(job.error)
            return
        overview = read_job_overview(job, store, settings)
        children = store.list_children(job.id)
        events = store.events_after(0, job=job.id, limit=_EVENTS_PAGE)
        images = list_job_images(job, store)
    if as_json:
        view = JobDetailView.build(job, overview, events, images, children)
        click.echo(json.dumps(view.as_data(), indent=2))
        return
    _print_job(job, overview, events)
    for image in images:
        click.echo(str(image.path))


def _print_job(job: QueuedJob, overview: QueueOverview, events: Sequence[LibraryEvent]) -> None:
    from imagen.cli.job_tables import describe_job_progress, describe_time
    from imagen.cli.output import describe_changes, format_field

    state = (job.state, describe_job_progress(job, overview), describe_time(job, overview))
    pool = f" (pool {job.pool})" if job.backend and job.backend != job.pool else ""
    is_later = job.due > overview.now
    values = {
        "id": job.id,
        "kind": job.kind,
        "state": ", ".join(filter(None, state)),
        "backend": one_line(f"{job.backend or job.pool}{pool}"),
        "worker": one_line(job.owner),
        "attempt": str(job.attempt) if job.attempt > 1 else "",
        "batch": job.parent or "",
        "after": job.after or "",
        "priority": str(job.priority) if job.priority else "",
        "caller": one_line(job.caller),
        "created": f"{job.created.astimezone():%Y-%m-%d %H:%M:%S}",
        "not before": f"{job.due.astimezone():%Y-%m-%d %H:%M:%S}" if is_later else "",
        "name": job.name if job.spec is None else "",
    }
    print_table(_FIELD_COLUMNS, [(name, text) for name, text in values.items() if text])
    if job.spec is not None:
        asked = job.spec.request.asked().items()
        rows = [(name, _STORED.sub("", one_line(format_field(value)))) for name, value in asked]
        print_section("Request", _FIELD_COLUMNS, rows)
    for sentence in describe_changes(job.job.ticket) if job.job is not None else ():
        echo(f"  {sentence}", hanging=2)
    states = [event for event in events if event.kind == "state"]
    history = [(f"{e.at.astimezone():%Y-%m-%d %H:%M:%S}", _describe_event(e)) for e in states]
    print_section("History", _EVENT_COLUMNS, history)
    if job.error is not None:
        click.echo()
        for name in ("message", "remedy"):
            if text := str(job.error.get(name, "")):
                echo(one_line(text, limit=_LONGEST_SENTENCE))


# --- logs ---


@jobs.command("logs")
@click.argument("word", metavar="[JOB]", required=False, shell_complete=complete_queued_jobs)
@click.option("--follow", "-f", is_flag=True, help="Wait for more, until the job has ended.")
@json_option
@config_option
def logs(word: str | None, follow: bool, as_json: bool, config_path: Path | None) -> None:
    """Print the events of a job, or of all jobs.

    These are changes of state, and the progress of those that run. With --json, each is one line.
    """
    from imagen.cli.progress import interruptible
    from imagen.jobs.model import ENDED
    from imagen.views.jobs import EventView

    with open_queue(config_path) as (store, settings), interruptible() as interrupted:
        id = find_queued_jobs([word], store, settings)[0].id if word else None
        seq = 0 if id is not None or not follow else store.last_event()
        while True:
            is_over = id is not None and store.read(id).state in ENDED  # before its last events
            while events := store.events_after(seq, job=id, limit=_EVENTS_PAGE):
                for event in (one for one in events if one.job):
                    if as_json:
                        click.echo(json.dumps(EventView.of(event).as_data()))
                    else:
                        time_ = f"{event.at.astimezone():%H:%M:%S}"
                        click.echo(f"{time_}  {short_id(event.job, 0)}  {_describe_event(event)}")
                seq = events[-1].seq
            if not follow or is_over or interrupted.is_set():
                break
            time.sleep(_FOLLOW_SECONDS)


def _describe_event(event: LibraryEvent) -> str:
    """`running`, `failed: The engine …`, `step 3 of 8`."""
    data = event.data
    if event.kind == "state":
        error = as_mapping(data.get("error"))
        why = f": {error.get('message', '')}" if error else ""
        return one_line(f"{data.get('state', '')}{why}", limit=_LONGEST_SENTENCE)
    if event.kind == "images_added":
        return count_noun(len(as_list(data.get("images"))))
    text = one_line(str(data.get("stage", "")), limit=40)
    if data.get("step") is not None and data.get("steps"):
        text = f"{text}, step {data['step']} of {data['steps']}"
    return text


# --- prune ---


@jobs.command("prune")
@click.option(
    "--older",
    callback=parse_duration,
    metavar="TIME",
    help="Jobs that ended so long ago: 30d, 12h, 2w; by default as jobs.keep_days says.",
)
@json_option
@config_option
def prune(older: timedelta | None, as_json: bool, config_path: Path | None) -> None:
    """Delete jobs that ended long ago from the list. Images and the library stay."""
    from imagen.jobs.blobs import open_blobs

    with open_queue(config_path) as (store, settings):
        age = timedelta(days=settings.jobs.keep_days) if older is None else older
        pruned = store.prune(datetime.now(UTC) - age)
        open_blobs(settings, store.library).prune()
    if as_json:
        click.echo(json.dumps({"pruned": pruned}))
    else:
        echo(f"Deleted {count_noun(pruned, 'job')} from the list.")


for command in (wait, cancel, retry, move, every, watch):
    jobs.add_command(command)
