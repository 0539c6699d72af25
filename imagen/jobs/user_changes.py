"""What people do with jobs: cancel, retry, move and prune them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import delete, select

from imagen.core.ticket import new_id
from imagen.errors import NotFound, RequestError
from imagen.jobs.model import ENDED, HIGHEST_PRIORITY
from imagen.jobs.queue import ADOPTION_PRIORITY, Put, queue_name
from imagen.jobs.transitions import QueueTables, is_submitted, keeps_engine
from imagen.library.schema import events, job_blobs, job_previews, jobs, milliseconds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Row

    from imagen.jobs.model import QueueState
    from imagen.jobs.transitions import Transition

_CHUNK = 500
"""Jobs that are pruned in one transaction."""


class UserChanges(QueueTables):
    """Changes that are made for a person, to a job or to all jobs of a parent."""

    def cancel(self, id: str) -> int:
        """Cancel a job, or all jobs of a parent; how many were not over yet.

        Those that no engine has end at once. The workers of the others stop them.
        """
        with self._exclusive() as change:
            active = [row for row in self._jobs_of(change, id) if row.state not in ENDED]
            at_engine = [row for row in active if row.owner or keeps_engine(row)]
            held = [row.token for row in at_engine if row.owner]
            change.queue.cancel_many(change.connection, held)
            for row in at_engine:
                state: QueueState = row.state if row.owner else "cancelling"
                change.set_state(row.id, state, cancel=1)
            kept = {row.id for row in at_engine}
            change.end_many([row for row in active if row.id not in kept], "cancelled")
        self.queue.wake()
        return len(active)

    def retry(self, id: str, *, is_confirmed: bool = False) -> int:
        """Run a job again that ended without success, or all such jobs of a parent; how many.

        A lost job may have cost money: it runs again only if that `is_confirmed`. Raises
        RequestError if there is nothing to retry.
        """
        with self._exclusive() as change:
            rows = [row for row in self._jobs_of(change, id) if row.state in ENDED]
            rows = [row for row in rows if row.state != "done"]
            lost = [row for row in rows if row.state == "lost"]
            if lost and not is_confirmed:
                raise RequestError(
                    f"Job {lost[0].id} may have run, and cost money.",
                    remedy="To run it again all the same, add --resubmit.",
                )
            if not rows:
                raise RequestError(
                    f"Job {id} has nothing to retry.",
                    remedy=f"See its state with: imagen jobs show {id}",
                )
            for row in rows:
                _reset(change, row)
            parents = dict.fromkeys(row.parent for row in rows)
            for parent in parents:
                change.reopen_parents(parent)
            change.release(_find_ready(change, rows))
            change.settle_parents(parents)
        return len(rows)

    def move(self, id: str, *, priority: int | None = None, due: datetime | None = None) -> int:
        """Change the priority or the time of a waiting job, or of those of a parent; how many.

        Raises RequestError if none waits.
        """
        with self._exclusive() as change:
            rows = [row for row in self._jobs_of(change, id) if row.state in ("queued", "held")]
            if not rows:
                raise RequestError(
                    f"Job {id} does not wait any more.",
                    remedy=f"See its state with: imagen jobs show {id}",
                )
            changes: dict[str, Any] = {}
            if priority is not None:
                changes["priority"] = priority
            if due is not None:
                changes["due_ms"] = milliseconds(due)
            for row in rows:
                _move(change, row, changes)
            if priority is not None:
                _note_parent(change, id, priority)
        return len(rows)

    def move_behind(self, id: str, other: str) -> int:
        """Move a waiting job, or the jobs of a parent, directly behind another; how many changed.

        As few others as possible get a higher priority for it. Raises RequestError if one of the
        two does not wait, or is part of another.
        """
        with self._exclusive() as change:
            line = _read_line(change)
            for one in (id, other):
                if one not in line:
                    raise RequestError(
                        f"Job {one} does not wait in line by itself.",
                        remedy=f"See its state with: imagen jobs show {one}",
                    )
            if id == other:
                raise RequestError("A job cannot be moved behind itself.")
            moved = line.pop(id)
            index = [*line].index(other) + 1
            order = [*line.items()]
            order.insert(index, (id, moved))
            changes = _raise_above(order, index)
            if any(place.priority > HIGHEST_PRIORITY for place in changes.values()):
                changes = _renumber(order)
            for name, place in changes.items():
                for row in place.rows:
                    _move(change, row, {"priority": place.priority})
                _note_parent(change, name, place.priority)
        return sum(len(place.rows) for place in changes.values())

    def prune(self, before: datetime) -> int:
        """Delete jobs that ended before this moment, with their events; how many.

        The jobs of a parent go once the parent has ended. Events of images go too. The library and
        the ledger stay.
        """
        pruned = 0
        with self._exclusive() as change:
            of_images = events.c.job == "", events.c.at_ms < milliseconds(before)
            change.connection.execute(delete(events).where(*of_images))
        for state in ENDED:
            old = (
                jobs.c.state == state,
                jobs.c.parent.is_(None),
                jobs.c.created_ms < milliseconds(before),
                jobs.c.ended_ms < milliseconds(before),
            )
            chosen = select(jobs.c.id).where(*old).order_by(jobs.c.created_ms).limit(_CHUNK)
            while True:
                with self.library.reading() as connection:
                    ids = list(connection.scalars(chosen))
                if not ids:
                    break
                pruned += sum(self._prune_below(id) for id in ids) + self._delete(ids)
        return pruned

    def _prune_below(self, parent: str) -> int:
        pruned = 0
        while True:
            with self.library.reading() as connection:
                chosen = select(jobs.c.id).where(jobs.c.parent == parent).limit(_CHUNK)
                ids = list(connection.scalars(chosen))
            if not ids:
                return pruned
            below = sum(self._prune_below(id) for id in ids)
            deleted = self._delete(ids)
            pruned += below + deleted
            if not deleted:
                return pruned

    def _delete(self, ids: Sequence[str]) -> int:
        with self._exclusive() as change:
            # One that was retried in the meantime stays.
            ended = select(jobs.c.id).where(jobs.c.id.in_(ids), jobs.c.state.in_(ENDED))
            gone = list(change.connection.scalars(ended.with_for_update()))
            for table, column in (
                (events, events.c.job),
                (job_previews, job_previews.c.job),
                (job_blobs, job_blobs.c.job),
                (jobs, jobs.c.id),
            ):
                change.connection.execute(delete(table).where(column.in_(gone)))
        return len(gone)

    def _jobs_of(self, change: Transition, id: str) -> list[Row[Any]]:
        """The job itself, or all jobs below a parent."""
        row = change.lock(id)
        if row is None:
            raise NotFound(f"Job {id!r} not found.", remedy="List them with: imagen jobs")
        return [row] if row.spec is not None else change.descendants(id)


def _reset(change: Transition, row: Row[Any]) -> None:
    """Hold a job that has ended, as if no worker had ever had it."""
    values: dict[str, Any] = {"job": None, "error": None, "progress": None, "ended_ms": None}
    values |= {"failures": 0, "deaths": 0, "cancel": 0, "due_ms": change.now}
    values |= {"queue_pool": row.pool}
    if is_submitted(row.job):
        values["ticket_id"] = new_id()
    change.set_state(row.id, "held", **values)


def _find_ready(change: Transition, held: Sequence[Row[Any]]) -> list[Row[Any]]:
    """Those of these jobs that wait for no other; raises RequestError if one would for ever."""
    ready: list[Row[Any]] = []
    for old in held:
        row = change.lock(old.id)
        assert row is not None
        if row.kind == "sheet" and row.parent is not None:
            continue
        if row.after is None:
            ready.append(row)
            continue
        before = select(jobs.c.state).where(jobs.c.id == row.after)
        state = change.connection.execute(before).scalar()
        if state in ("done", None):
            ready.append(row)
        elif state in ENDED:
            raise RequestError(
                f"Job {row.id} runs after job {row.after}, which has ended: {state}.",
                remedy=f"Retry that one first: imagen jobs retry {row.after}",
            )
    return ready


class _PlaceInLine(NamedTuple):
    """The place in line of what was submitted by itself."""

    priority: int
    natural: tuple[int, int, str]
    """What decides between those of the same priority: when it was submitted."""
    rows: tuple[Row[Any], ...]
    """Its jobs that wait."""

    def is_before(self, other: _PlaceInLine) -> bool:
        return (-self.priority, self.natural) < (-other.priority, other.natural)

    def put_before(self, other: _PlaceInLine) -> _PlaceInLine:
        """With the lowest priority with which it is before one that is put in line after it."""
        is_older = self.natural < other.natural
        return self._replace(priority=other.priority + (0 if is_older else 1))


def _read_line(change: Transition) -> dict[str, _PlaceInLine]:
    """The line of jobs that wait, by the id of what was submitted by itself, the next one first."""
    parents = select(jobs.c.id, jobs.c.parent).where(
        jobs.c.spec.is_(None), jobs.c.parent.is_not(None)
    )
    above: dict[str, str] = dict(change.connection.execute(parents).all())
    order = jobs.c.priority.desc(), jobs.c.created_ms, jobs.c.number, jobs.c.id
    waits = jobs.c.state.in_(("queued", "held")), jobs.c.spec.is_not(None)
    groups: dict[str, list[Row[Any]]] = {}
    for row in change.connection.execute(select(jobs).where(*waits).order_by(*order)):
        root = row.parent or row.id
        while root in above:
            root = above[root]
        groups.setdefault(root, []).append(row)
    return {
        root: _PlaceInLine(
            rows[0].priority, (rows[0].created_ms, rows[0].number, rows[0].id), (*rows,)
        )
        for root, rows in groups.items()
    }


def _raise_above(order: Sequence[tuple[str, _PlaceInLine]], index: int) -> dict[str, _PlaceInLine]:
    """The places that change so that the one at this index is where it is, the first one first."""
    name, place = order[index]
    if index + 1 < len(order):  # the one below is not put in line again, but has its turn
        place = place._replace(priority=order[index + 1][1].priority + 1)
    else:
        place = place._replace(priority=min(place.priority, order[index - 1][1].priority))
    changed = [(name, place)]
    for name, above in reversed(order[:index]):
        if above.is_before(place):
            break
        place = above.put_before(place)
        changed.append((name, place))
    return dict(reversed(changed))


def _renumber(order: Sequence[tuple[str, _PlaceInLine]]) -> dict[str, _PlaceInLine]:
    """All places in this order, with priorities as low as possible."""
    name, place = order[-1]
    place = place._replace(priority=min(one.priority for _, one in order))
    changed = [(name, place)]
    for name, above in reversed(order[:-1]):
        place = above.put_before(place)
        changed.append((name, place))
    return dict(reversed(changed))


def _note_parent(change: Transition, id: str, priority: int) -> None:
    """Let a parent have the priority of its jobs, as its place in line is theirs."""
    row = change.lock(id)
    if row is not None and row.spec is None:
        change.set_state(id, row.state, priority=priority)


def _move(change: Transition, row: Row[Any], changes: dict[str, Any]) -> None:
    if row.token is not None:
        change.queue.cancel_many(change.connection, [row.token])
        due = changes.get("due_ms", row.due_ms)
        priority = changes.get("priority", row.priority)
        priority += ADOPTION_PRIORITY if keeps_engine(row) else 0
        delay = max(0.0, (due - change.now) / 1000)
        put = Put(row.id, queue_name(row.queue_pool, row.affinity), priority, delay)
        (token,) = change.queue.put_many(change.connection, [put])
        changes = changes | {"token": token}
    change.set_state(row.id, row.state, **changes)
