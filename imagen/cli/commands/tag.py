"""imagen tag: add, remove or list the tags of images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from imagen.cli.command_table import Command
from imagen.cli.library_common import (
    find_images,
    images_argument,
    open_library,
    print_images,
    reload_images,
)
from imagen.cli.options import config_option, json_option

if TYPE_CHECKING:
    from pathlib import Path


@click.command(cls=Command)
@images_argument()
@click.option("--add", "-a", multiple=True, metavar="TAG", help="Add a tag; may be repeated.")
@click.option("--remove", "-r", multiple=True, metavar="TAG", help="Remove a tag; may be repeated.")
@json_option
@config_option
def tag(
    words: tuple[str, ...],
    add: tuple[str, ...],
    remove: tuple[str, ...],
    as_json: bool,
    config_path: Path | None,
) -> None:
    """Add, remove or list tags.

    A tag may have several words, but no comma. `imagen history --tag` filters by it.
    """
    from imagen.library.tags import change_tags

    with open_library(config_path) as library:
        images = find_images(library, words)
        change_tags(library, images, add=add, remove=remove)
        images = reload_images(library, images)
    print_images(images, lambda image: ", ".join(image.tags), heading="tags", as_json=as_json)
