"""Workers and lists look into indexes, however many jobs have ended."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event
from support.library_samples import settings_at
from support.queued_jobs import finish_job, new_batch, new_job, take_next

from imagen.jobs.embedded import EmbeddedQueue
from imagen.jobs.sql_store import SqlJobStore
from imagen.library import open_library

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Look = Callable[[SqlJobStore], object]


@pytest.fixture
def store(sqlite_path: str) -> Iterator[SqlJobStore]:
    with open_library(settings_at(sqlite_path)) as library:
        queue = EmbeddedQueue(library, "w1")
        yield SqlJobStore(library, queue)
        queue.close()


def _plans(store: SqlJobStore, look: Look) -> list[str]:
    """The steps of all statements that this executes."""
    found: list[str] = []

    def explain(_connection, cursor, statement, parameters, _context, _many):  # type: ignore[no-untyped-def]
        if statement.startswith(("SELECT", "UPDATE", "DELETE")):
            if isinstance(parameters, list):
                parameters = parameters[0]
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            found.extend(row[3] for row in cursor.fetchall())

    event.listen(store.library.engine, "before_cursor_execute", explain)
    try:
        look(store)
    finally:
        event.remove(store.library.engine, "before_cursor_execute", explain)
    assert found
    return found


_SMALL = ("jobs_owned", "jobs_at_engine", "deliveries_held")
"""Indexes of jobs in the hands of workers."""
_LOOKS: dict[str, Look] = {
    "fetch": lambda store: store.queue.fetch([["gpu/"], ["gpu/", "gpu/xl"]]),
    "beat": lambda store: store.queue.beat(["1", "2"]),
    "stalled": lambda store: store.queue.stalled(),
    "take": take_next,
    "finish": lambda store: finish_job(store, take_next(store)),
    "cancel": lambda store: store.cancel(store.list_jobs()[-1].id),
    "waiting": lambda store: store.waiting(["gpu"]),
    "next_due": lambda store: store.next_due(["gpu"]),
    "running": lambda store: store.running(),
    "running at a resource": lambda store: store.running("card"),
    "list": lambda store: store.list_jobs(),
    "list failed": lambda store: store.list_jobs(states=["failed"]),
    "list a pool": lambda store: store.list_jobs(pool="gpu", before=store.list_jobs()[0].id),
    "list a batch": lambda store: store.list_jobs(parent=store.list_jobs()[0].id),
    "counts": lambda store: store.children_counts([job.id for job in store.list_jobs()]),
    "resolve": lambda store: store.resolve_id("last"),
    "prune": lambda store: store.prune(datetime(2020, 1, 1, tzinfo=UTC)),
    "events": lambda store: store.events_after(3),
}


@pytest.mark.parametrize("name", _LOOKS)
def test_an_index_is_used(store: SqlJobStore, name: str) -> None:
    batch = new_batch()
    store.submit([new_job(), new_job()])
    store.submit([batch, *(new_job(parent=batch.id, number=n) for n in range(3))])
    finish_job(store, take_next(store))
    take_next(store)
    scans = [
        step
        for step in _plans(store, _LOOKS[name])
        if step.startswith(("SCAN jobs", "SCAN events", "SCAN deliveries"))
        and not step.endswith(_SMALL)
    ]
    assert scans == []
