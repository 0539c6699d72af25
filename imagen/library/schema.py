"""The tables of the library, for SQLite and PostgreSQL alike.

A picture's number sorts by time: it is the millisecond at which its generation began, times 2^20,
plus some bits of its own. So every list is in order of time by its key alone, a period is a range
of keys, and several machines give numbers without asking each other.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    column,
    table,
)

_Number = BigInteger().with_variant(Integer(), "sqlite")
"""There INTEGER too has 64 bits, and only as such is it what the rows themselves are found by."""

metadata = MetaData()

version = Table("library_version", metadata, Column("version", Integer, primary_key=True))

generations = Table(
    "generations",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("began_ms", BigInteger, nullable=False, index=True),
    Column("ended_ms", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
    Column("source", String(16), nullable=False),
    Column("backend", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("task", String(32), nullable=False),
    Column("prompt", Text, nullable=False),
    Column("caller", Text, nullable=False),
    Column("asked", JSON, nullable=False),
    Column("ticket", JSON, nullable=False),
    Column("facts", JSON, nullable=False),
    Column("warnings", JSON, nullable=False),
    Column("error", JSON, nullable=True),
)
"""One row for each ticket; the ticket holds the complete request, the receipt and the payload."""

images = Table(
    "images",
    metadata,
    Column("id", _Number, primary_key=True, autoincrement=False),
    Column("generation", String(36), ForeignKey("generations.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("backend", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("sidecar", Text, nullable=True),
    Column("media_type", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False, index=True),
    Column("width", Integer, nullable=True),
    Column("height", Integer, nullable=True),
    # 2^64-1 has no place in the integers of either database.
    Column("seed", String(20), nullable=True),
    Column("rating", SmallInteger, nullable=True),
    Column("trashed_ms", BigInteger, nullable=True),
    Column("missing_ms", BigInteger, nullable=True),
    Column("cloud", JSON, nullable=True),
    UniqueConstraint("generation", "number"),
    Index("images_by_backend", "backend", "id"),
    Index("images_by_model", "model", "id"),
    Index("images_by_backend_and_model", "backend", "model", "id"),
    Index("images_by_path", "path"),
)
"""`number` counts within the generation from 0; `host` is the machine that `path` is a path of."""

PARTIAL_INDEXES = (
    "CREATE INDEX images_rated ON images (id, rating, backend, model) WHERE rating IS NOT NULL",
    "CREATE INDEX images_trashed ON images (id, trashed_ms, rating, backend, model) "
    "WHERE trashed_ms IS NOT NULL",
    "CREATE INDEX generations_failed ON generations (began_ms, id) WHERE state = 'failed'",
)
"""Those of pictures are few, and hold all that is asked of them besides.

Written out, as SQLAlchemy would load what it has for PostgreSQL to make them in SQLite."""

prompts = table("prompts", column("rowid"), column("words"))
"""The words of each picture's prompt, by its number: FTS5 in SQLite, a tsvector in PostgreSQL. The
migrations make it."""

thumbnails = Table(
    "thumbnails",
    metadata,
    Column("image", _Number, ForeignKey("images.id", ondelete="CASCADE"), primary_key=True),
    Column("webp", LargeBinary, nullable=False),
)

tags = Table(
    "tags",
    metadata,
    Column("tag", Text, primary_key=True),
    Column("image", BigInteger, ForeignKey("images.id", ondelete="CASCADE"), primary_key=True),
    Index("tags_by_image", "image"),
)

usage = Table(
    "usage",
    metadata,
    Column("generation", String(36), primary_key=True),
    Column("at_ms", BigInteger, nullable=False, index=True),
    Column("backend", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("seed", String(20), nullable=True),
    Column("prompt_sha256", String(64), nullable=False),
    Column("images", Integer, nullable=False),
    Column("latency_seconds", Float, nullable=True),
    Column("engine_seconds", Float, nullable=True),
    Column("estimated_cost", Float, nullable=True),
    Column("actual_cost", Float, nullable=True),
    Column("currency", String(3), nullable=False),
    Column("is_paid", SmallInteger, nullable=False),
    Column("caller", Text, nullable=False),
)
"""The ledger: it stays when pictures go, so it refers to no other row. No prompt stands in it."""

outbox = Table(
    "outbox",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("kind", String(16), nullable=False),
    Column("destination", Text, nullable=False),
    Column("generation", String(36), nullable=False),
    Column("part", Integer, nullable=False),
    Column("payload", JSON, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due_ms", BigInteger, nullable=False),
    Column("claimed_until_ms", BigInteger, nullable=False),
    Column("last_error", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("sent_ms", BigInteger, nullable=True),
    UniqueConstraint("kind", "destination", "generation", "part"),
    Index("outbox_by_state", "state", "due_ms"),
)
