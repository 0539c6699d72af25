"""What people do with pictures: tags, ratings, the trash."""

from __future__ import annotations

import os
import platform
import time
import unicodedata
from contextlib import suppress
from typing import TYPE_CHECKING

from sqlalchemy import delete, select, text, update

from imagen.core.filesystem import file_sha256
from imagen.core.text import printable
from imagen.errors import LibraryError, RequestError
from imagen.library.schema import images, tags
from imagen.library.stored_values import stored_path
from imagen.library.write import delete_image

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from sqlalchemy import Connection

    from imagen.library.database import Library
    from imagen.library.search import LibraryImage

MOST_STARS = 5
_LONGEST_TAG = 100
_BATCH = 1000


def change_tags(
    library: Library,
    pictures: Sequence[LibraryImage],
    *,
    add: Iterable[str] = (),
    remove: Iterable[str] = (),
) -> None:
    """Give the pictures these tags, and take those away; raises RequestError for what is no tag."""
    given, taken = list(map(parse_tag, add)), list(map(parse_tag, remove))
    with library.writing() as connection:
        for keys in _batches(pictures):
            its = tags.c.image.in_(keys), tags.c.tag.in_(taken)
            connection.execute(delete(tags).where(*its))
            _give(connection, given, keys)


def _give(connection: Connection, given: Sequence[str], keys: Sequence[int]) -> None:
    rows = [{"tag": name, "image": key} for name in given for key in keys]
    if rows:
        statement = "INSERT INTO tags (tag, image) VALUES (:tag, :image) ON CONFLICT DO NOTHING"
        connection.execute(text(statement), rows)


def parse_tag(text: str) -> str:
    """A tag as it is kept: lower-case, single spaces. Raises RequestError for what is none."""
    name = unicodedata.normalize("NFC", " ".join(text.lower().split()))
    if not name or "," in name or printable(name) != name or len(name) > _LONGEST_TAG:
        raise RequestError(
            f"{text!r} can't be a tag: it must be a word or a few, without a comma, of at most "
            f"{_LONGEST_TAG} characters."
        )
    return name


def set_rating(library: Library, pictures: Sequence[LibraryImage], stars: int | None) -> None:
    """Give the pictures so many stars, 1 to 5; None takes them away. Raises RequestError."""
    if stars is not None and not 1 <= stars <= MOST_STARS:
        raise RequestError(f"A rating is 1 to {MOST_STARS}, not {stars}.")
    _set(library, pictures, rating=stars)


def trash(library: Library, pictures: Sequence[LibraryImage]) -> None:
    """Put the pictures into the trash: their files stay, and they are listed no more."""
    _set(library, pictures, trashed_ms=round(time.time() * 1000))


def untrash(library: Library, pictures: Sequence[LibraryImage]) -> None:
    """Take the pictures out of the trash again."""
    _set(library, pictures, trashed_ms=None)


def _set(library: Library, pictures: Sequence[LibraryImage], **values: int | None) -> None:
    with library.writing() as connection:
        for keys in _batches(pictures):
            connection.execute(update(images).where(images.c.id.in_(keys)).values(**values))


def _batches(pictures: Sequence[LibraryImage]) -> Iterator[list[int]]:
    """Their numbers, each once, as many at a time as a statement may hold."""
    keys = list(dict.fromkeys(picture.key for picture in pictures))
    for start in range(0, len(keys), _BATCH):
        yield keys[start : start + _BATCH]


def purge(library: Library, pictures: Sequence[LibraryImage]) -> list[Path]:
    """Delete the pictures: their files and sidecars, and what the library has of them.

    The ledger stays. So does a file that holds something else by now, or is another picture's too:
    these are given back. Raises RequestError for a picture that is not in the trash or lies on
    another machine, before anything is deleted; LibraryError for a file that can't be deleted.
    """
    wanted = list({picture.key: picture for picture in pictures}.values())
    for picture in wanted:
        _refuse_unpurgeable(picture)
    kept: list[Path] = []
    for picture in wanted:
        with library.writing() as connection:
            delete_image(connection, picture.key)
            if _is_its_own(connection, picture):
                _delete_files(picture)  # if that fails, the rows stay
            elif os.path.exists(picture.path):
                kept.append(picture.path)
    return kept


def _refuse_unpurgeable(picture: LibraryImage) -> None:
    if not picture.is_trashed:
        raise RequestError(
            f"{picture.id} is not in the trash.", remedy=f"First: imagen rm {picture.id}"
        )
    if not is_here(picture):
        raise RequestError(
            f"{picture.id} lies on the machine {picture.host!r}, and can be purged only there."
        )


def is_here(picture: LibraryImage) -> bool:
    """Whether its file is one of this machine, which may have had another name then."""
    return picture.host == platform.node() or _content(picture.path) == picture.sha256


def _is_its_own(connection: Connection, picture: LibraryImage) -> bool:
    """Whether what lies at its path is this picture still, or nothing, and no other's."""
    same = images.c.path == stored_path(picture.path), images.c.host == picture.host
    if connection.execute(select(images.c.id).where(*same)).first() is not None:
        return False
    return _content(picture.path) in (None, picture.sha256)


def _content(path: Path) -> str | None:
    """The hash of the file there; None where there is none. Raises LibraryError."""
    try:
        return file_sha256(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LibraryError(f"{path} can't be read: {error.strerror or error}.") from error


def _delete_files(picture: LibraryImage) -> None:
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
