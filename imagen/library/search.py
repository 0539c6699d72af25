"""Find images and failed generations: in pages, newest first, or one by its ID or file."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from sqlalchemy import and_, func, or_, select, text

from imagen.config.paths import host_name
from imagen.core.filesystem import file_sha256
from imagen.core.ids import ID, count_back, image_uid, is_id, short_id
from imagen.core.text import one_line
from imagen.errors import NotFound, OutputError, RequestError
from imagen.library import fulltext, sqlite_plan
from imagen.library.schema import (
    COSTS,
    SHAPES,
    album_images,
    datetime_of,
    first_key,
    generations,
    images,
    loras,
    milliseconds,
    path_of,
    prompts,
    stored_path,
    tags,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Column, ColumnElement, Connection, FromClause, Row, Select, TextClause
    from sqlalchemy.sql.selectable import SelectBase

    from imagen.library.database import Library
    from imagen.library.fulltext import SearchTerm

Shape = Literal["square", "landscape", "portrait"]
CostClass = Literal["free", "paid", "unknown"]
_CANDIDATES = 6
_NEWEST = 2000
_BATCH = 1000
_AT_ONCE = 500
"""Values in one statement."""
_FAILED = text("state = 'failed'")
"""SQL, not a parameter, so that the planner uses the partial index of failed generations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which images to find. All conditions must hold."""

    text: str = ""
    """Words of the prompt: `red "in snow" -cat fo*`."""
    backend: str | None = None
    models: tuple[str, ...] = ()
    """One of these; none for any."""
    since: datetime | None = None
    until: datetime | None = None
    """Before this moment."""
    rating: int | None = None
    """At least this."""
    tags: tuple[str, ...] = ()
    loras: tuple[str, ...] = ()
    """Made with all of these."""
    album: str | None = None
    """The id of an album."""
    shape: Shape | None = None
    size: tuple[int, int] | None = None
    """Exactly this width and height."""
    cost: CostClass | None = None
    max_cost: float | None = None
    """At most so many US dollars for an image."""
    in_trash: bool = False
    """Only images in the trash; otherwise only others."""
    is_missing: bool = False
    """Only images that `library check --fix` noted as missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryImage:
    """One image in the library."""

    key: int
    """Sorts by time."""
    generation: str
    """The id of its generation."""
    number: int
    """Which image of the generation, from 0."""
    created: datetime
    prompt: str
    backend: str
    model: str
    host: str
    """The machine that `path` is a path of."""
    path: Path
    """Where the file is, also in the trash."""
    sidecar: Path | None
    media_type: str
    size_bytes: int
    sha256: str
    width: int | None
    height: int | None
    seed: int | None
    rating: int | None
    tags: tuple[str, ...] = ()
    trashed: datetime | None = None
    """When it was moved to the trash."""
    trashed_from: Path | None = None
    """The path to put it back to; None unless its file was moved to the trash."""
    is_missing: bool = False
    cloud: Mapping[str, Any] = field(default_factory=dict)
    """Its bucket and path in the cloud; empty if it was not uploaded."""

    @property
    def id(self) -> str:
        """The short ID: `5b6c8e5e`, and `5b6c8e5e.2` for the second of a batch."""
        return short_id(self.generation, self.number)

    @property
    def uid(self) -> str:
        """The unique ID, for programs: the whole id of its generation, and its number from 1."""
        return image_uid(self.generation, self.number)

    @property
    def is_trashed(self) -> bool:
        return self.trashed is not None


class ImagesPage(NamedTuple):
    """Some images, and where the next page begins."""

    images: tuple[LibraryImage, ...]
    after: int | None
    """The `after` of the next page; None if this is the last."""


def search_images(
    library: Library, query: Query, after: int | None = None, limit: int = 50
) -> ImagesPage:
    """The newest images that match, of those older than the one with the key `after`.

    Raises RequestError for a text without a word to search for; LibraryError.
    """
    with library.reading() as connection:
        newest = select_matching(connection, query, after, limit + 1).subquery()
        chosen = _select_images().join(newest, newest.c.id == images.c.id)
        rows = connection.execute(chosen.order_by(newest.c.id.desc())).all()
        page = _with_tags(connection, rows[:limit])
    return ImagesPage(page, page[-1].key if len(rows) > limit else None)


def count_images(library: Library, query: Query) -> int:
    """How many images match."""
    with library.reading() as connection:
        keys = select_matching(connection, query).subquery()
        return connection.execute(select(func.count()).select_from(keys)).scalar_one()


def select_matching(
    connection: Connection, query: Query, after: int | None = None, limit: int | None = None
) -> SelectBase:
    """The keys of the newest images that match."""
    if connection.dialect.name == "sqlite":
        return sqlite_plan.select_keys(connection, query, after, limit)
    order, statement = _postgres_select(query)
    if after is not None:
        statement = statement.where(order < after)
    if limit is None:
        return statement
    if query.text:
        # PostgreSQL has no statistics of rare words, and may read every prompt, newest first.
        newest = select(prompts).order_by(prompts.c.rowid.desc()).limit(_NEWEST).subquery("prompts")
        matching = select(newest.c.rowid).where(_matches(fulltext.parse_query(query.text)))
        if connection.execute(matching.limit(1)).first() is None:
            order = order + 0
    return statement.order_by(order.desc()).limit(limit)


def _postgres_select(query: Query) -> tuple[ColumnElement[int], Select[Any]]:
    """The column to order by, and the statement without an order.

    The column is that of the most selective table, so that PostgreSQL need not sort.
    """
    terms = fulltext.parse_query(query.text)
    order: ColumnElement[int] = images.c.id
    source: FromClause = images
    marks: list[tuple[Column[str], str]] = [
        *((loras.c.lora, name) for name in query.loras),
        *((tags.c.tag, tag) for tag in query.tags),
        *([(album_images.c.album, query.album)] if query.album else []),
    ]
    for column, value in marks:
        marked = column.table.alias()
        is_same = marked.c[column.name] == value
        source = source.join(marked, and_(marked.c.image == images.c.id, is_same))
        order = marked.c.image
    if terms:
        source = source.join(prompts, prompts.c.rowid == images.c.id)
        order = prompts.c.rowid
    conditions = _postgres_conditions(query, order)
    statement = select(images.c.id).select_from(source).where(*conditions)
    return order, statement.where(_matches(terms)) if terms else statement


def _postgres_conditions(
    query: Query, order: ColumnElement[int]
) -> Iterator[ColumnElement[bool] | TextClause]:
    trashed = images.c.trashed_ms
    yield trashed.is_not(None) if query.in_trash else trashed.is_(None)
    if query.is_missing:
        yield images.c.missing_ms.is_not(None)
    if query.backend is not None:
        yield images.c.backend == query.backend
    if query.models:
        yield images.c.model.in_(query.models)
    if query.since is not None:
        yield order >= first_key(query.since)
    if query.until is not None:
        yield order < first_key(query.until)
    if query.rating is not None:
        yield images.c.rating.is_not(None)
        yield images.c.rating >= query.rating
    if query.shape is not None:
        yield text(SHAPES[query.shape].format(l="images."))
    if query.size is not None:
        yield images.c.width == query.size[0]
        yield images.c.height == query.size[1]
    if query.cost is not None:
        yield text(COSTS[query.cost].format(l="images."))
    if query.max_cost is not None:
        yield images.c.cost <= query.max_cost


def _matches(terms: tuple[SearchTerm, ...]) -> TextClause:
    return text("prompts.words @@ CAST(:words AS tsquery)").bindparams(
        words=fulltext.postgres_query(terms)
    )


def _select_images() -> Select[Any]:
    return select(images, generations.c.prompt, generations.c.created_ms).join(
        generations, generations.c.id == images.c.generation
    )


def _with_tags(connection: Connection, rows: Sequence[Row[Any]]) -> tuple[LibraryImage, ...]:
    """The images of these rows, with their tags."""
    by_image: dict[int, list[str]] = {}
    for start in range(0, len(rows), _BATCH):
        keys = [row.id for row in rows[start : start + _BATCH]]
        chosen = select(tags).where(tags.c.image.in_(keys)).order_by(tags.c.tag)
        for row in connection.execute(chosen):
            by_image.setdefault(row.image, []).append(row.tag)
    return tuple(
        LibraryImage(
            key=row.id,
            generation=row.generation,
            number=row.number,
            created=datetime_of(row.created_ms),
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
            tags=tuple(by_image.get(row.id, ())),
            trashed=None if row.trashed_ms is None else datetime_of(row.trashed_ms),
            trashed_from=path_of(row.trashed_from) if row.trashed_from else None,
            is_missing=row.missing_ms is not None,
            cloud=row.cloud or {},
        )
        for row in rows
    )


def list_values(library: Library, what: Literal["backend", "model", "tag", "lora"]) -> list[str]:
    """Every backend, model, tag or LoRA in the library, by a loose index scan."""
    marks = {"tag": tags.c.tag, "lora": loras.c.lora}
    column = marks[what] if what in marks else images.c[what]
    values: list[str] = []
    with library.reading() as connection:
        value = connection.execute(select(func.min(column))).scalar()
        while value is not None:
            values.append(value)
            value = connection.execute(select(func.min(column)).where(column > value)).scalar()
    return values


def find_image(library: Library, word: str) -> LibraryImage:
    """The image with this ID, the beginning of its generation's id, or its file.

    `last` is the newest that is not in the trash, and `last~2` two before it. A file that was moved
    is found by its content, and an image in the trash by its old path too. Raises RequestError if
    there is none, or several match.
    """
    is_file = os.path.isfile(word)
    with library.reading() as connection:
        find = _find_by_file if is_file else _find_by_id
        found = _with_tags(connection, find(connection, word))
    if not found and is_file:
        raise NotFound(
            f"The image {one_line(word, limit=80)} is not in the library.",
            remedy="Add its folder with: imagen library add DIR",
        )
    return _the_only(found, word)


def find_image_by_id(library: Library, word: str) -> LibraryImage:
    """The image with this ID, as `find_image` finds it; never by a file or its path.

    Raises NotFound if there is none, RequestError if several match.
    """
    found: tuple[LibraryImage, ...] = ()
    if is_id(word):
        with library.reading() as connection:
            found = _with_tags(connection, _find_by_id(connection, word))
    return _the_only(found, word)


def find_images_by_uid(library: Library, uids: Collection[str]) -> tuple[LibraryImage, ...]:
    """The images with these unique ids, in their order; unknown ones are left out."""
    parts = {uid: uid.rpartition(".") for uid in uids if ID.fullmatch(uid)}
    generation_ids = list({generation for generation, _, _ in parts.values()})
    by_uid: dict[str, LibraryImage] = {}
    with library.reading() as connection:
        for start in range(0, len(generation_ids), _AT_ONCE):
            chosen = _select_images().where(
                images.c.generation.in_(generation_ids[start : start + _AT_ONCE])
            )
            rows = connection.execute(chosen).all()
            wanted = [row for row in rows if image_uid(row.generation, row.number) in parts]
            by_uid |= {image.uid: image for image in _with_tags(connection, wanted)}
    return tuple(by_uid[uid] for uid in parts if uid in by_uid)


def find_keys_by_uid(connection: Connection, uids: Collection[str]) -> list[int]:
    """The keys of the images with these unique ids; unknown ones are left out."""
    wanted = {uid for uid in uids if ID.fullmatch(uid)}
    generation_ids = list({uid.rpartition(".")[0] for uid in wanted})
    keys: list[int] = []
    for start in range(0, len(generation_ids), _AT_ONCE):
        columns = images.c.id, images.c.generation, images.c.number
        some = images.c.generation.in_(generation_ids[start : start + _AT_ONCE])
        rows = connection.execute(select(*columns).where(some))
        keys += [row.id for row in rows if image_uid(row.generation, row.number) in wanted]
    return keys


def find_images_by_key(library: Library, keys: Collection[int]) -> dict[int, LibraryImage]:
    """The images with these keys, by key."""
    some = list(keys)
    found: dict[int, LibraryImage] = {}
    with library.reading() as connection:
        for start in range(0, len(some), _AT_ONCE):
            chosen = _select_images().where(images.c.id.in_(some[start : start + _AT_ONCE]))
            rows = connection.execute(chosen).all()
            found |= {image.key: image for image in _with_tags(connection, rows)}
    return found


def find_image_at(library: Library, path: Path) -> LibraryImage | None:
    """The newest image whose file the library has at this path of this machine."""
    is_there = images.c.path == stored_path(path), images.c.host == host_name()
    chosen = _select_images().where(*is_there).order_by(images.c.id.desc()).limit(1)
    with library.reading() as connection:
        found = _with_tags(connection, connection.execute(chosen).all())
    return found[0] if found else None


def _the_only(found: Sequence[LibraryImage], word: str) -> LibraryImage:
    if not found:
        name = one_line(word, limit=80)
        if (back := count_back(word)) is not None:
            raise NotFound(
                f"There is no {name}: the library holds fewer images."
                if back
                else "There is no last image: the library is empty."
            )
        raise NotFound(
            f"Image {name!r} was not found in the library, and there is no such file.",
            remedy="List images and their IDs with: imagen history",
        )
    if len({image.generation for image in found}) > 1:
        raise _ambiguous(word, [(image.generation, image.prompt) for image in found])
    return found[0]


def images_of(library: Library, generation: str) -> tuple[LibraryImage, ...]:
    """All images of a generation, in order."""
    chosen = _select_images().where(images.c.generation == generation).order_by(images.c.number)
    with library.reading() as connection:
        return _with_tags(connection, connection.execute(chosen).all())


def images_of_each(library: Library, generations: Sequence[str]) -> dict[str, list[LibraryImage]]:
    """The images of each of these generations, in order."""
    return _group_images(library, images.c.generation, generations)


def images_with_bytes(library: Library, digests: Sequence[str]) -> dict[str, list[LibraryImage]]:
    """The images whose files have one of these SHA-256 hashes, by hash, oldest first."""
    return _group_images(library, images.c.sha256, digests)


def _group_images(
    library: Library, column: ColumnElement[str], values: Sequence[str]
) -> dict[str, list[LibraryImage]]:
    name = str(column.key)
    found: dict[str, list[LibraryImage]] = {value: [] for value in values}
    chosen = _select_images().order_by(images.c.id)
    with library.reading() as connection:
        for first in range(0, len(values), _AT_ONCE):
            some = chosen.where(column.in_(values[first : first + _AT_ONCE]))
            for image in _with_tags(connection, connection.execute(some).all()):
                found[getattr(image, name)].append(image)
    return found


class ImagePath(NamedTuple):
    """Where an image was saved."""

    path: Path
    is_here: bool
    """Whether this is the machine on which it was saved."""


def paths_of(library: Library, generations: Sequence[str]) -> dict[str, list[ImagePath]]:
    """The places of all images of each generation; none for an unknown one."""
    found: dict[str, list[ImagePath]] = {generation: [] for generation in generations}
    columns = images.c.generation, images.c.path, images.c.host
    chosen = select(*columns).order_by(images.c.number)
    with library.reading() as connection:
        for first in range(0, len(generations), _AT_ONCE):
            some = images.c.generation.in_(generations[first : first + _AT_ONCE])
            for generation, path, host in connection.execute(chosen.where(some)):
                found[generation].append(ImagePath(path_of(path), host == host_name()))
    return found


def _find_by_file(connection: Connection, word: str) -> Sequence[Row[Any]]:
    """By content, or by path if the file was changed; the newest of several."""
    try:
        digest = file_sha256(Path(word))
    except OSError as error:
        name = one_line(word, limit=80)
        raise OutputError(f"{name} cannot be read: {error.strerror or error}.") from error
    is_here = and_(images.c.path == stored_path(Path(word)), images.c.host == host_name())
    is_same = images.c.sha256 == digest
    for condition in (and_(is_same, is_here), is_same, is_here):
        chosen = _select_images().where(condition).order_by(images.c.id.desc()).limit(1)
        if found := connection.execute(chosen).all():
            return found
    return ()


def _find_by_id(connection: Connection, word: str) -> Sequence[Row[Any]]:
    newest = _select_images().order_by(images.c.id.desc())
    back = count_back(word)
    if back is not None:
        chosen = newest.where(images.c.trashed_ms.is_(None)).limit(1).offset(back)
        return connection.execute(chosen).all()
    match = ID.fullmatch(word.strip().lower())
    if match is None:  # the path from which an image was moved to the trash
        was_here = images.c.trashed_from == stored_path(Path(word))
        is_trashed = images.c.trashed_ms.is_not(None), images.c.host == host_name()
        return connection.execute(newest.where(*is_trashed, was_here).limit(1)).all()
    beginning, number = match[1], int(match[2] or 1) - 1
    within = images.c.generation.between(beginning, beginning + "g")
    chosen = newest.where(within, images.c.number == number).limit(_CANDIDATES)
    return connection.execute(chosen).all()


def _ambiguous(word: str, found: Sequence[tuple[str, str]]) -> RequestError:
    ids = "\n".join(f"{id}  {one_line(prompt, limit=60)}" for id, prompt in found)
    return RequestError(f"{word!r} matches several; type more of it:\n{ids}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedGeneration:
    """One failed generation."""

    generation: str
    created: datetime
    backend: str
    model: str
    prompt: str
    code: str
    """The code of the error."""
    message: str
    caller: str

    @property
    def id(self) -> str:
        """The short ID: `5b6c8e5e`."""
        return short_id(self.generation, 0)


class FailuresPage(NamedTuple):
    """Some failed generations, and where the next page begins."""

    failures: tuple[FailedGeneration, ...]
    after: FailedGeneration | None
    """The `after` of the next page; None if this is the last."""


def search_failures(
    library: Library, query: Query, after: FailedGeneration | None = None, limit: int = 50
) -> FailuresPage:
    """The newest failed generations that match, of those older than `after`.

    What images are marked with, their size and the trash do not apply to them. Raises RequestError
    for a text without a word to search for; LibraryError.
    """
    terms = fulltext.parse_query(query.text)
    statement = _select_failures().execution_options(yield_per=100)
    created = generations.c.created_ms
    if query.backend is not None:
        statement = statement.where(generations.c.backend == query.backend)
    if query.models:
        statement = statement.where(generations.c.model.in_(query.models))
    if query.since is not None:
        statement = statement.where(created >= milliseconds(query.since))
    if query.until is not None:
        statement = statement.where(created < milliseconds(query.until))
    if after is not None:
        moment = milliseconds(after.created)
        same = and_(created == moment, generations.c.id < after.generation)
        statement = statement.where(created <= moment, or_(created < moment, same))
    with library.reading() as connection, connection.execute(statement) as rows:
        matching = (row for row in rows if fulltext.is_match(row.prompt, terms))
        page = tuple(map(_failure, islice(matching, limit + 1)))
    return FailuresPage(page[:limit], page[limit - 1] if len(page) > limit else None)


def _select_failures() -> Select[Any]:
    order = generations.c.created_ms.desc(), generations.c.id.desc()
    return select(generations).where(_FAILED).order_by(*order)


def find_failure(library: Library, word: str) -> FailedGeneration:
    """The failed generation with this ID or beginning of its id; `last` is the newest.

    Raises RequestError if there is none, or several match.
    """
    beginning, back = word.strip().lower(), count_back(word)
    if back is not None:
        chosen = _select_failures().limit(1).offset(back)
    else:
        within = generations.c.id.between(beginning, f"{beginning}g")
        chosen = _select_failures().where(within).limit(_CANDIDATES)
    with library.reading() as connection:
        rows = connection.execute(chosen).all() if is_id(word) else ()
    if not rows:
        raise RequestError(
            f"Failed generation {one_line(word, limit=80)!r} was not found.",
            remedy="List failed generations and their IDs with: imagen history --failed",
        )
    if len(rows) > 1:
        raise _ambiguous(word, [(row.id, row.prompt) for row in rows])
    return _failure(rows[0])


def _failure(row: Row[Any]) -> FailedGeneration:
    error = row.error or {}
    return FailedGeneration(
        generation=row.id,
        created=datetime_of(row.created_ms),
        backend=row.backend,
        model=row.model,
        prompt=row.prompt,
        code=error.get("code", ""),
        message=error.get("message", ""),
        caller=row.caller,
    )
