"""A library of version 1, as commit 15ce88b made it: two foxes, two owls, and a failure."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import URL, create_engine, make_url, select, text, update

from imagen.library.fulltext import postgres_vector
from imagen.library.schema import generations

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


def use_loras_in_old_library(url: str, beginning: str, names: list[str]) -> None:
    """Change a generation of the library of version 1 as if it had been made with these LoRAs."""
    is_file = "://" not in url
    place = URL.create("sqlite", database=url) if is_file else make_url(url)
    engine = create_engine(place if is_file else place.set(drivername="postgresql+psycopg"))
    with engine.begin() as transaction:
        if not is_file:
            transaction.execute(text("SET LOCAL search_path TO imagen_library"))
        chosen = generations.c.id.startswith(beginning)
        ticket = transaction.execute(select(generations.c.ticket).where(chosen)).scalar_one()
        ticket["request"]["loras"] = [{"name": name, "strength": 1.0} for name in names]
        transaction.execute(update(generations).where(chosen).values(ticket=ticket))
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
