"""The clock of the library's database: the one that all of its workers agree on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy import Connection

_POSTGRES = text("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)")


def now_ms(connection: Connection) -> int:
    """Milliseconds since 1970. An SQLite file is on this machine, so it is this machine's time."""
    if connection.dialect.name == "sqlite":
        return round(time.time() * 1000)
    return int(connection.execute(_POSTGRES).scalar_one())
