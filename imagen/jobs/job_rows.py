"""Read the rows of the queue: jobs, their events, and what waits for which workers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from sqlalchemy import case, func, literal, or_, select, union_all

from imagen.core.ids import count_back
from imagen.core.text import one_line
from imagen.errors import NotFound, RequestError
from imagen.jobs.clock import now_ms
from imagen.jobs.model import (
    ENDED,
    HIGHEST_PRIORITY,
    QueuedJob,
    QueueState,
    WaitingQueue,
)
from imagen.jobs.queue import ADOPTION_PRIORITY
from imagen.library.events import LibraryEvent
from imagen.library.schema import datetime_of, events, job_previews, jobs

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import ColumnElement, CompoundSelect, Row, Select

    from imagen.library.database import Library

_COLUMNS = tuple(
    jobs.c[name if name in jobs.c else f"{name}_ms"] for name in QueuedJob.model_fields
)
_STATES: tuple[QueueState, ...] = get_args(QueueState)
ACTIVE: tuple[QueueState, ...] = tuple(state for state in _STATES if state not in ENDED)
OWNED: tuple[QueueState, ...] = ("running", "cancelling")
"""The states in which a worker may have a job."""
_NOTHING = literal("", literal_execute=True)
"""Values in the conditions of partial indexes must be in the statement, or none would apply."""
IN_LINE = jobs.c.token.is_not(None), jobs.c.owner == _NOTHING
"""Which jobs wait for a worker."""
OWNER_IS_SET = jobs.c.owner != _NOTHING
AT_ENGINE = jobs.c.is_at_engine == literal(1, literal_execute=True)
"""Which jobs take a place of their resource, in the hands of a worker or in line."""
HELD = jobs.c.state == literal("held", literal_execute=True)
_MOST_MATCHES = 5
_KEYS_AT_ONCE = 500
_ID = re.compile(r"[0-9a-f][0-9a-f-]{2,35}", re.IGNORECASE)


def queued_job(row: Row[Any]) -> QueuedJob:
    """The job of a row."""
    values = {
        (name[:-3] if name.endswith("_ms") else name): (
            datetime_of(value) if name.endswith("_ms") and value is not None else value
        )
        for name, value in row._mapping.items()
    }
    return QueuedJob.model_validate(values)


def select_jobs() -> Select[Any]:
    """The columns that `queued_job` reads."""
    return select(*_COLUMNS)


class KeyedJob(NamedTuple):
    """A job that was submitted with a key."""

    id: str
    state: QueueState
    ticket_id: str
    parent: str | None


class JobRows:
    """Reads jobs of a library. Threads may share it."""

    library: Library

    def read(self, id: str) -> QueuedJob:
        """The job with this id; raises RequestError if there is none."""
        with self.library.reading() as connection:
            row = connection.execute(select_jobs().where(jobs.c.id == id)).first()
        if row is None:
            raise _not_found(id)
        return queued_job(row)

    def find_key(self, key: str) -> QueuedJob | None:
        """The job that was submitted with this key; None if there is none."""
        with self.library.reading() as connection:
            row = connection.execute(select_jobs().where(jobs.c.key == key)).first()
        return None if row is None else queued_job(row)

    def find_newest_key(self, prefix: str) -> tuple[str, QueuedJob] | None:
        """The newest job at the top whose key is this and then hexadecimal digits, and its key."""
        same = jobs.c.key >= prefix, jobs.c.key < f"{prefix}g", jobs.c.key.startswith(prefix)
        chosen = select(jobs.c.key, jobs.c.id).where(*same, jobs.c.parent.is_(None))
        with self.library.reading() as connection:
            row = connection.execute(chosen.order_by(jobs.c.created_ms.desc()).limit(1)).first()
        return None if row is None else (row.key, self.read(row.id))

    def resolve_id(self, word: str) -> str:
        """The id of the job that a person named by a beginning of it, `last` or `last~2`.

        Raises RequestError if none or several match.
        """
        word = word.strip().lower()
        back = count_back(word)
        with self.library.reading() as connection:
            if back is not None:
                at_top = jobs.c.id.in_(_page_ids(_STATES, None, None, None, back + 1))
                newest = select(jobs.c.id).where(at_top).order_by(*_order(None))
                found = list(connection.scalars(newest.offset(back).limit(1)))
            elif _ID.fullmatch(word):
                same = jobs.c.id >= word, jobs.c.id < f"{word}g", jobs.c.id.startswith(word)
                order_by_id = select(jobs.c.id).where(*same).order_by(jobs.c.id)
                found = list(connection.scalars(order_by_id.limit(_MOST_MATCHES + 1)))
            else:
                found = []
        if not found:
            raise _not_found(word)
        if len(found) > 1 and word not in found:
            some = ", ".join(found[:_MOST_MATCHES])
            raise RequestError(
                f"Several jobs have an id that begins with {word!r}: {some}"
                + (", …" if len(found) > _MOST_MATCHES else "."),
                remedy="Give more of the id.",
            )
        return str(found[0])

    def find_keys(self, keys: Sequence[str]) -> dict[str, KeyedJob]:
        """The jobs with these keys, by their keys."""
        found: dict[str, KeyedJob] = {}
        chosen = select(jobs.c.key, jobs.c.id, jobs.c.state, jobs.c.ticket_id, jobs.c.parent)
        with self.library.reading() as connection:
            for first in range(0, len(keys), _KEYS_AT_ONCE):
                same = jobs.c.key.in_(keys[first : first + _KEYS_AT_ONCE])
                for row in connection.execute(chosen.where(same)):
                    found[row.key] = KeyedJob(*row[1:])
        return found

    def list_jobs(
        self,
        *,
        states: Collection[QueueState] = (),
        parent: str | None = None,
        pool: str | None = None,
        limit: int = 100,
        before: str | None = None,
    ) -> list[QueuedJob]:
        """Jobs in these states, or in any; those of a parent in its order, else newest first.

        Without a parent or pool they are the jobs at the top. `before` is the last job of the
        page before.
        """
        wanted = states or _STATES
        with self.library.reading() as connection:
            last = None
            if before is not None:
                chosen = select(jobs.c.created_ms, jobs.c.number, jobs.c.id)
                row = connection.execute(chosen.where(jobs.c.id == before)).first()
                if row is None:
                    return []
                last = tuple(row)
            ids = _page_ids(wanted, parent, pool, last, limit)
            statement = select_jobs().where(jobs.c.id.in_(ids))
            rows = connection.execute(statement.order_by(*_order(parent)).limit(limit))
            return [queued_job(row) for row in rows]

    def list_children(self, parent: str) -> list[str]:
        """The ids of the jobs of a parent, in order."""
        chosen = select(jobs.c.id).where(jobs.c.parent == parent)
        with self.library.reading() as connection:
            return list(connection.scalars(chosen.order_by(*_order(parent))))

    def children_counts(self, parents: Sequence[str]) -> dict[str, dict[QueueState, int]]:
        """How many children of each parent are in which state."""
        counts: dict[str, dict[QueueState, int]] = {id: {} for id in parents}
        chosen = select(jobs.c.parent, jobs.c.state, func.count())
        chosen = chosen.where(jobs.c.parent.in_(parents)).group_by(jobs.c.parent, jobs.c.state)
        with self.library.reading() as connection:
            for parent, state, count in connection.execute(chosen):
                counts[parent][state] = count
        return counts

    def events_after(
        self, seq: int, *, job: str | None = None, limit: int = 1000
    ) -> list[LibraryEvent]:
        """The events after this one, of one job or of the whole library, in order."""
        chosen = select(events).where(events.c.seq > seq)
        if job is not None:
            chosen = chosen.where(events.c.job == job)
        with self.library.reading() as connection:
            rows = connection.execute(chosen.order_by(events.c.seq).limit(limit))
            return [
                LibraryEvent(row.seq, row.job, datetime_of(row.at_ms), row.kind, row.data)
                for row in rows
            ]

    def last_event(self) -> int:
        """The number of the newest event; 0 if there is none."""
        with self.library.reading() as connection:
            return connection.execute(select(func.max(events.c.seq))).scalar() or 0

    def first_event(self) -> int | None:
        """The number of the oldest event that is still there."""
        with self.library.reading() as connection:
            return connection.execute(select(func.min(events.c.seq))).scalar()

    def previews(self, ids: Collection[str]) -> dict[str, tuple[int, bytes]]:
        """The latest previews of running jobs, each with its time in milliseconds."""
        with self.library.reading() as connection:
            rows = connection.execute(select(job_previews).where(job_previews.c.job.in_(ids)))
            return {row.job: (row.at_ms, row.image) for row in rows}

    def preview(self, id: str) -> bytes | None:
        """The latest preview of a running job."""
        with self.library.reading() as connection:
            chosen = select(job_previews.c.image).where(job_previews.c.job == id)
            return connection.execute(chosen).scalar()

    def waiting(
        self, pools: Collection[str] | None = None, now: int | None = None
    ) -> list[WaitingQueue]:
        """The queues with due jobs of these pools, or of all.

        Jobs that may be at their engine already have `ADOPTION_PRIORITY` added.
        """
        raised = case((AT_ENGINE, ADOPTION_PRIORITY), else_=0)
        group = jobs.c.queue_pool, jobs.c.affinity, (jobs.c.priority + raised).label("priority")
        chosen = select(*group, func.count(), func.min(jobs.c.due_ms)).group_by(*group)
        with self.library.reading() as connection:
            due = jobs.c.due_ms <= (now_ms(connection) if now is None else now)
            of_pools = [] if pools is None else [jobs.c.queue_pool.in_(list(pools))]
            rows = connection.execute(chosen.where(*IN_LINE, due, *of_pools))
            return [
                WaitingQueue(pool, affinity, priority, count, datetime_of(oldest))
                for pool, affinity, priority, count, oldest in rows
            ]

    def first_priority(self) -> int:
        """The priority of a job that is to go before all that wait."""
        waiting = (queue.priority for queue in self.waiting())
        usual = (one for one in waiting if one <= HIGHEST_PRIORITY)  # others are adopted jobs
        return min(max(usual, default=0) + 1, HIGHEST_PRIORITY)

    def next_due(self, pools: Collection[str]) -> float | None:
        """In how many seconds the next job of these pools that waits for its time is due."""
        with self.library.reading() as connection:
            now = now_ms(connection)
            later = jobs.c.due_ms > now, jobs.c.queue_pool.in_(list(pools))
            due = connection.execute(select(func.min(jobs.c.due_ms)).where(*IN_LINE, *later))
            ms = due.scalar()
        return None if ms is None else (ms - now) / 1000

    def running(self, resource: str | None = None) -> list[QueuedJob]:
        """The jobs that take a place of a resource; or all those, and what workers have beside."""
        if resource is None:
            # As a union, since no index applies to `or`.
            chosen = select_jobs().where(
                jobs.c.id.in_(
                    union_all(
                        select(jobs.c.id).where(AT_ENGINE), select(jobs.c.id).where(OWNER_IS_SET)
                    )
                )
            )
        else:
            chosen = select_jobs().where(AT_ENGINE, jobs.c.resource == resource)
        with self.library.reading() as connection:
            rows = connection.execute(chosen.order_by(jobs.c.started_ms, jobs.c.id))
            return [queued_job(row) for row in rows]


def _not_found(word: str) -> NotFound:
    return NotFound(
        f"Job {one_line(word, limit=60)!r} not found.", remedy="List the jobs with: imagen jobs"
    )


def _listed(parent: str | None, pool: str | None) -> list[ColumnElement[bool]]:
    if parent is not None:
        listed = [jobs.c.parent == parent]
        return listed if pool is None else [*listed, jobs.c.pool == pool]
    return [jobs.c.parent.is_(None)] if pool is None else [jobs.c.pool == pool]


def _order(parent: str | None) -> tuple[ColumnElement[Any], ...]:
    if parent is None:
        return jobs.c.created_ms.desc(), jobs.c.id.desc()
    return jobs.c.number, jobs.c.id


def _page_ids(
    states: Collection[QueueState],
    parent: str | None,
    pool: str | None,
    last: tuple[int, int, str] | None,
    limit: int,
) -> CompoundSelect[str]:
    """The ids of a page, and more: a page of each state, so that an index applies."""
    listed = _listed(parent, pool)
    pages = [_page([jobs.c.state == state, *listed], parent, last, limit) for state in states]
    return union_all(*(select(page.subquery().c.id) for page in pages))


def _page(
    conditions: list[ColumnElement[bool]],
    parent: str | None,
    last: tuple[int, int, str] | None,
    limit: int,
) -> Select[Any]:
    """The ids of one state after the last job of the page before: one range of an index."""
    if last is not None:
        created_ms, number, id = last
        if parent is None:
            is_same = (jobs.c.created_ms == created_ms) & (jobs.c.id < id)
            conditions.append(or_(jobs.c.created_ms < created_ms, is_same))
            conditions.append(jobs.c.created_ms <= created_ms)
        else:
            is_same = (jobs.c.number == number) & (jobs.c.id > id)
            conditions.append(or_(jobs.c.number > number, is_same))
    return select(jobs.c.id).where(*conditions).order_by(*_order(parent)).limit(limit)
