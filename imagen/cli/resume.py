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
    from imagen.cli.generate import tell
    from imagen.cli.progress import shown
    from imagen.spine import resume as fetch

    with shown("resume", quiet=quiet) as on_progress:
        made = fetch(ticket, settings, on_progress)
    tell([made], as_json=as_json, quiet=quiet)


def _list(state_dir: Path, *, as_json: bool) -> None:
    from imagen import tickets
    from imagen.text import one_line

    kept = [tickets.read(id, state_dir)[0] for id in tickets.left(state_dir)]
    if as_json:
        rows = [{"id": t.id, "backend": t.backend, "prompt": t.request.prompt} for t in kept]
        click.echo(json.dumps({"tickets": rows}, indent=2))
        return
    for ticket in kept:
        prompt = one_line(ticket.request.prompt, limit=60)
        click.echo(f"{ticket.id}  {ticket.backend}  {prompt}")
    if not kept:
        click.echo("Nothing is left to fetch.", err=True)
