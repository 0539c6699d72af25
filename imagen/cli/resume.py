"""imagen resume: fetch what an interrupted run left at its engine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from imagen.cli.options import (
    config_option,
    json_option,
    output_option,
    quiet_option,
    settings_for,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@click.command()
@click.argument("ticket", required=False)
@output_option
@json_option
@quiet_option
@config_option
def resume(
    ticket: str | None,
    output: Path | None,
    as_json: bool,
    quiet: bool,
    config_path: Path | None,
) -> None:
    """Fetch what an interrupted run left at its engine.

    TICKET is the id that the interrupted run named; without it, the tickets that are left are
    listed. Nothing is generated twice.
    """
    settings = settings_for(config_path, output)
    if ticket is None:
        _list(settings.state_dir, as_json=as_json)
        return
    from imagen.cli.progress import shown
    from imagen.cli.telling import tell
    from imagen.spine import resume as fetch

    with shown("resume", quiet=quiet) as on_progress:
        made = fetch(ticket, settings, on_progress, output=settings.output if output else None)
    tell([made], as_json=as_json)


def _list(state_dir: Path, *, as_json: bool) -> None:
    rows = list(_rows(state_dir))
    if as_json:
        click.echo(json.dumps({"tickets": rows}, indent=2))
        return
    for row in rows:
        click.echo(f"{row['id']}  {_line(row)}")
    if not rows:
        click.echo("Nothing is left to fetch.", err=True)


def _line(row: dict[str, str]) -> str:
    from imagen.text import one_line

    if "error" in row:
        return one_line(row["error"])
    return f"{row['backend']}  {one_line(row['prompt'], limit=60)}"


def _rows(state_dir: Path) -> Iterator[dict[str, str]]:
    """Each ticket's id, backend and prompt; or its id and why it can't be read."""
    from imagen import tickets
    from imagen.errors import OutputError

    for id in tickets.left(state_dir):
        try:
            ticket, _ = tickets.read(id, state_dir)
        except OutputError as error:
            yield {"id": id, "error": error.message}
        else:
            yield {"id": id, "backend": ticket.backend, "prompt": ticket.request.prompt}
