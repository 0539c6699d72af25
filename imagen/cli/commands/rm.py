"""imagen rm: move images to the trash, or put them back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imagen.cli.command_table import Command
from imagen.cli.library_common import (
    count_noun,
    images_argument,
    open_library,
    print_images,
    reload_images,
)
from imagen.cli.options import config_option, json_option
from imagen.cli.terminal import echo
from imagen.errors import RequestError

if TYPE_CHECKING:
    from imagen.library import LibraryImage


@click.command(cls=Command)
@images_argument()
@click.option("--undo", is_flag=True, help="Put the images back to where they were.")
@json_option
@config_option
def rm(words: tuple[str, ...], undo: bool, as_json: bool, config_path: Path | None) -> None:
    """Move images and their sidecars to the trash.

    The files move to the folder `trash` in the state directory, and `imagen history` no longer
    lists the images. `imagen trash list` shows them, and `imagen trash empty` deletes them for
    good. Costs stay in the ledger.
    """
    from imagen.library import find_image
    from imagen.library.trash import move_back, move_to_trash, require_here

    with open_library(config_path) as library:
        # each image, once, with the file that names it, unless that is a mere copy of it
        named: dict[int, tuple[LibraryImage, Path | None]] = {}
        for word in words:
            image = find_image(library, word)
            file = Path(word).absolute() if os.path.isfile(word) else None
            if file is not None and image.path.exists() and not image.path.samefile(file):
                file = None
            named.setdefault(image.key, (image, file))
        for image, _ in named.values():
            if not undo:
                require_here(image)
            elif not image.is_trashed:
                raise RequestError(
                    f"{image.id} is not in the trash.",
                    remedy="List the images in the trash with: imagen trash list",
                )
        for image, file in named.values():
            if undo:
                move_back(library, image)
            elif not move_to_trash(library, image, file):
                changed = "it was changed, or another image has it too"
                why = changed if image.path.exists() else "no such file"
                echo(f"{image.path} was not moved: {why}.", err=True)
        images = reload_images(library, (image for image, _ in named.values()))
    print_images(
        images,
        lambda image: str(image.trashed_from or image.path),
        heading="path",
        as_json=as_json,
    )
    if undo:
        echo(f"Put back: {count_noun(len(images))}.", err=True)
        return
    ids = " ".join(image.id for image in images)
    echo(
        f"Moved to the trash: {count_noun(len(images))}. Undo with: imagen rm --undo {ids}",
        err=True,
    )
