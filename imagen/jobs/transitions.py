"""Change the state of jobs, with all that follows for other jobs, in one transaction."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import bindparam, delete, func, select, text, update

from imagen.errors import LetGo, LibraryError
from imagen.jobs.clock import now_ms
from imagen.jobs.job_rows import ACTIVE, HELD, OWNED
from imagen.jobs.model import ENDED
from imagen.jobs.queue import ADOPTION_PRIORITY, Put, queue_name
from imagen.library.events import insert_events
from imagen.library.migrations import lock_for_writing
from imagen.library.schema import events, job_previews, jobs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pydantic import JsonValue
    from sqlalchemy import ColumnElement, Connection, Row

    from imagen.jobs.model import Fence, QueueState
    from imagen.jobs.queue import JobQueue
    from imagen.library.database import Library

_RESOURCE_LOCK = 4922773
_CHUNK = 500
"""Ids in one statement."""
_FREED = {"token": None, "owner": "", "is_at_engine": 0, "reserved_usd": None}
"""What no job has that has ended."""


class _EndedJob(NamedTuple):
    id: str
    parent: str | None
    state: QueueState


class Transition:
    """Changes of rows in one transaction, which ends with `write_events`.

    Transactions that change several jobs hold the library's lock for writing; those that change one
    take the lock of its row only. So none waits for a lock in a circle.
    """

    def __init__(self, connection: Connection, queue: JobQueue) -> None:
        self.connection = connection
        self.queue = queue
        self._events: list[dict[str, Any]] = []

    @cached_property
    def now(self) -> int:
        """When the transaction first asked for it, by the clock of the database."""
        return now_ms(self.connection)

    def lock(self, id: str) -> Row[Any] | None:
        """The row of a job, which no other transaction changes until the end of this one."""
        return self.connection.execute(
            select(jobs).where(jobs.c.id == id).with_for_update()
        ).first()

    def lock_owned(self, fence: Fence) -> Row[Any]:
        """The row of a job that its worker still has; raises LetGo."""
        row = self.lock(fence.job)
        if row is None or row.attempt != fence.attempt or row.state not in OWNED:
            raise let_go(fence)
        return row

    def update_owned(self, fence: Fence, **values: Any) -> None:
        """Change the row of a job that its worker still has; raises LetGo."""
        changed = update(jobs).where(*is_owned(fence)).values(**values)
        if not self.connection.execute(changed).rowcount:
            raise let_go(fence)

    def lock_resource(self, resource: str) -> None:
        """Let no other transaction give places of this resource away."""
        if self.connection.dialect.name == "postgresql":
            lock = text("SELECT pg_advisory_xact_lock(:kind, hashtext(:resource))")
            self.connection.execute(lock, {"kind": _RESOURCE_LOCK, "resource": resource})

    def note(self, job: str, **data: JsonValue) -> None:
        """Add an event about a change of state."""
        self.add_event(job, "state", data)

    def add_event(self, job: str, kind: str, data: dict[str, JsonValue]) -> None:
        self._events.append({"job": job, "at_ms": self.now, "kind": kind, "data": data})

    def write_events(self) -> None:
        """Write the events, as the last thing of the transaction: see `insert_events`."""
        insert_events(self.connection, self._events)
        self._events = []

    def set_state(self, id: str, state: QueueState, **values: Any) -> None:
        """Change the state of one job, and add the event."""
        self.connection.execute(update(jobs).where(jobs.c.id == id).values(state=state, **values))
        error = values.get("error")
        self.note(id, state=state, **({"error": error} if error else {}))

    def put_in_line(
        self,
        row: Row[Any],
        state: QueueState,
        *,
        delay_seconds: float = 0.0,
        pool: str | None = None,
        is_kept: bool = False,
        is_first: bool = False,
        is_noted: bool = True,
        **values: Any,
    ) -> None:
        """Give a job a new delivery, and no owner.

        One that `is_kept` may be at the engine of its backend, and keeps its place there: only
        workers that serve that backend get it. They get it before all other jobs, like each one
        that is to be `is_first`.
        """
        pool = row.pool if pool is None else pool
        queue_pool = row.backend if is_kept else pool
        priority = row.priority + (ADOPTION_PRIORITY if is_kept or is_first else 0)
        queue = queue_name(queue_pool, row.affinity)
        put = Put(row.id, queue, priority, delay_seconds)
        (token,) = self.queue.put_many(self.connection, [put])
        values = _FREED | {"token": token, "pool": pool, "queue_pool": queue_pool} | values
        if is_kept:
            del values["reserved_usd"]
            values["is_at_engine"] = int(bool(row.resource))
        values["due_ms"] = self.now + round(delay_seconds * 1000)
        if is_noted:
            self.set_state(row.id, state, **values)
        else:
            self.connection.execute(update(jobs).where(jobs.c.id == row.id).values(**values))

    def release(self, rows: Sequence[Row[Any]]) -> None:
        """Put held jobs in line."""
        puts = [
            Put(
                row.id,
                queue_name(row.queue_pool, row.affinity),
                row.priority,
                max(0.0, (row.due_ms - self.now) / 1000),
            )
            for row in rows
        ]
        if not rows:
            return
        tokens = self.queue.put_many(self.connection, puts)
        released = update(jobs).where(jobs.c.id == bindparam("row"))
        self.connection.execute(
            released.values(state="queued", token=bindparam("new_token")),
            [{"row": row.id, "new_token": token} for row, token in zip(rows, tokens, strict=True)],
        )
        for row in rows:
            self.note(row.id, state="queued")

    def end(self, row: Row[Any], state: QueueState, **values: Any) -> None:
        """End a job. Jobs that wait for it begin or end, and so do its parents."""
        self.set_state(row.id, state, ended_ms=self.now, **_FREED, **values)
        self.settle([_EndedJob(row.id, row.parent, state)])

    def end_many(self, rows: Sequence[Row[Any]], state: QueueState) -> None:
        """End jobs that no worker has."""
        tokens = [row.token for row in rows if row.token is not None]
        self.queue.cancel_many(self.connection, tokens)
        for some in _chunks([row.id for row in rows]):
            ended = update(jobs).where(jobs.c.id.in_(some))
            self.connection.execute(ended.values(state=state, ended_ms=self.now, **_FREED))
        for row in rows:
            self.note(row.id, state=state)
        self.settle([_EndedJob(row.id, row.parent, state) for row in rows])

    def settle(self, ended: Sequence[_EndedJob]) -> None:
        """What follows from the end of jobs, and from the end of those, and so on."""
        parents: dict[str, None] = {}
        while ended or parents:
            if ended:
                parents |= dict.fromkeys(job.parent for job in ended if job.parent is not None)
                ended = self._settle_successors(ended)
            else:
                ended = [job for parent in parents for job in self._settle_parent(parent)]
                parents = {}

    def settle_parents(self, parents: Iterable[str | None]) -> None:
        """End the parents all of whose children have ended, and what follows from that."""
        for parent in parents:
            if parent is not None:
                self.settle(self._settle_parent(parent))

    def _settle_successors(self, ended: Sequence[_EndedJob]) -> list[_EndedJob]:
        """Delete the progress of ended jobs, and begin or end the jobs that wait for them."""
        states = {job.id: job.state for job in ended}
        rows: list[Row[Any]] = []
        for some in _chunks(list(states)):
            self.connection.execute(delete(job_previews).where(job_previews.c.job.in_(some)))
            of_progress = events.c.job.in_(some), events.c.kind == "progress"
            self.connection.execute(delete(events).where(*of_progress))
            waits = select(jobs).where(jobs.c.after.in_(some), HELD)
            rows += self.connection.execute(waits.order_by(jobs.c.number, jobs.c.id)).all()
        self.release([row for row in rows if states[row.after] == "done"])
        stopped = [row for row in rows if states[row.after] != "done"]
        for row in stopped:
            before = states[row.after]
            outcome = {"failed": "failed", "lost": "was lost"}.get(before, "was cancelled")
            error = {
                "code": "predecessor",
                "message": f"The job {row.after}, which had to be done before it, {outcome}.",
                "remedy": "Retry that job first, then this one.",
            }
            self.set_state(row.id, _follow(before), ended_ms=self.now, error=error, **_FREED)
        return [_EndedJob(row.id, row.parent, _follow(states[row.after])) for row in stopped]

    def _settle_parent(self, id: str) -> list[_EndedJob]:
        """Release the sheet of a parent once its other children have ended; then end it."""
        children = select(jobs).where(jobs.c.parent == id, jobs.c.state.in_(ACTIVE))
        others = children.where(jobs.c.kind != "sheet").limit(1)
        if self.connection.execute(others).first() is not None:
            return []
        if sheets := self.connection.execute(children).all():
            self.release([row for row in sheets if row.state == "held" and row.after is None])
            return []
        row = self.lock(id)
        if row is None or row.state in ENDED:
            return []
        counted = select(jobs.c.state, func.count()).where(jobs.c.parent == id)
        counts: dict[str, int] = dict(self.connection.execute(counted.group_by(jobs.c.state)).all())
        order: tuple[QueueState, ...] = ("lost", "failed", "cancelled")
        state: QueueState = next((each for each in order if counts.get(each)), "done")
        self.set_state(id, state, ended_ms=self.now)
        return [_EndedJob(id, row.parent, state)]

    def start_parents(self, id: str | None) -> None:
        """Note that the parents of a job have begun."""
        while id is not None:
            row = self.connection.execute(
                select(jobs.c.parent, jobs.c.state).where(jobs.c.id == id)
            ).first()
            if row is None or row.state != "queued":
                return
            self.set_state(id, "running", started_ms=self.now)
            id = row.parent

    def reopen_parents(self, id: str | None) -> None:
        """Undo the end of the parents of a job that runs again; their sheets are drawn again."""
        while id is not None and (row := self.lock(id)) is not None:
            idle = jobs.c.kind == "sheet", jobs.c.state.in_((*ENDED, "queued"))
            sheets = select(jobs).where(jobs.c.parent == id, *idle)
            for sheet in self.connection.execute(sheets).all():
                if sheet.token is not None:
                    self.queue.cancel_many(self.connection, [sheet.token])
                anew = {"token": None, "ended_ms": None, "error": None, "job": None}
                self.set_state(sheet.id, "held", **anew)
            if row.state in ENDED:
                self.set_state(id, "running", ended_ms=None, error=None)
            id = row.parent

    def descendants(self, id: str) -> list[Row[Any]]:
        """The children of a parent, their children, and so on, without parents."""
        found: list[Row[Any]] = []
        level = [id]
        while level:
            rows: list[Row[Any]] = []
            for some in _chunks(level):
                chosen = select(jobs).where(jobs.c.parent.in_(some))
                rows += self.connection.execute(chosen.order_by(jobs.c.number, jobs.c.id)).all()
            found += [row for row in rows if row.spec is not None]
            level = [row.id for row in rows if row.spec is None]
        return found


def _follow(state: QueueState) -> QueueState:
    """How a job ends whose predecessor ended like this."""
    return "cancelled" if state == "cancelled" else "failed"


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for first in range(0, len(ids), _CHUNK):
        yield ids[first : first + _CHUNK]


def is_owned(fence: Fence) -> tuple[ColumnElement[bool], ...]:
    """That a worker still has the job of its attempt."""
    return jobs.c.id == fence.job, jobs.c.attempt == fence.attempt, jobs.c.state.in_(OWNED)


def let_go(fence: Fence) -> LetGo:
    return LetGo(f"Another worker has the job {fence.job} now, or it has ended.")


def is_submitted(job: dict[str, Any] | None) -> bool:
    """Whether the stored job of a row may be at its engine."""
    return job is not None and bool(job["ticket"]["submitted"])


def keeps_engine(row: Row[Any]) -> bool:
    """Whether only workers that serve the backend of a job can go on with it."""
    return bool(row.backend) and is_submitted(row.job)


class QueueTables:
    """Transactions on the rows of the queue."""

    library: Library
    queue: JobQueue

    def _drop(self, token: str) -> None:
        """Remove an outdated delivery; if that fails now, it is found to be stalled later."""
        with suppress(LibraryError):
            self.queue.finish(token)

    @contextmanager
    def _changing(self) -> Iterator[Transition]:
        """A transaction that changes one job."""
        with self.library.writing() as connection:
            change = Transition(connection, self.queue)
            yield change
            change.write_events()

    @contextmanager
    def _exclusive(self) -> Iterator[Transition]:
        """A transaction that changes several jobs, beside no other one."""
        with self.library.writing() as connection:
            lock_for_writing(connection)
            change = Transition(connection, self.queue)
            yield change
            change.write_events()
