"""Finds generations that came to nothing: in pages, the newest first, and one by its ID."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import and_, or_, select, text

from imagen.core.ids import count_back, is_id
from imagen.core.text import one_line
from imagen.errors import RequestError
from imagen.library import fulltext
from imagen.library.keys import milliseconds, moment_of
from imagen.library.schema import generations

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sqlalchemy import ColumnElement, Row, Select

    from imagen.library.database import Library
    from imagen.library.fulltext import Term
    from imagen.library.search import Query

_SHORT = 8
_CANDIDATES = 6
_FAILED = text("state = 'failed'")
"""Written out: a database sees by it that the index of these alone will do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedGeneration:
    """One generation that came to nothing."""

    generation: str
    began: datetime
    backend: str
    model: str
    prompt: str
    code: str
    """The stable word of the error."""
    message: str
    caller: str

    @property
    def id(self) -> str:
        """What people call it: `5b6c8e5e`."""
        return self.generation[:_SHORT]


class Failures(NamedTuple):
    """Some of them, and where the next page begins."""

    failures: tuple[FailedGeneration, ...]
    after: FailedGeneration | None
    """The `after` of the next page; None where this is the last."""


def failures(
    library: Library, query: Query, after: FailedGeneration | None = None, limit: int = 50
) -> Failures:
    """The newest failures that are wanted, of those older than `after`.

    They have no ratings, no tags and no trash: of the query the rest counts. Raises RequestError
    for a text that holds nothing to look for, LibraryError.
    """
    found = fulltext.terms(query.text)
    chosen = _newest_first().where(*_conditions(query, after)).execution_options(yield_per=100)
    with library.reading() as connection, connection.execute(chosen) as rows:
        wanted = (row for row in rows if _has(row.prompt, found))
        some = tuple(map(_failure, islice(wanted, limit + 1)))
    return Failures(some[:limit], some[limit - 1] if len(some) > limit else None)


def _newest_first() -> Select[Any]:
    order = generations.c.began_ms.desc(), generations.c.id.desc()
    return select(generations).where(_FAILED).order_by(*order)


def _conditions(query: Query, after: FailedGeneration | None) -> Iterator[ColumnElement[bool]]:
    began = generations.c.began_ms
    if query.backend is not None:
        yield generations.c.backend == query.backend
    if query.model is not None:
        yield generations.c.model == query.model
    if query.since is not None:
        yield began >= milliseconds(query.since)
    if query.until is not None:
        yield began < milliseconds(query.until)
    if after is not None:
        moment = milliseconds(after.began)
        same = and_(began == moment, generations.c.id < after.generation)
        yield and_(began <= moment, or_(began < moment, same))


def _has(prompt: str, found: tuple[Term, ...]) -> bool:
    """They are few, and stand in no index of words."""
    cut = f" {' '.join(fulltext.cut(prompt))} " if found else ""
    return all((fulltext.as_it_stands(term) in cut) != term.is_excluded for term in found)


def find_failure(library: Library, word: str) -> FailedGeneration:
    """The failure of this ID, or of any beginning of its id; `last` is the newest.

    Raises RequestError where it is none, or may be several.
    """
    beginning, back = word.strip().lower(), count_back(word)
    if back is not None:
        chosen = _newest_first().limit(1).offset(back)
    else:
        within = generations.c.id.between(beginning, f"{beginning}g")
        chosen = _newest_first().where(within).limit(_CANDIDATES)
    with library.reading() as connection:
        rows = connection.execute(chosen).all() if is_id(word) else ()
    if not rows:
        raise RequestError(
            f"{one_line(word, limit=80)!r} is no generation that failed.",
            remedy="List them and their IDs with: imagen history --failed",
        )
    if len(rows) > 1:
        ids = "\n".join(f"{row.id}  {one_line(row.prompt, limit=60)}" for row in rows)
        raise RequestError(f"{word!r} may be any of these; write more of it:\n{ids}")
    return _failure(rows[0])


def _failure(row: Row[Any]) -> FailedGeneration:
    error = row.error or {}
    return FailedGeneration(
        generation=row.id,
        began=moment_of(row.began_ms),
        backend=row.backend,
        model=row.model,
        prompt=row.prompt,
        code=error.get("code", ""),
        message=error.get("message", ""),
        caller=row.caller,
    )
