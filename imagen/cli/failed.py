"""What `imagen history --failed` tells: what came to nothing, the newest first."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from imagen.cli.library_common import local
from imagen.cli.options import usage
from imagen.cli.tables import Column, print_table
from imagen.cli.terminal import echo
from imagen.core.text import one_line

if TYPE_CHECKING:
    from imagen.library import FailedGeneration, Failures, Library, Query

_LONGEST_CELL = 100_000


def tell_failures(
    library: Library, query: Query, after: str | None, limit: int, *, as_json: bool
) -> None:
    """A page of what failed, in lines or as the documented JSON; where it is empty, why.

    Raises UsageError for what only pictures have.
    """
    from imagen.library import failures, find_failure

    if query.rating is not None or query.tags or query.in_trash or query.is_missing:
        raise usage(
            "--failed goes without --rating, --tag, --trash and --missing: there is no picture."
        )
    older_than = None if after is None else find_failure(library, after)
    found = failures(library, query, older_than, limit)
    if as_json:
        click.echo(json.dumps(_data(found), indent=2))
    else:
        _tell(found)
    if not found.failures:
        echo(_why_nothing(library), err=True)


def _why_nothing(library: Library) -> str:
    from imagen.library import Query, failures

    is_any = failures(library, Query(), limit=1).failures
    return "Nothing that failed is like that." if is_any else "Nothing has failed."


def _data(found: Failures) -> dict[str, Any]:
    after = found.after and found.after.generation
    return {"failures": [_failure(one) for one in found.failures], "after": after}


def _tell(found: Failures) -> None:
    print_table(_COLUMNS, [_row(one) for one in found.failures])
    if found.after is not None:
        echo(f"There is more: add --after {found.after.id}", err=True)


_COLUMNS = (
    Column("id", colour="cyan"),
    Column("created", is_whole=True),
    Column("backend", drop=2),
    Column("model", drop=1),
    Column("error", may_go_below=True),
    Column("prompt", may_go_below=True, most_lines=3),
)


def _row(one: FailedGeneration) -> tuple[str, ...]:
    return (
        one.id,
        f"{local(one.began):%Y-%m-%d %H:%M}",
        *(
            one_line(cell, limit=_LONGEST_CELL)
            for cell in (one.backend, one.model, one.message, one.prompt)
        ),
    )


def _failure(one: FailedGeneration) -> dict[str, Any]:
    return {
        "id": one.id,
        "generation": one.generation,
        "created": local(one.began).isoformat(timespec="seconds"),
        "backend": one.backend,
        "model": one.model,
        "prompt": one.prompt,
        "caller": one.caller,
        "error": {"code": one.code, "message": one.message},
    }
