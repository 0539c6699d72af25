"""imagen show: show how an image was made, and what the library knows about it."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from imagen.cli.command_table import Command
from imagen.cli.completers import complete_images_and_files
from imagen.cli.library_common import local_time, open_library, stars
from imagen.cli.options import config_option, json_option
from imagen.cli.parsing import FILE
from imagen.cli.terminal import echo
from imagen.config.paths import host_name
from imagen.core.ids import is_id
from imagen.core.image_file import is_url
from imagen.core.json_values import as_mapping
from imagen.core.text import one_line
from imagen.errors import ConfigError, LibraryError, OutputError, RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imagen.library import ImageDetail, LibraryImage
    from imagen.outputs import ImageRecord
    from imagen.views.images import LibraryEntryView


@click.command(cls=Command)
@click.argument("image", type=FILE, shell_complete=complete_images_and_files, metavar="ID|FILE")
@json_option
@config_option
def show(image: str, as_json: bool, config_path: Path | None) -> None:
    """Show how an image was made.

    FILE is a PNG, JPEG, WebP or AVIF image, or its JSON sidecar. The metadata of other programs is
    read too: A1111, ComfyUI, Fooocus, InvokeAI, NovelAI, SwarmUI and more. ID is an image of the
    library, as listed by imagen history; an image file without metadata is looked up there too.
    """
    from imagen.outputs.provenance import read_graph_values

    record, entry = _find_record(image, config_path)
    record = read_graph_values(record)
    if as_json:
        from imagen.views.images import ImageRecordView, ShownImageView

        values = ImageRecordView.values_of(record)
        view = ShownImageView(**values, library=entry.view) if entry else ImageRecordView(**values)
        click.echo(json.dumps(view.as_data(), indent=2))
        return
    for line in (*(entry.lines if entry else ()), *_record_lines(record)):
        echo(line, hanging=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class _LibraryEntry:
    """What the library knows about an image, for people and as JSON."""

    lines: tuple[str, ...]
    view: LibraryEntryView


def _find_record(word: str, config_path: Path | None) -> tuple[ImageRecord, _LibraryEntry | None]:
    """The record of a file, or that of the library, which takes longer and is asked last."""
    from imagen.outputs import read_record

    is_file = os.path.exists(word)
    if not is_file and is_id(word):
        return _find_in_library(word, config_path)
    if not is_file and is_url(word):
        raise RequestError(f"Expected a file, got a URL. Download it first: {word}")
    try:
        return read_record(Path(word)), None
    except OutputError as error:
        if not is_file:
            raise
        try:
            return _find_in_library(word, config_path)
        except LibraryError as library_error:
            remedy = f"The library could not be searched: {library_error.message}"
            raise error.with_remedy(remedy) from library_error
        except (RequestError, ConfigError):
            raise error from None


def _find_in_library(word: str, config_path: Path | None) -> tuple[ImageRecord, _LibraryEntry]:
    from imagen.library import find_image, load_detail, load_record
    from imagen.views.images import LibraryEntryView

    with open_library(config_path) as library:
        image = find_image(library, word)
        details = load_detail(library, image)
        return load_record(library, image), _LibraryEntry(
            lines=tuple(_library_lines(image, details)),
            view=LibraryEntryView.of_detail(image, details),
        )


# --- the record ---


def _record_lines(record: ImageRecord) -> Iterator[str]:
    from imagen.core.capabilities import ParameterOutcome

    if record.backend:
        yield f"backend: {record.backend}"
    if record.workflow:
        yield f"workflow: {record.workflow}"
    used, requested = record.resolved, record.request
    yield from _value_lines(used or requested)
    # what was done to the input images before the engine got them
    before = [name for name in ("feather", "outpaint", "upscale") if name not in used]
    yield from _value_lines({name: requested[name] for name in before if name in requested})
    for image in record.inputs:
        if image.get("name") and image.get("parameter"):
            size = " × ".join(str(image[side]) for side in ("width", "height") if image.get(side))
            what = ", ".join(filter(None, (str(image["parameter"]), size)))
            yield one_line(f"made from {image['name']} ({what})")
    for name, outcome in record.receipt.items():
        values = dict(as_mapping(outcome))
        if values.get("outcome") not in ("mapped", "clamped", "dropped"):
            continue
        asked = requested.get(name, as_mapping(requested.get("extra")).get(name))
        known = {key: values[key] for key in ("outcome", "asked", "used", "why") if key in values}
        with suppress(ValueError):  # the file may be damaged, or not by imagen
            changed = ParameterOutcome.model_validate({"asked": asked} | known)
            yield "receipt: " + changed.sentence(name)
    for values in (record.facts, record.file):
        yield from _value_lines(
            {name: v for name, v in values.items() if name not in used or v != used[name]}
        )
    if record.graph:
        yield f"graph: {len(record.graph)} nodes; --json shows them"


def _value_lines(values: Mapping[str, object]) -> Iterator[str]:
    for name, value in values.items():
        if value not in (None, "", [], {}):
            yield f"{name}: {value if isinstance(value, str) else json.dumps(value)}"


# --- the library ---


def _library_lines(image: LibraryImage, details: ImageDetail) -> Iterator[str]:
    from imagen.cli.output import format_money

    notes = (
        "" if image.host == host_name() else f"on {one_line(image.host)}",
        "in the trash" if image.is_trashed else "",
        "missing" if image.is_missing else "",
    )
    note = ", ".join(filter(None, notes))
    path = one_line(str(image.path), limit=4000)
    yield f"id: {image.id}"
    yield f"path: {path} ({note})" if note else f"path: {path}"
    yield f"generated: {local_time(image.created):%Y-%m-%d %H:%M:%S}"
    if image.rating:
        yield f"rating: {stars(image.rating)}"
    if image.tags:
        yield f"tags: {', '.join(image.tags)}"
    if image.cloud:
        yield one_line(f"cloud: {image.cloud.get('bucket')}/{image.cloud.get('path')}")
    if details.source == "import":
        yield "source: imported"
    if details.caller:
        yield f"caller: {one_line(details.caller)}"
    row = details.ledger_row
    if row is not None and row.is_unknown:
        yield "cost: unknown"
    elif row is not None and row.cost is not None:
        estimate = " (estimated)" if row.actual_cost is None else ""
        yield f"cost: {format_money(row.cost, row.currency)}{estimate}"
    yield from (f"warning: {one_line(warning)}" for warning in details.warnings)
    for one in details.deliveries:  # the full URL of a webhook may be secret
        host = urlsplit(one.delivery.destination).hostname or ""
        target = f"delivery: {one.delivery.kind} {host}".rstrip()
        yield ": ".join(filter(None, (target, one.state, one_line(one.last_error))))
