"""imagen history: list generated images, or failed generations."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import click

from imagen.cli.command_table import Command, usage_error
from imagen.cli.completers import complete_backends, complete_images
from imagen.cli.library_common import local_time, open_library, stars
from imagen.cli.options import config_option, json_option, since_option, until_option
from imagen.cli.tables import Column, print_table
from imagen.cli.terminal import echo
from imagen.core.text import did_you_mean, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imagen.cli.parsing import TypedDate
    from imagen.library import Library, Query


@click.command(cls=Command)
@click.argument("words", nargs=-1, metavar="[QUERY]")
@click.option(
    "--backend",
    "-b",
    shell_complete=complete_backends,
    metavar="NAME",
    help="Only images of this backend.",
)
@click.option(
    "--model",
    "-m",
    "models",
    multiple=True,
    metavar="NAME",
    help="Only images of this model; may be repeated.",
)
@click.option(
    "--lora", "loras", multiple=True, metavar="NAME", help="Only with this LoRA; may be repeated."
)
@click.option("--album", metavar="NAME", help="Only images of this album.")
@since_option
@until_option
@click.option(
    "--rating", type=click.IntRange(1, 5), metavar="STARS", help="Only images with at least STARS."
)
@click.option(
    "--tag", "tags", multiple=True, metavar="TAG", help="Only with this tag; may be repeated."
)
@click.option("--trash", "in_trash", is_flag=True, help="List the trash.")
@click.option(
    "--missing",
    "is_missing",
    is_flag=True,
    help="List images whose files are missing, as found by `library check`.",
)
@click.option("--failed", is_flag=True, help="List failed generations and their errors.")
@click.option(
    "--limit", type=click.IntRange(1), default=20, show_default=True, help="Maximum number."
)
@click.option("--after", shell_complete=complete_images, metavar="ID", help="Continue after ID.")
@json_option
@config_option
def history(
    words: tuple[str, ...],
    since: TypedDate | None,
    until: TypedDate | None,
    tags: tuple[str, ...],
    album: str | None,
    failed: bool,
    after: str | None,
    limit: int,
    as_json: bool,
    config_path: Path | None,
    **filters: Any,
) -> None:
    """List generated images, newest first.

    QUERY searches the prompts: all words must occur, in any order. "in snow" in double quotes is a
    phrase, fo* matches the start of a word, -cat excludes a word. Put such a query in single
    quotes, after -- if it begins with a dash.
    """
    from imagen.library import Query
    from imagen.library.albums import find_album
    from imagen.library.tags import parse_tag

    query = Query(
        text=" ".join(words),
        since=since.moment() if since else None,
        until=until.moment() if until else None,
        tags=tuple(map(parse_tag, tags)),
        **filters,
    )
    print_page = _print_failures if failed else _print_images
    with open_library(config_path) as library:
        if album is not None:
            query = replace(query, album=find_album(library, album).id)
        print_page(library, query, after, limit, as_json=as_json)


# --- images ---

_IMAGE_COLUMNS = (
    Column("id", colour="cyan"),
    Column("created", is_whole=True),
    Column("backend", drop=5),
    Column("model", drop=3),
    Column("size", drop=2),
    Column("seed", drop=1),
    Column("rating", drop=6),
    Column("tags", drop=4),
    Column("prompt", may_go_below=True, most_lines=3),
)


def _print_images(
    library: Library, query: Query, after: str | None, limit: int, *, as_json: bool
) -> None:
    from imagen.library import find_image, search_images

    older_than = None if after is None else find_image(library, after).key
    found = search_images(library, query, older_than, limit)
    images = found.images
    if as_json:
        from imagen.views.images import ImagesPageView, image_views

        after_uid = None if found.after is None else images[-1].uid
        page = ImagesPageView(images=image_views(images), after=after_uid)
        click.echo(json.dumps(page.as_data(), indent=2))
    else:
        rows = [
            (
                image.id,
                f"{local_time(image.created):%Y-%m-%d %H:%M}",
                image.backend,
                image.model,
                f"{image.width}x{image.height}" if image.width and image.height else "",
                "" if image.seed is None else str(image.seed),
                stars(image.rating),
                ", ".join(image.tags),
                image.prompt,
            )
            for image in images
        ]
        print_table(_IMAGE_COLUMNS, rows)
        if found.after is not None:
            echo(f"To see more, add: --after {images[-1].id}", err=True)
    if not images:
        for sentence in _explain_no_images(library, query):
            echo(sentence, err=True)


def _explain_no_images(library: Library, query: Query) -> Iterator[str]:
    """Why nothing was found, with the nearest name for an unknown one."""
    from imagen.library import Query, list_values, search_images

    if not search_images(library, Query(in_trash=query.in_trash), limit=1).images:
        yield (
            "The trash is empty."
            if query.in_trash
            else "The library is empty. Images that you generate will be listed here."
        )
        return
    if query.is_missing and not search_images(library, Query(is_missing=True), limit=1).images:
        yield "No image is marked as missing. To look for missing files: imagen library check --fix"
        return
    yield "No images match."
    filters: tuple[tuple[Literal["backend", "model", "tag", "lora"], str | None], ...] = (
        ("backend", query.backend),
        *(("model", model) for model in query.models),
        *(("tag", tag) for tag in query.tags),
        *(("lora", lora) for lora in query.loras),
    )
    for what, name in filters:
        if name is not None and name not in (names := list_values(library, what)):
            yield f"No image has the {what} {one_line(name)!r}.{did_you_mean(name, names)}"


# --- failed generations ---

_FAILURE_COLUMNS = (
    Column("id", colour="cyan"),
    Column("created", is_whole=True),
    Column("backend", drop=2),
    Column("model", drop=1),
    Column("error", may_go_below=True),
    Column("prompt", may_go_below=True, most_lines=3),
)


def _print_failures(
    library: Library, query: Query, after: str | None, limit: int, *, as_json: bool
) -> None:
    from imagen.library import Query, find_failure, search_failures

    of_images = (query.rating, query.tags, query.loras, query.album)
    if any(of_images) or query.in_trash or query.is_missing:
        raise usage_error(
            "--failed cannot be combined with --rating, --tag, --lora, --album, --trash or "
            "--missing, which filter images."
        )
    older_than = None if after is None else find_failure(library, after)
    found = search_failures(library, query, older_than, limit)
    if as_json:
        from imagen.views.images import FailuresPageView, FailureView

        page = FailuresPageView(
            failures=tuple(map(FailureView.of, found.failures)),
            after=found.after.generation if found.after else None,
        )
        click.echo(json.dumps(page.as_data(), indent=2))
    else:
        rows = [
            (
                one.id,
                f"{local_time(one.created):%Y-%m-%d %H:%M}",
                one.backend,
                one.model,
                one.message,
                one.prompt,
            )
            for one in found.failures
        ]
        print_table(_FAILURE_COLUMNS, rows)
        if found.after is not None:
            echo(f"To see more, add: --after {found.after.id}", err=True)
    if not found.failures:
        has_any = search_failures(library, Query(), limit=1).failures
        echo("No failed generations match." if has_any else "No generation has failed.", err=True)
