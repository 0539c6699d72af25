"""A binary index of many images, so that a gallery can lay all of them out at once.

docs/reference/image-index.md describes the format.
"""

from __future__ import annotations

import struct
import sys
from array import array
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, text

from imagen.library.schema import IMAGE_EVENTS, images
from imagen.library.search import find_keys_by_uid, select_matching

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from imagen.library.database import Library
    from imagen.library.search import Query

MAX_IMAGES = 1_000_000
_HEADER = struct.Struct("<4sHHqqII")
_MAGIC, _VERSION, _HAS_MORE = b"IMGX", 1, 1
_AT_ONCE = 10_000
_LONGEST_SIDE = 0xFFFF
_TRASHED, _MISSING = 0x08, 0x10
_FORMATS = {"image/png": 0x20, "image/jpeg": 0x40, "image/webp": 0x60, "image/avif": 0x80}


def read_revision(library: Library) -> str:
    """A text that is another one after each change of images."""
    last_event = text(f"SELECT max(seq) FROM events WHERE {IMAGE_EVENTS}")
    newest = text("SELECT max(id) FROM images")
    with library.reading() as connection:
        # Events of jobs go with their jobs, so the newest image says more than the last event.
        seq, key = connection.scalar(last_event) or 0, connection.scalar(newest) or 0
    return f"{seq}-{key:x}"


def build_index(
    library: Library,
    query: Query,
    after: int | None = None,
    limit: int = MAX_IMAGES,
    uids: Collection[str] | None = None,
) -> bytes:
    """The index of the newest images that match, of those older than the one with this key.

    With `uids`, only of these. Raises RequestError for a text without a word to search for;
    LibraryError.
    """
    keys, versions, widths, heights = array("q"), array("I"), array("H"), array("H")
    generations, flags = bytearray(), bytearray()
    with library.reading() as connection:
        if uids is None:
            newest = select_matching(connection, query, after, limit + 1).subquery()
        else:
            matching = select_matching(connection, query).subquery()
            chosen_keys = find_keys_by_uid(connection, uids)
            newest = select(matching).where(matching.c.id.in_(chosen_keys)).subquery()
        columns = (
            *(images.c.id, images.c.generation, images.c.sha256, images.c.width, images.c.height),
            *(images.c.rating, images.c.trashed_ms, images.c.missing_ms, images.c.media_type),
        )
        chosen = select(*columns).join(newest, newest.c.id == images.c.id)
        rows = connection.execute(chosen.order_by(newest.c.id.desc()))
        for some in rows.partitions(_AT_ONCE):
            ids, uuids, digests, wide, high, *marks = zip(*some, strict=True)
            keys.extend(ids)
            generations += bytes.fromhex("".join(uuids).replace("-", ""))
            versions.extend([int(digest[:8], 16) for digest in digests])
            widths.extend([min(side or 0, _LONGEST_SIDE) for side in wide])
            heights.extend([min(side or 0, _LONGEST_SIDE) for side in high])
            flags += bytes(_flags(marks))
    has_more = len(keys) > limit
    count = min(len(keys), limit)
    last = keys[count - 1] if count else 0
    header = _HEADER.pack(
        _MAGIC, _VERSION, _HAS_MORE if has_more else 0, last, keys[0] if count else 0, count, 0
    )
    columns_ = [_little_endian(keys[:count]), bytes(generations[: 16 * count])]
    columns_ += [_little_endian(numbers[:count]) for numbers in (versions, widths, heights)]
    return b"".join((header, *columns_, bytes(flags[:count])))


def _flags(columns: Sequence[Sequence[Any]]) -> Iterable[int]:
    for rating, trashed, missing, media_type in zip(*columns, strict=True):
        flag = (rating or 0) | _FORMATS.get(media_type, 0)
        if trashed is not None:
            flag |= _TRASHED
        if missing is not None:
            flag |= _MISSING
        yield flag


def _little_endian(numbers: array[int]) -> bytes:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()
