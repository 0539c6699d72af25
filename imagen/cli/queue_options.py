"""Options that submit to the queue instead of running at once, and what is printed then."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from imagen.cli.command_table import usage_error
from imagen.cli.completers import complete_pools, complete_queued_jobs
from imagen.cli.parsing import TIME_UNITS
from imagen.cli.terminal import echo

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagen.config import Settings
    from imagen.jobs.submit import Submission, SubmitOptions

_MOST_WARNINGS = 10
HIGHEST_PRIORITY = 1000
_UNITS = {"s": "seconds", **TIME_UNITS, "m": "minutes"}
_DURATION = re.compile(r"(\d{1,6}) ?(s|min|m|h|d|w)\b ?")
_TIME = re.compile(r"(?:(today|tomorrow)\b ?(?:at )?)?(?:(\d{1,2}):(\d\d)(?::(\d\d))?)?")


def parse_when(text: str, now: datetime) -> datetime:
    """`22:30`, `tomorrow 7:00`, `in 2h`, `in 1h 30min` or `2026-12-01 22:30` as a moment.

    A time of day is the next such time, by this machine's clock. Raises ValueError for anything
    else, and OverflowError for a time beyond the calendar.
    """
    word = " ".join(text.lower().split())
    if word.startswith("in "):
        return now + _duration_of(word[3:])
    match = _TIME.fullmatch(word)
    if match is None or not word:
        return datetime.fromisoformat(text.strip()).astimezone()
    day, hour, minute, second = match.groups()
    # Without a zone, as its offset may be another one tomorrow.
    moment = datetime.combine(now.astimezone().date(), datetime.min.time())
    moment = moment.replace(hour=int(hour or 0), minute=int(minute or 0), second=int(second or 0))
    is_over = day is None and moment.astimezone() <= now
    return (moment + timedelta(days=int(day == "tomorrow" or is_over))).astimezone()


def _duration_of(text: str) -> timedelta:
    """`2h`, `1h 30min` or `30d`; raises ValueError for anything else."""
    parts = _DURATION.findall(text)
    if not parts or _DURATION.sub("", text):
        raise ValueError(text)
    return sum((timedelta(**{_UNITS[unit]: int(number)}) for number, unit in parts), timedelta())


def parse_duration(
    ctx: click.Context, param: click.Parameter, text: str | None
) -> timedelta | None:
    """A click callback; raises BadParameter."""
    try:
        return None if text is None else _duration_of(" ".join(text.lower().split()))
    except (ValueError, OverflowError) as error:
        message = f"{text!r} is not a duration. Write it as 30d, 12h or '1h 30min'."
        raise click.BadParameter(message, ctx, param) from error


def parse_start(ctx: click.Context, param: click.Parameter, text: str | None) -> datetime | None:
    """A click callback for a moment in the future; raises BadParameter."""
    if text is None:
        return None
    now = datetime.now().astimezone()
    try:
        moment = parse_when(text, now)
    except (ValueError, OverflowError, OSError) as error:
        raise click.BadParameter(
            f"{text!r} is not a valid time. Write it as 22:30, 'tomorrow 7:00', 'in 2h' or "
            "'2026-12-01 22:30'.",
            ctx,
            param,
        ) from error
    if moment < now:
        raise click.BadParameter(
            f"{text!r} is in the past: it is {now:%Y-%m-%d %H:%M} now.", ctx, param
        )
    return moment


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueOptions:
    """Whether and how to submit to the queue."""

    is_detached: bool = False
    priority: int = 0
    at: datetime | None = None
    after: str | None = None
    pool: str | None = None

    def choose(self, backend: str | None, settings: Settings) -> str | None:
        """The pool, if one is named, else the backend; raises UnknownBackend, UsageError."""
        if self.pool is None:
            return backend
        if backend is not None:
            raise usage_error("--pool and --backend exclude each other. Use one of them.")
        if self.pool not in settings.pools:
            from imagen.errors import ConfigError, UnknownBackend

            if not settings.pools:
                raise ConfigError(
                    "The configuration has no pools.",
                    remedy="Add pools to imagen.yaml, such as pools: {sd15: [gpu1, gpu2]}.",
                )
            raise UnknownBackend(self.pool, settings.pools, what="pool")
        return self.pool

    def as_submit_options(
        self, backend: str, *, strict: bool, over_budget: bool, workflow: str = ""
    ) -> SubmitOptions:
        from imagen.jobs.submit import SubmitOptions

        return SubmitOptions(
            backend=backend,
            priority=self.priority,
            at=self.at,
            after=self.after,
            strict=strict,
            over_budget=over_budget,
            workflow=workflow,
        )


priority_option = click.option(
    "--priority",
    type=click.IntRange(-HIGHEST_PRIORITY, HIGHEST_PRIORITY),
    metavar="N",
    help="Jobs with a higher number go first; the default is 0.",
)
_QUEUE_OPTIONS = (
    click.option(
        "--detach",
        "is_detached",
        is_flag=True,
        help="Submit a job to the queue, print its ID and return at once.",
    ),
    priority_option,
    click.option(
        "--at",
        callback=parse_start,
        metavar="TIME",
        help="Not before 22:30, 'tomorrow 7:00', 'in 2h' or '2026-12-01 22:30'.",
    ),
    click.option(
        "--after",
        shell_complete=complete_queued_jobs,
        metavar="JOB",
        help="Once this job is done.",
    ),
    click.option(
        "--pool",
        shell_complete=complete_pools,
        metavar="NAME",
        help="Any backend of this pool, instead of --backend.",
    ),
)


def queue_options(command: Callable[..., Any], *, has_pool: bool = True) -> Callable[..., Any]:
    """Add the options that submit to the queue, passed on as one `queue`."""

    @wraps(command)
    def with_queue(
        *,
        is_detached: bool,
        priority: int | None,
        at: datetime | None,
        after: str | None,
        pool: str | None = None,
        **values: Any,
    ) -> Any:
        given = {"--priority": priority, "--at": at, "--after": after}
        needless = [name for name, value in given.items() if value is not None]
        if needless and not is_detached:
            raise usage_error(f"{needless[0]} needs --detach, which submits to the queue.")
        queue = QueueOptions(
            is_detached=is_detached, priority=priority or 0, at=at, after=after, pool=pool
        )
        return command(queue=queue, **values)

    for option in reversed(_QUEUE_OPTIONS if has_pool else _QUEUE_OPTIONS[:-1]):
        with_queue = option(with_queue)
    return with_queue


def print_submission(submission: Submission, *, as_json: bool, quiet: bool = False) -> None:
    """Print the ID of what was submitted; warnings go to stderr."""
    if as_json:
        from imagen.views.jobs import SubmissionView

        click.echo(json.dumps(SubmissionView.of(submission).as_data(), indent=2))
        return
    for sentence in submission.warnings[:_MOST_WARNINGS]:
        echo(sentence, err=True)
    if len(submission.warnings) > _MOST_WARNINGS:
        echo(f"There are {len(submission.warnings) - _MOST_WARNINGS} more warnings.", err=True)
    if submission.jobs > 1 and not quiet:
        echo(f"Submitted {submission.jobs} jobs.", err=True)
    click.echo(submission.id)
