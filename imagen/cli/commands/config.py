"""imagen config: create, check and show the configuration."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imagen.cli.command_table import Group, usage_error
from imagen.cli.options import config_option, json_option
from imagen.cli.parsing import PATH
from imagen.cli.terminal import echo, terminal_width, wrap
from imagen.core.text import printable
from imagen.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.config import Addition
    from imagen.core.validation import Problem

    Blocks = Mapping[str, Mapping[str, Any]]

_LONGEST_WORD = 12
"""PyYAML breaks a line after the word that exceeds its width."""
_SET_UP = "To set up your engines: imagen config init --detect --write"


@click.group(cls=Group)
def config() -> None:
    """Create, check and show the configuration."""


# --- config init ---

_START_AN_ENGINE = (
    "Start ComfyUI or sd-server first. If it has another address, add --url; ComfyUI Desktop "
    "usually has http://127.0.0.1:8000.\n"
    "For a service such as Replicate, write a sample and edit it: imagen config init --write"
)
_SHOW_FILES = (
    "`imagen workflows show NAME` lists the files that a workflow needs, and where to get them."
)


@config.command()
@click.option("--detect", is_flag=True, help="Look for running engines and ask what they can do.")
@click.option("--url", default="", help="Address of a server that is not at its default address.")
@click.option(
    "--write",
    "target",
    is_flag=False,
    flag_value="",
    metavar="[PATH]",
    help="Write the file instead of printing it. The detected backends are added to an existing "
    "file; everything else in it is kept. Without PATH: the configuration in use, or your own "
    "(~/.config/imagen.yaml).",
)
@click.option("--full", is_flag=True, help="Include every key with its default.")
def init(detect: bool, url: str, target: str | None, full: bool) -> None:
    """Print a configuration to start from, or write it.

    imagen config init --detect --write sets up the engines of this machine.
    """
    from imagen.config import example, place_to_write, sample, with_backends, write_new
    from imagen.engines.detection import add_detected

    text = example() if full else sample()
    blocks: Blocks = _detect_blocks(url) if detect or url else {}
    if target is None:
        click.echo(with_backends(text, blocks) if blocks else text, nl=False)
        return
    named: Path | None = click.get_current_context().find_root().params.get("config_path")
    path = Path(target).expanduser() if target else named or place_to_write()
    if blocks:
        _report_addition(*add_detected(path, blocks, template=text))
    else:
        write_new(path, text)
        echo(f"Wrote a sample to {path}. Edit it to add your own backends.", err=True)
    if path.absolute() != (named or place_to_write()).absolute():
        echo(f"To use it, add this to a command: --config {path}", err=True)


def _detect_blocks(url: str) -> Blocks:
    """What runs at this address, or at the default addresses for ""; reported on stderr.

    Raises ConfigError for an invalid address, and Unavailable if no engine can generate images.
    """
    from imagen.engines.detection import detect_engines, list_places, merge_blocks

    detected = detect_engines(url, option="--url")
    blocks = merge_blocks(detected)
    silent = [(one.kind, one.error) for one in detected if one.error]
    left_out = [(lack.what, lack.why) for one in detected for lack in one.detection.left_out]
    has_answered = bool(url and (blocks or left_out))  # one address has one engine
    if blocks:
        echo("Found:", err=True)
    for (kind, place), names in list_places(blocks).items():
        echo(f"  {kind}, {place}: {', '.join(names)}", err=True, hanging=4)
    missing = [*([] if has_answered else silent), *left_out]
    if missing:
        echo("Not added:", err=True)
    for what, why in missing:
        echo(f"  {what}: {why}", err=True, hanging=4)
    if not blocks:
        is_silent = "comfyui" in {kind for kind, _ in silent}
        raise Unavailable(
            "No engine that can generate images was found, so there is nothing to configure.",
            remedy=_START_AN_ENGINE if is_silent else _SHOW_FILES,
        )
    return blocks


def _report_addition(addition: Addition, same: Mapping[str, str], default: str) -> None:
    """Say on stderr what was written, and which backend is the default.

    `same` has the backends that the configuration has under other names.
    """
    path = addition.path
    if addition.is_new_file:
        echo(f"Wrote {path}. The default backend is {default}.", err=True)
        return
    present = [*addition.present, *(f"{name} as {other}" for name, other in same.items())]
    for names, what in (
        (addition.added, f"Added to {path}"),
        (present, f"Already in {path}"),
        (addition.differing, f"Kept as they are in {path}, with other values"),
    ):
        if names:
            echo(f"{what}: {', '.join(names)}", err=True, hanging=4)
    if not addition.added:
        echo(f"{path} is unchanged.", err=True)
    if default == "mock":
        (better, *_) = (*addition.added, *addition.present, *addition.differing, *same.values())
        echo(
            "The default backend is still the mock. To change it, write "
            f"`default_backend: {better}` in {path}.",
            err=True,
        )


# --- config validate ---


@config.command()
@click.argument("file", type=PATH, required=False)
@config_option
@json_option
def validate(file: Path | None, config_path: Path | None, as_json: bool) -> None:
    """Check the configuration, or FILE, and report every problem.

    No engine is contacted. The exit code is 2 if there is a problem.
    """
    from imagen.doctor import check_config
    from imagen.views.doctor import ConfigReportView

    if file is not None and config_path is not None:
        raise usage_error("FILE and --config both name a configuration. Use one of them.")
    report = check_config(file or config_path)
    source = str(report.source) if report.source else None
    if as_json:
        click.echo(json.dumps(ConfigReportView.of(report).as_data(), indent=2))
    else:
        for warning in report.warnings:
            echo("\n".join(_problem_lines("warning", warning)), err=True)
        lines = [line for p in report.problems for line in _problem_lines("error", p)]
        count = len(report.problems)
        verdict = f"{count} problem{'s' if count > 1 else ''}" if count else "ok"
        echo("\n".join([*lines, f"{source or 'Default settings'}: {verdict}"]))
    if report.problems:
        click.get_current_context().exit(2)


def _problem_lines(kind: str, problem: Problem) -> list[str]:
    line = f"line {problem.line}: " if problem.line else ""
    remedy = [f"    {text}" for text in problem.remedy.splitlines()]
    return [f"{kind}: {line}{problem.sentence}", *remedy]


# --- config path ---


@config.command()
@config_option
def path(config_path: Path | None) -> None:
    """Print the path of the configuration in use.

    Nothing is printed if there is no configuration.
    """
    from imagen.config import find, usual

    source = find(config_path)
    if source is not None:
        click.echo(source.absolute())
        return
    places = ", ".join(str(place) for place in usual(os.environ, Path()))
    echo(f"No configuration was found, so the defaults apply. Searched: {places}", err=True)
    echo(_SET_UP, err=True)


# --- config show ---


@config.command()
@config_option
@json_option
def show(config_path: Path | None, as_json: bool) -> None:
    """Print the settings in use, including defaults; secrets are masked."""
    from imagen.config import load_settings
    from imagen.engines.configuration import describe_settings

    settings = load_settings(config_path)
    values = describe_settings(settings, os.environ)
    if as_json:
        click.echo(json.dumps(values, indent=2))
        return
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
    text = "".join(f"# {line}\n" for line in comments.splitlines()) + body
    click.echo(printable(text)[:-1])
