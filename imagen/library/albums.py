"""Albums of images, and saved views: filters of the gallery under a name."""

from __future__ import annotations

import json
import time
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from sqlalchemy import delete, func, insert, select, text, update

from imagen.core.ids import image_uid
from imagen.core.text import did_you_mean, one_line, printable
from imagen.errors import NotFound, RequestError
from imagen.library.events import insert_events, insert_image_events
from imagen.library.schema import (
    album_images,
    albums,
    datetime_of,
    images,
    saved_views,
    stored_text,
)
from imagen.library.search import find_images_by_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Table

    from imagen.library.database import Library
    from imagen.library.events import EventKind
    from imagen.library.search import LibraryImage

_MAX_NAME_LENGTH = 100
_MOST = 1000
"""Albums of a library, and saved views."""
_MAX_FILTERS_LENGTH = 10_000
_BATCH = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Album:
    """An album, with what a list of albums shows of it."""

    id: str
    name: str
    created: datetime
    images: int
    """How many of its images are not in the trash."""
    cover: LibraryImage | None
    """The newest of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedView:
    """Filters of the gallery under a name."""

    id: str
    name: str
    filters: Mapping[str, str]
    created: datetime


def list_albums(library: Library, only: str | None = None) -> tuple[Album, ...]:
    """All albums by name, or the one with this id."""
    is_shown = images.c.trashed_ms.is_(None)
    counts = (
        select(
            album_images.c.album,
            func.count().label("many"),
            func.max(album_images.c.image).label("cover"),
        )
        .join(images, images.c.id == album_images.c.image)
        .where(is_shown, *([] if only is None else [album_images.c.album == only]))
        .group_by(album_images.c.album)
        .subquery()
    )
    chosen = select(albums, counts.c.many, counts.c.cover).outerjoin(
        counts, counts.c.album == albums.c.id
    )
    if only is not None:
        chosen = chosen.where(albums.c.id == only)
    with library.reading() as connection:
        rows = connection.execute(chosen).all()
    covers = find_images_by_key(library, [row.cover for row in rows if row.cover is not None])
    found = (
        Album(
            id=row.id,
            name=row.name,
            created=datetime_of(row.created_ms),
            images=row.many or 0,
            cover=covers.get(row.cover),
        )
        for row in rows
    )
    return tuple(sorted(found, key=lambda album: album.name.casefold()))


def find_album(library: Library, word: str) -> Album:
    """The album with this id or name. Raises NotFound."""
    with library.reading() as connection:
        names = {name: id for id, name in connection.execute(select(albums.c.id, albums.c.name))}
    id = word if word in names.values() else names.get(word)
    found = list_albums(library, id) if id is not None else ()
    if not found:
        name = one_line(word, limit=80)
        raise NotFound(f"There is no album {name!r}.{did_you_mean(word, names)}")
    return found[0]


def create_album(library: Library, name: str) -> Album:
    """Create an empty album. Raises RequestError for a name that is invalid or taken."""
    with library.writing() as connection:
        id = _insert(connection, albums, name, {})
        _note(connection, "albums_changed")
    return list_albums(library, id)[0]


def rename_album(library: Library, id: str, name: str) -> Album:
    """Rename an album. Raises NotFound; RequestError for a name that is invalid or taken."""
    with library.writing() as connection:
        _rename(connection, albums, id, name)
        _note(connection, "albums_changed")
    return list_albums(library, id)[0]


def delete_album(library: Library, id: str) -> None:
    """Delete an album; its images stay. Raises NotFound."""
    with library.writing() as connection:
        is_in = album_images.c.album == id
        chosen = select(images.c.generation, images.c.number).join(
            album_images, album_images.c.image == images.c.id
        )
        uids = [image_uid(*row) for row in connection.execute(chosen.where(is_in))]
        connection.execute(delete(album_images).where(is_in))
        _delete(connection, albums, id)
        _note(connection, "albums_changed")
        insert_image_events(connection, "images_changed", uids)


def change_album(
    library: Library,
    id: str,
    *,
    add: Sequence[LibraryImage] = (),
    remove: Sequence[LibraryImage] = (),
) -> Album:
    """Add images to an album and take others out. Raises NotFound."""
    with library.writing() as connection:
        _require(connection, albums, id)
        for start in range(0, len(remove), _BATCH):
            keys = [image.key for image in remove[start : start + _BATCH]]
            is_there = album_images.c.album == id, album_images.c.image.in_(keys)
            connection.execute(delete(album_images).where(*is_there))
        if add:
            connection.execute(
                text(
                    "INSERT INTO album_images (album, image) VALUES (:album, :image) "
                    "ON CONFLICT DO NOTHING"
                ),
                [{"album": id, "image": image.key} for image in add],
            )
        _note(connection, "albums_changed")
        insert_image_events(connection, "images_changed", [one.uid for one in (*add, *remove)])
    return list_albums(library, id)[0]


def list_saved_views(library: Library) -> tuple[SavedView, ...]:
    """All saved views, by name."""
    with library.reading() as connection:
        rows = connection.execute(select(saved_views)).all()
    found = (
        SavedView(
            id=row.id, name=row.name, filters=row.filters, created=datetime_of(row.created_ms)
        )
        for row in rows
    )
    return tuple(sorted(found, key=lambda view: view.name.casefold()))


def save_view(library: Library, name: str, filters: Mapping[str, str]) -> SavedView:
    """Save filters under a name; those that had the name before are replaced.

    Raises RequestError for an invalid name, or filters that are too long.
    """
    if len(json.dumps(dict(filters))) > _MAX_FILTERS_LENGTH:
        raise RequestError("The filters are too long to be saved.")
    stored = {stored_text(key): stored_text(value) for key, value in filters.items()}
    with library.writing() as connection:
        is_same = saved_views.c.name == parse_name(name)
        connection.execute(delete(saved_views).where(is_same))
        id = _insert(connection, saved_views, name, {"filters": stored})
        _note(connection, "views_changed")
    return next(view for view in list_saved_views(library) if view.id == id)


def rename_view(library: Library, id: str, name: str) -> SavedView:
    """Rename a saved view. Raises NotFound; RequestError for a name that is invalid or taken."""
    with library.writing() as connection:
        _rename(connection, saved_views, id, name)
        _note(connection, "views_changed")
    return next(view for view in list_saved_views(library) if view.id == id)


def delete_view(library: Library, id: str) -> None:
    """Delete a saved view. Raises NotFound."""
    with library.writing() as connection:
        _delete(connection, saved_views, id)
        _note(connection, "views_changed")


def parse_name(text: str) -> str:
    """The name of an album or a view as it is stored. Raises RequestError if it is invalid."""
    name = unicodedata.normalize("NFC", " ".join(text.split()))
    if not name or printable(name) != name or len(name) > _MAX_NAME_LENGTH:
        raise RequestError(
            f"{one_line(text, limit=80)!r} is not a valid name: expected 1 to {_MAX_NAME_LENGTH} "
            "characters."
        )
    return name


def _insert(connection: Connection, table: Table, name: str, values: Mapping[str, Any]) -> str:
    known = parse_name(name)
    _require_free(connection, table, known)
    count = connection.execute(select(func.count()).select_from(table)).scalar_one()
    if count >= _MOST:
        raise RequestError(f"A library holds at most {_MOST} albums and {_MOST} saved views.")
    id = str(uuid4())
    row = {"id": id, "name": known, "created_ms": round(time.time() * 1000), **values}
    connection.execute(insert(table).values(row))
    return id


def _rename(connection: Connection, table: Table, id: str, name: str) -> None:
    _require(connection, table, id)
    known = parse_name(name)
    _require_free(connection, table, known, but=id)
    connection.execute(update(table).where(table.c.id == id).values(name=known))


def _delete(connection: Connection, table: Table, id: str) -> None:
    _require(connection, table, id)
    connection.execute(delete(table).where(table.c.id == id))


def _require(connection: Connection, table: Table, id: str) -> None:
    if connection.execute(select(table.c.id).where(table.c.id == stored_text(id))).first() is None:
        what = "album" if table is albums else "saved view"
        raise NotFound(f"There is no {what} with the id {one_line(id, limit=80)!r}.")


def _require_free(connection: Connection, table: Table, name: str, but: str = "") -> None:
    same = select(table.c.id).where(table.c.name == name, table.c.id != but)
    if connection.execute(same).first() is not None:
        what = "an album" if table is albums else "a saved view"
        raise RequestError(f"There is {what} {name!r} already.")


def _note(connection: Connection, kind: EventKind) -> None:
    """Write that the albums or the views have changed."""
    now = round(time.time() * 1000)
    insert_events(connection, [{"job": "", "at_ms": now, "kind": kind, "data": {}}])
