"""What people do with pictures: tags, ratings, the trash."""

from __future__ import annotations

import os
import platform
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select, text, update

from imagen.errors import LibraryError, RequestError
from imagen.library.schema import generations, images, tags, thumbnails

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection

    from imagen.library.opening import Library
    from imagen.library.pictures import Picture

MOST_STARS = 5
_LONGEST_TAG = 100


def tag(
    library: Library,
    pictures: Sequence[Picture],
    *,
    add: Iterable[str] = (),
    remove: Iterable[str] = (),
) -> None:
    """Give the pictures these tags, and take those away; raises RequestError for what is no tag."""
    given, taken = list(map(tag_of, add)), list(map(tag_of, remove))
    keys = [picture.key for picture in pictures]
    with library.writing() as connection:
        connection.execute(
            delete(tags).where(tags.c.image.in_(keys), tags.c.tag.in_({*given, *taken}))
        )
        new = [{"tag": name, "image": key} for name in dict.fromkeys(given) for key in keys]
        if new:
            connection.execute(insert(tags), new)


def tag_of(text: str) -> str:
    """A tag as it is kept: lower-case, single spaces. Raises RequestError for what is none."""
    name = " ".join(text.lower().split())
    if not name or "," in name or not name.isprintable() or len(name) > _LONGEST_TAG:
        raise RequestError(
            f"{text!r} can't be a tag: it must be a word or a few, without a comma, of at most "
            f"{_LONGEST_TAG} characters."
        )
    return name


def rate(library: Library, pictures: Sequence[Picture], stars: int | None) -> None:
    """Give the pictures so many stars, 1 to 5; None takes them away. Raises RequestError."""
    if stars is not None and not 1 <= stars <= MOST_STARS:
        raise RequestError(f"A rating is 1 to {MOST_STARS}, not {stars}.")
    _set(library, pictures, rating=stars)


def trash(library: Library, pictures: Sequence[Picture]) -> None:
    """Put the pictures into the trash: their files stay, and they are listed no more."""
    _set(library, pictures, trashed_ms=round(time.time() * 1000))


def untrash(library: Library, pictures: Sequence[Picture]) -> None:
    """Take the pictures out of the trash again."""
    _set(library, pictures, trashed_ms=None)


def _set(library: Library, pictures: Sequence[Picture], **values: int | None) -> None:
    keys = [picture.key for picture in pictures]
    with library.writing() as connection:
        connection.execute(update(images).where(images.c.id.in_(keys)).values(**values))


def purge(library: Library, pictures: Sequence[Picture]) -> None:
    """Delete the pictures: their files and sidecars, and what the library has of them.

    The ledger stays. Raises RequestError for a picture that is not in the trash or lies on another
    machine, before anything is deleted; LibraryError for a file that can't be deleted.
    """
    for picture in pictures:
        _refuse_unpurgeable(picture)
    for picture in pictures:
        with library.writing() as connection:
            _forget(connection, picture)
            _delete_files(picture)  # if that fails, the rows stay


def _refuse_unpurgeable(picture: Picture) -> None:
    if not picture.is_trashed:
        raise RequestError(
            f"{picture.id} is not in the trash.", remedy=f"First: imagen rm {picture.id}"
        )
    if picture.host != platform.node():
        raise RequestError(
            f"{picture.id} lies on the machine {picture.host!r}, and can be purged only there."
        )


def _forget(connection: Connection, picture: Picture) -> None:
    key = picture.key
    connection.execute(delete(tags).where(tags.c.image == key))
    connection.execute(delete(thumbnails).where(thumbnails.c.image == key))
    connection.execute(text("DELETE FROM prompts WHERE rowid = :key"), {"key": key})
    connection.execute(delete(images).where(images.c.id == key))
    others = select(images.c.id).where(images.c.generation == picture.generation)
    if connection.execute(others).first() is None:
        connection.execute(delete(generations).where(generations.c.id == picture.generation))


def _delete_files(picture: Picture) -> None:
    for path in (picture.sidecar, picture.path):
        if path is None:
            continue
        try:
            with suppress(FileNotFoundError):
                os.unlink(path)
        except OSError as error:
            raise LibraryError(
                f"{path} can't be deleted: {error.strerror or error}. It stays in the trash."
            ) from error
