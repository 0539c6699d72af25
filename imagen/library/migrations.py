"""How a library of any version becomes one of this version; each step is run once, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import insert, inspect, select, text, update

from imagen.errors import LibraryError
from imagen.library.schema import PARTIAL_INDEXES, metadata, outbox, version
from imagen.library.stored_values import stored_url

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection

    Step = Callable[[Connection], None]


# Words come cut already, with blanks between them: the other tokenizers have an older Unicode than
# Python's, and would cut them again. Beginnings that many words have get lists of their own.
_FTS5 = "CREATE VIRTUAL TABLE prompts USING fts5(words, tokenize='ascii', prefix='1 2 3 4 5')"


def _first(connection: Connection) -> None:
    """All tables, and the words of the prompts, which each database keeps in its own way."""
    metadata.create_all(connection)
    for statement in PARTIAL_INDEXES:
        connection.execute(text(statement))
    if connection.dialect.name == "sqlite":
        connection.execute(text(_FTS5))
        return
    connection.execute(
        text(
            "CREATE TABLE prompts (rowid BIGINT PRIMARY KEY "
            "REFERENCES images (id) ON DELETE CASCADE, words TSVECTOR NOT NULL)"
        )
    )
    connection.execute(text("CREATE INDEX prompts_by_word ON prompts USING gin (words)"))


def _second(connection: Connection) -> None:
    """Addresses of webhooks, which may hold secrets, are not kept whole any more."""
    if connection.dialect.name == "sqlite":
        connection.execute(text("PRAGMA secure_delete = ON"))  # or the file would still hold them
    kept = select(outbox.c.destination).where(outbox.c.kind == "webhook").distinct()
    for url in connection.scalars(kept).all():
        same = update(outbox).where(outbox.c.kind == "webhook", outbox.c.destination == url)
        connection.execute(same.values(destination=stored_url(url)))


PATIENCE_SECONDS = 30
"""How long a writer waits for another one."""
STEPS: tuple[Step, ...] = (_first, _second)
"""Step n makes version n out of version n-1. A step that was ever released is never changed."""


def version_of(connection: Connection) -> int:
    """The version of the library there; 0 where there is nothing yet.

    Raises LibraryError where something else lies there.
    """
    names = set(inspect(connection).get_table_names())
    if version.name in names:
        return connection.execute(select(version.c.version)).scalar() or 0
    if names:
        raise LibraryError(
            "There are tables that are not imagen's. They were left as they are.",
            remedy="Name another file or database in library.url, or in IMAGEN_LIBRARY.",
        )
    return 0


def refuse_newer(found: int, steps: Sequence[Step] = STEPS) -> None:
    """Raises LibraryError for a library that this imagen can't know."""
    if found > len(steps):
        raise LibraryError(
            f"The library was made by a newer imagen: its version is {found}, and this one knows "
            f"up to {len(steps)}. It was left as it is.",
            remedy="Update imagen, or name another library in library.url or IMAGEN_LIBRARY.",
        )


def lock_for_writing(connection: Connection) -> None:
    """One at a time, up to the end of the transaction, as SQLite's own lock has it anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET LOCAL lock_timeout = '{PATIENCE_SECONDS}s'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(4922771)"))


def migrate(connection: Connection, steps: Sequence[Step] = STEPS) -> None:
    """Run the steps that the library lacks, all or none of them."""
    found = version_of(connection)
    refuse_newer(found, steps)
    for step in steps[found:]:
        step(connection)
    if found == 0:
        connection.execute(insert(version).values(version=len(steps)))
    elif found < len(steps):
        connection.execute(update(version).values(version=len(steps)))
