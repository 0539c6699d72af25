"""imagen resume: bring to an end what an interrupted run left behind."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from imagen.cli.command_table import Command, usage_error
from imagen.cli.completers import complete_jobs
from imagen.cli.generation import nothing_on_stdout, planned, show_made, write_image
from imagen.cli.options import (
    config_option,
    json_option,
    no_cloud_option,
    output_option,
    over_budget_option,
    preview_option,
    quiet_option,
    refuse_stdout,
    settings_for,
    without_budgets,
    without_cloud,
)
from imagen.cli.tables import Column, print_table
from imagen.cli.terminal import echo
from imagen.core.text import one_line, printable
from imagen.delivery.background import sync_afterwards
from imagen.errors import Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from imagen.cli.parsing import Target
    from imagen.config import Settings
    from imagen.jobs.recover import RecoveredJob


@click.command(cls=Command)
@click.argument("ticket", required=False, shell_complete=complete_jobs)
@click.option("--list", "only_list", is_flag=True, help="List what is left, and do nothing.")
@click.option(
    "--again", is_flag=True, help="Make TICKET anew where its engine forgot it: it may have run."
)
@click.option("--yes", is_flag=True, help="Make again, unasked, what an engine of your own forgot.")
@click.option("--forget", is_flag=True, help="Be rid of TICKET, whatever became of it.")
@output_option
@preview_option
@over_budget_option
@no_cloud_option
@json_option
@quiet_option
@config_option
def resume(
    ticket: str | None,
    only_list: bool,
    again: bool,
    yes: bool,
    forget: bool,
    output: Target | None,
    preview: bool | None,
    over_budget: bool,
    no_cloud: bool,
    as_json: bool,
    quiet: bool,
    config_path: Path | None,
) -> int:
    """Bring to an end what an interrupted run left behind.

    TICKET is the id that the interrupted run named, its beginning, or last; without it, everything
    that is left is brought to its end. What an engine has is fetched, what was never sent is made,
    and nothing is made twice. The path of each picture is printed on a line of its own.
    """
    is_stdout = output is not None and output.is_stdout
    if is_stdout and ticket is None:
        raise usage_error("--output - writes one image: name its TICKET.")
    if is_stdout:
        refuse_stdout(as_json=as_json)
    settings = settings_for(config_path, output)
    settings = without_cloud(settings) if no_cloud else settings
    settings = without_budgets(settings) if over_budget else settings
    if ticket is None and (again or forget):
        raise usage_error("--again and --forget are for one TICKET. List them with --list.")
    if only_list:
        _list(settings, as_json=as_json)
        return 0
    ticket = None if ticket is None else _meant(ticket, settings)
    if forget and ticket is not None:
        _forget(ticket, settings, as_json=as_json)
        return 0
    shows = planned(settings.output, preview, as_json=as_json, quiet=quiet)
    with sync_afterwards(settings):
        asks = _ask_to_make_again if not as_json else lambda _: False
        each = _done(
            ticket,
            settings,
            is_output=output is not None and not is_stdout,
            again=again,
            is_wanted=(lambda _: True) if yes else asks,
            quiet=quiet,
        )
        with nothing_on_stdout() if is_stdout else nullcontext():
            done = _all(each, as_json=as_json)
        _tell(done, as_json=as_json, is_stdout=is_stdout)
        show_made(
            shows, [(one.generation, one.job.request) for one in done if one.generation and one.job]
        )
    if is_stdout:
        write_image([saved for one in done if one.generation for saved in one.generation.saved])
    return max((one.error.exit_code for one in done if one.error is not None), default=0)


def _meant(ticket: str, settings: Settings) -> str:
    from imagen.jobs import file_store

    return file_store.resolve_id(ticket, settings.state_dir)


def _all(each: Iterator[RecoveredJob], *, as_json: bool) -> list[RecoveredJob]:
    """All of them; what was done before a Ctrl-C is told before that."""
    done: list[RecoveredJob] = []
    try:
        for one in each:
            done.append(one)
    except Cancelled:
        if done and not as_json:  # of JSON there is one value: the error
            _tell(done, as_json=False)
        raise
    return done


def _done(
    ticket: str | None,
    settings: Settings,
    *,
    is_output: bool,
    again: bool,
    is_wanted: Callable[[RecoveredJob], bool],
    quiet: bool,
) -> Iterator[RecoveredJob]:
    """Each job brought to its end; what an engine forgot is made again where that `is_wanted`."""
    from imagen.cli.progress import shown
    from imagen.jobs.recover import recover, recover_all

    output = settings.output if is_output else None
    watch = partial(shown, quiet=quiet)

    def finish_one(id: str, *, again: bool) -> RecoveredJob:
        with watch(id[:8]) as on_progress:
            return recover(id, settings, on_progress, output=output, resubmit=again)

    each: Iterable[RecoveredJob] = (
        recover_all(settings, watch, output=output)
        if ticket is None
        else [finish_one(ticket, again=again)]
    )
    for one in each:
        done = finish_one(one.id, again=True) if one.is_forgotten and is_wanted(one) else one
        if ticket is not None and done.error is not None:
            raise done.error
        yield done


def _ask_to_make_again(one: RecoveredJob) -> bool:
    """Asks on the terminal; elsewhere the error names the command."""
    if not sys.stdin.isatty() or one.job is None:
        return False
    ticket = one.job.ticket
    prompt = (
        f" Prompt: {one_line(ticket.request.prompt, limit=40)!r}." if ticket.request.prompt else ""
    )
    question = f"{ticket.backend} no longer knows job {one.id[:8]}, which may have run.{prompt}"
    try:
        return click.confirm(printable(f"{question} Make it again?"), err=True)
    except click.Abort:
        click.echo(err=True)  # the line of the question
        raise Cancelled from None


def _tell(done: Sequence[RecoveredJob], *, as_json: bool, is_stdout: bool = False) -> None:
    from imagen.cli.output import as_data, tell

    made = [one.generation for one in done if one.generation is not None]
    if as_json:
        whole = as_data(made) if made else {"images": [], "generations": []}
        click.echo(json.dumps(whole | {"jobs": [_row(one) for one in done]}, indent=2))
        return
    if not done:
        echo("Nothing is left to fetch.", err=True)
    for one in done:
        echo(_line(one), err=True)
    tell(made, as_json=False, is_stdout=is_stdout)


_WORDS = {
    "fetched": "fetched from its engine",
    "generated": "generated now, since it had never been submitted",
    "regenerated": "generated again, since it had never reached its engine",
    "resubmitted": "submitted again, since its engine no longer knew it",
    "saved": "was on disk already and is in the library now",
    "busy": "left alone: another process is at work on it",
}


def _line(one: RecoveredJob) -> str:
    which = f"{one.id[:8]}, {one.job.ticket.backend}" if one.job else one.id[:8]
    if one.error is None:
        return f"{which}: {_WORDS[one.outcome]}."
    return f"{which}: {one_line(one.error.message, limit=400)}\n{one.error.remedy}"


def _row(one: RecoveredJob) -> dict[str, Any]:
    about: dict[str, Any] = {"id": one.id, "outcome": one.outcome}
    if one.job is not None:
        about |= {"backend": one.job.ticket.backend, "prompt": one.job.ticket.request.prompt}
    if one.error is not None:
        error = {"code": one.error.code, "message": one.error.message, "remedy": one.error.remedy}
        return about | {"error": error}
    return about


def _forget(ticket: str, settings: Settings, *, as_json: bool) -> None:
    from imagen.jobs import file_store

    with file_store.try_lock(ticket, settings.state_dir) as is_mine:
        if not is_mine:
            raise file_store.job_busy(ticket)
        file_store.forget(ticket, settings.state_dir)
    if as_json:
        click.echo(json.dumps({"forgotten": ticket}))
    else:
        echo(f"Forgot {ticket}.", err=True)


def _list(settings: Settings, *, as_json: bool) -> None:
    rows = list(_left(settings.state_dir))
    if as_json:
        click.echo(json.dumps({"jobs": rows}, indent=2))
        return
    print_table(_COLUMNS, [_left_row(row) for row in rows])
    if not rows:
        echo("Nothing is left to fetch.", err=True)


_COLUMNS = (
    Column("id", is_whole=True, is_ragged=True, colour="cyan"),
    Column("state", is_ragged=True),
    Column("backend", is_ragged=True, may_go_below=True),
    Column("prompt", may_go_below=True),
)


def _left_row(row: dict[str, Any]) -> tuple[str, ...]:
    if "error" in row:
        return row["id"], one_line(row["error"]), "", ""
    return row["id"], f"{row['state']:<9}", row["backend"], one_line(row["prompt"], limit=60)


def _left(state_dir: Path) -> Iterator[dict[str, Any]]:
    """Of each ticket what it is for and how far it came; or its id and why it can't be read."""
    from imagen.errors import OutputError
    from imagen.jobs import file_store

    for id in file_store.list_ids(state_dir):
        try:
            job = file_store.read(id, state_dir)
        except OutputError as error:
            yield {"id": id, "error": error.message}
            continue
        yield {
            "id": id,
            "backend": job.ticket.backend,
            "prompt": job.ticket.request.prompt,
            "state": "busy" if file_store.is_worked_on(id, state_dir) else job.state,
            "began": job.began.isoformat(timespec="seconds"),
        }
