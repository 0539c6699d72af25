"""The tables of the library, alike in SQLite and PostgreSQL.

The key of an image sorts by time: it is the millisecond at which its generation began, times 2^20,
plus bits of its own. So the key alone sorts every list by time, a period is a range of keys, and
several machines make keys without asking each other.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING

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

from imagen.core.text import bare_address

if TYPE_CHECKING:
    from collections.abc import Iterable

_SURROGATE = re.compile("[\ud800-\udfff]")
"""Python decodes bytes of a file name that are not UTF-8 to these."""
_SHIFT = 0x100000
"""From a surrogate to a character for private use, which databases accept."""
_SHIFTED = re.compile("[\U0010d800-\U0010dfff]")

KEY_SHIFT = 20
_NUMBER_BITS = 10
"""The lowest bits are the image's number within its generation. The other low bits tell
generations apart that began in the same millisecond."""
_LAST_MS = 2**43 - 2**20
"""In the year 2248; later keys would not fit into 64 bits."""


def stored_text(text: str) -> str:
    """Without NUL, which PostgreSQL does not accept, and without lone surrogates."""
    return _SURROGATE.sub("\ufffd", text).replace("\0", "")


def stored_path(path: Path) -> str:
    """An absolute path as text; `path_of` restores it, whatever bytes its name is made of."""
    text = os.path.abspath(path)
    return _SURROGATE.sub(lambda match: chr(ord(match[0]) + _SHIFT), text)


def path_of(text: str) -> Path:
    """The path that `stored_path` stored."""
    return Path(_SHIFTED.sub(lambda match: chr(ord(match[0]) - _SHIFT), text))


def stored_url(url: str) -> str:
    """A webhook's URL as the library keeps it: without secrets, and still different from others."""
    return f"{bare_address(url)}#{sha256(url.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"


def lora_names(names: Iterable[str]) -> list[str]:
    """The names of LoRAs as images are found by them: each once, and without an absolute folder."""
    paths = (PureWindowsPath(stored_text(name)) for name in names)
    found = (path.name if path.root else str(path).replace("\\", "/") for path in paths)
    return [name for name in dict.fromkeys(found) if name not in ("", ".")]


def milliseconds(moment: datetime) -> int:
    """Since 1970, in UTC."""
    return round(moment.timestamp() * 1000)


def datetime_of(ms: int) -> datetime:
    """The moment, in UTC, that `milliseconds` stored."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def first_key(moment: datetime) -> int:
    """The smallest key that an image of this millisecond can have."""
    return max(-_LAST_MS, min(milliseconds(moment), _LAST_MS)) << KEY_SHIFT


def image_key(generation: str, created: datetime, number: int, salt: int = 0) -> int:
    """The key of an image, which sorts by time. Another `salt` gives another key if one is taken.

    The larger the salt, the farther the key may be behind its time, so that thousands of files
    with one date find room too.
    """
    digest = sha256(f"{generation}{salt or ''}".encode()).digest()
    low = int.from_bytes(digest[:4]) % (1 << (KEY_SHIFT - _NUMBER_BITS))
    later_ms = int.from_bytes(digest[4:8]) % (1 << salt)
    return (first_key(created) + (later_ms << KEY_SHIFT)) | low << _NUMBER_BITS | number


_Key = BigInteger().with_variant(Integer(), "sqlite")
"""In SQLite, INTEGER has 64 bits, and only an INTEGER primary key is the row's own id."""

_Json = JSON(none_as_null=True)

metadata = MetaData()

version = Table("library_version", metadata, Column("version", Integer, primary_key=True))

generations = Table(
    "generations",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("created_ms", BigInteger, nullable=False),
    Column("ended_ms", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
    Column("source", String(16), nullable=False),
    Column("backend", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("task", String(32), nullable=False),
    Column("prompt", Text, nullable=False),
    Column("caller", Text, nullable=False),
    Column("request", JSON, nullable=False),
    Column("ticket", JSON, nullable=False),
    Column("facts", JSON, nullable=False),
    Column("warnings", JSON, nullable=False),
    Column("error", JSON, nullable=True),
)
"""One row for each ticket. `request` is what the user gave; the ticket has it complete, with the
receipt and the payload."""

images = Table(
    "images",
    metadata,
    Column("id", _Key, primary_key=True, autoincrement=False),
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
    # Text, as integers in both databases end below 2^64-1.
    Column("seed", String(20), nullable=True),
    Column("rating", SmallInteger, nullable=True),
    Column("trashed_ms", BigInteger, nullable=True),
    Column("trashed_from", Text, nullable=True),
    Column("missing_ms", BigInteger, nullable=True),
    Column("cloud", JSON, nullable=True),
    Column("cost", Float, nullable=True),
    UniqueConstraint("generation", "number"),
    Index("images_by_backend", "backend", "id"),
    Index("images_by_model", "model", "id"),
    Index("images_by_backend_and_model", "backend", "model", "id"),
    Index("images_by_path", "path"),
)
"""`number` counts within the generation from 0. `path` is where the file is on the machine `host`;
of an image in the trash, `trashed_from` is the path to put it back to. `cost` is the image's share
of what its generation cost, in US dollars: 0 on the user's own machines, NULL if unknown."""

IMAGE_EVENTS = "kind IN ('images_added', 'images_changed', 'images_removed')"
"""SQL, as it is in the partial index of events."""
PARTIAL_INDEXES = (
    "CREATE INDEX images_rated ON images (id, rating, backend, model) WHERE rating IS NOT NULL",
    "CREATE INDEX images_trashed ON images (id, trashed_ms, rating, backend, model) "
    "WHERE trashed_ms IS NOT NULL",
    "CREATE INDEX generations_failed ON generations (created_ms, id) WHERE state = 'failed'",
)
"""The indexes of images have few rows, and hold every column that a search filters by.

They are SQL, as SQLAlchemy would load its PostgreSQL dialect to create them in SQLite."""
SHAPES = {
    "square": "{l}width = {l}height",
    "landscape": "{l}width > {l}height",
    "portrait": "{l}width < {l}height",
}
"""SQL of the shape of an image; `{l}` is replaced by its table and a dot."""
COSTS = {"free": "{l}cost = 0", "paid": "{l}cost > 0", "unknown": "{l}cost IS NULL"}
"""The same of what an image cost."""
FILTER_INDEXES = (
    *(
        f"CREATE INDEX images_{name} ON images (id) WHERE {condition.format(l='')}"
        for name, condition in SHAPES.items()
    ),
    "CREATE INDEX images_by_size ON images (width, height, id)",
    *(
        f"CREATE INDEX images_{name} ON images (id, cost) WHERE {condition.format(l='')}"
        for name, condition in COSTS.items()
    ),
)
"""Each lists images in order of time, so that a filter needs no sorting."""

prompts = table("prompts", column("rowid"), column("words"))
"""The words of each image's prompt, by its key: FTS5 in SQLite, a tsvector in PostgreSQL. The
migrations create it."""

thumbnails = Table(
    "thumbnails",
    metadata,
    Column("image", _Key, ForeignKey("images.id", ondelete="CASCADE"), primary_key=True),
    Column("webp", LargeBinary, nullable=False),
)

tags = Table(
    "tags",
    metadata,
    Column("tag", Text, primary_key=True),
    Column("image", BigInteger, ForeignKey("images.id", ondelete="CASCADE"), primary_key=True),
    Index("tags_by_image", "image"),
)

loras = Table(
    "loras",
    metadata,
    Column("lora", Text, primary_key=True),
    Column("image", BigInteger, ForeignKey("images.id", ondelete="CASCADE"), primary_key=True),
    Index("loras_by_image", "image"),
)
"""The LoRAs that each image was made with."""

albums = Table(
    "albums",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("created_ms", BigInteger, nullable=False),
)

album_images = Table(
    "album_images",
    metadata,
    Column("album", String(36), ForeignKey("albums.id", ondelete="CASCADE"), primary_key=True),
    Column("image", BigInteger, ForeignKey("images.id", ondelete="CASCADE"), primary_key=True),
    Index("album_images_by_image", "image"),
)

saved_views = Table(
    "saved_views",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("filters", JSON, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)
"""Filters of the gallery under a name."""

FILTER_TABLES = (loras, albums, album_images, saved_views)

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
"""The ledger. It stays when images are deleted, so it refers to no other row, and it has only the
hash of a prompt."""

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

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("parent", String(36), nullable=True),
    Column("number", Integer, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("name", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("pool", Text, nullable=False),
    Column("affinity", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("due_ms", BigInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("started_ms", BigInteger, nullable=True),
    Column("ended_ms", BigInteger, nullable=True),
    Column("after", String(36), nullable=True),
    Column("queue_pool", Text, nullable=False),
    Column("ticket_id", String(36), nullable=False),
    Column("spec", _Json, nullable=True),
    Column("job", _Json, nullable=True),
    Column("backend", Text, nullable=False),
    Column("resource", Text, nullable=False),
    Column("is_at_engine", SmallInteger, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("deaths", Integer, nullable=False),
    Column("owner", Text, nullable=False),
    Column("token", Text, nullable=True),
    Column("cancel", SmallInteger, nullable=False),
    Column("reserved_usd", Float, nullable=True),
    Column("progress", _Json, nullable=True),
    Column("error", _Json, nullable=True),
    Column("caller", Text, nullable=False),
    Column("key", Text, nullable=True, unique=True),
)
"""The queue: one row for each job, and for each parent of jobs.

`pool` is the name of a backend or a pool; `queue_pool` names who may take it now: the pool, or the
one backend whose engine may have it already. `affinity` names the model that a job needs. `job` is
the `jobs.model.Job` once a worker has prepared it, until it is done; its ticket has `ticket_id`,
which is the id of the row on the first try, and the id of its generation. `attempt` counts the
owners, and is the fence of every write; `failures` counts errors, `deaths` owners that vanished
while they worked on it. `token` is the delivery of the queue that carries the job now. `key`
prevents that the same thing is submitted twice.
"""

events = Table(
    "events",
    metadata,
    Column("seq", _Key, primary_key=True, autoincrement=True),
    Column("job", String(36), nullable=False, index=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("data", JSON, nullable=False),
    sqlite_autoincrement=True,
)
"""What has changed, in the order of `seq`, which no other event gets again: the states of jobs, the
progress of those that run, and images. `job` is empty where an event is about no job."""

job_previews = Table(
    "job_previews",
    metadata,
    Column("job", String(36), primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("image", LargeBinary, nullable=False),
)
"""The latest preview of each running job."""

workers = Table(
    "workers",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started_ms", BigInteger, nullable=False),
    Column("seen_ms", BigInteger, nullable=False),
    Column("backends", JSON, nullable=False),
    Column("facts", JSON, nullable=False),
)
"""The running workers: the backends that each serves, and what its lanes do."""

speeds = Table(
    "speeds",
    metadata,
    Column("backend", Text, primary_key=True),
    Column("affinity", Text, primary_key=True),
    Column("seconds", Float, nullable=False),
    Column("last_seconds", Float, nullable=False),
    Column("runs", Integer, nullable=False),
)
"""How long a job of a model takes on a backend: a moving average, and the last one."""

pauses = Table(
    "pauses",
    metadata,
    Column("resource", Text, primary_key=True),
    Column("until_ms", BigInteger, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("error", JSON, nullable=True),
)
"""Engines that are down, or were paused by a user: none gets a job until then."""

deliveries = Table(
    "deliveries",
    metadata,
    Column("token", _Key, primary_key=True, autoincrement=True),
    Column("job", String(36), nullable=False),
    Column("queue", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("due_ms", BigInteger, nullable=False),
    Column("worker", Text, nullable=False),
    Column("seen_ms", BigInteger, nullable=False),
    Column("cancel", SmallInteger, nullable=False),
    sqlite_autoincrement=True,
)
"""The embedded queue: which worker has which job; `worker` is empty for a job that waits. `seen_ms`
is when the worker last said that it works on it."""

schedules = Table(
    "schedules",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("cron", Text, nullable=False),
    Column("timezone", Text, nullable=False),
    Column("spec", JSON, nullable=False),
    Column("next_ms", BigInteger, nullable=False),
    Column("last_ms", BigInteger, nullable=True),
    Column("is_paused", SmallInteger, nullable=False),
    Column("caller", Text, nullable=False),
)
"""Jobs that are submitted again and again."""

blobs = Table(
    "blobs",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("used_ms", BigInteger, nullable=False),
    Column("data", LargeBinary, nullable=True),
)
"""Files by the hash of their bytes; `data` is NULL where another store has them."""

job_blobs = Table(
    "job_blobs",
    metadata,
    Column("job", String(36), primary_key=True),
    Column("sha256", String(64), primary_key=True),
    Index("job_blobs_by_blob", "sha256"),
)
"""The input files of jobs: they stay as long as a job needs them."""

queue_facts = Table(
    "queue_facts",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", Text, nullable=False),
)
"""What all processes of a library agree on: which queue carries the jobs (`queue`), and the UUID of
the library (`library`)."""

tokens = Table(
    "tokens",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("scopes", JSON, nullable=False),
    Column("rate", Text, nullable=False),
    Column("budget_usd", Float, nullable=True),
    Column("budget_per", String(8), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=True),
    Column("used_ms", BigInteger, nullable=True),
)
"""Who may use the HTTP server. Of a token itself only the hash is stored. `scopes` lists what it
allows; `rate` limits its submissions, such as 10/1m, and `budget_usd` what they may cost in a
period. Its name is the caller of its jobs in the ledger."""

arena_sets = Table(
    "arena_sets",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", Text, nullable=False),
    Column("images", JSON, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)
"""Images that somebody wants to rank by votes. `images` lists their unique ids."""

arena_pairs = Table(
    "arena_pairs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("set_id", Text, nullable=False),
    Column("prompt", Text, nullable=False),
    Column("seed", String(20), nullable=True),
    Column("left", JSON, nullable=False),
    Column("right", JSON, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("voter", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False, index=True),
)
"""Pairs that voters were shown, each under a random id that says nothing about its images. They are
deleted after some days; votes do not need them."""

arena_votes = Table(
    "arena_votes",
    metadata,
    Column("id", _Key, primary_key=True, autoincrement=True),
    Column("key", String(80), nullable=False, unique=True),
    Column("pair", String(32), nullable=False, index=True),
    Column("undoes", BigInteger, nullable=True, unique=True),
    Column("kind", String(16), nullable=False),
    Column("set_id", Text, nullable=False),
    Column("prompt", Text, nullable=False),
    Column("seed", String(20), nullable=True),
    Column("left_backend", Text, nullable=False),
    Column("left_model", Text, nullable=False),
    Column("left_image", Text, nullable=False),
    Column("left_sha256", String(64), nullable=False),
    Column("right_backend", Text, nullable=False),
    Column("right_model", Text, nullable=False),
    Column("right_image", Text, nullable=False),
    Column("right_sha256", String(64), nullable=False),
    Column("choice", String(8), nullable=False),
    Column("voter", Text, nullable=False),
    Column("milliseconds", Integer, nullable=True),
    Column("created_ms", BigInteger, nullable=False),
    Index("arena_votes_by_set", "set_id"),
)
"""The votes of the arena, which are only ever added: the row of a vote that was undone stays, and
one with `undoes` is added. `left` and `right` are the sides on which the images were shown. `key`
prevents that the same vote counts twice."""

ARENA_TABLES = (arena_sets, arena_pairs, arena_votes)

JOB_TABLES = (
    jobs,
    events,
    job_previews,
    workers,
    speeds,
    pauses,
    deliveries,
    schedules,
    blobs,
    job_blobs,
    queue_facts,
)
EVENT_INDEX = f"CREATE INDEX events_of_images ON events (seq) WHERE {IMAGE_EVENTS}"
JOB_INDEXES = (
    EVENT_INDEX,
    "CREATE INDEX jobs_by_parent ON jobs (parent, state, number) WHERE parent IS NOT NULL",
    "CREATE INDEX jobs_by_pool ON jobs (pool, state, created_ms, id)",
    "CREATE INDEX jobs_at_top ON jobs (state, created_ms, id) WHERE parent IS NULL",
    "CREATE INDEX jobs_by_start ON jobs (resource, started_ms) WHERE resource <> ''",
    "CREATE INDEX jobs_by_after ON jobs (after) WHERE state = 'held'",
    "CREATE INDEX jobs_waiting ON jobs (queue_pool, affinity, due_ms, priority, created_ms) "
    "WHERE token IS NOT NULL AND owner = ''",
    "CREATE INDEX jobs_open ON jobs (state, kind) WHERE ended_ms IS NULL",
    "CREATE INDEX jobs_owned ON jobs (started_ms, id) WHERE owner <> ''",
    "CREATE INDEX jobs_at_engine ON jobs (resource, started_ms, id) WHERE is_at_engine = 1",
    "CREATE INDEX jobs_reserved ON jobs (id) WHERE reserved_usd IS NOT NULL",
    "CREATE INDEX deliveries_waiting ON deliveries (queue, priority DESC, token, due_ms) "
    "WHERE worker = ''",
    "CREATE INDEX deliveries_held ON deliveries (worker, seen_ms) WHERE worker <> ''",
    "CREATE INDEX deliveries_cancelled ON deliveries (token) WHERE cancel = 1",
)
"""Those for jobs that have not ended stay small, however many jobs have ended."""
