"""What workers say about themselves and their engines: heartbeats, speeds, pauses."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import delete, insert, select, update

from imagen.core.json_values import json_safe
from imagen.jobs.clock import now_ms
from imagen.jobs.model import Speed, WorkerInfo
from imagen.library.schema import datetime_of, milliseconds, pauses, speeds, stored_text, workers

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from pydantic import JsonValue

    from imagen.library.database import Library

_FORGET_MS = 24 * 60 * 60 * 1000
"""Workers that were silent for so long are forgotten."""
_NEWEST_WEIGHT = 0.3
"""Of the last job in the moving average of its speed."""


class Pause(NamedTuple):
    """An engine that gets no jobs for a while."""

    until: datetime
    failures: int
    """How often in a row it has failed."""
    error: dict[str, JsonValue] | None


class WorkerRows:
    """The tables of workers in a library. Threads may share it."""

    library: Library
    lease_seconds: float

    def see_worker(self, worker: WorkerInfo) -> None:
        """Note that a worker lives, and what it does."""
        with self.library.writing() as connection:
            now = now_ms(connection)
            values = {
                "host": stored_text(worker.host),
                "pid": worker.pid,
                "started_ms": milliseconds(worker.started),
                "seen_ms": now,
                "backends": json_safe(list(worker.backends)),
                "facts": json_safe({"resources": worker.resources, "facts": worker.facts}),
            }
            same = update(workers).where(workers.c.id == worker.id)
            if not connection.execute(same.values(**values)).rowcount:
                connection.execute(insert(workers).values(id=worker.id, **values))
                old = delete(workers).where(workers.c.seen_ms < now - _FORGET_MS)
                connection.execute(old)

    def workers(self) -> list[WorkerInfo]:
        """The workers that were heard of within their lease, oldest first."""
        with self.library.reading() as connection:
            oldest = now_ms(connection) - round(self.lease_seconds * 1000)
            alive = select(workers).where(workers.c.seen_ms >= oldest)
            rows = connection.execute(alive.order_by(workers.c.started_ms, workers.c.id))
            return [
                WorkerInfo(
                    id=row.id,
                    host=row.host,
                    pid=row.pid,
                    started=datetime_of(row.started_ms),
                    seen=datetime_of(row.seen_ms),
                    **row.facts,
                )
                for row in rows
            ]

    def forget_worker(self, id: str) -> None:
        """Note that a worker has ended."""
        with self.library.writing() as connection:
            connection.execute(delete(workers).where(workers.c.id == id))

    def learn_speed(self, backend: str, affinity: str, seconds: float) -> None:
        """Note how long a job took."""
        same = speeds.c.backend == backend, speeds.c.affinity == affinity
        average = speeds.c.seconds + (seconds - speeds.c.seconds) * _NEWEST_WEIGHT
        values = {"seconds": average, "last_seconds": seconds, "runs": speeds.c.runs + 1}
        first = {"seconds": seconds, "last_seconds": seconds, "runs": 1}
        with self.library.writing() as connection:
            if not connection.execute(update(speeds).where(*same).values(**values)).rowcount:
                row = {"backend": backend, "affinity": affinity, **first}
                connection.execute(insert(speeds).values(**row))

    def speeds(self, backends: Collection[str]) -> dict[tuple[str, str], Speed]:
        """How long jobs took, by backend and affinity."""
        with self.library.reading() as connection:
            rows = connection.execute(select(speeds).where(speeds.c.backend.in_(list(backends))))
            return {
                (row.backend, row.affinity): Speed(row.seconds, row.last_seconds, row.runs)
                for row in rows
            }

    def pause(
        self,
        resource: str,
        seconds: float,
        error: dict[str, JsonValue] | None = None,
        *,
        is_failure: bool = True,
    ) -> int:
        """Give no jobs to a resource for a while; how often in a row it has failed.

        Without `is_failure`, a person wants that.
        """
        same = pauses.c.resource == resource
        with self.library.writing() as connection:
            values = {
                "until_ms": now_ms(connection) + round(seconds * 1000),
                "error": json_safe(error),
            }
            count = pauses.c.failures + int(is_failure)
            counted = update(pauses).where(same).values(failures=count, **values)
            if not connection.execute(counted).rowcount:
                connection.execute(
                    insert(pauses).values(resource=resource, failures=int(is_failure), **values)
                )
            failures = connection.execute(select(pauses.c.failures).where(same))
            return int(failures.scalar_one())

    def unpause(self, resource: str) -> None:
        """Give jobs to a resource again."""
        with self.library.writing() as connection:
            connection.execute(delete(pauses).where(pauses.c.resource == resource))

    def pauses(self) -> dict[str, Pause]:
        """The paused resources, also those whose time is over: the next job there is a probe."""
        with self.library.reading() as connection:
            return {
                row.resource: Pause(datetime_of(row.until_ms), row.failures, row.error)
                for row in connection.execute(select(pauses))
            }
