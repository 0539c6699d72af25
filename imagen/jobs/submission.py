"""Store new jobs: which of them are known already, and which wait for others."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select

from imagen.backends.base import parse_rate
from imagen.core.json_values import json_safe
from imagen.core.text import one_line
from imagen.errors import RateLimited, RequestError
from imagen.jobs.model import ENDED, PARENTS
from imagen.jobs.queue import Put, queue_name
from imagen.library.schema import job_blobs, jobs, milliseconds, stored_text
from imagen.library.tokens import find_token

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from imagen.jobs.model import NewJob, QueueState
    from imagen.jobs.transitions import Transition

SHEET_POOL = "sheet"
"""The pool of jobs of kind `sheet`, which need no engine."""
_LONGEST_NAME = 500
_LONGEST_AFFINITY = 200
"""Characters; it is in indexes, which PostgreSQL limits to 2700 bytes."""
_CHUNK = 500
"""Ids in one statement."""


def find_known(connection: Connection, new: Sequence[NewJob]) -> dict[str, str]:
    """The ids of known jobs, by the ids of the new ones with the same key or id.

    The children of a known parent are known: they were stored in the same transaction.
    """
    stored: dict[str, str] = {}
    known: dict[str, str] = {}
    for first in range(0, len(new), _CHUNK):
        some = new[first : first + _CHUNK]
        ids = select(jobs.c.id).where(jobs.c.id.in_([job.id for job in some]))
        known |= {id: id for id in connection.scalars(ids)}
        keys = [job.key for job in some if job.key is not None]
        same = select(jobs.c.key, jobs.c.id).where(jobs.c.key.in_(keys))
        stored |= dict(connection.execute(same).all())
    children: dict[str, dict[int, str]] = {}
    for job in new:
        if job.id in known:
            continue
        if job.key in stored:
            known[job.id] = stored[job.key]
        elif job.parent in known:
            parent = known[job.parent]
            if parent not in children:
                chosen = select(jobs.c.number, jobs.c.id).where(jobs.c.parent == parent)
                children[parent] = dict(connection.execute(chosen).all())
            known[job.id] = children[parent].get(job.number, parent)
        elif job.key is not None:
            stored[job.key] = job.id
    return known


def with_known(job: NewJob, known: dict[str, str]) -> NewJob:
    """The job with the ids of known jobs instead of the new ones that were not stored."""
    changes: dict[str, Any] = {}
    if job.after in known:
        changes["after"] = known[job.after]
    if job.spec is not None and set(job.spec.control_jobs.values()) & known.keys():
        controls = {n: known.get(id, id) for n, id in job.spec.control_jobs.items()}
        changes["spec"] = job.spec.model_copy(update={"control_jobs": controls})
    return job.model_copy(update=changes) if changes else job


def refuse_over_rate(change: Transition, new: Sequence[NewJob]) -> None:
    """Raises RateLimited if the token of a caller allows no more jobs now."""
    counts = Counter(job.caller for job in new if job.caller and job.kind not in PARENTS)
    for caller, count in counts.items():
        token = find_token(change.connection, caller)
        if token is None or not token.rate:
            continue
        most, seconds = parse_rate(token.rate)
        if count > most:
            raise RequestError(
                f"{count} jobs at once are more than {caller} may submit: {token.rate}."
            )
        period = round(seconds * 1000)
        submitted = select(jobs.c.created_ms).where(
            jobs.c.created_ms > change.now - period,
            jobs.c.caller == caller,
            jobs.c.kind.not_in(PARENTS),
        )
        newest = submitted.order_by(jobs.c.created_ms.desc()).offset(most - count).limit(1)
        blocking = change.connection.scalar(newest)
        if blocking is not None:
            raise RateLimited(
                f"{caller} may submit {token.rate} jobs.",
                retry_after_seconds=max(1, blocking + period - change.now) / 1000,
            )


def insert_jobs(change: Transition, new: Sequence[NewJob]) -> None:
    """Store jobs, and put those in line that wait for no other."""
    if not new:
        return
    by_id = {job.id: job for job in new}
    states = _find_predecessors(change.connection, new, by_id)
    rows = [_row(job, by_id, states, change.now) for job in new]
    queued = [row for row in rows if row["state"] == "queued" and row["kind"] not in PARENTS]
    puts = [
        Put(
            row["id"],
            queue_name(row["queue_pool"], row["affinity"]),
            row["priority"],
            max(0.0, (row["due_ms"] - change.now) / 1000),
        )
        for row in queued
    ]
    tokens = change.queue.put_many(change.connection, puts)
    for row, token in zip(queued, tokens, strict=True):
        row["token"] = token
    change.connection.execute(insert(jobs), rows)
    blobs = [
        {"job": job.id, "sha256": sha256} for job in new for sha256 in dict.fromkeys(job.blobs)
    ]
    if blobs:
        change.connection.execute(insert(job_blobs), blobs)
    parents = {job.parent for job in new}
    for id in parents - {None, *by_id}:
        change.reopen_parents(id)
    for row in rows:
        if row["parent"] is None:
            change.note(row["id"], state=row["state"])
    change.settle_parents(
        row["id"] for row in rows if row["kind"] in PARENTS and row["id"] not in parents
    )


def _find_predecessors(
    connection: Connection, new: Sequence[NewJob], by_id: dict[str, NewJob]
) -> dict[str, QueueState]:
    """The states of stored jobs after which new ones are to run."""
    ids = sorted({job.after for job in new if job.after is not None} - by_id.keys())
    states: dict[str, QueueState] = {}
    for first in range(0, len(ids), _CHUNK):
        chosen = select(jobs.c.id, jobs.c.state).where(jobs.c.id.in_(ids[first : first + _CHUNK]))
        states |= dict(connection.execute(chosen).all())
    for id in ids:
        if id not in states:
            raise RequestError(
                f"Job {one_line(id, limit=60)!r} not found, after which this is to run.",
                remedy="List the jobs with: imagen jobs",
            )
        if states[id] in ENDED and states[id] != "done":
            raise RequestError(
                f"Job {id}, after which this is to run, has ended: {states[id]}.",
                remedy=f"Retry it first: imagen jobs retry {id}",
            )
    return states


def _row(
    job: NewJob, by_id: dict[str, NewJob], states: dict[str, QueueState], now: int
) -> dict[str, Any]:
    parent = by_id.get(job.parent or "")
    after = job.after or (parent.after if parent is not None else None)
    is_sheet = job.kind == "sheet" and job.parent is not None
    is_held = after is not None and states.get(after) != "done" and job.kind not in PARENTS
    pool = SHEET_POOL if job.kind == "sheet" else job.spec.backend if job.spec else ""
    return {
        "id": job.id,
        "parent": job.parent,
        "number": job.number,
        "kind": job.kind,
        "name": stored_text(one_line(job.name, limit=_LONGEST_NAME)),
        "state": "held" if is_held or is_sheet else "queued",
        "pool": stored_text(pool),
        "queue_pool": stored_text(pool),
        "affinity": stored_text(job.affinity)[:_LONGEST_AFFINITY],
        "priority": job.priority,
        "due_ms": now if job.due is None else milliseconds(job.due),
        "created_ms": now,
        "after": None if is_sheet else after,
        "ticket_id": job.id,
        "spec": None
        if job.spec is None
        else json_safe(job.spec.model_dump(mode="json", exclude_defaults=True)),
        "backend": "",
        "resource": "",
        "is_at_engine": 0,
        "attempt": 0,
        "failures": 0,
        "deaths": 0,
        "owner": "",
        "token": None,
        "cancel": 0,
        "caller": stored_text(job.caller),
        "key": None if job.key is None else stored_text(job.key),
    }
