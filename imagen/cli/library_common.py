"""What the commands of the library share: open it, find images, print them, ask first."""

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
    """The argument `words` of commands that take several images, by ID or file."""
    return click.argument(
        "words",
        nargs=-1,
        required=required,
        type=FILE,
        shell_complete=complete_images_and_files,
        metavar="ID|FILE..." if required else "[ID|FILE]...",
    )


@contextmanager
def open_library(config_path: Path | None) -> Iterator[Library]:
    """The library of this configuration, with every finished job recorded.

    Raises ConfigError if it is disabled; LibraryError.
    """
    from imagen.pipeline.record import open_library_synced

    with open_library_synced(settings_from_options(config_path)) as library:
        yield library


def find_images(library: Library, words: Iterable[str]) -> list[LibraryImage]:
    """The images with these IDs or files, each once. Raises RequestError for an unknown one."""
    from imagen.library import find_image

    found = [find_image(library, word) for word in words]
    return list({image.key: image for image in found}.values())


def reload_images(library: Library, images: Iterable[LibraryImage]) -> list[LibraryImage]:
    """The same images as they are now."""
    return find_images(library, (image.uid for image in images))


def print_images(
    images: Sequence[LibraryImage],
    cell: Callable[[LibraryImage], str],
    *,
    heading: str,
    as_json: bool,
    left: Sequence[Path] | None = None,
) -> None:
    """A table of each image's ID and `cell`; or all of them as JSON, with the files `left`."""
    if as_json:
        from imagen.views.images import DeletedImagesView, ImagesView, image_views

        views = image_views(images)
        body = (
            ImagesView(images=views)
            if left is None
            else DeletedImagesView(images=views, left=tuple(map(str, left)))
        )
        click.echo(json.dumps(body.as_data(), indent=2))
        return
    columns = (Column("id", is_ragged=True, colour="cyan"), Column(heading, may_go_below=True))
    print_table(columns, [(image.id, one_line(cell(image), limit=400)) for image in images])


def local_time(moment: datetime) -> datetime:
    """In this machine's time zone."""
    return moment.astimezone()


def stars(rating: int | None) -> str:
    """`★★★`, or nothing."""
    return "★" * (rating or 0)


def count_noun(number: int, noun: str = "image") -> str:
    """`1 image`, `3 images`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def require_terminal(action: str) -> None:
    """Raise UsageError if the command cannot ask before an action that cannot be undone."""
    if not sys.stdin.isatty():
        raise usage_error(f"{action}. Without a terminal to ask on, add --yes.")


def confirm(question: str, *, declined: str) -> None:
    """Ask on the terminal. Raises Cancelled for any answer but yes."""
    try:
        is_confirmed = click.confirm(question, err=True)
    except click.Abort:
        click.echo(err=True)  # ends the line of the question
        is_confirmed = False
    if not is_confirmed:
        raise Cancelled(declined)
