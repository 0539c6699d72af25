"""What the commands that look into the library have in common."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from imagen.cli.command_table import usage_error
from imagen.cli.completers import complete_images_and_files
from imagen.cli.options import settings_from_options
from imagen.cli.parsing import FILE
from imagen.cli.tables import Column, print_table
from imagen.core.text import one_line
from imagen.errors import Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from imagen.library import Library, LibraryImage


_Command = TypeVar("_Command", bound="Callable[..., Any]")


def images_argument(*, required: bool = True) -> Callable[[_Command], _Command]:
    """The argument of commands that take several images, by ID or file, as `words`."""
    return click.argument(
        "words",
        nargs=-1,
        required=required,
        type=FILE,
        shell_complete=complete_images_and_files,
        metavar="ID|FILE...",
    )


@contextmanager
def open_library(config_path: Path | None) -> Iterator[Library]:
    """The library of this configuration, with all that waited to be taken in.

    Raises ConfigError where it is switched off; LibraryError.
    """
    from imagen.pipeline.record import open_library_synced

    with open_library_synced(settings_from_options(config_path)) as library:
        yield library


def find_images(library: Library, words: Iterable[str]) -> list[LibraryImage]:
    """The pictures of these IDs or files, each once; raises RequestError for what is none."""
    from imagen.library import find_image

    found = [find_image(library, word) for word in words]
    return list({picture.key: picture for picture in found}.values())


def reload_images(library: Library, pictures: Iterable[LibraryImage]) -> list[LibraryImage]:
    """The same pictures as they are now."""
    return find_images(library, (f"{p.generation}.{p.number + 1}" for p in pictures))


def print_images(
    pictures: Sequence[LibraryImage],
    cell: Callable[[LibraryImage], str],
    *,
    heading: str,
    as_json: bool,
    **more: Any,
) -> None:
    """Each picture's ID, and what there is to say of it; or all of them, and `more`, as JSON."""
    if as_json:
        click.echo(json.dumps({"images": [image_as_json(p) for p in pictures], **more}, indent=2))
        return
    columns = (Column("id", is_ragged=True, colour="cyan"), Column(heading, may_go_below=True))
    print_table(columns, [(picture.id, one_line(cell(picture), limit=400)) for picture in pictures])


def image_as_json(picture: LibraryImage) -> dict[str, Any]:
    """The documented JSON of one picture of the library."""
    return {
        "id": picture.id,
        "generation": picture.generation,
        "index": picture.number,
        "created": local_time(picture.began).isoformat(timespec="seconds"),
        "backend": picture.backend,
        "model": picture.model,
        "prompt": picture.prompt,
        "path": str(picture.path),
        "sidecar": str(picture.sidecar) if picture.sidecar else None,
        "host": picture.host,
        "media_type": picture.media_type,
        "width": picture.width,
        "height": picture.height,
        "seed": picture.seed,
        "size_bytes": picture.size_bytes,
        "sha256": picture.sha256,
        "rating": picture.rating,
        "tags": list(picture.tags),
        "is_trashed": picture.is_trashed,
        "is_missing": picture.is_missing,
        "cloud": dict(picture.cloud) or None,
    }


def local_time(moment: datetime) -> datetime:
    """By this machine's clock."""
    return moment.astimezone()


def stars(rating: int | None) -> str:
    """`★★★`, or nothing."""
    return "★" * (rating or 0)


def require_terminal(why: str) -> None:
    """Raises UsageError where nobody can be asked."""
    if not sys.stdin.isatty():
        raise usage_error(f"{why}; where nobody can be asked, it needs --yes.")


def confirm(question: str, *, declined: str) -> None:
    """Ask on the terminal; raises Cancelled for anything but a yes."""
    try:
        is_meant = click.confirm(question, err=True)
    except click.Abort:
        click.echo(err=True)  # the line of the question
        is_meant = False
    if not is_meant:
        raise Cancelled(declined)
