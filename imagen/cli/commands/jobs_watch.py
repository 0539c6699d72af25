"""imagen jobs watch: a live table of the queue."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

import click

from imagen.cli.command_table import Command, usage_error
from imagen.cli.library_common import count_noun
from imagen.cli.options import config_option
from imagen.cli.progress import interruptible
from imagen.cli.queue_common import open_queue
from imagen.cli.terminal import display_width, terminal_width, truncate
from imagen.core.text import one_line

if TYPE_CHECKING:
    from pathlib import Path

    from imagen.jobs.model import QueuedJob
    from imagen.jobs.overview import QueueOverview

_REFRESH_SECONDS = 0.5
_MOST_WAITING, _MOST_ENDED = 100, 20
_BAR = 20
_WIDTHS = (8, 9, 12, 16)
"""Columns of the id, the place in line or the state, the backend and the time."""
_SCREEN, _SCREEN_OFF = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
"""The second screen of the terminal, without a cursor; and back."""
_HOME, _END_OF_LINE, _BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


@click.command("watch", cls=Command)
@config_option
def watch(config_path: Path | None) -> None:
    """Show the queue on the terminal as it changes, until Ctrl-C.

    What runs has a bar, with its worker and the time that is left; below are the jobs that wait,
    and those that ended.
    """
    from imagen.jobs.overview import read_overview

    if not sys.stdout.isatty():
        raise usage_error("`imagen jobs watch` needs a terminal. In a pipe, use: imagen jobs list")
    with open_queue(config_path) as (store, settings), interruptible() as interrupted:
        drawn: tuple[int, int, list[str]] | None = None
        sys.stdout.write(_SCREEN)
        try:
            while not interrupted.is_set():
                width = terminal_width(sys.stdout) or 80
                height = shutil.get_terminal_size().lines
                overview = read_overview(
                    store, settings, most_active=_MOST_WAITING, most_ended=_MOST_ENDED
                )
                lines = draw_overview(overview, width, height - 1)
                if (width, height, lines) != drawn:
                    drawn = (width, height, lines)
                    text = f"{_END_OF_LINE}\n".join(lines)
                    sys.stdout.write(f"{_HOME}{text}{_END_OF_LINE}{_BELOW}")
                    sys.stdout.flush()
                interrupted.wait(_REFRESH_SECONDS)
        finally:
            sys.stdout.write(_SCREEN_OFF)
            sys.stdout.flush()
        for line in drawn[2] if drawn is not None else ():  # the last state stays on the screen
            click.echo(line)


def draw_overview(overview: QueueOverview, width: int, height: int) -> list[str]:
    """The lines of the live table: at most `height`, each at most `width` columns wide."""
    from imagen.jobs.model import ENDED, PARENTS

    plain = [one for one in overview.plain if one.is_running]
    waiting = [job for job in overview.jobs if job.state in ("queued", "held")]
    waiting = [job for job in waiting if job.kind not in PARENTS]
    parents = [job for job in overview.jobs if job.kind in PARENTS and job.state not in ENDED]
    running = [line for job in overview.running for line in _running_lines(job, overview)]
    for one in plain:
        ticket = one.job.ticket if one.job is not None else None
        what = f"{ticket.backend}: {ticket.request.prompt or ''}" if ticket is not None else ""
        running.append(f"{one.id[:8]}  a plain command, {one_line(what)}")
    sections = [
        ("RUNNING", running),
        ("BATCHES", [_parent_line(job, overview) for job in parents]),
        ("WAITING", [_line(job, overview) for job in waiting]),
        ("ENDED", [_line(job, overview) for job in overview.jobs if job.state in ENDED]),
    ]
    counts = (
        f"{len(overview.running) + len(plain)} running",
        f"{overview.in_line} waiting",
        count_noun(len(overview.workers), "worker"),
    )
    lines = [f"{overview.now.astimezone():%H:%M:%S}  {', '.join(counts)}"]
    for title, rows in sections:
        room = height - len(lines) - 2
        if rows and room > 0:
            shown = rows if len(rows) <= room else [*rows[: room - 1], "…"]
            lines += ["", title, *shown]
    if len(lines) == 1:
        lines += ["", "There are no jobs."]
    return [truncate(line, width) for line in lines]


def _running_lines(job: QueuedJob, overview: QueueOverview) -> tuple[str, str]:
    """`1f2e3d4c  ██████░░░░  step 3 of 8, 12 s left, gpu1, host:4711`; and the prompt below."""
    from imagen.cli.job_tables import describe_step, describe_time
    from imagen.views.jobs import fraction_of

    worker = next((one for one in overview.workers if one.id == job.owner), None)
    parts = (
        "cancelling" if job.cancel else describe_step(job),
        describe_time(job, overview),
        one_line(job.backend),
        f"{one_line(worker.host, limit=20)}:{worker.pid}" if worker is not None else "",
    )
    text = ", ".join(filter(None, parts))
    return f"{job.id[:8]}  {_bar(fraction_of(job) or 0.0)}  {text}", f"{'':10}{job.name}"


def _parent_line(job: QueuedJob, overview: QueueOverview) -> str:
    """`1f2e3d4c  ██████░░░░  137/200, 2 failed, until 22:45  prompts.txt`."""
    from imagen.cli.job_tables import count_done, describe_job_progress, describe_time

    done, wrong, total = count_done(overview.counts.get(job.id, {}))
    bar = _bar((done + wrong) / total if total else 0.0)
    progress = describe_job_progress(job, overview)
    return f"{job.id[:8]}  {bar}  {progress}, {describe_time(job, overview)}  {job.name}"


def _line(job: QueuedJob, overview: QueueOverview) -> str:
    """A job that waits or has ended."""
    from imagen.cli.job_tables import describe_job_progress, describe_time

    is_queued = job.state == "queued"
    cells = (
        job.id[:8],
        (describe_job_progress(job, overview) if is_queued else "") or job.state,
        one_line(job.backend or job.pool),
        describe_time(job, overview),
    )
    fitted = [truncate(cell, size) for cell, size in zip(cells, _WIDTHS, strict=True)]
    blanks = (" " * (n - display_width(cell)) for cell, n in zip(fitted, _WIDTHS, strict=True))
    return "  ".join((*map("".join, zip(fitted, blanks, strict=True)), job.name))


def _bar(fraction: float) -> str:
    full = round(_BAR * min(max(fraction, 0.0), 1.0))
    return "█" * full + "░" * (_BAR - full)
