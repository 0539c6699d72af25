"""imagen models: what each backend's engine has on offer."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, get_args

import click

from imagen.backends.base import ModelKind
from imagen.cli.command_table import Command
from imagen.cli.completers import complete_backends
from imagen.cli.options import config_option, json_option, settings_for
from imagen.cli.tables import Column, paragraph, print_table
from imagen.cli.terminal import echo, terminal_width
from imagen.core.text import one_line
from imagen.errors import ImagenError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from imagen.backends.base import Gpu, Model
    from imagen.config import Settings

KINDS = get_args(ModelKind)
_NO_FILES = ("sampler", "scheduler")


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What one backend's engine has, or why it can't tell."""

    backend: str
    models: tuple[Model, ...] = ()
    gpus: tuple[Gpu, ...] = ()
    error: ImagenError | None = None


@click.command(cls=Command)
@click.option(
    "--backend",
    "-b",
    "names",
    multiple=True,
    shell_complete=complete_backends,
    metavar="NAME",
    help="Of this one only.",
)
@click.option("--kind", type=click.Choice(KINDS), metavar="KIND", help="Of this kind only.")
@config_option
@json_option
def models(
    names: tuple[str, ...], kind: str | None, config_path: Path | None, as_json: bool
) -> int:
    """List the models that the backends offer.

    --model takes the name of a checkpoint or a diffusion model, or a part of it that only one has.
    Checkpoints, LoRAs, control nets, upscalers, samplers and more, as each engine has them now. A
    backend that can't be asked is named on stderr; where none could be, the exit code is 4.
    """
    settings = settings_for(config_path)
    offers = [_kept(offer, kind) for offer in offered(names or _all(settings), settings)]
    if as_json:
        click.echo(json.dumps({"backends": [_facts(offer) for offer in offers]}, indent=2))
    else:
        _tell(offers)
    return 4 if all(offer.error for offer in offers) else 0


def _all(settings: Settings) -> tuple[str, ...]:
    """Those of the configuration; the mock only where there is no other."""
    return tuple(settings.backends) or ("mock",)


def offered(names: Iterable[str], settings: Settings) -> Iterator[Offer]:
    """What each of these backends has, one after another; raises UnknownBackend at once."""
    from imagen.backends import require_known

    for name in names:
        require_known(name, settings.backends)
    yield from (_offer(name, settings) for name in dict.fromkeys(names))


def _offer(name: str, settings: Settings) -> Offer:
    from imagen.backends import load_adapter
    from imagen.pipeline.generate import open_named

    try:
        with closing(open_named(name, settings)) as engine:
            models = _ordered(engine.models())
            is_service = load_adapter(settings.backends.get(name, {}).get("type", name)).is_service
            gpus = () if is_service else engine.check().gpus
            return Offer(backend=name, models=models, gpus=gpus)
    except ImagenError as error:
        return Offer(backend=name, error=error)


def _ordered(found: Iterable[Model]) -> tuple[Model, ...]:
    return tuple(sorted(found, key=lambda model: (KINDS.index(model.kind), model.name.lower())))


def _kept(offer: Offer, kind: str | None) -> Offer:
    """All of it, or the models of one kind alone."""
    if kind is None:
        return offer
    return replace(offer, models=tuple(m for m in offer.models if m.kind == kind), gpus=())


def _facts(offer: Offer) -> dict[str, Any]:
    error = offer.error
    told = error and {"code": error.code, "message": error.message, "remedy": error.remedy}
    return {
        "name": offer.backend,
        "models": [asdict(model) for model in offer.models],
        "gpus": [asdict(gpu) for gpu in offer.gpus],
        "error": told,
    }


def _tell(offers: Sequence[Offer]) -> None:
    for offer in offers:
        if offer.error is not None:
            echo(f"{offer.backend}: {one_line(offer.error.message)}", err=True)
            for line in offer.error.remedy.splitlines():
                echo(f"  {one_line(line)}", err=True)
    gpus = {offer.backend: offer.gpus for offer in offers}
    for names, found, default_of in _together(offers):
        title = ", ".join(names)
        echo(f"{title}: {'' if found else 'nothing of this kind'}".rstrip())
        for gpu in gpus[names[0]]:
            echo(f"  GPU: {gpu.sentence}")
        is_shared = len(names) > 1
        files = [model for model in found if model.kind not in _NO_FILES]
        rows = [_row(model, default_of.get(model, []), is_shared=is_shared) for model in files]
        if terminal_width(sys.stdout) is None:
            print_table(_COLUMNS, rows, indent=2)
        else:
            _print_by_kind(rows)
        for kind in _NO_FILES:
            short = [one_line(model.name) for model in found if model.kind == kind]
            for line in paragraph(f"{kind}s: {', '.join(short)}", indent=2) if short else ():
                click.echo(line)


def _print_by_kind(rows: Sequence[tuple[str, ...]]) -> None:
    """A table for each kind, headed by it: long names leave no room for a column of kinds."""
    for kind, some in groupby(rows, key=itemgetter(0)):
        columns = (Column(kind.replace("_", " "), is_whole=True), *_COLUMNS[2:])
        print_table(columns, [row[1:] for row in some], indent=2)


_COLUMNS = (
    Column("kind"),
    Column("name", is_whole=True),
    Column("family", drop=3),
    Column("size", is_right=True, drop=4),
    Column("VRAM", is_right=True, drop=2),
    Column("default", may_go_below=True),
)


def _together(
    offers: Sequence[Offer],
) -> list[tuple[list[str], tuple[Model, ...], dict[Model, list[str]]]]:
    """The models, by the names of the backends that offer just these: those of one server.

    And for each model the backends whose default it is.
    """
    found: dict[tuple[Model, ...], tuple[list[str], dict[Model, list[str]]]] = {}
    for offer in offers:
        if offer.error is not None:
            continue
        models = tuple(replace(model, is_default=False) for model in offer.models)
        names, default_of = found.setdefault(models, ([], {}))
        names.append(offer.backend)
        for model, plain in zip(offer.models, models, strict=True):
            if model.is_default:
                default_of.setdefault(plain, []).append(offer.backend)
    return [(names, models, default_of) for models, (names, default_of) in found.items()]


def _row(model: Model, default_of: Sequence[str], *, is_shared: bool) -> tuple[str, ...]:
    default = f"default of {', '.join(default_of)}" if is_shared else "default"
    return (
        model.kind,
        one_line(model.name),
        model.family,
        size(model.size_bytes),
        f"{vram} VRAM" if (vram := size(model.vram_bytes)) else "",
        default if default_of else "",
    )


def size(count: int | None) -> str:
    """`6.5 GB`, `335 MB`; nothing where it is not known."""
    if count is None:
        return ""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(1, round(count / 1e6))} MB"
