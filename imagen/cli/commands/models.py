"""imagen models: list the models that each backend offers."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, get_args

import click

from imagen.backends.base import ModelKind
from imagen.cli.command_table import Command
from imagen.cli.completers import complete_backends_and_pools
from imagen.cli.options import config_option, json_option, settings_from_options
from imagen.cli.tables import Column, format_paragraph, print_table
from imagen.cli.terminal import echo, terminal_width
from imagen.core.text import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from imagen.backends.base import Model
    from imagen.views.backends import BackendModelsView

KINDS = get_args(ModelKind)
_WITHOUT_FILES = ("sampler", "scheduler")


@click.command(cls=Command)
@click.option(
    "--backend",
    "-b",
    "names",
    multiple=True,
    shell_complete=complete_backends_and_pools,
    metavar="NAME",
    help="Only this backend, or those of this pool; may be repeated.",
)
@click.option("--kind", type=click.Choice(KINDS), metavar="KIND", help="Only models of this kind.")
@config_option
@json_option
def models(
    names: tuple[str, ...], kind: str | None, config_path: Path | None, as_json: bool
) -> int:
    """List the models that the backends offer.

    This asks each engine for its checkpoints, LoRAs, ControlNets, upscale models, samplers and
    more. --model takes the name of a checkpoint or diffusion model, or a part of it that is unique.
    Backends that do not answer are reported on stderr; if none answers, the exit code is 4.
    """
    from imagen.engines.state import read_models
    from imagen.pipeline.pools import members_of
    from imagen.views.backends import ModelsView

    settings = settings_from_options(config_path)
    named = names or tuple(settings.backends) or ("mock",)
    chosen = dict.fromkeys(member for name in named for member in members_of(name, settings))
    each = [read_models(name, settings).only(kind) for name in chosen]
    if as_json:
        click.echo(json.dumps(ModelsView(backends=tuple(each)).as_data(), indent=2))
    else:
        _print_models(each)
    return 4 if all(one.error for one in each) else 0


# --- tables ---

_COLUMNS = (
    Column("kind"),
    Column("name", is_whole=True),
    Column("family", drop=3),
    Column("size", is_right=True, drop=4),
    Column("VRAM", is_right=True, drop=2),
    Column("default", may_go_below=True),
)


def _print_models(each: Sequence[BackendModelsView]) -> None:
    for one in each:
        if one.error is not None:
            echo(f"{one.name}: {one_line(one.error.message)}", err=True)
            for line in one.error.remedy.splitlines():
                echo(f"  {one_line(line)}", err=True)
    gpus = {one.name: one.gpus for one in each}
    for names, models, default_of in _group_by_server(each):
        echo(f"{', '.join(names)}: {'' if models else 'no such models'}".rstrip())
        for gpu in gpus[names[0]]:
            echo(f"  GPU: {gpu.sentence}")
        rows: list[tuple[str, ...]] = []
        for model in models:
            if model.kind in _WITHOUT_FILES:
                continue
            vram, backends = format_size(model.vram_bytes), default_of.get(model, [])
            default = f"default of {', '.join(backends)}" if len(names) > 1 else "default"
            rows.append(
                (
                    model.kind,
                    one_line(model.name),
                    model.family,
                    format_size(model.size_bytes),
                    f"{vram} VRAM" if vram else "",
                    default if backends else "",
                )
            )
        if terminal_width(sys.stdout) is None:
            print_table(_COLUMNS, rows, indent=2)
        else:  # long names leave no room for a column of kinds
            for kind, group in groupby(rows, key=itemgetter(0)):
                columns = (Column(kind.replace("_", " "), is_whole=True), *_COLUMNS[2:])
                print_table(columns, [row[1:] for row in group], indent=2)
        for kind in _WITHOUT_FILES:
            choices = [one_line(model.name) for model in models if model.kind == kind]
            if choices:
                for line in format_paragraph(f"{kind}s: {', '.join(choices)}", indent=2):
                    click.echo(line)


def _group_by_server(
    each: Sequence[BackendModelsView],
) -> list[tuple[list[str], tuple[Model, ...], dict[Model, list[str]]]]:
    """Backends that offer the same models, those models, and for each whose default it is."""
    groups: dict[tuple[Model, ...], tuple[list[str], dict[Model, list[str]]]] = {}
    for one in each:
        if one.error is not None:
            continue
        models = tuple(replace(model, is_default=False) for model in one.models)
        names, default_of = groups.setdefault(models, ([], {}))
        names.append(one.name)
        for model, plain in zip(one.models, models, strict=True):
            if model.is_default:
                default_of.setdefault(plain, []).append(one.name)
    return [(names, models, default_of) for models, (names, default_of) in groups.items()]


def format_size(count: int | None) -> str:
    """`6.5 GB`, `335 MB`; empty if it is not known."""
    if count is None:
        return ""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(1, round(count / 1e6))} MB"
