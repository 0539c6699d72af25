"""A library of version 1, as commit 15ce88b made it: two foxes, two owls, and a failure."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import create_engine, make_url, text

from imagen.library.fulltext import postgres_vector

if TYPE_CHECKING:
    from collections.abc import Iterator

_DUMP = Path(__file__).parents[1] / "library" / "library_v1.sql"
"""Dumped from SQLite, with other paths, another host and without its thumbnails' bytes."""
_POSTGRES_TYPES = {
    r"TABLE images \(id INTEGER": "TABLE images (id BIGINT",
    r"TABLE thumbnails \(image INTEGER": "TABLE thumbnails (image BIGINT",
    r"TABLE outbox \(id INTEGER NOT NULL": "TABLE outbox (id SERIAL NOT NULL",
    r"\bBLOB\b": "BYTEA",
    r"\bFLOAT\b": "DOUBLE PRECISION",
    r"X'(\w+)'": r"'\\x\1'",
}


def make_old_library(url: str) -> None:
    """Make the library of version 1 in this file or PostgreSQL database."""
    script = _DUMP.read_text(encoding="utf-8")
    if "://" not in url:
        with sqlite3.connect(url) as connection:
            connection.executescript(script)
        return
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    with engine.begin() as transaction:
        transaction.execute(text("CREATE SCHEMA imagen_library"))
        transaction.execute(text("SET LOCAL search_path TO imagen_library"))
        for statement in _postgres_statements(script):
            transaction.exec_driver_sql(statement)
    engine.dispose()


def _postgres_statements(script: str) -> Iterator[str]:
    """The same in PostgreSQL's types; tables that others refer to come first."""
    for pattern, replacement in _POSTGRES_TYPES.items():
        script = re.sub(pattern, replacement, script)
    for line in script.splitlines():
        if line.startswith("CREATE VIRTUAL TABLE"):
            yield (
                "CREATE TABLE prompts (rowid BIGINT PRIMARY KEY "
                "REFERENCES images (id) ON DELETE CASCADE, words TSVECTOR NOT NULL)"
            )
            yield "CREATE INDEX prompts_by_word ON prompts USING gin (words)"
        elif words := re.fullmatch(r"INSERT INTO prompts .*VALUES\((\d+),'(.*)'\);", line):
            vector = postgres_vector(words[2].split()).replace("'", "''")
            yield f"INSERT INTO prompts (rowid, words) VALUES ({words[1]}, '{vector}')"
        elif not line.startswith(("--", "BEGIN", "COMMIT")):
            yield line.removesuffix(";").replace("%", "%%")
