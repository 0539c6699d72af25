"""Events: what has changed in the library, in an order that every process sees alike."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from sqlalchemy import insert, text

from imagen.library.schema import events
from imagen.library.wakeup import notify

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from pydantic import JsonValue
    from sqlalchemy import Connection

EventKind = Literal[
    "state",
    "progress",
    "images_added",
    "images_changed",
    "images_removed",
    "albums_changed",
    "views_changed",
]
"""A job has another state, or has got further; images were added, marked, or moved to the trash
or out of it; images were deleted for good; the list of albums, or of saved views, is another."""
_LOCK = 4922772
_MOST_IMAGES = 500
"""Images in one event."""


class LibraryEvent(NamedTuple):
    """One change, as it is stored."""

    seq: int
    job: str
    """Empty if it is about no job."""
    at: datetime
    kind: EventKind
    data: Mapping[str, JsonValue]
    """Of images, `images` lists their unique ids."""


def insert_events(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write events, as the last thing of a transaction.

    No other transaction writes events until it is committed. So they become visible in the order of
    their numbers, and a reader that asks for what follows a number misses none.
    """
    if not rows:
        return
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
    connection.execute(insert(events), list(rows))
    notify(connection, "imagen_events")


def insert_image_events(connection: Connection, kind: EventKind, images: Sequence[str]) -> None:
    """Write that these images have changed, by their unique ids; the last thing, as above."""
    now = round(time.time() * 1000)
    some = (images[n : n + _MOST_IMAGES] for n in range(0, len(images), _MOST_IMAGES))
    rows = [{"job": "", "at_ms": now, "kind": kind, "data": {"images": [*ids]}} for ids in some]
    insert_events(connection, rows)
