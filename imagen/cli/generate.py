"""imagen generate: make pictures of a prompt."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from imagen.capabilities import unhonoured
from imagen.cli.options import (
    config_option,
    is_picture,
    json_option,
    output_option,
    quiet_option,
    request_options,
    settings_for,
    strict_option,
)
from imagen.text import printable

if TYPE_CHECKING:
    from pathlib import Path

    from imagen.config import Settings
    from imagen.request import Request
    from imagen.spine import Made
    from imagen.ticket import Ticket


@click.command()
@request_options
@click.option("--backend", "-b", metavar="NAME", help="A configured backend, or mock.")
@output_option
@click.option("--no-sidecar", is_flag=True, help="Write no JSON file beside the picture.")
@strict_option
@click.option("--dry-run", is_flag=True, help="Show what would be sent, and send nothing.")
@json_option
@quiet_option
@config_option
def generate(
    request: Request,
    backend: str | None,
    output: Path | None,
    no_sidecar: bool,
    strict: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    config_path: Path | None,
) -> None:
    """Make pictures of a prompt.

    PROMPT is the text itself, - for standard input, or @FILE for a file's text. The path of each
    picture is printed on a line of its own.
    """
    settings = settings_for(config_path, output, sidecar=False if no_sidecar else None)
    name = backend or settings.backend
    if dry_run:
        _show_plan(_planned(request, settings, name, strict=strict), as_json=as_json)
        return
    made = _made(request, settings, name, strict=strict, quiet=quiet)
    tell(made, as_json=as_json)
    _warn_of_another_kind(made, output)


def _planned(request: Request, settings: Settings, name: str, *, strict: bool) -> list[Ticket]:
    from contextlib import closing

    from imagen.spine import open_named, prepare

    with closing(open_named(name, settings)) as engine:
        return prepare(engine, request, settings, strict=strict)


def _made(
    request: Request, settings: Settings, name: str, *, strict: bool, quiet: bool
) -> list[Made]:
    from imagen.cli.progress import shown
    from imagen.spine import generate as make

    with shown(name, quiet=quiet) as on_progress:
        return make(request, settings, backend=name, strict=strict, on_progress=on_progress)


def tell(made: list[Made], *, as_json: bool) -> None:
    """The paths on stdout, a line each, and what was not honoured on stderr; or all as JSON."""
    if as_json:
        click.echo(json.dumps(as_data(made), indent=2))
        return
    for sentence in _remarks(made):
        click.echo(printable(sentence), err=True)
    for run in made:
        for saved in run.saved:
            click.echo(str(saved.path))


def _warn_of_another_kind(made: list[Made], output: Path | None) -> None:
    """A picture keeps the kind the engine gave it, whatever ending was asked for."""
    if output is None or not (asked := output.suffix.lower()):
        return
    kinds = {saved.path.suffix for run in made for saved in run.saved}
    if is_picture(output) and kinds and asked.replace("jpeg", "jpg") not in kinds:
        gave = ", ".join(sorted(kinds))
        click.echo(f"{output.name} was asked for, but the engine gave {gave}.", err=True)


def _remarks(made: list[Made]) -> list[str]:
    found = [s for run in made for s in (*unhonoured(run.ticket.receipt), *run.result.warnings)]
    about_files = [saved.warning for run in made for saved in run.saved if saved.warning]
    return list(dict.fromkeys([*found, *about_files]))


def as_data(made: list[Made]) -> dict[str, Any]:
    """The documented JSON of `generate` and `resume`."""
    from dataclasses import asdict

    return {
        "images": [_picture(saved) for run in made for saved in run.saved],
        "backend": made[0].ticket.backend,
        "runs": [
            {
                "id": run.ticket.id,
                "request": run.ticket.request.model_dump(mode="json", exclude_defaults=True),
                "receipt": _receipt(run.ticket),
                "facts": asdict(run.result.facts),
                "warnings": list(run.result.warnings),
            }
            for run in made
        ],
    }


def _picture(saved: Any) -> dict[str, Any]:
    return {
        "path": str(saved.path),
        "sidecar": str(saved.sidecar) if saved.sidecar else None,
        "seed": saved.seed,
        "width": saved.width,
        "height": saved.height,
        "media_type": saved.media_type,
        "index": saved.index,
    }


def _receipt(ticket: Ticket) -> dict[str, Any]:
    return {name: fate.model_dump(mode="json") for name, fate in ticket.receipt.items()}


def _show_plan(tickets: list[Ticket], *, as_json: bool) -> None:
    if as_json:
        plan = [
            {
                "backend": ticket.backend,
                "request": ticket.request.model_dump(mode="json", exclude_defaults=True),
                "receipt": _receipt(ticket),
                "payload": ticket.payload,
            }
            for ticket in tickets
        ]
        click.echo(json.dumps({"plan": plan}, indent=2))
        return
    for ticket in tickets:
        click.echo(f"Would be sent to {ticket.backend}:")
        for name, value in ticket.request.asked().items():
            click.echo(printable(f"  {name}: {value}"))
        for sentence in unhonoured(ticket.receipt):
            click.echo(printable(f"  not honoured: {sentence}"))
