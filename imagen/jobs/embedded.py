"""The queue in the library itself: the table `deliveries`, in SQLite or PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, literal, select, union_all, update

from imagen.core.ticket import new_id
from imagen.jobs.clock import Stopwatch, now_ms
from imagen.jobs.queue import HeldDelivery, JobDelivery, Put
from imagen.library.schema import deliveries
from imagen.library.wakeup import LibraryWatcher, notify

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import ColumnElement, Connection

    from imagen.library.database import Library

_MOST_QUEUES = 200
"""Queues that one statement looks into; SQLite allows 500."""
_MOST_TOKENS = 500
"""Deliveries in one statement."""
_NOBODY = literal("", literal_execute=True)
"""In the statement itself, or the partial indexes would not apply."""
_IS_WAITING = deliveries.c.worker == _NOBODY
_IS_HELD = deliveries.c.worker != _NOBODY
_ATTEMPTS = 10
"""How often to look again where other workers take each job that was just seen."""


class EmbeddedQueue:
    """A `JobQueue` in the tables of the library.

    Each delivery says when its worker last named it in a beat. One that was not named for
    `stall_seconds` is stalled, whatever became of its worker.
    """

    def __init__(
        self, library: Library, worker_id: str = "", *, stall_seconds: float = 20.0
    ) -> None:
        self._library = library
        self._worker = worker_id or new_id()
        self._stall_seconds = stall_seconds
        self._last_beat: Stopwatch | None = None
        self._watcher = LibraryWatcher(library, "imagen_jobs")

    def put_many(self, connection: Connection, puts: Sequence[Put]) -> list[str]:
        if not puts:
            return []
        now = now_ms(connection)
        rows = [
            {
                "job": each.job,
                "queue": each.queue,
                "priority": each.priority,
                "due_ms": now + round(each.delay_seconds * 1000),
                "worker": "",
                "seen_ms": 0,
                "cancel": 0,
            }
            for each in puts
        ]
        added = insert(deliveries).returning(deliveries.c.token, sort_by_parameter_order=True)
        tokens = [str(token) for token in connection.scalars(added, rows)]
        notify(connection, "imagen_jobs")
        return tokens

    def fetch(self, groups: Sequence[Sequence[str]]) -> JobDelivery | None:
        for group in groups:
            for _ in range(_ATTEMPTS):
                queue = self._find_best(group)
                if queue is None:
                    break
                if taken := self._take(queue):
                    return taken
        return None

    def _find_best(self, queues: Sequence[str]) -> str | None:
        """The queue whose first due delivery is the best of all; looked up without a lock."""
        heads: list[tuple[int, int, str]] = []
        with self._library.reading() as connection:
            now = now_ms(connection)
            for first in range(0, len(queues), _MOST_QUEUES):
                some = queues[first : first + _MOST_QUEUES]
                each = [_first_due(queue, now).subquery() for queue in dict.fromkeys(some)]
                union = union_all(*(select(head) for head in each))
                heads += [
                    (-row.priority, row.token, row.queue) for row in connection.execute(union)
                ]
        return min(heads)[2] if heads else None

    def _take(self, queue: str) -> JobDelivery | None:
        with self._library.writing() as connection:
            now = now_ms(connection)
            head = _first_due(queue, now).with_for_update(skip_locked=True)
            row = connection.execute(head).first()
            if row is None:
                return None
            mine = update(deliveries).where(deliveries.c.token == row.token)
            connection.execute(mine.values(worker=self._worker, seen_ms=now))
        return JobDelivery(row.job, str(row.token), queue)

    def wait(self, seconds: float) -> None:
        self._watcher.wait(seconds)

    def wake(self) -> None:
        self._watcher.wake()

    def beat(self, held: Collection[str]) -> dict[str, HeldDelivery]:
        mine: dict[str, bool] = {}
        if held:
            named = deliveries.c.token.in_([int(token) for token in held])
            still = named, deliveries.c.worker == self._worker
            with self._library.writing() as connection:
                seen = update(deliveries).where(*still).values(seen_ms=now_ms(connection))
                connection.execute(seen)
                rows = connection.execute(select(deliveries).where(*still))
                mine = {str(row.token): bool(row.cancel) for row in rows}
        else:
            with self._library.reading() as connection:
                now_ms(connection)  # or a worker without a database would count as alive
        self._last_beat = Stopwatch()
        return {token: HeldDelivery(token in mine, mine.get(token, False)) for token in held}

    def is_beat_fresh(self) -> bool:
        last = self._last_beat
        return last is not None and last.seconds < self._stall_seconds / 2

    def finish(self, token: str) -> None:
        with self._library.writing() as connection:
            connection.execute(delete(deliveries).where(deliveries.c.token == int(token)))

    def stalled(self) -> list[JobDelivery]:
        with self._library.reading() as connection:
            oldest = now_ms(connection) - round(self._stall_seconds * 1000)
            silent = _IS_HELD, deliveries.c.seen_ms < oldest
            rows = connection.execute(select(deliveries).where(*silent))
            return [JobDelivery(row.job, str(row.token), row.queue) for row in rows]

    def cancel_many(self, connection: Connection, tokens: Sequence[str]) -> None:
        for first in range(0, len(tokens), _MOST_TOKENS):
            some = [int(token) for token in tokens[first : first + _MOST_TOKENS]]
            same = deliveries.c.token.in_(some)
            gone = delete(deliveries).where(same, _IS_WAITING)
            if connection.execute(gone).rowcount < len(some):
                connection.execute(update(deliveries).where(same).values(cancel=1))
                notify(connection, "imagen_jobs")

    def live(self) -> set[str]:
        with self._library.reading() as connection:
            return {str(token) for token in connection.scalars(select(deliveries.c.token))}

    def close(self, *, is_handed_over: bool = True) -> None:
        self._watcher.close()
        if is_handed_over:
            mine = update(deliveries).where(_IS_HELD, deliveries.c.worker == self._worker)
            with self._library.writing() as connection:
                if connection.execute(mine.values(seen_ms=0)).rowcount:
                    notify(connection, "imagen_jobs")


def _first_due(queue: str, now: int) -> Any:
    waits: list[ColumnElement[bool]] = [
        _IS_WAITING,
        deliveries.c.queue == queue,
        deliveries.c.due_ms <= now,
    ]
    order = deliveries.c.priority.desc(), deliveries.c.token
    return select(deliveries).where(*waits).order_by(*order).limit(1)
