"""Bring a library of any earlier version up to this one, step by step."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sqlalchemy import insert, inspect, select, text, update

from imagen.core.json_values import as_list, as_mapping, as_text
from imagen.errors import LibraryError
from imagen.library.schema import (
    ARENA_TABLES,
    EVENT_INDEX,
    FILTER_INDEXES,
    FILTER_TABLES,
    JOB_INDEXES,
    JOB_TABLES,
    PARTIAL_INDEXES,
    lora_names,
    loras,
    metadata,
    outbox,
    stored_url,
    tokens,
    version,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection

    Step = Callable[[Connection], None]

# Words are stored already split, as FTS5's other tokenizers have an older Unicode than Python and
# would split them again. The prefix indexes are for beginnings that many words share.
_FTS5 = "CREATE VIRTUAL TABLE prompts USING fts5(words, tokenize='ascii', prefix='1 2 3 4 5')"

_STORE_UNCOMPRESSED = "ALTER TABLE blobs ALTER COLUMN data SET STORAGE EXTERNAL"
"""Images are compressed already."""


def _create_tables(connection: Connection) -> None:
    """Create the tables of the current version; later steps find nothing left to change."""
    metadata.create_all(connection)
    for statement in (*PARTIAL_INDEXES, *FILTER_INDEXES, *JOB_INDEXES):
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
    connection.execute(text(_STORE_UNCOMPRESSED))


def _hash_webhook_urls(connection: Connection) -> None:
    """URLs of webhooks may hold secrets; version 1 stored them whole."""
    if connection.dialect.name == "sqlite":
        connection.execute(text("PRAGMA secure_delete = ON"))  # or the file would still hold them
    urls = select(outbox.c.destination).where(outbox.c.kind == "webhook").distinct()
    for url in connection.scalars(urls).all():
        same = update(outbox).where(outbox.c.kind == "webhook", outbox.c.destination == url)
        connection.execute(same.values(destination=stored_url(url)))


def _name_columns_plainly(connection: Connection) -> None:
    """Rename `began_ms` and `asked`, and make room for the path of an image in the trash."""
    columns = connection.execute(text("SELECT * FROM generations LIMIT 0")).keys()
    if "asked" not in columns:
        return
    for statement in (
        "DROP INDEX ix_generations_began_ms",  # no query used it
        "ALTER TABLE generations RENAME COLUMN began_ms TO created_ms",
        "ALTER TABLE generations RENAME COLUMN asked TO request",
        "ALTER TABLE images ADD COLUMN trashed_from TEXT",
    ):
        connection.execute(text(statement))


def _create_job_tables(connection: Connection) -> None:
    """Create the tables of the queue."""
    if inspect(connection).has_table("jobs"):
        return
    metadata.create_all(connection, tables=JOB_TABLES)
    for statement in JOB_INDEXES:
        connection.execute(text(statement))
    if connection.dialect.name == "postgresql":
        connection.execute(text(_STORE_UNCOMPRESSED))


def _add_tokens_and_events(connection: Connection) -> None:
    """Create the tokens of the server; the events of jobs are now those of the whole library."""
    if inspect(connection).has_table("job_events"):
        if inspect(connection).has_table("events"):  # created empty with the other tables
            connection.execute(text("DROP TABLE events"))
        connection.execute(text("ALTER TABLE job_events RENAME TO events"))
        connection.execute(text("DROP INDEX ix_job_events_job"))
        connection.execute(text("CREATE INDEX ix_events_job ON events (job)"))
        connection.execute(text(EVENT_INDEX.replace("INDEX", "INDEX IF NOT EXISTS", 1)))
    metadata.create_all(connection, tables=[tokens])


_LORAS_OF = {
    "sqlite": "SELECT images.id, json_extract(generations.ticket, '$.request.loras') AS loras "
    "FROM generations JOIN images ON images.generation = generations.id "
    "WHERE json_array_length(generations.ticket, '$.request.loras') > 0",
    "postgresql": "SELECT images.id, generations.ticket->'request'->'loras' AS loras "
    "FROM generations JOIN images ON images.generation = generations.id "
    "WHERE json_typeof(generations.ticket->'request'->'loras') = 'array'",
}
_COST_OF = (
    "UPDATE images SET cost = (SELECT CASE WHEN usage.is_paid = 0 THEN 0 "
    "ELSE coalesce(usage.actual_cost, usage.estimated_cost) / usage.images END "
    "FROM usage WHERE usage.generation = images.generation AND usage.images > 0)"
)


def _add_filters(connection: Connection) -> None:
    """Note the LoRAs and the cost of each image; create albums and saved views."""
    columns = {column["name"] for column in inspect(connection).get_columns("images")}
    if "cost" in columns:
        return
    metadata.create_all(connection, tables=FILTER_TABLES)
    connection.execute(text("ALTER TABLE images ADD COLUMN cost FLOAT"))
    connection.execute(text(_COST_OF))
    for statement in FILTER_INDEXES:
        connection.execute(text(statement))
    with connection.execute(text(_LORAS_OF[connection.dialect.name])) as found:
        rows = [
            {"image": key, "lora": name}
            for key, stored in found
            for value in [json.loads(stored) if isinstance(stored, str) else stored]
            for name in lora_names(as_text(as_mapping(one).get("name")) for one in as_list(value))
        ]
    if rows:
        connection.execute(insert(loras), rows)


def _add_arena(connection: Connection) -> None:
    """Create the tables of the arena."""
    metadata.create_all(connection, tables=ARENA_TABLES)


PATIENCE_SECONDS = 30
"""How long a writer waits for another one."""
STEPS: tuple[Step, ...] = (
    _create_tables,
    _hash_webhook_urls,
    _name_columns_plainly,
    _create_job_tables,
    _add_tokens_and_events,
    _add_filters,
    _add_arena,
)
"""Step n makes version n out of version n-1, and does nothing where that is done already."""


def version_of(connection: Connection) -> int:
    """The version of the library; 0 if the database is empty.

    Raises LibraryError if it holds something else.
    """
    names = set(inspect(connection).get_table_names())
    if version.name in names:
        return connection.execute(select(version.c.version)).scalar() or 0
    if names:
        raise LibraryError(
            "The database holds tables of another program. Nothing was changed.",
            remedy="Name another file or database in library.url or IMAGEN_LIBRARY.",
        )
    return 0


def refuse_newer(found: int, steps: Sequence[Step] = STEPS) -> None:
    """Raise LibraryError for the library of a newer imagen."""
    if found > len(steps):
        raise LibraryError(
            f"The library has version {found}, of a newer imagen; this one supports versions up to "
            f"{len(steps)}. Nothing was changed.",
            remedy="Update imagen, or name another library in library.url or IMAGEN_LIBRARY.",
        )


def lock_for_writing(connection: Connection) -> None:
    """Let one writer in at a time until the end of the transaction, as SQLite does by itself."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET LOCAL lock_timeout = '{PATIENCE_SECONDS}s'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(4922771)"))


def migrate(connection: Connection, steps: Sequence[Step] = STEPS) -> None:
    """Run the steps that the library lacks: all of them or none."""
    found = version_of(connection)
    refuse_newer(found, steps)
    for step in steps[found:]:
        step(connection)
    if found == 0:
        connection.execute(insert(version).values(version=len(steps)))
    elif found < len(steps):
        connection.execute(update(version).values(version=len(steps)))
