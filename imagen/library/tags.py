"""Tags and ratings of images."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Literal

from sqlalchemy import delete, func, select, text, update

from imagen.core.text import printable
from imagen.errors import RequestError
from imagen.library.events import insert_image_events
from imagen.library.schema import images, tags

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from imagen.library.database import Library
    from imagen.library.search import LibraryImage

MAX_STARS = 5
_MAX_TAG_LENGTH = 100
_BATCH = 1000


def change_tags(
    library: Library,
    marked: Sequence[LibraryImage],
    *,
    add: Iterable[str] = (),
    remove: Iterable[str] = (),
) -> None:
    """Add tags to images and remove others. Raises RequestError for an invalid tag."""
    added, removed = list(map(parse_tag, add)), list(map(parse_tag, remove))
    with library.writing() as connection:
        for keys in _batches(marked):
            present = tags.c.image.in_(keys), tags.c.tag.in_(removed)
            connection.execute(delete(tags).where(*present))
            if rows := [{"tag": name, "image": key} for name in added for key in keys]:
                connection.execute(
                    text(
                        "INSERT INTO tags (tag, image) VALUES (:tag, :image) ON CONFLICT DO NOTHING"
                    ),
                    rows,
                )
        if added or removed:
            insert_image_events(connection, "images_changed", [image.uid for image in marked])


def parse_tag(text: str) -> str:
    """A tag as it is stored: lower case, single spaces. Raises RequestError if it is invalid."""
    name = unicodedata.normalize("NFC", " ".join(text.lower().split()))
    if not name or "," in name or printable(name) != name or len(name) > _MAX_TAG_LENGTH:
        raise RequestError(
            f"{text!r} is not a valid tag: expected one or more words without a comma, at most "
            f"{_MAX_TAG_LENGTH} characters."
        )
    return name


def count_values(
    library: Library, what: Literal["backend", "model", "rating", "tag"]
) -> dict[str, int]:
    """How many images outside the trash there are of each backend, model, rating or tag."""
    column = tags.c.tag if what == "tag" else images.c[what]
    key = tags.c.image if what == "tag" else images.c.id
    chosen = select(column, func.count()).where(column.is_not(None)).group_by(column)
    trashed = chosen.where(key.in_(select(images.c.id).where(images.c.trashed_ms.is_not(None))))
    with library.reading() as connection:
        counts = {str(value): count for value, count in connection.execute(chosen)}
        for value, count in connection.execute(trashed):  # few
            counts[str(value)] -= count
    return {value: count for value, count in sorted(counts.items()) if count}


def set_rating(library: Library, rated: Sequence[LibraryImage], stars: int | None) -> None:
    """Rate images with 1 to 5 stars; None removes the rating. Raises RequestError."""
    if stars is not None and not 1 <= stars <= MAX_STARS:
        raise RequestError(f"A rating is 1 to {MAX_STARS}, not {stars}.")
    with library.writing() as connection:
        for keys in _batches(rated):
            connection.execute(update(images).where(images.c.id.in_(keys)).values(rating=stars))
        insert_image_events(connection, "images_changed", [image.uid for image in rated])


def _batches(marked: Sequence[LibraryImage]) -> Iterator[list[int]]:
    """Their keys without duplicates, as many at a time as one statement may hold."""
    keys = list(dict.fromkeys(image.key for image in marked))
    for start in range(0, len(keys), _BATCH):
        yield keys[start : start + _BATCH]
