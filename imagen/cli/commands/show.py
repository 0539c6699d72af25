"""imagen show: how a picture was made."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from imagen.cli.command_table import Command
from imagen.cli.completers import complete_images_and_files
from imagen.cli.library_common import image_as_json, local_time, stars
from imagen.cli.options import config_option, json_option
from imagen.cli.output import money
from imagen.cli.parsing import FILE
from imagen.cli.terminal import echo
from imagen.core.ids import is_id
from imagen.core.image_file import is_url
from imagen.core.text import one_line
from imagen.errors import ConfigError, LibraryError, OutputError, RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagen.library import ImageDetail, LedgerRow, Library, LibraryImage
    from imagen.library.outbox import PendingDelivery
    from imagen.outputs import ImageRecord


@click.command(cls=Command)
@click.argument("picture", type=FILE, shell_complete=complete_images_and_files, metavar="ID|FILE")
@json_option
@config_option
def show(picture: str, as_json: bool, config_path: Path | None) -> None:
    """Tell how a picture was made.

    FILE is a PNG, JPEG, WebP or AVIF image, or the JSON file beside one. The settings that other
    programs write are read too: A1111, ComfyUI, Fooocus, InvokeAI, NovelAI, SwarmUI and more. ID
    is one of the library, as imagen history lists them; it also works for images whose file
    holds no settings.
    """
    record, more = _found(picture, config_path)
    record = _with_graph_settings(record)
    if as_json:
        click.echo(json.dumps(asdict(record) | ({"library": more.data} if more else {}), indent=2))
        return
    for line in (*(more.lines if more else ()), *_lines(record)):
        echo(line, hanging=2)


def _found(word: str, config_path: Path | None) -> tuple[ImageRecord, Kept | None]:
    """What the file tells, else what the library knows; which costs time, and is asked last."""
    from imagen.outputs.read import read_record

    is_file = os.path.exists(word)
    if not is_file and is_id(word):
        return _kept(word, config_path)
    if not is_file and is_url(word):
        raise RequestError(f"imagen show takes a file, and {word} is a URL: download it first.")
    try:
        return read_record(Path(word)), None
    except OutputError as error:
        if not is_file:
            raise
        with _or_else(error):
            return _kept(word, config_path)


def _with_graph_settings(record: ImageRecord) -> ImageRecord:
    """The record, with the settings that its ComfyUI graph holds where nothing else says them."""
    if record.source != "prompt":
        return record
    from imagen.outputs.provenance import find_provenance

    said = find_provenance(record)
    models: dict[str, Any] = {"model": said.models[0]} if said.models else {}
    if len(said.models) > 1:
        models["models"] = list(said.models)
    return replace(record, resolved=dict(said.values), facts={**models, **said.unread})


@contextmanager
def _or_else(error: OutputError) -> Iterator[None]:
    """Where the library knows nothing either, it is the file that is told of."""
    try:
        yield
    except LibraryError as library:
        raise error.with_remedy(f"The library can't be asked: {library.message}") from library
    except (RequestError, ConfigError):
        raise error from None


def _kept(word: str, config_path: Path | None) -> tuple[ImageRecord, Kept]:
    from imagen.cli.library_common import open_library
    from imagen.library import find_image, load_record

    with open_library(config_path) as library:
        picture = find_image(library, word)
        return load_record(library, picture), kept(library, picture)


def _lines(record: ImageRecord) -> Iterator[str]:
    if record.backend:
        yield f"backend: {record.backend}"
    if record.workflow:
        yield f"workflow: {record.workflow}"
    yield from _section(record.resolved or record.request)
    yield from _section(_settled_before(record))
    yield from (line for known in record.inputs for line in _input(known))
    fates = record.receipt.items()
    yield from (line for name, fate in fates for line in _fate(name, fate, record.request))
    known = record.resolved
    for values in (record.facts, record.file):
        yield from _section({k: v for k, v in values.items() if k not in known or v != known[k]})
    if record.graph:
        yield f"graph: {len(record.graph)} nodes; see them with --json"


def _settled_before(record: ImageRecord) -> dict[str, Any]:
    """What was asked of the pictures, and was done before the engine got them."""
    used, asked = record.resolved, record.request
    return {name: asked[name] for name in _OF_PICTURES if name in asked and name not in used}


_OF_PICTURES = ("feather", "outpaint", "upscale")


def _input(known: dict[str, Any]) -> Iterator[str]:
    """`made from fox.png (image, 64 × 48)`, as far as that is told."""
    if known.get("name") and known.get("parameter"):
        size = " × ".join(str(known[side]) for side in ("width", "height") if known.get(side))
        what = ", ".join(part for part in (str(known["parameter"]), size) if part)
        yield one_line(f"made from {known['name']} ({what})")


def _section(values: dict[str, Any]) -> Iterator[str]:
    for name, value in values.items():
        if value not in (None, "", [], {}):
            yield f"{name}: {value if isinstance(value, str) else json.dumps(value)}"


def _fate(name: str, fate: Any, asked: dict[str, Any]) -> Iterator[str]:
    """A line for a parameter that was not simply applied."""
    from imagen.core.capabilities import ParameterOutcome

    if isinstance(fate, dict) and fate.get("outcome") in ("mapped", "clamped", "dropped"):
        extra = asked.get("extra")
        beside = extra.get(name) if isinstance(extra, dict) else None
        known = {"asked": asked.get(name, beside)} | {k: fate[k] for k in _FATE if k in fate}
        with suppress(ValueError):  # of a stranger's file, which may hold anything
            yield "receipt: " + ParameterOutcome.model_validate(known).sentence(name)


_FATE = ("outcome", "asked", "used", "why")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """For a person, and for a program."""

    lines: tuple[str, ...]
    data: dict[str, Any]


def kept(library: Library, picture: LibraryImage) -> Kept:
    """All of it; raises LibraryError."""
    from imagen.library import load_detail

    more = load_detail(library, picture)
    lines = (*_of_picture(picture), *_of_generation(more))
    return Kept(lines=lines, data=image_as_json(picture) | _data(more))


def _of_picture(picture: LibraryImage) -> Iterator[str]:
    yield f"id: {picture.id}"
    yield f"path: {one_line(str(picture.path), limit=4000)}" + _whereabouts(picture)
    yield f"made: {local_time(picture.began):%Y-%m-%d %H:%M:%S}"
    if picture.rating:
        yield f"rating: {stars(picture.rating)}"
    if picture.tags:
        yield f"tags: {', '.join(picture.tags)}"
    if picture.cloud:
        yield one_line(f"cloud: {picture.cloud.get('bucket')}/{picture.cloud.get('path')}")


def _whereabouts(picture: LibraryImage) -> str:
    from platform import node

    there = "" if picture.host == node() else f"on the machine {one_line(picture.host)}"
    said = ["in the trash" if picture.is_trashed else "", "missing" if picture.is_missing else ""]
    words = ", ".join(part for part in (there, *said) if part)
    return f" ({words})" if words else ""


def _of_generation(more: ImageDetail) -> Iterator[str]:
    if more.source == "import":
        yield "source: taken in from elsewhere"
    if more.caller:
        yield f"caller: {one_line(more.caller)}"
    if more.use is not None and (cost := _cost(more.use)):
        yield f"cost: {cost}"
    yield from (f"warning: {one_line(warning)}" for warning in more.warnings)
    yield from map(_delivery, more.deliveries)


def _cost(use: LedgerRow) -> str:
    if use.is_unknown:
        return "unknown"
    expected = " (as expected beforehand)" if use.actual_cost is None else ""
    return "" if use.cost is None else money(use.cost, use.currency) + expected


def _delivery(waiting: PendingDelivery) -> str:
    """`told: webhook example.com: stuck: …`; a webhook's whole address may be a secret."""
    host = urlsplit(waiting.delivery.destination).hostname or ""
    why = one_line(waiting.last_error)
    return ": ".join(part for part in (_to(waiting, host), waiting.state, why) if part)


def _to(waiting: PendingDelivery, host: str) -> str:
    return f"told: {waiting.delivery.kind} {host}".rstrip()


def _data(more: ImageDetail) -> dict[str, Any]:
    use = more.use
    return {
        "source": more.source,
        "kind": more.kind,
        "caller": more.caller,
        "ended": local_time(more.ended).isoformat(timespec="seconds"),
        "warnings": list(more.warnings),
        "cost": use.cost if use else None,
        "estimated_cost": use.estimated_cost if use else None,
        "currency": use.currency if use and use.cost is not None else None,
        "deliveries": [_delivery_data(waiting) for waiting in more.deliveries],
    }


def _delivery_data(waiting: PendingDelivery) -> dict[str, Any]:
    return {
        "kind": waiting.delivery.kind,
        "host": urlsplit(waiting.delivery.destination).hostname,
        "state": waiting.state,
        "attempts": waiting.attempts,
        "due": local_time(waiting.due).isoformat(timespec="seconds"),
        "last_error": waiting.last_error,
    }
