"""imagen config: write, check and show the configuration."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from pydantic import ValidationError

from imagen.backends import Detection, MissingCapability, configure, kinds, load_adapter
from imagen.cli.command_table import Group, usage_error
from imagen.cli.options import config_option, json_option
from imagen.cli.parsing import PATH
from imagen.cli.terminal import echo, terminal_width, wrap
from imagen.config import VARIABLES, Settings, masked, variables
from imagen.core.text import bare_address, is_variable_name, printable
from imagen.core.validation import sentences
from imagen.doctor import find_backend_problems
from imagen.errors import BackendError, ConfigError, ImagenError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imagen.backends import Adapter
    from imagen.config import Addition
    from imagen.core.validation import Problem
    from imagen.doctor import ConfigReport

    Blocks = Mapping[str, Mapping[str, Any]]


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
    from imagen.doctor import check_config

    if file is not None and config_path is not None:
        raise usage_error("FILE and --config both name a configuration. Keep one of them.")
    found = check_config(file or config_path)
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
    from imagen.config import load_settings

    settings = load_settings(config_path)
    values = resolved(settings, os.environ)
    click.echo(json.dumps(values, indent=2) if as_json else _shown(values, settings))


def _as_text(found: ConfigReport) -> str:
    where = str(found.source or "The defaults")
    lines = [line for p in found.problems for line in _told("error", p)]
    count = len(found.problems)
    verdict = f"{count} problem{'s' if count > 1 else ''}" if count else "ok"
    return "\n".join([*lines, f"{where}: {verdict}"])


def _told(kind: str, problem: Problem) -> list[str]:
    line = f"line {problem.line}: " if problem.line else ""
    remedy = [f"    {text}" for text in problem.remedy.splitlines()]
    return [f"{kind}: {line}{problem.sentence}", *remedy]


def _as_json(found: ConfigReport) -> dict[str, Any]:
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


_START = (
    "Start ComfyUI or sd-server first. If it has another address, add --url: "
    "http://127.0.0.1:8000 is usual for ComfyUI's desktop application.\n"
    "For a service such as Replicate, write a sample and edit it: imagen config init --write"
)
_SHOW = "`imagen workflows show NAME` lists the files that a workflow needs, and where to get them."


def detect_engines(url: str) -> Detection:
    """What runs at this address, or for "" at the engines' usual places; also said on stderr.

    Raises ConfigError for an invalid address, and Unavailable where nothing could make an image.
    """
    blocks: dict[str, Mapping[str, Any]] = {}
    left_out: list[MissingCapability] = []
    silent: list[MissingCapability] = []
    for kind, adapter in _adapters():
        try:
            found = adapter.detect(url) if adapter.detect else Detection({})
        except ValidationError as error:
            raise ConfigError(f"--url: {sentences(error, model=adapter.config)}.") from error
        except BackendError as error:
            silent.append(MissingCapability(what=kind, why=error.message))
            continue
        blocks |= {name: block for name, block in found.blocks.items() if name not in blocks}
        left_out += found.left_out
    is_answered = bool(url and (blocks or left_out))  # there is one engine at an address
    detection = Detection(blocks, (*(() if is_answered else silent), *left_out))
    _say_found(detection)
    if not blocks:
        raise Unavailable(
            "No engine was found that can make an image yet, so there is nothing to configure.",
            remedy=_START if "comfyui" in {lack.what for lack in silent} else _SHOW,
        )
    return detection


def find_same(blocks: Blocks, existing: Blocks) -> dict[str, str]:
    """The blocks that a configuration has under another name, each with that name."""
    known = {name: _without_texts(block) for name, block in existing.items()}
    return {
        name: other
        for name, block in blocks.items()
        for other in known
        if name not in known and known[other] == _without_texts(block)
    }


def _without_texts(block: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in block.items() if key not in ("title", "hint")}


def say_added(addition: Addition, same: Mapping[str, str], default: str) -> None:
    """On stderr, what was written into the configuration, and which backend is the default.

    `same` has the backends that it has under other names.
    """
    path = addition.path
    present = [*addition.present, *(f"{name} as {other}" for name, other in same.items())]
    if addition.is_new_file:
        echo(f"Wrote {path}. The default backend is {default}.", err=True)
        return
    for names, what in (
        (addition.added, f"Added to {path}"),
        (present, f"Already in {path}"),
        (addition.differing, f"Kept as {path} has them, with other values"),
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


def _adapters() -> Iterator[tuple[str, Adapter[Any]]]:
    """The adapters that can look for their engine, ComfyUI's first."""
    for kind in sorted(kinds(), key=lambda kind: (kind != "comfyui", kind)):
        adapter = load_adapter(kind)
        if adapter.detect is not None:
            yield kind, adapter


def _say_found(detection: Detection) -> None:
    engines: dict[str, list[str]] = {}
    for name, block in detection.blocks.items():
        place = f"{block['type']}, {block.get('url') or block.get('model')}"
        engines.setdefault(place, []).append(name)
    if engines:
        echo("Found:", err=True)
    for place, names in engines.items():
        echo(f"  {place}: {', '.join(names)}", err=True, hanging=4)
    if detection.left_out:
        echo("Left out:", err=True)
    for lack in detection.left_out:
        echo(f"  {lack.what}: {lack.why}", err=True, hanging=4)


def resolved(settings: Settings, environ: Mapping[str, str]) -> dict[str, Any]:
    """Every key with its value; also the file, the variables named in it, and what is wrong."""
    blocks = {name: _block(name, settings) for name in settings.backends}
    values = settings.model_dump(mode="json") | {"backends": blocks}
    faults = [
        p.sentence for name in settings.backends for p in find_backend_problems(name, settings)
    ]
    for webhook in values["webhooks"]:
        bare = bare_address(webhook["url"])
        webhook["url"] = bare if webhook["url"].rstrip("/") == bare else f"{bare}/…"
    shown: dict[str, Any] = masked(values)
    return shown | {
        "file": str(settings.source) if settings.source else None,
        "environment": _environment(blocks, environ),
        "problems": faults,
    }


def _block(name: str, settings: Settings) -> dict[str, Any]:
    """The backend's block with its defaults; as it stands in the file, where it is faulty."""
    raw = settings.backends[name]
    try:
        _, config = configure(name, settings.backends, settings.shared())
    except ImagenError:
        return raw
    return {"type": raw.get("type", name), **config.model_dump(mode="json")}


def _environment(blocks: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, str]:
    """Of each variable that counts, whether it is set; never what it holds."""
    names = [name for _, name in variables(blocks) if is_variable_name(name)]
    named = dict.fromkeys(names, "unset")
    own = {variable: "set" for variable in VARIABLES if environ.get(variable)}
    return own | {name: "set" if environ.get(name) else state for name, state in named.items()}
