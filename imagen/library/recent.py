"""The newest images, read from SQLite without SQLAlchemy, for the completion of a shell."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from typing import NamedTuple
from urllib.parse import quote

from imagen.core.ids import short_id

_PATIENCE_SECONDS = 0.2
_NEWEST = """
SELECT images.generation, images.number, generations.prompt
FROM images JOIN generations ON generations.id = images.generation
WHERE images.trashed_ms IS NULL ORDER BY images.id DESC LIMIT ?
"""


class RecentImage(NamedTuple):
    """An image for a list of completions."""

    id: str
    prompt: str


def recent_images(at: str, limit: int) -> list[RecentImage]:
    """The newest images of the library in this file.

    Empty for a library in PostgreSQL, or one that cannot be read at once.
    """
    if "://" in at or not os.path.isfile(at):
        return []
    address = f"file:{quote(os.path.abspath(at))}?mode=ro"
    with (
        suppress(sqlite3.Error),
        closing(sqlite3.connect(address, timeout=_PATIENCE_SECONDS, uri=True)) as connection,
    ):
        rows = connection.execute(_NEWEST, (limit,)).fetchall()
        return [RecentImage(short_id(id, number), prompt) for id, number, prompt in rows]
    return []
