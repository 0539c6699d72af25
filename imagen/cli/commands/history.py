"""imagen history: what was made, the newest first."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

import click

from imagen.cli.command_table import Command, usage_error
from imagen.cli.completers import complete_backends, complete_images
from imagen.cli.library_common import image_as_json, local_time, open_library, stars
from imagen.cli.options import config_option, json_option
from imagen.cli.parsing import since_option, until_option
from imagen.cli.tables import Column, print_table
from imagen.cli.terminal import echo
from imagen.core.text import did_you_mean, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imagen.cli.parsing import TypedDate
    from imagen.library import (
        FailedGeneration,
        FailuresPage,
        ImagesPage,
        Library,
        LibraryImage,
        Query,
    )


_LONGEST_CELL = 100_000


@click.command(cls=Command)
@click.argument("words", nargs=-1, metavar="[QUERY]")
@click.option(
    "--backend", "-b", shell_complete=complete_backends, metavar="NAME", help="Made by this one."
)
@click.option("--model", "-m", metavar="NAME", help="With this model.")
@since_option
@until_option
@click.option("--rating", type=click.IntRange(1, 5), metavar="STARS", help="So many or more.")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="With this tag; repeatable.")
@click.option("--trash", "in_trash", is_flag=True, help="What is in the trash.")
@click.option("--missing", "is_missing", is_flag=True, help="What `library check` did not find.")
@click.option("--failed", is_flag=True, help="What came to nothing, and why.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="At most.")
@click.option("--after", shell_complete=complete_images, metavar="ID", help="Older than this one.")
@json_option
@config_option
def history(
    words: tuple[str, ...],
    failed: bool,
    after: str | None,
    limit: int,
    as_json: bool,
    config_path: Path | None,
    **filters: Any,
) -> None:
    """List what was made, the newest first.

    QUERY is words of the prompt, in any order: red fox. "in snow" in quotes stands just so, fo* is
    a beginning, -cat must not be there; put all of it in single quotes then, behind -- where it
    begins with a dash.
    """

    query = _query(" ".join(words), **filters)
    with open_library(config_path) as library:
        (tell_failures if failed else _tell_pictures)(library, query, after, limit, as_json=as_json)


def _tell_pictures(
    library: Library, query: Query, after: str | None, limit: int, *, as_json: bool
) -> None:
    from imagen.library import find_image, search_images

    older_than = None if after is None else find_image(library, after).key
    found = search_images(library, query, older_than, limit)
    if as_json:
        click.echo(json.dumps(_data(found), indent=2))
    else:
        _tell(found)
    for remark in () if found.images else _why_nothing(library, query):
        echo(remark, err=True)


def _query(
    text: str,
    *,
    backend: str | None,
    model: str | None,
    since: TypedDate | None,
    until: TypedDate | None,
    rating: int | None,
    tags: tuple[str, ...],
    in_trash: bool,
    is_missing: bool,
) -> Query:
    from imagen.library import Query
    from imagen.library.tags import parse_tag

    return Query(
        text=text,
        backend=backend,
        model=model,
        since=since.moment() if since else None,
        until=until.moment() if until else None,
        rating=rating,
        tags=tuple(map(parse_tag, tags)),
        in_trash=in_trash,
        is_missing=is_missing,
    )


def _data(found: ImagesPage) -> dict[str, Any]:
    last = found.images[-1] if found.after is not None else None
    return {
        "images": [image_as_json(picture) for picture in found.images],
        "after": last and f"{last.generation}.{last.number + 1}",
    }


def _tell(found: ImagesPage) -> None:
    print_table(_COLUMNS, [_row(picture) for picture in found.images])
    if found.after is not None:
        echo(f"There is more: add --after {found.images[-1].id}", err=True)


_COLUMNS = (
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


def _row(picture: LibraryImage) -> tuple[str, ...]:
    size = f"{picture.width}x{picture.height}" if picture.width and picture.height else ""
    cells = (
        f"{local_time(picture.began):%Y-%m-%d %H:%M}",
        picture.backend,
        picture.model,
        size,
        "" if picture.seed is None else str(picture.seed),
        stars(picture.rating),
        ", ".join(picture.tags),
        picture.prompt,
    )
    return (picture.id, *(one_line(cell, limit=_LONGEST_CELL) for cell in cells))


def _why_nothing(library: Library, query: Query) -> Iterator[str]:
    """What there is to say where nothing was found: the nearest name to one that is not known."""
    from imagen.library import Query, search_images

    if not search_images(library, Query(in_trash=query.in_trash), limit=1).images:
        yield _EMPTY_TRASH if query.in_trash else _EMPTY
        return
    if query.is_missing and not search_images(library, Query(is_missing=True), limit=1).images:
        yield _NONE_MISSING
        return
    yield "No picture is like that."
    yield from _unknown(library, "backend", query.backend)
    yield from _unknown(library, "model", query.model)
    for tag in query.tags:
        yield from _unknown(library, "tag", tag)


_EMPTY = "The library is empty. What you make from now on is listed here."
_EMPTY_TRASH = "The trash is empty."
_NONE_MISSING = "No picture is noted as missing. Look for them with: imagen library check --mend"


def _unknown(
    library: Library, what: Literal["backend", "model", "tag"], name: str | None
) -> Iterator[str]:
    from imagen.library import list_values

    if name is None:
        return
    there = list_values(library, what)
    if name not in there:
        yield f"None has the {what} {one_line(name)!r}.{did_you_mean(name, there)}"


_LONGEST_CELL_failed = 100_000


def tell_failures(
    library: Library, query: Query, after: str | None, limit: int, *, as_json: bool
) -> None:
    """A page of what failed, in lines or as the documented JSON; where it is empty, why.

    Raises UsageError for what only pictures have.
    """
    from imagen.library import find_failure, search_failures

    if query.rating is not None or query.tags or query.in_trash or query.is_missing:
        raise usage_error(
            "--failed goes without --rating, --tag, --trash and --missing: there is no picture."
        )
    older_than = None if after is None else find_failure(library, after)
    found = search_failures(library, query, older_than, limit)
    if as_json:
        click.echo(json.dumps(_data_failed(found), indent=2))
    else:
        _tell_failed(found)
    if not found.failures:
        echo(_why_nothing_failed(library), err=True)


def _why_nothing_failed(library: Library) -> str:
    from imagen.library import Query, search_failures

    is_any = search_failures(library, Query(), limit=1).failures
    return "Nothing that failed is like that." if is_any else "Nothing has failed."


def _data_failed(found: FailuresPage) -> dict[str, Any]:
    after = found.after and found.after.generation
    return {"failures": [_failure(one) for one in found.failures], "after": after}


def _tell_failed(found: FailuresPage) -> None:
    print_table(_COLUMNS_failed, [_row_failed(one) for one in found.failures])
    if found.after is not None:
        echo(f"There is more: add --after {found.after.id}", err=True)


_COLUMNS_failed = (
    Column("id", colour="cyan"),
    Column("created", is_whole=True),
    Column("backend", drop=2),
    Column("model", drop=1),
    Column("error", may_go_below=True),
    Column("prompt", may_go_below=True, most_lines=3),
)


def _row_failed(one: FailedGeneration) -> tuple[str, ...]:
    return (
        one.id,
        f"{local_time(one.began):%Y-%m-%d %H:%M}",
        *(
            one_line(cell, limit=_LONGEST_CELL_failed)
            for cell in (one.backend, one.model, one.message, one.prompt)
        ),
    )


def _failure(one: FailedGeneration) -> dict[str, Any]:
    return {
        "id": one.id,
        "generation": one.generation,
        "created": local_time(one.began).isoformat(timespec="seconds"),
        "backend": one.backend,
        "model": one.model,
        "prompt": one.prompt,
        "caller": one.caller,
        "error": {"code": one.code, "message": one.message},
    }
