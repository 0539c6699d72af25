"""imagen models: what each backend's engine has on offer."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, get_args

import click

from imagen.backends.base import ModelKind
from imagen.cli.commands import Command
from imagen.cli.options import config_option, json_option
from imagen.cli.tables import columns, wrapped
from imagen.errors import ImagenError
from imagen.text import one_line, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from imagen.backends.base import Model
    from imagen.config import Settings

KINDS = get_args(ModelKind)
_NO_FILES = ("sampler", "scheduler")


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What one backend's engine has, or why it can't tell."""

    backend: str
    models: tuple[Model, ...] = ()
    error: ImagenError | None = None


@click.command(cls=Command)
@click.option("--backend", "-b", "names", multiple=True, metavar="NAME", help="Of this one only.")
@click.option("--kind", type=click.Choice(KINDS), metavar="KIND", help="Of this kind only.")
@config_option
@json_option
def models(
    names: tuple[str, ...], kind: str | None, config_path: Path | None, as_json: bool
) -> int:
    """List the models that the backends offer.

    Checkpoints, LoRAs, control nets, upscalers, samplers and more, as each engine has them now. A
    backend that can't be asked is told on stderr; where none could be, the exit code is 4.
    """
    from imagen.config import load

    settings = load(config_path)
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
    from imagen.backends import available
    from imagen.errors import UnknownBackend

    known = available(settings.backends)
    for name in names:
        if name not in known:
            raise UnknownBackend(name, known)
    yield from (_offer(name, settings) for name in dict.fromkeys(names))


def _offer(name: str, settings: Settings) -> Offer:
    from imagen.spine import open_named

    try:
        with closing(open_named(name, settings)) as engine:
            return Offer(backend=name, models=_ordered(engine.models()))
    except ImagenError as error:
        return Offer(backend=name, error=error)


def _ordered(found: Iterable[Model]) -> tuple[Model, ...]:
    return tuple(sorted(found, key=lambda model: (KINDS.index(model.kind), model.name.lower())))


def _kept(offer: Offer, kind: str | None) -> Offer:
    found = tuple(model for model in offer.models if kind in (None, model.kind))
    return Offer(backend=offer.backend, models=found, error=offer.error)


def _facts(offer: Offer) -> dict[str, Any]:
    error = offer.error
    told = error and {"code": error.code, "message": error.message, "remedy": error.remedy}
    return {
        "name": offer.backend,
        "models": [asdict(model) for model in offer.models],
        "error": told,
    }


def _tell(offers: Sequence[Offer]) -> None:
    for offer in offers:
        if offer.error is not None:
            click.echo(f"{offer.backend}: {one_line(offer.error.message)}", err=True)
            for line in offer.error.remedy.splitlines():
                click.echo(f"  {one_line(line)}", err=True)
    for title, found in _together(offers).items():
        click.echo(f"{title}: {'' if found else 'nothing of this kind'}".rstrip())
        for line in _lines(found):
            click.echo(printable(f"  {line}"))


def _lines(found: Sequence[Model]) -> Iterator[str]:
    """A line for each file; of what is no file, which is many short names, a paragraph."""
    files = [_row(model) for model in found if model.kind not in _NO_FILES]
    yield from columns(files) if files else ()
    for kind in _NO_FILES:
        names = [one_line(model.name) for model in found if model.kind == kind]
        yield from wrapped(f"{kind}s: {', '.join(names)}" if names else "")


def _together(offers: Sequence[Offer]) -> dict[str, tuple[Model, ...]]:
    """The models, by the names of the backends that offer just these: those of one server."""
    by_models: dict[tuple[Model, ...], list[str]] = {}
    for offer in offers:
        if offer.error is None:
            by_models.setdefault(offer.models, []).append(offer.backend)
    return {", ".join(names): found for found, names in by_models.items()}


def _row(model: Model) -> tuple[str, ...]:
    vram = size(model.vram_bytes)
    return (
        model.kind,
        model.name,
        model.family,
        size(model.size_bytes),
        f"{vram} VRAM" if vram else "",
    )


def size(count: int | None) -> str:
    """`6.5 GB`, `335 MB`; nothing where it is not known."""
    if count is None:
        return ""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(1, round(count / 1e6))} MB"
