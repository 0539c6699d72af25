"""imagen jobs every: schedules, whose jobs workers submit again and again."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from imagen.cli.command_table import Command, usage_error
from imagen.cli.library_common import local_time
from imagen.cli.options import config_option, json_option
from imagen.cli.queue_common import open_queue
from imagen.cli.tables import Column, print_table
from imagen.cli.terminal import echo
from imagen.core.ids import short_id
from imagen.core.json_values import as_text
from imagen.core.text import one_line
from imagen.errors import RequestError

if TYPE_CHECKING:
    from pathlib import Path

    from imagen.jobs.schedules import Schedule
    from imagen.jobs.sql_store import SqlJobStore

_COLUMNS = (
    Column("id", is_whole=True, colour="cyan"),
    Column("schedule", is_whole=True),
    Column("zone", drop=1),
    Column("next", is_whole=True),
    Column("last", is_whole=True, drop=2),
    Column("job", may_go_below=True, most_lines=1),
)


@click.command("every", cls=Command)
@click.argument("cron", required=False)
@click.argument("words", nargs=-1, metavar="[-- COMMAND...]")
@click.option(
    "--timezone", metavar="NAME", help="Such as Europe/Zurich; by default this machine's."
)
@click.option("--list", "is_list", is_flag=True, help="List the schedules.")
@click.option("--pause", metavar="ID", help="Submit nothing until --resume.")
@click.option("--resume", metavar="ID", help="Go on with a paused schedule, from its next time.")
@click.option("--delete", metavar="ID", help="Delete a schedule; its jobs stay.")
@json_option
@config_option
def every(
    cron: str | None,
    words: tuple[str, ...],
    timezone: str | None,
    is_list: bool,
    pause: str | None,
    resume: str | None,
    delete: str | None,
    as_json: bool,
    config_path: Path | None,
) -> None:
    """Submit jobs again and again, at the times of a cron expression.

    CRON is minute, hour, day, month and weekday. The command follows --, without --detach:

    \b
        imagen jobs every "0 7 * * *" -- generate "a {red|blue} fox"

    A running worker submits the jobs. Each time, seeds and wildcards are drawn anew. Times that
    were missed while no worker ran are made up for once.
    """
    actions = [is_list, pause, resume, delete, cron]
    if sum(bool(action) for action in actions) != 1:
        raise usage_error(
            "Give a schedule and a command, such as: imagen jobs every '0 7 * * *' -- generate "
            "PROMPT; or one of --list, --pause, --resume and --delete."
        )
    if cron is not None:
        schedule = _add(cron, words, timezone, config_path)
        if as_json:
            click.echo(json.dumps(_as_json(schedule), indent=2))
        else:
            echo(f"Next at {local_time(schedule.next):%Y-%m-%d %H:%M}.", err=True)
            click.echo(schedule.id)
        return
    with open_queue(config_path) as (store, _):
        if is_list:
            _print_schedules(store.schedules(), as_json=as_json)
            return
        schedule = _find(pause or resume or delete or "", store)
        if delete is not None:
            store.delete_schedule(schedule.id)
            done = "Deleted"
        else:
            from imagen.jobs.cron import next_due

            # What was missed in a pause is not made up for.
            following = next_due(schedule.cron, schedule.timezone, datetime.now(UTC))
            next_ = schedule.next if pause is not None else max(schedule.next, following)
            changes = {"is_paused": pause is not None, "next": next_}
            schedule = schedule.model_copy(update=changes)
            store.put_schedule(schedule)
            done = "Paused" if pause is not None else "Resumed"
    if as_json:
        click.echo(json.dumps(_as_json(schedule), indent=2))
    else:
        echo(f"{done} {short_id(schedule.id, 0)}.")


def _add(
    cron: str, words: tuple[str, ...], timezone: str | None, config_path: Path | None
) -> Schedule:
    """Check the command and store the schedule; raises RequestError, UsageError."""
    from imagen.cli.generation import submit_options
    from imagen.cli.request_words import requests_of
    from imagen.jobs.cron import add_schedule, local_timezone, next_due
    from imagen.jobs.submit import JobRequest

    if not words:
        raise usage_error(
            "The command is missing. Put it after --: imagen jobs every "
            f"'{one_line(cron, limit=40)}' -- generate PROMPT"
        )
    with open_queue(config_path) as (store, settings):
        zone = timezone or settings.usage.timezone or local_timezone()
        next_due(cron, zone, datetime.now(UTC))
        rows = []
        for request, run in requests_of(words, config_path):
            options = replace(submit_options(request, run), at=None, after=None)
            rows.append((JobRequest(request, options.backend), run.settings, options))
        return add_schedule(cron, zone, rows, store)


def _find(word: str, store: SqlJobStore) -> Schedule:
    """The schedule whose ID begins like this; raises RequestError."""
    found = [one for one in store.schedules() if one.id.startswith(word.lower())]
    if len(found) != 1:
        what = "matches several schedules" if found else "is not the ID of a schedule"
        raise RequestError(
            f"{one_line(word, limit=60)!r} {what}.",
            remedy="List the schedules with: imagen jobs every --list",
        )
    return found[0]


def _print_schedules(schedules: list[Schedule], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"schedules": list(map(_as_json, schedules))}, indent=2))
        return
    rows = [
        (
            short_id(one.id, 0),
            one.cron,
            one.timezone,
            "paused" if one.is_paused else f"{local_time(one.next):%Y-%m-%d %H:%M}",
            "" if one.last is None else f"{local_time(one.last):%Y-%m-%d %H:%M}",
            one_line(as_text(one.spec.get("name"))),
        )
        for one in schedules
    ]
    print_table(_COLUMNS, rows)
    if not rows:
        echo("There are no schedules.", err=True)


def _as_json(schedule: Schedule) -> dict[str, object]:
    last = schedule.last
    return {
        "id": schedule.id,
        "cron": schedule.cron,
        "timezone": schedule.timezone,
        "name": as_text(schedule.spec.get("name")),
        "next": local_time(schedule.next).isoformat(timespec="seconds"),
        "last": None if last is None else local_time(last).isoformat(timespec="seconds"),
        "is_paused": schedule.is_paused,
        "caller": schedule.caller,
    }
