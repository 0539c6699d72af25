"""imagen backends: which there are, and what they lack."""

from __future__ import annotations

import json
import os
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

import click

from imagen.cli.abilities import show
from imagen.cli.command_table import Group
from imagen.cli.options import config_option, json_option, settings_for, usage
from imagen.cli.tables import Column, print_table
from imagen.cli.terminal import echo
from imagen.core.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from imagen.backends.base import Gpu, MissingCapability
    from imagen.config import Settings

_LONGEST = 400
_ALWAYS = "mock"
"""The backend that needs no configuration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One backend, and whether it could work."""

    name: str
    kind: str
    title: str = ""
    default: bool = False
    ok: bool | None = None
    """None where nothing is wrong so far and its engine was not asked."""
    summary: str = "configured"
    remedies: tuple[str, ...] = ()
    facts: dict[str, str] = field(default_factory=dict)
    gpus: tuple[Gpu, ...] = ()
    lacking: tuple[MissingCapability, ...] = ()
    """What it can't do for now, and why."""
    tasks: tuple[str, ...] = ()
    """Known where its engine was asked and could work."""


@click.group(cls=Group, invoke_without_command=True)
@click.option("--check", is_flag=True, help="Ask each engine whether it could work now.")
@config_option
@json_option
@click.pass_context
def backends(context: click.Context, check: bool, config_path: Path | None, as_json: bool) -> None:
    """List the backends, and what they lack.

    With --check the exit code is 4 where one could not work now.
    """
    if context.invoked_subcommand is not None:
        if check or config_path or as_json:
            raise usage(f"Write the flags after {context.invoked_subcommand}.")
        return
    settings = settings_for(config_path)
    found = list(rows(settings, check=check))
    kinds = registered()
    if as_json:
        body = {"backends": [asdict(row) for row in found], "kinds": kinds}
        click.echo(json.dumps(body, indent=2))
    else:
        _print_table(found)
        echo("\nKinds of backend, for `type:` in the configuration:")
        summaries = [(kind, one_line(summary)) for kind, summary in kinds.items()]
        print_table([Column("kind"), Column("summary")], summaries, indent=2)
    if check and not all(row.ok for row in found):
        context.exit(4)


backends.add_command(show)


def rows(
    settings: Settings, *, check: bool, environ: Mapping[str, str] = os.environ
) -> Iterator[Row]:
    """A row for each backend, one after another; an error of one is its row."""
    names = list(dict.fromkeys([*settings.backends, _ALWAYS]))
    for name in names:
        row = _configured(name, settings, environ)
        yield _asked(row, settings) if check and row.ok is None else row


def registered() -> dict[str, str]:
    """Every kind of backend that is installed, with a line about it."""
    from imagen.backends import kinds

    return {kind: _summary(kind) for kind in kinds()}


def _configured(name: str, settings: Settings, environ: Mapping[str, str]) -> Row:
    """What can be told of a backend without its engine."""
    from imagen.doctor import block_problems, unset

    block = settings.backends.get(name, {})
    row = Row(
        name=name,
        kind=str(block.get("type", name)),
        title=str(block.get("title") or ""),
        default=name == settings.default_backend,
    )
    found = [*block_problems(name, settings), *unset(name, settings, environ)]
    if not found:
        return row
    remedies = tuple(dict.fromkeys(text for p in found for text in p.remedy.splitlines()))
    faults = (replace(p, path=p.path[2:]).sentence for p in found)
    return replace(row, ok=False, summary="; ".join(faults), remedies=remedies)


def _asked(row: Row, settings: Settings) -> Row:
    """The row with what the engine says."""
    from imagen.backends import open_backend
    from imagen.errors import ImagenError

    try:
        with closing(open_backend(row.name, settings.backends, settings.shared())) as engine:
            health = engine.check()
            tasks = engine.capabilities().tasks if health.ok else ()
    except ImagenError as error:
        return replace(row, ok=False, summary=error.message, remedies=(error.remedy,))
    return replace(
        row,
        ok=health.ok,
        summary=health.summary,
        remedies=health.remedies,
        facts=dict(health.facts),
        gpus=health.gpus,
        lacking=health.lacking,
        tasks=tasks,
    )


def _summary(kind: str) -> str:
    from imagen.backends import load_adapter
    from imagen.errors import ImagenError

    try:
        return load_adapter(kind).summary
    except ImagenError as error:
        return error.message


def _print_table(found: list[Row]) -> None:
    """Each backend in a row, with what more there is to know in rows of the last column."""
    rows: list[tuple[str, ...]] = []
    for row in found:
        name = f"{row.name} (default)" if row.default else row.name
        facts = (f"{name}: {value}" for name, value in row.facts.items())
        gpus = (f"GPU: {gpu.sentence}" for gpu in row.gpus)
        details = (row.title, *row.remedies, *facts, *gpus, _not_now(row))
        rows.append((name, row.kind, one_line(row.summary, limit=_LONGEST)))
        rows += [("", "", one_line(text, limit=_LONGEST)) for text in details if text]
    print_table([Column("name"), Column("kind"), Column("state", may_go_below=True)], rows)


def _not_now(row: Row) -> str:
    if not row.lacking:
        return ""
    things = ", ".join(lack.what for lack in row.lacking)
    return f"not now: {things} (why: imagen backends show {row.name} --check)"
