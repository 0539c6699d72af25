"""Which queue carries the jobs of a library: chosen by its first user, and the same for all."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from sqlalchemy import exists, func, insert, select, update

from imagen.core.ticket import new_id
from imagen.errors import ConfigError, MissingDependency
from imagen.jobs.clock import now_ms
from imagen.jobs.embedded import EmbeddedQueue
from imagen.library.migrations import lock_for_writing
from imagen.library.schema import jobs, queue_facts, workers

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from imagen.config import Settings
    from imagen.jobs.queue import JobQueue
    from imagen.library import Library

_MINUTE_MS = 60_000


def open_queue(library: Library, settings: Settings, worker_id: str = "") -> JobQueue:
    """The queue that carries the jobs of this library; it is chosen once, by its first user.

    Raises ConfigError if the settings ask for another one while there are jobs or workers;
    MissingDependency without the package that the library needs.
    """
    stall = settings.jobs.lease_seconds
    if library.is_read_only or _choose_queue(library, settings.jobs.queue) == "embedded":
        return EmbeddedQueue(library, worker_id, stall_seconds=stall)
    if not _has_procrastinate():
        raise MissingDependency("procrastinate", "fleet", purpose="the jobs of this library")
    from imagen.jobs.fleet import FleetQueue

    return FleetQueue(library, stall_seconds=stall)


def library_id(library: Library) -> str:
    """The UUID of a library, by which others know it; drawn when it is needed first."""
    recorded = select(queue_facts.c.value).where(queue_facts.c.name == "library")
    with library.writing() as connection:
        lock_for_writing(connection)
        id = connection.scalar(recorded)
        if id is None:
            id = new_id()
            connection.execute(insert(queue_facts).values(name="library", value=id))
    return str(id)


def _has_procrastinate() -> bool:
    return all(find_spec(name) for name in ("procrastinate", "psycopg_pool"))


def _choose_queue(library: Library, asked: str) -> str:
    """The queue that the library records, or this one from now on."""
    if asked == "procrastinate" and library.is_sqlite:
        raise ConfigError(
            "jobs.queue is procrastinate, but the library is not in PostgreSQL.",
            remedy="Set library.url to postgresql://user@host/database, or leave out jobs.queue.",
        )
    recorded = select(queue_facts.c.value).where(queue_facts.c.name == "queue")
    with library.reading() as connection:
        current = connection.scalar(recorded)
    if current is not None and asked in ("auto", current):
        return str(current)
    with library.writing() as connection:
        lock_for_writing(connection)
        current = connection.scalar(recorded)
        if current is None:
            is_fleet = not library.is_sqlite and _has_procrastinate()
            wanted = asked if asked != "auto" else "procrastinate" if is_fleet else "embedded"
            connection.execute(insert(queue_facts).values(name="queue", value=wanted))
            return wanted
        if asked in ("auto", current):
            return str(current)
        _refuse_switch(connection, str(current), asked)
        change = update(queue_facts).where(queue_facts.c.name == "queue")
        connection.execute(change.values(value=asked))
        return asked


def _refuse_switch(connection: Connection, current: str, asked: str) -> None:
    """Raise ConfigError while the queue that is in use has jobs or workers."""
    waiting = select(exists().where(jobs.c.state.in_(("queued", "running", "cancelling"))))
    minute_ago = now_ms(connection) - _MINUTE_MS
    working = select(func.count()).where(workers.c.seen_ms > minute_ago)
    if connection.scalar(waiting) or connection.scalar(working):
        raise ConfigError(
            f"jobs.queue is {asked}, but {current} carries the jobs of this library, and there are "
            "jobs that have not ended or workers that are running.",
            remedy=f"Leave jobs.queue at {current} or auto, or let the jobs end with: imagen worker"
            " --drain; then stop the workers, and try again a minute later.",
        )
