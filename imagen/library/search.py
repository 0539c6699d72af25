"""Finds pictures: in pages, the newest first, and one by its ID or its file."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from sqlalchemy import and_, func, or_, select, text

from imagen.core.filesystem import file_sha256
from imagen.core.ids import ID, count_back, is_id, short_id
from imagen.core.text import one_line
from imagen.errors import OutputError, RequestError
from imagen.library import fulltext, sqlite_plan
from imagen.library.schema import generations, images, prompts, tags
from imagen.library.stored_values import datetime_of, first_key, milliseconds, path_of, stored_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, FromClause, Row, Select, TextClause
    from sqlalchemy.sql.selectable import SelectBase

    from imagen.library.database import Library
    from imagen.library.fulltext import SearchTerm


_CANDIDATES = 6
_NEWEST = 2000
_BATCH = 1000
"""Of values in one statement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which pictures are wanted; all that is given must hold."""

    text: str = ""
    """Words of the prompt: `red "in snow" -cat fo*`."""
    backend: str | None = None
    model: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    """Before this moment."""
    rating: int | None = None
    """At least this one."""
    tags: tuple[str, ...] = ()
    in_trash: bool = False
    """Those in the trash, and no others."""
    is_missing: bool = False
    """Those that a check noted as missing, and no others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryImage:
    """One picture that the library knows."""

    key: int
    """Its number, which sorts by time."""
    generation: str
    """The id of the generation it is of."""
    number: int
    """Which of them, from 0."""
    began: datetime
    prompt: str
    backend: str
    model: str
    host: str
    """The machine that `path` is a path of."""
    path: Path
    sidecar: Path | None
    media_type: str
    size_bytes: int
    sha256: str
    width: int | None
    height: int | None
    seed: int | None
    rating: int | None
    tags: tuple[str, ...] = ()
    is_trashed: bool = False
    is_missing: bool = False
    cloud: Mapping[str, Any] = field(default_factory=dict)
    """Where it lies in the cloud: its bucket and path there; empty where it does not."""

    @property
    def id(self) -> str:
        """What people call it: `5b6c8e5e`, and `5b6c8e5e.2` for the second of a batch."""
        return short_id(self.generation, self.number)


class ImagesPage(NamedTuple):
    """Some pictures, and where the next page begins."""

    images: tuple[LibraryImage, ...]
    after: int | None
    """The `after` of the next page; None where this is the last."""


def search_images(
    library: Library, query: Query, after: int | None = None, limit: int = 50
) -> ImagesPage:
    """The newest pictures that are wanted, of those older than the one of the number `after`.

    Raises RequestError for a text that holds nothing to look for, LibraryError.
    """
    with library.reading() as connection:
        newest = _numbers(connection, query, after, limit + 1).subquery()
        chosen = _joined().join(newest, newest.c.id == images.c.id).order_by(newest.c.id.desc())
        found = connection.execute(chosen).all()
        pictures = _with_tags(connection, found[:limit])
    return ImagesPage(pictures, pictures[-1].key if len(found) > limit else None)


def count_images(library: Library, query: Query) -> int:
    """How many pictures are wanted in all."""
    with library.reading() as connection:
        wanted = _numbers(connection, query).subquery()
        return connection.execute(select(func.count()).select_from(wanted)).scalar_one()


def _columns() -> Select[Any]:
    return select(images, generations.c.prompt, generations.c.began_ms)


def _numbers(
    connection: Connection, query: Query, after: int | None = None, limit: int | None = None
) -> SelectBase:
    """The numbers of the newest pictures that are wanted."""
    if connection.dialect.name == "sqlite":
        return sqlite_plan.select_keys(connection, query, after, limit)
    order, statement = _wanted(query)
    if after is not None:
        statement = statement.where(order < after)
    if limit is None:
        return statement
    if query.text and not _is_of_late(connection, query.text):
        order = order + 0  # or PostgreSQL may read all prompts, the newest first
    return statement.order_by(order.desc()).limit(limit)


def _is_of_late(connection: Connection, query: str) -> bool:
    """Whether any of the newest prompts is found: of a word that is rare, PostgreSQL knows less."""
    newest = select(prompts).order_by(prompts.c.rowid.desc()).limit(_NEWEST).subquery("prompts")
    found = select(newest.c.rowid).where(_match(fulltext.parse_query(query))).limit(1)
    return connection.execute(found).first() is not None


def _wanted(query: Query) -> tuple[ColumnElement[int], Select[Any]]:
    """The statement without an order, and the number to order by: that of the table which is the
    most selective, so that PostgreSQL does not sort what it finds."""
    found = fulltext.parse_query(query.text)
    order: ColumnElement[int] = images.c.id
    source: FromClause = images
    for tag in query.tags:
        given = tags.alias()
        source = source.join(given, and_(given.c.image == images.c.id, given.c.tag == tag))
        order = given.c.image
    if found:
        source = source.join(prompts, prompts.c.rowid == images.c.id)
        order = prompts.c.rowid
    statement = select(images.c.id).select_from(source).where(*_conditions(query, order))
    return order, statement.where(_match(found)) if found else statement


def _match(found: tuple[fulltext.SearchTerm, ...]) -> TextClause:
    return text("prompts.words @@ CAST(:words AS tsquery)").bindparams(
        words=fulltext.postgres_query(found)
    )


def _conditions(query: Query, order: ColumnElement[int]) -> Iterator[ColumnElement[bool]]:
    trashed = images.c.trashed_ms
    yield trashed.is_not(None) if query.in_trash else trashed.is_(None)
    if query.is_missing:
        yield images.c.missing_ms.is_not(None)
    if query.backend is not None:
        yield images.c.backend == query.backend
    if query.model is not None:
        yield images.c.model == query.model
    if query.since is not None:
        yield order >= first_key(query.since)
    if query.until is not None:
        yield order < first_key(query.until)
    if query.rating is not None:
        yield and_(images.c.rating.is_not(None), images.c.rating >= query.rating)


def _with_tags(connection: Connection, found: Sequence[Row[Any]]) -> tuple[LibraryImage, ...]:
    given: dict[int, list[str]] = {}
    for start in range(0, len(found), _BATCH):
        keys = [row.id for row in found[start : start + _BATCH]]
        chosen = select(tags).where(tags.c.image.in_(keys)).order_by(tags.c.tag)
        for row in connection.execute(chosen):
            given.setdefault(row.image, []).append(row.tag)
    return tuple(_picture(row, tuple(given.get(row.id, ()))) for row in found)


def _picture(row: Row[Any], given: tuple[str, ...]) -> LibraryImage:
    return LibraryImage(
        key=row.id,
        generation=row.generation,
        number=row.number,
        began=datetime_of(row.began_ms),
        prompt=row.prompt,
        backend=row.backend,
        model=row.model,
        host=row.host,
        path=path_of(row.path),
        sidecar=path_of(row.sidecar) if row.sidecar else None,
        media_type=row.media_type,
        size_bytes=row.size_bytes,
        sha256=row.sha256,
        width=row.width,
        height=row.height,
        seed=None if row.seed is None else int(row.seed),
        rating=row.rating,
        tags=given,
        is_trashed=row.trashed_ms is not None,
        is_missing=row.missing_ms is not None,
        cloud=row.cloud or {},
    )


def list_values(library: Library, what: Literal["backend", "model", "tag"]) -> list[str]:
    """Every backend, model or tag there is, found by leaps through an index."""
    column = tags.c.tag if what == "tag" else images.c[what]
    found: list[str] = []
    with library.reading() as connection:
        least = connection.execute(select(func.min(column))).scalar()
        while least is not None:
            found.append(least)
            least = connection.execute(select(func.min(column)).where(column > least)).scalar()
    return found


def find_image(library: Library, word: str) -> LibraryImage:
    """The picture that is meant: by its ID, any beginning of its generation's id, or its file.

    `last` is the newest that is not in the trash, and `last~2` two before it. A file that was moved
    is known by its content. Raises RequestError where it is none, or may be
    several.
    """
    with library.reading() as connection:
        found = _by_file(connection, word) if os.path.isfile(word) else _by_id(connection, word)
        pictures = _with_tags(connection, found)
    if not pictures:
        raise _unknown(word)
    if len({picture.generation for picture in pictures}) > 1:
        raise _ambiguous(word, pictures)
    return pictures[0]


def images_of(library: Library, generation: str) -> tuple[LibraryImage, ...]:
    """All pictures of one generation, in their order."""
    chosen = _joined().where(images.c.generation == generation).order_by(images.c.number)
    with library.reading() as connection:
        return _with_tags(connection, connection.execute(chosen).all())


def _joined() -> Select[Any]:
    return _columns().join(generations, generations.c.id == images.c.generation)


def _by_file(connection: Connection, word: str) -> Sequence[Row[Any]]:
    """Its content tells; and where that was changed meanwhile, its place. Of several the newest."""
    is_here = and_(images.c.path == stored_path(Path(word)), images.c.host == platform.node())
    is_same = images.c.sha256 == _content(word)
    for condition in (and_(is_same, is_here), is_same, is_here):
        chosen = _joined().where(condition).order_by(images.c.id.desc()).limit(1)
        if found := connection.execute(chosen).all():
            return found
    return ()


def _content(word: str) -> str:
    try:
        return file_sha256(Path(word))
    except OSError as error:
        shown = one_line(word, limit=80)
        raise OutputError(f"{shown} can't be read: {error.strerror or error}.") from error


def _by_id(connection: Connection, word: str) -> Sequence[Row[Any]]:
    newest = _joined().order_by(images.c.id.desc())
    back = count_back(word)
    if back is not None:
        chosen = newest.where(images.c.trashed_ms.is_(None)).limit(1).offset(back)
        return connection.execute(chosen).all()
    match = ID.fullmatch(word.strip().lower())
    if match is None:
        return ()
    beginning, number = match[1], int(match[2] or 1) - 1
    within = images.c.generation.between(beginning, beginning + "g")
    chosen = newest.where(within, images.c.number == number).limit(_CANDIDATES)
    return connection.execute(chosen).all()


def _unknown(word: str) -> RequestError:
    shown = one_line(word, limit=80)
    if os.path.isfile(word):
        return RequestError(
            f"The library does not know the picture {shown}.",
            remedy="Take its folder in with: imagen library add DIR",
        )
    if (back := count_back(word)) is not None:
        return RequestError(
            f"There is no {shown}: the library holds fewer images."
            if back
            else "There is no last image: the library is empty."
        )
    return RequestError(
        f"The library has no picture {shown!r}, and there is no such file.",
        remedy="List the pictures and their IDs with: imagen history",
    )


def _ambiguous(word: str, pictures: Sequence[LibraryImage]) -> RequestError:
    ids = "\n".join(f"{p.generation}  {one_line(p.prompt, limit=60)}" for p in pictures)
    return RequestError(f"{word!r} may be any of these; write more of it:\n{ids}")


_SHORT = 8
_CANDIDATES_failing = 6
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


class FailuresPage(NamedTuple):
    """Some of them, and where the next page begins."""

    failures: tuple[FailedGeneration, ...]
    after: FailedGeneration | None
    """The `after` of the next page; None where this is the last."""


def search_failures(
    library: Library, query: Query, after: FailedGeneration | None = None, limit: int = 50
) -> FailuresPage:
    """The newest failures that are wanted, of those older than `after`.

    They have no ratings, no tags and no trash: of the query the rest counts. Raises RequestError
    for a text that holds nothing to look for, LibraryError.
    """
    found = fulltext.parse_query(query.text)
    chosen = (
        _newest_first().where(*_conditions_failing(query, after)).execution_options(yield_per=100)
    )
    with library.reading() as connection, connection.execute(chosen) as rows:
        wanted = (row for row in rows if _has(row.prompt, found))
        some = tuple(map(_failure, islice(wanted, limit + 1)))
    return FailuresPage(some[:limit], some[limit - 1] if len(some) > limit else None)


def _newest_first() -> Select[Any]:
    order = generations.c.began_ms.desc(), generations.c.id.desc()
    return select(generations).where(_FAILED).order_by(*order)


def _conditions_failing(
    query: Query, after: FailedGeneration | None
) -> Iterator[ColumnElement[bool]]:
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


def _has(prompt: str, found: tuple[SearchTerm, ...]) -> bool:
    """They are few, and stand in no index of words."""
    cut = f" {' '.join(fulltext.tokenize(prompt))} " if found else ""
    return all((fulltext.term_pattern(term) in cut) != term.is_excluded for term in found)


def find_failure(library: Library, word: str) -> FailedGeneration:
    """The failure of this ID, or of any beginning of its id; `last` is the newest.

    Raises RequestError where it is none, or may be several.
    """
    beginning, back = word.strip().lower(), count_back(word)
    if back is not None:
        chosen = _newest_first().limit(1).offset(back)
    else:
        within = generations.c.id.between(beginning, f"{beginning}g")
        chosen = _newest_first().where(within).limit(_CANDIDATES_failing)
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
        began=datetime_of(row.began_ms),
        backend=row.backend,
        model=row.model,
        prompt=row.prompt,
        code=error.get("code", ""),
        message=error.get("message", ""),
        caller=row.caller,
    )
