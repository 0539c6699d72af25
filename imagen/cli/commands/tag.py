"""imagen tag: words by which pictures are found again."""

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
@click.option("--add", "-a", multiple=True, metavar="TAG", help="Give this one; repeatable.")
@click.option("--remove", "-r", multiple=True, metavar="TAG", help="Take it away; repeatable.")
@json_option
@config_option
def tag(
    words: tuple[str, ...],
    add: tuple[str, ...],
    remove: tuple[str, ...],
    as_json: bool,
    config_path: Path | None,
) -> None:
    """Give pictures tags, take them away, or list them.

    A tag is a word or a few, without a comma. `imagen history --tag` finds what has it.
    """
    from imagen.library.tags import change_tags as mark

    with open_library(config_path) as library:
        pictures = find_images(library, words)
        mark(library, pictures, add=add, remove=remove)
        pictures = reload_images(library, pictures)
    print_images(pictures, lambda picture: ", ".join(picture.tags), heading="tags", as_json=as_json)
