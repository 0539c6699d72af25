"""imagen config: write, check and show the configuration."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imagen.cli.command_table import Group
from imagen.cli.options import config_option, json_option, usage
from imagen.cli.paths import PATH
from imagen.cli.terminal import echo, terminal_width, wrap
from imagen.core.text import printable

if TYPE_CHECKING:
    from imagen.config import Settings
    from imagen.core.validation import Problem
    from imagen.doctor import Report

_LONGEST_WORD = 12
"""PyYAML breaks a line behind the word that goes beyond its width."""


@click.group(cls=Group)
def config() -> None:
    """Write, check and show the configuration."""


@config.command()
@click.option("--detect", is_flag=True, help="Look for engines, and ask what they can run.")
@click.option("--url", default="", help="Where a server is, if not at its usual address.")
@click.option(
    "--write",
    "target",
    is_flag=False,
    flag_value="",
    metavar="[PATH]",
    help="Write the file instead of printing it. An existing file gets the detected backends, and "
    "all else in it stays. Without PATH: the configuration in use, else your own "
    "(~/.config/imagen.yaml).",
)
@click.option("--full", is_flag=True, help="Every key with its default, instead of the usual ones.")
def init(detect: bool, url: str, target: str | None, full: bool) -> None:
    """Print a configuration to begin with, or write it.

    imagen config init --detect --write sets up the engines of this machine.
    """
    from imagen.cli.detection import detect_engines, find_same, say_added
    from imagen.config import (
        add_backends,
        check,
        example,
        place_to_write,
        sample,
        with_backends,
        write_new,
    )

    text = example() if full else sample()
    blocks = detect_engines(url).blocks if detect or url else {}
    if target is None:
        click.echo(with_backends(text, blocks) if blocks else text, nl=False)
        return
    named: Path | None = click.get_current_context().find_root().params.get("config_path")
    path = Path(target).expanduser() if target else named or place_to_write()
    if blocks:
        same = find_same(blocks, check(path).settings.backends) if path.exists() else {}
        new = {name: block for name, block in blocks.items() if name not in same}
        addition = add_backends(path, new, template=text)
        say_added(addition, same, check(path).settings.default_backend)
    else:
        write_new(path, text)
        echo(f"Wrote {path}, a sample. Put your own backends into it.", err=True)
    if path.absolute() != (named or place_to_write()).absolute():
        echo(f"To use it, add this to a command: --config {path}", err=True)


@config.command()
@click.argument("file", type=PATH, required=False)
@config_option
@json_option
def validate(file: Path | None, config_path: Path | None, as_json: bool) -> None:
    """Tell all that is wrong with the configuration, or with FILE; no engine is asked.

    The exit code is 2 where something is wrong.
    """
    from imagen.doctor import report

    if file is not None and config_path is not None:
        raise usage("FILE and --config both name a configuration. Keep one of them.")
    found = report(file or config_path)
    if as_json:
        click.echo(json.dumps(_as_json(found), indent=2))
    else:
        for warning in found.warnings:
            echo("\n".join(_told("warning", warning)), err=True)
        echo(_as_text(found))
    if found.problems:
        click.get_current_context().exit(2)


@config.command()
@config_option
def path(config_path: Path | None) -> None:
    """Print where the configuration in force lies; nothing where there is none."""
    from imagen.config import find, usual

    source = find(config_path)
    if source is not None:
        click.echo(source.absolute())
        return
    places = ", ".join(str(place) for place in usual(os.environ, Path()))
    echo(f"There is no configuration; the defaults apply. Looked for: {places}", err=True)
    echo("To set up your engines: imagen config init --detect --write", err=True)


@config.command()
@config_option
@json_option
def show(config_path: Path | None, as_json: bool) -> None:
    """Print the settings in force, defaults included; secrets are masked."""
    from imagen.cli.resolved import resolved
    from imagen.config import load_settings

    settings = load_settings(config_path)
    values = resolved(settings, os.environ)
    click.echo(json.dumps(values, indent=2) if as_json else _shown(values, settings))


def _as_text(found: Report) -> str:
    where = str(found.source or "The defaults")
    lines = [line for p in found.problems for line in _told("error", p)]
    count = len(found.problems)
    verdict = f"{count} problem{'s' if count > 1 else ''}" if count else "ok"
    return "\n".join([*lines, f"{where}: {verdict}"])


def _told(kind: str, problem: Problem) -> list[str]:
    line = f"line {problem.line}: " if problem.line else ""
    remedy = [f"    {text}" for text in problem.remedy.splitlines()]
    return [f"{kind}: {line}{problem.sentence}", *remedy]


def _as_json(found: Report) -> dict[str, Any]:
    return {
        "ok": not found.problems,
        "file": str(found.source) if found.source else None,
        "problems": [_problem(problem) for problem in found.problems],
        "warnings": [_problem(problem) for problem in found.warnings],
    }


def _problem(problem: Problem) -> dict[str, Any]:
    from imagen.core.validation import dotted

    return {
        "key": dotted(problem.path),
        "line": problem.line,
        "what": problem.what,
        "remedy": problem.remedy,
    }


def _shown(values: dict[str, Any], settings: Settings) -> str:
    import yaml

    notes = [f"file: {settings.source or 'none, the defaults apply'}"]
    notes += [f"{name} is {state}" for name, state in values["environment"].items()]
    notes += values["problems"]
    keys = {key: values[key] for key in type(settings).model_fields}
    columns = terminal_width(sys.stdout)
    comments, width = "\n".join(notes), 96
    if columns is not None:
        comments, width = "\n".join(wrap(comments, columns - 2)), columns - _LONGEST_WORD
    body = yaml.safe_dump(keys, sort_keys=False, allow_unicode=True, width=width)
    return printable("".join(f"# {line}\n" for line in comments.splitlines()) + body)[:-1]
