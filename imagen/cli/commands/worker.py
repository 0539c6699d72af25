"""imagen worker: run the jobs of the queue."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from threading import Thread
from typing import TYPE_CHECKING

import click

from imagen.cli.command_table import Command, usage_error
from imagen.cli.completers import complete_backend_list
from imagen.cli.library_common import count_noun, local_time
from imagen.cli.options import config_option, json_option, settings_from_options
from imagen.cli.queue_common import open_queue
from imagen.cli.tables import Column, print_table
from imagen.cli.terminal import echo
from imagen.core.ids import short_id
from imagen.core.text import format_duration, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from imagen.config import Settings
    from imagen.jobs.worker import WorkerEvent
    from imagen.jobs.worker_log import LogFormat


@click.command(cls=Command)
@click.option(
    "--backends",
    "-b",
    "names",
    shell_complete=complete_backend_list,
    metavar="A,B,…",
    help="Only jobs for these backends or pools; by default for all that are configured.",
)
@click.option("--once", is_flag=True, help="Run one job, then end.")
@click.option("--drain", is_flag=True, help="End once no job is due.")
@click.option("--status", is_flag=True, help="List the running workers and do nothing.")
@click.option(
    "--supabase", is_flag=True, help="Also take the jobs of the table in Supabase into the queue."
)
@click.option(
    "--log",
    type=click.Choice(["text", "json"]),
    help="Print what happens to stderr; by default as text on a terminal, and nothing in a pipe.",
)
@click.option(
    "--metrics-port",
    metavar="[HOST:]PORT",
    help="Serve metrics for Prometheus, by default to this machine only.",
)
@json_option
@config_option
def worker(
    names: str | None,
    once: bool,
    drain: bool,
    status: bool,
    supabase: bool,
    log: LogFormat | None,
    metrics_port: str | None,
    as_json: bool,
    config_path: Path | None,
) -> None:
    """Run the jobs of the queue until Ctrl-C.

    The first Ctrl-C or SIGTERM ends it in an orderly way: jobs at servers and services go on there,
    and the next worker fetches them; those in this process are finished. The second one puts these
    back into the queue. Several workers may run, also on other machines.
    """
    if status:
        _print_status(config_path, as_json=as_json)
        return
    if as_json:
        raise usage_error("--json needs --status. For events as JSON, use --log json.")
    from imagen.jobs.resources import find_resources
    from imagen.jobs.worker import WorkerEvent, run_worker, stop_on_signals
    from imagen.pipeline.pools import members_of

    settings = settings_from_options(config_path)
    listed = [name.strip() for name in (names or "").split(",") if name.strip()]
    backends = listed or None
    for name in listed:
        members_of(name, settings)
    form = log or ("text" if sys.stderr.isatty() else None)
    with ExitStack() as stack:
        stop = stack.enter_context(stop_on_signals())
        report = _listen(stack, settings, form, metrics_port)

        def note(message: str) -> None:
            report(WorkerEvent("note", message))

        if supabase:
            from imagen.jobs.sql_store import open_job_store
            from imagen.jobs.supabase_intake import take_supabase_jobs

            store = stack.enter_context(open_job_store(settings))
            stack.enter_context(take_supabase_jobs(settings, store, say=note))
        if form:
            for resource in find_resources(backends, settings):
                places = count_noun(resource.at_once, "job")
                note(f"Serves {', '.join(resource.backends)}: {places} at once.")
            served = [name for one in find_resources(backends, settings) for name in one.backends]
            check = Thread(target=_check_engines, args=(served, settings, note), daemon=True)
            check.start()
        run_worker(
            settings,
            backends=backends,
            once=once,
            drain=drain,
            stop=stop,
            on_event=report,
        )


def _listen(
    stack: ExitStack, settings: Settings, form: LogFormat | None, metrics_port: str | None
) -> Callable[[WorkerEvent], None]:
    """What is called with each event: the log and the metrics."""
    listeners: list[Callable[[WorkerEvent], None]] = []
    if form is not None:
        from imagen.jobs.worker_log import WorkerLog

        listeners.append(WorkerLog(form))
    if metrics_port is not None:
        from imagen.jobs.metrics import parse_address, serve_metrics

        metrics = serve_metrics(settings, parse_address(metrics_port))
        listeners.append(stack.enter_context(metrics))

    def report(event: WorkerEvent) -> None:
        for listen in listeners:
            listen(event)

    return report


def _check_engines(names: Sequence[str], settings: Settings, note: Callable[[str], None]) -> None:
    """Report the backends that are not ready; their jobs wait until they are."""
    from imagen.errors import ImagenError
    from imagen.pipeline.generate import open_named

    for name in names:
        try:
            with closing(open_named(name, settings)) as engine:
                health = engine.check()
        except ImagenError as error:
            note(f"{name} is not ready: {error.message}")
        else:
            if not health.ok:
                note(f"{name} is not ready: {health.summary}")


_COLUMNS = (
    Column("worker", is_whole=True, colour="cyan"),
    Column("machine"),
    Column("up", is_whole=True),
    Column("jobs", is_right=True),
    Column("backends", may_go_below=True),
)


def _print_status(config_path: Path | None, *, as_json: bool) -> None:
    """Print the running workers, the engines that are paused, and what is served by none."""
    from imagen.views.jobs import WorkersView

    with open_queue(config_path) as (store, settings):
        view = WorkersView.read(store, settings)
    if as_json:
        click.echo(json.dumps(view.as_data(), indent=2))
        return
    now = datetime.now(UTC)
    rows = [
        (
            short_id(one.id, 0),
            f"{one_line(one.host, limit=40)}:{one.pid}",
            format_duration((now - one.started).total_seconds()),
            str(len(one.jobs)),
            ", ".join(map(one_line, one.backends)),
        )
        for one in view.workers
    ]
    print_table(_COLUMNS, rows)
    if not rows:
        echo("No worker is running. Start one with: imagen worker", err=True)
    for name, pause in view.paused.items():
        why = one_line(str((pause.error or {}).get("message", "")), limit=200)
        echo(f"{one_line(name)} is paused until {local_time(pause.until):%H:%M:%S}. {why}".strip())
    for pool, number in view.unserved.items():
        echo(f"{count_noun(number, 'job')} for {one_line(pool)}, which no running worker serves.")
