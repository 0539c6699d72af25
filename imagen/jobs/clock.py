"""The clock of the library's database, on which all workers agree; and a stopwatch."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy import Connection

_POSTGRES = text("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)")


class Stopwatch:
    """How long ago something was.

    The monotonic clock stops while a computer sleeps, and the other one may be set: the one that
    has moved farther counts.
    """

    def __init__(self) -> None:
        self._began = time.monotonic(), time.time()

    @property
    def seconds(self) -> float:
        return max(time.monotonic() - self._began[0], time.time() - self._began[1])


def now_ms(connection: Connection) -> int:
    """Milliseconds since 1970. An SQLite file is on this machine, so it is this machine's time."""
    if connection.dialect.name == "sqlite":
        return round(time.time() * 1000)
    return int(connection.execute(_POSTGRES).scalar_one())
