"""The rows of the queue: other attempts, what people change, and lists."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import or_, select, update
from support.queued_jobs import (
    fail_job,
    fetch_all,
    finish_job,
    new_batch,
    new_job,
    planned,
    recorded_states,
    redeliver,
    states_of,
    submitted,
    take_next,
)

from imagen.config import Settings
from imagen.core.ticket import new_id
from imagen.errors import Failed, Lost, RequestError
from imagen.jobs.embedded import EmbeddedQueue
from imagen.jobs.forecast import read_line
from imagen.jobs.sql_store import SqlJobStore
from imagen.library.schema import events, job_blobs, job_previews, jobs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagen.library import Library

_SETTINGS = Settings()


@pytest.fixture
def store(library: Library) -> Iterator[SqlJobStore]:
    queue = EmbeddedQueue(library, "w1", stall_seconds=0.3)
    yield SqlJobStore(library, queue)
    queue.close()


# Again, and after the death of a worker


def test_another_attempt_keeps_the_job_or_prepares_it_anew(store: SqlJobStore) -> None:
    (id,) = store.submit([new_job()])
    taken = take_next(store)
    job = planned(taken)
    store.write(taken.fence, job, _SETTINGS)
    store.again(taken.fence, error=Failed("busy"))
    kept = take_next(store)
    assert (kept.failures, kept.attempt, kept.ticket_id) == (1, 2, id)
    assert kept.job == job
    store.again(kept.fence, keep_job=False, is_failure=False)
    anew = take_next(store)
    assert (anew.failures, anew.job, anew.ticket_id) == (1, None, id)
    store.write(anew.fence, submitted(anew), _SETTINGS)
    store.again(anew.fence, keep_job=False, pool="other", error=Lost("gone"))
    moved = store.read(id)
    assert (moved.pool, moved.job) == ("other", None)
    assert moved.ticket_id != id
    taken = take_next(store, queue="other/")
    finish_job(store, taken)
    assert recorded_states(store) == {moved.ticket_id: "done"}


def test_a_job_that_is_to_be_cancelled_does_not_come_again(store: SqlJobStore) -> None:
    (id,) = store.submit([new_job()])
    taken = take_next(store)
    store.cancel(id)
    assert store.again(taken.fence) == "cancelled"
    assert store.read(id).state == "cancelled"


def test_a_job_whose_cancellation_is_in_doubt_is_tried_again(store: SqlJobStore) -> None:
    (id,) = store.submit([new_job()])
    taken = take_next(store)
    store.write(taken.fence, submitted(taken), _SETTINGS)
    store.cancel(id)
    assert store.again(taken.fence) == "cancelling"
    assert [each.jobs for each in store.waiting()] == [1]
    again = take_next(store)
    assert (again.state, again.cancel) == ("cancelling", True)
    fail_job(store, again, "cancelled")
    assert store.read(id).state == "cancelled"


def test_a_job_that_kills_its_workers_is_set_aside(store: SqlJobStore) -> None:
    (id,) = store.submit([new_job()])
    for deaths in range(1, 4):
        taken = take_next(store)
        assert redeliver(store, taken.token)
        assert store.read(id).deaths == deaths
    poison = store.read(id)
    assert (poison.state, poison.error and poison.error["code"]) == ("failed", "poison")
    assert "3 workers died" in str(poison.error)


def test_a_paid_job_that_kills_its_workers_may_have_cost_money(store: SqlJobStore) -> None:
    (id,) = store.submit([new_job()])
    taken = take_next(store)
    store.write(taken.fence, submitted(taken, usd=1.0), _SETTINGS)
    for _ in range(3):
        token = store.read(id).token
        assert redeliver(store, token)
        if store.read(id).state == "queued":
            take_next(store)
    assert store.read(id).state == "lost"
    with pytest.raises(RequestError, match="cost money"):
        store.retry(id)
    assert store.retry(id, is_confirmed=True) == 1
    assert store.read(id).ticket_id != id


def test_a_job_that_is_handed_back_is_no_death(store: SqlJobStore) -> None:
    (id,) = store.submit([new_job()])
    for _ in range(5):
        store.again(take_next(store).fence, is_failure=False)
    after = store.read(id)
    assert (after.state, after.deaths, after.failures) == ("queued", 0, 0)


# What people do


def test_a_cancelled_batch_stops_as_a_whole(store: SqlJobStore) -> None:
    batch = new_batch()
    kids = [new_job(parent=batch.id, number=n) for n in range(4)]
    store.submit([batch, *kids])
    running, handed_back = take_next(store), take_next(store)
    store.write(handed_back.fence, submitted(handed_back), _SETTINGS)
    store.again(handed_back.fence, is_failure=False)
    assert store.cancel(batch.id) == 4
    states = states_of(store, *(kid.id for kid in kids))
    assert states == ["running", "cancelling", "cancelled", "cancelled"]
    assert store.read(batch.id).state == "running"
    assert store.cancel(batch.id) == 2
    fail_job(store, running, "cancelled")
    fail_job(store, take_next(store), "cancelled")
    assert store.read(batch.id).state == "cancelled"
    assert store.cancel(batch.id) == 0


def test_a_batch_is_retried_without_what_is_done(store: SqlJobStore) -> None:
    batch = new_batch()
    first = new_job(parent=batch.id)
    second = new_job(parent=batch.id, number=1)
    third = new_job(parent=batch.id, number=2, after=second.id)
    store.submit([batch, first, second, third])
    finish_job(store, take_next(store))
    failed = take_next(store)
    store.write(failed.fence, submitted(failed), _SETTINGS)
    fail_job(store, failed)
    assert store.read(third.id).state == "failed"
    assert store.retry(batch.id) == 2
    assert states_of(store, batch.id, first.id, second.id, third.id) == [
        "running",
        "done",
        "queued",
        "held",
    ]
    again = store.read(second.id)
    assert (again.job, again.error, again.failures) == (None, None, 0)
    assert again.ticket_id != second.id
    finish_job(store, take_next(store))
    finish_job(store, take_next(store))
    assert store.read(batch.id).state == "done"


def test_a_job_is_retried_after_the_one_before_it(store: SqlJobStore) -> None:
    first = new_job()
    second = new_job(after=first.id)
    store.submit([first, second])
    fail_job(store, take_next(store))
    with pytest.raises(RequestError, match=f"jobs retry {first.id}"):
        store.retry(second.id)
    assert store.read(second.id).state == "failed"
    store.retry(first.id)
    store.retry(second.id)
    assert states_of(store, first.id, second.id) == ["queued", "held"]


def test_what_is_not_over_or_done_is_not_retried(store: SqlJobStore) -> None:
    (id,) = store.submit([new_job()])
    with pytest.raises(RequestError, match="nothing to retry"):
        store.retry(id)
    finish_job(store, take_next(store))
    with pytest.raises(RequestError, match="nothing to retry"):
        store.retry(id)
    with pytest.raises(RequestError, match="not found"):
        store.retry(new_id())


def test_waiting_jobs_are_moved(store: SqlJobStore) -> None:
    batch = new_batch()
    kids = [new_job(parent=batch.id, number=n) for n in range(2)]
    store.submit([new_job(), batch, *kids])
    assert store.move(batch.id, priority=5) == 2
    assert fetch_all(store)[:2] == [kid.id for kid in kids]
    (id,) = store.submit([new_job()])
    later = datetime.now(UTC) + timedelta(hours=1)
    assert store.move(id, due=later) == 1
    assert fetch_all(store) == []
    assert abs(store.read(id).due - later) < timedelta(seconds=1)


@pytest.mark.parametrize("moved", range(5))
@pytest.mark.parametrize("behind", range(5))
def test_a_job_is_moved_behind_any_other(store: SqlJobStore, moved: int, behind: int) -> None:
    """Two of higher priority, then a batch and two jobs; each comes to lie behind each other."""
    batch = new_batch()
    kids = [new_job(parent=batch.id, number=n) for n in range(2)]
    singles = [new_job(priority=1), new_job(priority=1), new_job(), new_job()]
    store.submit([singles[0]])
    store.submit([singles[1]])
    store.submit([batch, *kids])
    store.submit([singles[2]])
    store.submit([singles[3]])
    groups = {one.id: [one.id] for one in singles[:2]}
    groups |= {batch.id: [kid.id for kid in kids]} | {one.id: [one.id] for one in singles[2:]}
    order = [*groups]
    _spread_creation(store, order)
    id, other = order[moved], order[behind]
    if id == other:
        with pytest.raises(RequestError, match="behind itself"):
            store.move_behind(id, other)
        return
    store.move_behind(id, other)
    order.remove(id)
    order.insert(order.index(other) + 1, id)
    wanted = [job for root in order for job in groups[root]]
    assert [job.id for job in read_line(store.library)] == wanted
    assert fetch_all(store) == wanted


def test_when_no_priority_is_left_all_are_numbered_anew(store: SqlJobStore) -> None:
    ids = [store.submit([new_job(priority=999)])[0] for _ in range(4)]
    _spread_creation(store, ids)
    for _ in range(3):
        store.move_behind(ids[0], ids[3])
        store.move_behind(ids[0], ids[1])
    assert max(store.read(id).priority for id in ids) <= 1000
    assert fetch_all(store) == [ids[1], ids[0], ids[2], ids[3]]


def test_only_what_waits_by_itself_is_moved_behind_another(store: SqlJobStore) -> None:
    batch = new_batch()
    kid = new_job(parent=batch.id)
    (first,) = store.submit([new_job()])
    store.submit([batch, kid])
    for id, other in ((kid.id, first), (first, kid.id), (first, new_id())):
        with pytest.raises(RequestError, match="does not wait"):
            store.move_behind(id, other)


def _spread_creation(store: SqlJobStore, roots: list[str]) -> None:
    """Have these been submitted at different moments, in this order."""
    with store.library.writing() as connection:
        for number, root in enumerate(roots):
            one = or_(jobs.c.id == root, jobs.c.parent == root)
            connection.execute(update(jobs).where(one).values(created_ms=1000 + number))


def test_a_held_job_keeps_its_new_place(store: SqlJobStore) -> None:
    first = new_job()
    second = new_job(after=first.id)
    store.submit([first, second, new_job(priority=4)])
    store.move(second.id, priority=9)
    store.move(first.id, priority=10)
    finish_job(store, take_next(store))
    assert fetch_all(store)[0] == second.id


def test_a_running_job_is_not_moved(store: SqlJobStore) -> None:
    (id,) = store.submit([new_job()])
    take_next(store)
    with pytest.raises(RequestError, match="does not wait"):
        store.move(id, priority=5)


# Pruning


def _make_old(store: SqlJobStore, *ids: str) -> None:
    with store.library.writing() as connection:
        old = update(jobs).where(jobs.c.id.in_(ids))
        connection.execute(old.values(created_ms=1, ended_ms=2))


def test_old_jobs_are_pruned_with_all_that_is_theirs(store: SqlJobStore) -> None:
    batch, active = new_batch(), new_batch()
    kids = [new_job(parent=batch.id, blobs=("ab", "cd")), new_job(parent=active.id)]
    waiting = new_job(parent=active.id, number=1)
    store.submit([batch, kids[0], active, kids[1], waiting, recent := new_job()])
    for _ in range(2):
        finish_job(store, take_next(store))
    store.cancel(recent.id)
    _make_old(store, batch.id, kids[0].id, kids[1].id)
    assert store.prune(datetime.now(UTC) - timedelta(days=1)) == 2
    left = {job.id for job in store.list_jobs()} | {kids[1].id}
    assert left == {active.id, recent.id, kids[1].id}
    assert store.read(kids[1].id).state == "done"
    with store.library.reading() as connection:
        assert connection.execute(select(job_blobs)).all() == []
        assert set(connection.scalars(select(events.c.job))) <= {*left, kids[1].id}
        assert connection.execute(select(job_previews)).all() == []
    assert recorded_states(store)[kids[0].id] == "done"


# Looking


def test_jobs_are_found_by_the_beginning_of_their_ids(store: SqlJobStore) -> None:
    ids = ["aaaa0000-0000-4000-8000-000000000001", "aaaa0000-0000-4000-8000-000000000002"]
    for id in ids:
        store.submit([new_job(id=id)])
    assert store.resolve_id("AAAA0000-0000-4000-8000-000000000001") == ids[0]
    assert store.resolve_id(ids[1][:36]) == ids[1]
    assert {store.resolve_id("last"), store.resolve_id("last~1")} == set(ids)
    with pytest.raises(RequestError, match="Several jobs"):
        store.resolve_id("aaaa")
    for word in ("bbbb", "last~2", "aaaa%", "x'; --", ""):
        with pytest.raises(RequestError, match="not found"):
            store.resolve_id(word)


def test_jobs_are_listed_page_by_page(store: SqlJobStore) -> None:
    ids: list[str] = []
    for number in range(7):
        ids += store.submit([new_job(name=str(number))])
    with store.library.writing() as connection:
        connection.execute(update(jobs).values(created_ms=5))  # all at once
    pages, before = [], None
    while page := store.list_jobs(limit=3, before=before):
        pages += [job.id for job in page]
        before = page[-1].id
    assert pages == sorted(ids, reverse=True)
    assert store.list_jobs(before=new_id()) == []


def test_jobs_are_listed_by_state_pool_and_parent(store: SqlJobStore) -> None:
    batch = new_batch()
    kids = [new_job(parent=batch.id, number=n) for n in range(3)]
    (alone,) = store.submit([new_job()])
    store.submit([batch, *kids])
    fail_job(store, take_next(store))
    assert [job.id for job in store.list_jobs()] == [batch.id, alone]
    assert [job.id for job in store.list_jobs(states=["failed"])] == [alone]
    assert [job.id for job in store.list_jobs(parent=batch.id)] == [kid.id for kid in kids]
    page = store.list_jobs(parent=batch.id, limit=2, before=kids[0].id)
    assert [job.id for job in page] == [kids[1].id, kids[2].id]
    assert {job.id for job in store.list_jobs(pool="gpu")} == {alone, *(kid.id for kid in kids)}
    assert store.list_jobs(pool="none") == []


def test_what_waits_is_counted_by_queue(store: SqlJobStore) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    store.submit([new_job(affinity="xl"), new_job(affinity="xl", priority=2), new_job(due=later)])
    waiting = {(each.affinity, each.priority): each.jobs for each in store.waiting(["gpu"])}
    assert waiting == {("xl", 0): 1, ("xl", 2): 1}
    assert store.waiting(["other"]) == []
    due = store.next_due(["gpu"])
    assert due is not None
    assert 3500 < due <= 3600
    assert store.next_due(["other"]) is None
