"""Jobs of the queue for people, as rows of a table."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, get_args

from imagen.cli.tables import Column
from imagen.core.ids import short_id
from imagen.core.json_values import as_mapping, as_text
from imagen.core.result import Progress, Stage
from imagen.core.text import format_duration, one_line
from imagen.jobs.model import ENDED, PARENTS
from imagen.views.jobs import expected_end, expected_start, fraction_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.jobs.model import QueuedJob, QueueState
    from imagen.jobs.overview import PlainJob, QueueOverview

JOB_COLUMNS = (
    Column("id", is_whole=True, colour="cyan"),
    Column("state"),
    Column("progress", drop=1),
    Column("backend", drop=2),
    Column("time", drop=3),
    Column("job", may_go_below=True, most_lines=1),
)


# --- facts ---


def count_done(counts: Mapping[QueueState, int]) -> tuple[int, int, int]:
    """How many jobs of a parent are done, did not succeed, and are in all."""
    wrong = sum(counts.get(state, 0) for state in ENDED if state != "done")
    return counts.get("done", 0), wrong, sum(counts.values())


# --- for people ---


def format_clock(moment: datetime, now: datetime) -> str:
    """`22:31`, `Dec 1 22:31`, `2025-12-01`: as exact as it matters."""
    local, today = moment.astimezone(), now.astimezone()
    if local.date() == today.date():
        return f"{local:%H:%M}"
    if abs(local - today) < timedelta(days=180):
        return f"{local:%b} {local.day} {local:%H:%M}"
    return f"{local:%Y-%m-%d}"


def describe_step(job: QueuedJob) -> str:
    """`step 3/8`, `45%`, `loading`: how far a running job is."""
    progress = as_mapping(job.progress)
    if progress.get("step") is not None and progress.get("steps"):
        return f"step {progress['step']}/{progress['steps']}"
    fraction = fraction_of(job)
    return f"{fraction:.0%}" if fraction else one_line(str(progress.get("stage") or ""), limit=20)


def describe_job_progress(job: QueuedJob, overview: QueueOverview) -> str:
    """How far a job is, or its place in line, or why it failed."""
    if job.kind in PARENTS:
        done, wrong, total = count_done(overview.counts.get(job.id, {}))
        return f"{done}/{total}" + (f", {wrong} failed" if wrong else "")
    if job.state == "running":
        return describe_step(job)
    if job.state == "queued" and job.id in overview.forecasts:
        return f"#{overview.forecasts[job.id].position}"
    return str((job.error or {}).get("code", "")) if job.state in ("failed", "lost") else ""


def describe_time(job: QueuedJob, overview: QueueOverview) -> str:
    """When a job ended, or is expected to start or end."""
    now = overview.now
    if job.state in ENDED:
        return format_clock(job.ended or job.created, now)
    if job.state == "held":
        return f"after {short_id(job.after, 0)}" if job.after else "after the others"
    end = expected_end(job, overview)
    if job.kind in PARENTS:
        return "end unknown" if end is None else f"until {format_clock(end, now)}"
    if job.state == "queued":
        if job.due > now:
            return format_clock(job.due, now)
        start = expected_start(job, overview)
        return "unknown" if start is None else f"at {format_clock(start, now)}"
    if end is not None and end > now:
        return f"{format_duration((end - now).total_seconds())} left"
    started = job.started or now
    return f"for {format_duration(max(0.0, (now - started).total_seconds()))}"


def job_row(job: QueuedJob, overview: QueueOverview) -> tuple[str, ...]:
    """The cells of `JOB_COLUMNS`."""
    return (
        short_id(job.id, 0),
        job.state,
        describe_job_progress(job, overview),
        one_line(job.backend or job.pool),
        describe_time(job, overview),
        one_line(job.name),
    )


def plain_row(plain: PlainJob, now: datetime) -> tuple[str, ...]:
    """The cells of `JOB_COLUMNS` for a job of a plain command."""
    if plain.job is None:
        return (short_id(plain.id, 0), plain.state, "", "", "", one_line(plain.error))
    ticket = plain.job.ticket
    time = format_clock(plain.job.began, now)
    prompt = one_line(ticket.request.prompt or "")
    return (
        short_id(plain.id, 0),
        plain.state,
        plain.job.state,
        one_line(ticket.backend),
        time,
        prompt,
    )


def as_progress(job: QueuedJob) -> Progress:
    """How far a job is, as its adapter reported it."""
    progress = as_mapping(job.progress) if job.state == "running" else {}
    stage, step, steps = (progress.get(name) for name in ("stage", "step", "steps"))
    return Progress(
        stage=next((one for one in get_args(Stage) if one == stage), "queued"),
        fraction=fraction_of(job) or 0.0,
        node=as_text(progress.get("node")),
        step=step if isinstance(step, int) else None,
        steps=steps if isinstance(steps, int) else None,
    )
