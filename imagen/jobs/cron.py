"""Schedules: jobs that workers submit at the moments of a cron expression."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field

from imagen.batch.expand import expand_request
from imagen.batch.wildcards import Wildcards
from imagen.config.settings import OutputSettings, Style
from imagen.core.text import did_you_mean, one_line
from imagen.errors import (
    ConfigError,
    ImagenError,
    LibraryError,
    MissingDependency,
    RequestError,
    UnknownBackend,
)
from imagen.jobs.model import JobSpec
from imagen.jobs.schedules import Schedule
from imagen.jobs.submit import (
    JobRequest,
    RefusedRows,
    SubmitOptions,
    check_specs,
    name_of,
    stored_images,
    submit_requests,
)
from imagen.pipeline.record import find_caller

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from imagen.config import Settings
    from imagen.jobs.sql_store import SqlJobStore

_LONGEST_CRON = 200


class ScheduledJobs(BaseModel):
    """What a schedule submits. Requests and not words, so that a new option changes nothing."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    specs: tuple[JobSpec, ...] = Field(description="Checked requests; seeds are drawn each time.")
    priority: int = 0
    name: str = ""


def next_due(cron: str, timezone: str, after: datetime) -> datetime:
    """The first moment of a cron expression after this one, by the clocks of a time zone.

    As in cron: where clocks are put forward, a job of the hour that is left out runs right after
    it; where they are put back, it runs once. Raises RequestError for an expression or a time zone
    that is not valid, MissingDependency.
    """
    try:
        from cronsim import CronSim, CronSimError
    except ModuleNotFoundError as error:
        raise MissingDependency("cronsim", "schedule", purpose="schedules") from error

    try:
        zone = ZoneInfo(timezone)
    except (KeyError, ValueError, OSError) as error:
        from zoneinfo import available_timezones

        raise RequestError(
            f"{one_line(timezone, limit=60)!r} is not a time zone."
            + did_you_mean(timezone, available_timezones()),
            remedy="Use a name such as Europe/Zurich or UTC.",
        ) from error
    remedy = (
        "Write minute, hour, day, month and weekday, such as '0 7 * * *' or '*/15 9-17 * * 1-5'."
    )
    shown = one_line(cron, limit=60)
    try:
        if len(cron) > _LONGEST_CRON or len(cron.split()) != 5:
            raise CronSimError("it needs five fields")
        return next(CronSim(cron, after.astimezone(zone))).astimezone(UTC)
    except CronSimError as error:
        reason = str(error) or "it cannot be read"
        raise RequestError(
            f"{shown!r} is not a valid schedule: {reason[:1].lower()}{reason[1:]}.", remedy=remedy
        ) from error
    except StopIteration as error:
        raise RequestError(f"{shown!r} never comes.", remedy=remedy) from error


def local_timezone(environ: Mapping[str, str] = os.environ) -> str:
    """The IANA name of this machine's time zone; raises ConfigError if it is unknown."""
    candidates = [environ.get("TZ", "").removeprefix(":")]
    try:
        place = os.path.realpath("/etc/localtime")
        candidates.append(place.rpartition("zoneinfo/")[2] if "zoneinfo/" in place else "")
        candidates.append(Path("/etc/timezone").read_text(encoding="utf-8").strip())
    except (OSError, UnicodeDecodeError):
        pass
    for name in candidates:
        try:
            if name and not name.startswith("/"):
                return ZoneInfo(name).key
        except (KeyError, ValueError, OSError):
            continue
    if datetime.now().astimezone().utcoffset() == UTC.utcoffset(None):
        return "UTC"
    raise ConfigError(
        "The name of this machine's time zone is unknown.",
        remedy="Give one, such as --timezone Europe/Zurich, or set usage.timezone.",
    )


def add_schedule(
    cron: str,
    timezone: str,
    rows: Sequence[tuple[JobRequest, Settings, SubmitOptions]],
    store: SqlJobStore,
    *,
    now: datetime | None = None,
) -> Schedule:
    """Check what is to be submitted again and again, and store it; raises RequestError."""
    due = next_due(cron, timezone, now or datetime.now(UTC))
    specs = [
        spec
        for row, settings, options in rows
        for spec in check_specs([row], settings, options, store)
    ]
    first_row, settings, options = rows[0]
    more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
    jobs = ScheduledJobs(
        specs=tuple(specs),
        priority=options.priority,
        name=f"{one_line(first_row.request.template or name_of(first_row.request))}{more}",
    )
    schedule = Schedule(
        cron=cron,
        timezone=timezone,
        spec=jobs.model_dump(mode="json"),
        next=due,
        caller=find_caller(settings.usage),
    )
    store.put_schedule(schedule, [one for spec in specs for one in stored_images(spec.request)])
    return schedule


def submit_due_schedules(
    store: SqlJobStore, settings: Settings, *, now: datetime | None = None
) -> list[str]:
    """Submit what is due, exactly once among all workers; sentences about what could not be.

    Moments that were missed while no worker ran are made up for by one submission. A schedule that
    this worker cannot submit, as its configuration lacks the backend, is left to others.
    """
    now = now or datetime.now(UTC)
    problems: list[str] = []
    for schedule in store.schedules():
        if schedule.is_paused or schedule.next > now:
            continue
        try:
            following = next_due(schedule.cron, schedule.timezone, now)
        except MissingDependency:
            continue
        try:
            try:
                _submit(schedule, store, settings)
            except RefusedRows as refused:
                raise refused.rows[0].error from None
        except (UnknownBackend, LibraryError):
            continue
        except ImagenError as error:
            problems.append(f"The schedule {schedule.id} submitted nothing: {error.message}")
        store.advance_schedule(schedule.id, schedule.next, following)
    return problems


def _submit(schedule: Schedule, store: SqlJobStore, settings: Settings) -> None:
    """Submit the jobs of one moment; the key makes it once, whoever else tries it too."""
    jobs = ScheduledJobs.model_validate(schedule.spec)
    for number, spec in enumerate(jobs.specs):
        styles = {name: Style.model_validate(one) for name, one in spec.styles.items()}
        output = OutputSettings.model_validate(settings.output.model_dump() | spec.output)
        own = settings.model_copy(update={"output": output, "styles": settings.styles | styles})
        request, requests = spec.request, [spec.request]
        if request.template is not None:  # a new seed, and new texts with it
            anew = {"prompt": request.template, "template": None, "seed": None}
            wildcards = Wildcards(settings.wildcard_dirs)
            requests = expand_request(request.with_values(anew), wildcards, own)
        submit_requests(
            [JobRequest(request, spec.backend) for request in requests],
            own,
            SubmitOptions(
                backend=spec.backend,
                priority=jobs.priority,
                strict=spec.strict,
                over_budget=spec.is_over_budget,
                workflow=spec.workflow,
                key=f"schedule/{schedule.id}/{schedule.next.timestamp():.3f}/{number}",
                caller=schedule.caller,
                owner=spec.owner,
            ),
            kind="request" if len(requests) == 1 else "batch",
            name=name_of(spec.request),
            store=store,
        )
