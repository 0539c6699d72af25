"""imagen rate: rate images with stars."""

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


@click.command(cls=Command)
@images_argument()
@click.argument("rating", metavar="STARS", type=click.Choice(("1", "2", "3", "4", "5", "none")))
@json_option
@config_option
def rate(words: tuple[str, ...], rating: str, as_json: bool, config_path: Path | None) -> None:
    """Rate images from 1 to 5 stars.

    none removes the rating. `imagen history --rating` filters by it.
    """
    from imagen.library.tags import set_rating

    with open_library(config_path) as library:
        images = find_images(library, words)
        set_rating(library, images, None if rating == "none" else int(rating))
        images = reload_images(library, images)
    print_images(
        images,
        lambda image: stars(image.rating) or "not rated",
        heading="rating",
        as_json=as_json,
    )
