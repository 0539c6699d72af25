"""imagen rate: stars for pictures."""

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
    stars,
)
from imagen.cli.options import config_option, json_option

if TYPE_CHECKING:
    from pathlib import Path

_STARS = ("1", "2", "3", "4", "5", "none")


@click.command(cls=Command)
@images_argument()
@click.argument("rating", metavar="STARS", type=click.Choice(_STARS))
@json_option
@config_option
def rate(words: tuple[str, ...], rating: str, as_json: bool, config_path: Path | None) -> None:
    """Give pictures stars, 1 to 5; none takes them away.

    `imagen history --rating` finds what has so many or more.
    """
    from imagen.library.tags import set_rating as mark

    with open_library(config_path) as library:
        pictures = find_images(library, words)
        mark(library, pictures, None if rating == "none" else int(rating))
        pictures = reload_images(library, pictures)
    print_images(
        pictures,
        lambda picture: stars(picture.rating) or "no stars",
        heading="rating",
        as_json=as_json,
    )
