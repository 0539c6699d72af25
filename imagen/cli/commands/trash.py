"""imagen trash: list the trash, or empty it."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from imagen.cli.command_table import Group, usage_error
from imagen.cli.library_common import (
    confirm,
    count_noun,
    find_images,
    images_argument,
    local_time,
    open_library,
    print_images,
    require_terminal,
)
from imagen.cli.options import config_option, json_option
from imagen.cli.tables import Column, print_table
from imagen.cli.terminal import echo
from imagen.core.text import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from imagen.library import LibraryImage

_AGE = re.compile(r"(\d{1,5})([hdw])")
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}


class _Age(click.ParamType[timedelta]):
    """`30d`, `12h`, `4w`."""

    name = "age"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        match = _AGE.fullmatch(str(value))
        if match is None:
            self.fail(f"{value!r} is not a valid age: expected 12h, 30d or 4w.", param, ctx)
        return timedelta(**{_UNITS[match[2]]: int(match[1])})


@click.group(cls=Group)
def trash() -> None:
    """List the trash, or empty it.

    `imagen rm` moves images to the trash, and `imagen rm --undo` puts them back.
    """


@trash.command("list")
@json_option
@config_option
def list_(as_json: bool, config_path: Path | None) -> None:
    """List the images in the trash, newest first."""
    from imagen.library.trash import list_trashed

    with open_library(config_path) as library:
        images = list(list_trashed(library))
    if as_json:
        from imagen.views.images import ImagesView, image_views

        view = ImagesView(images=image_views(images))
        click.echo(json.dumps(view.as_data(), indent=2))
        return
    columns = (
        Column("id", is_ragged=True, colour="cyan"),
        Column("trashed", is_whole=True),
        Column("path", may_go_below=True),
    )
    rows = [
        (
            image.id,
            f"{local_time(image.trashed):%Y-%m-%d %H:%M}" if image.trashed else "",
            one_line(str(image.trashed_from or image.path), limit=400),
        )
        for image in images
    ]
    print_table(columns, rows)
    if not images:
        echo("The trash is empty.", err=True)


@trash.command()
@images_argument(required=False)
@click.option(
    "--older-than", "age", type=_Age(), metavar="AGE", help="Only older ones: 30d, 12h, 4w."
)
@click.option("--yes", "-y", is_flag=True, help="Do not ask first.")
@json_option
@config_option
def empty(
    words: tuple[str, ...],
    age: timedelta | None,
    yes: bool,
    as_json: bool,
    config_path: Path | None,
) -> None:
    """Delete images in the trash for good, with their files and sidecars.

    Without an ID or --older-than, everything in the trash is deleted. Costs stay in the ledger.
    """
    if words and age is not None:
        raise usage_error("--older-than cannot be combined with IDs.")
    from imagen.library.trash import delete_for_good, is_here, list_trashed, require_trashed

    if not yes:
        require_terminal("`imagen trash empty` deletes for good")
    with open_library(config_path) as library:
        if words:
            images = find_images(library, words)
        else:
            before = None if age is None else datetime.now(UTC) - age
            trashed = list(list_trashed(library, before=before))
            images = [image for image in trashed if is_here(image)]
            if elsewhere := len(trashed) - len(images):
                echo(f"Left in the trash: {count_noun(elsewhere)} on other machines.", err=True)
        if images and not yes:
            size = _format_bytes(images)
            confirm(
                f"Delete {count_noun(len(images))}, {size}, for good?",
                declined="Nothing was deleted.",
            )
        for image in images:
            require_trashed(image)
        left = [path for image in images if (path := delete_for_good(library, image))]
    print_images(
        images,
        lambda image: str(image.trashed_from or image.path),
        heading="path",
        as_json=as_json,
        left=left,
    )
    size = f", {_format_bytes(images)}" if images else ""
    echo(f"Deleted for good: {count_noun(len(images))}{size}.", err=True)
    for path in left:
        echo(f"{path} stays: it was changed, or another image has it too.", err=True)


def _format_bytes(images: Sequence[LibraryImage]) -> str:
    """`12 KB`, `3.1 MB`: of all together."""
    total = sum(image.size_bytes for image in images)
    return f"{total / 1e6:.1f} MB" if total >= 1e6 else f"{max(1, round(total / 1e3))} KB"
