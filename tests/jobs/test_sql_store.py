"""The rows of the queue: their states, and what follows when one ends."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from support.queued_jobs import (
    fail_job,
    fetch_all,
    finish_job,
    new_batch,
    new_job,
    planned,
    recorded,
    recorded_states,
    redeliver,
    states_of,
    submitted,
    take_next,
    wait_until,
)

from imagen.config import Settings
from imagen.core.request import Request
from imagen.core.result import Progress
from imagen.core.ticket import new_id
from imagen.errors import Failed, LetGo, RequestError
from imagen.jobs.embedded import EmbeddedQueue
from imagen.jobs.model import JobSpec, NewJob
from imagen.jobs.sql_store import SqlJobStore
from imagen.jobs.transitions import Transition
from imagen.library.outbox import list_unsent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection

    from imagen.jobs.model import QueueState
    from imagen.jobs.queue import Put
    from imagen.library import Library

_SETTINGS = Settings()


@pytest.fixture
def store(library: Library) -> Iterator[SqlJobStore]:
    queue = EmbeddedQueue(library, "w1", stall_seconds=0.3)
    yield SqlJobStore(library, queue)
    queue.close()


# Submitting


def test_a_job_goes_from_the_line_into_the_library(store: SqlJobStore) -> None:
    (id,) = store.submit([new_job(name="a fox", affinity="", caller="ada", priority=3)])
    before = store.read(id)
    assert (before.state, before.pool, before.name) == ("queued", "gpu", "a fox")
    assert (before.caller, before.priority, before.ticket_id) == ("ada", 3, id)
    taken = take_next(store)
    assert (taken.state, taken.attempt, taken.owner) == ("running", 1, "w1")
    assert (taken.backend, taken.started is not None) == ("gpu", True)
    assert taken.spec == before.spec
    job = submitted(taken)
    store.write(taken.fence, job, _SETTINGS)
    assert store.read(id).job == job
    finish_job(store, taken)
    after = store.read(id)
    assert (after.state, after.owner, after.token) == ("done", "", None)
    assert (after.job, after.is_at_engine) == (None, False)
    assert after.ended is not None
    assert recorded_states(store) == {after.ticket_id: "done"}
    assert store.queue.live() == set()


def test_the_same_key_is_one_job(store: SqlJobStore) -> None:
    first, second = new_job(key="a"), new_job(key="a")
    assert store.submit([first]) == [first.id]
    assert store.submit([second, new_job(key="b")])[0] == first.id
    assert len(store.list_jobs()) == 2


def test_the_same_key_twice_in_one_submission_is_one_job(store: SqlJobStore) -> None:
    first, second = new_job(key="a"), new_job(key="a")
    assert store.submit([first, second]) == [first.id, first.id]


def test_a_submission_may_be_repeated(store: SqlJobStore) -> None:
    parent = new_batch()
    batch = [parent, new_job(parent=parent.id), new_job(parent=parent.id, number=1)]
    assert store.submit(batch) == store.submit(batch) == [job.id for job in batch]
    assert store.children_counts([parent.id]) == {parent.id: {"queued": 2}}


def test_the_same_key_at_the_same_time_is_one_job(store: SqlJobStore) -> None:
    batches = [[parent := new_batch(key="all"), new_job(parent=parent.id)] for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(store.submit, batches))
    assert len({tuple(each) for each in ids}) == 1
    assert len(store.list_jobs()) == 1


def test_a_batch_whose_jobs_are_all_known_is_over(store: SqlJobStore) -> None:
    (known,) = store.submit([new_job(key="a")])
    again = new_batch()
    assert store.submit([again, new_job(parent=again.id, key="a")]) == [again.id, known]
    assert states_of(store, again.id, known) == ["done", "queued"]


def test_a_name_has_no_control_characters(store: SqlJobStore) -> None:
    (id,) = store.submit([new_job(name="a\x1b[31m fox\n\x00" + "x" * 1000, affinity="a\0b")])
    name = store.read(id).name
    assert name.isprintable()
    assert len(name) <= 500


def test_a_long_model_name_is_shortened(store: SqlJobStore) -> None:
    """It is in indexes, which have a limit."""
    (id,) = store.submit([new_job(affinity="雪" * 5000)])
    affinity = store.read(id).affinity
    assert len(affinity) == 200
    assert take_next(store, queue=f"gpu/{affinity}").id == id


def test_priorities_have_bounds() -> None:
    with pytest.raises(ValueError, match="less than or equal"):
        new_job(priority=1001)


# Parents


def test_a_parent_runs_and_ends_with_its_children(store: SqlJobStore) -> None:
    batch = new_batch()
    inner = NewJob(kind="request", parent=batch.id, name="two foxes")
    kids = [new_job(parent=inner.id), new_job(parent=inner.id, number=1)]
    store.submit([batch, inner, *kids])
    assert states_of(store, batch.id, inner.id) == ["queued", "queued"]
    first, second = take_next(store), take_next(store)
    assert states_of(store, batch.id, inner.id) == ["running", "running"]
    finish_job(store, first)
    assert states_of(store, batch.id, inner.id) == ["running", "running"]
    finish_job(store, second)
    assert states_of(store, batch.id, inner.id) == ["done", "done"]
    assert store.read(batch.id).ended is not None


@pytest.mark.parametrize(
    ("ends", "state"),
    [
        (("done", "failed"), "failed"),
        (("cancelled", "failed"), "failed"),
        (("lost", "failed"), "lost"),
        (("done", "cancelled"), "cancelled"),
    ],
)
def test_the_worst_end_of_a_child_is_the_parents(
    store: SqlJobStore, ends: tuple[QueueState, ...], state: str
) -> None:
    batch = new_batch()
    store.submit([batch, *(new_job(parent=batch.id, number=n) for n in range(len(ends)))])
    for end in ends:
        taken = take_next(store)
        finish_job(store, taken) if end == "done" else fail_job(store, taken, end)
    assert store.read(batch.id).state == state


def test_two_last_children_end_their_parent_once(store: SqlJobStore) -> None:
    for _ in range(5):
        batch = new_batch()
        store.submit([batch, *(new_job(parent=batch.id, number=n) for n in range(4))])
        taken = [take_next(store) for _ in range(4)]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda one: finish_job(store, one), taken))
        assert store.read(batch.id).state == "done"
        events = store.events_after(0, job=batch.id)
        assert [event.data["state"] for event in events] == ["queued", "running", "done"]


def test_a_job_added_to_a_parent_that_has_ended_opens_it_again(store: SqlJobStore) -> None:
    batch = new_batch()
    store.submit([batch, new_job(parent=batch.id)])
    finish_job(store, take_next(store))
    store.submit([new_job(parent=batch.id, number=1)])
    assert store.read(batch.id).state == "running"
    finish_job(store, take_next(store))
    assert store.read(batch.id).state == "done"


# After another job


def test_a_job_waits_for_the_one_before_it(store: SqlJobStore) -> None:
    first = new_job()
    second = new_job(after=first.id)
    store.submit([first, second])
    assert store.read(second.id).state == "held"
    taken = take_next(store)
    assert fetch_all(store) == []
    finish_job(store, taken)
    assert store.read(second.id).state == "queued"
    assert fetch_all(store) == [second.id]


@pytest.mark.parametrize(("end", "follows"), [("failed", "failed"), ("cancelled", "cancelled")])
def test_jobs_end_with_the_one_before_them(
    store: SqlJobStore, end: QueueState, follows: str
) -> None:
    batch = new_batch()
    first = new_job(parent=batch.id)
    second = new_job(parent=batch.id, number=1, after=first.id)
    third = new_job(parent=batch.id, number=2, after=second.id)
    store.submit([batch, first, second, third])
    fail_job(store, take_next(store), end)
    assert states_of(store, second.id, third.id, batch.id) == [follows, follows, end]
    error = store.read(third.id).error
    assert error is not None
    assert error["code"] == "predecessor"
    assert second.id in str(error["message"])


def test_a_job_may_come_after_one_that_is_done(store: SqlJobStore) -> None:
    (first,) = store.submit([new_job()])
    finish_job(store, take_next(store))
    (second,) = store.submit([new_job(after=first)])
    assert store.read(second).state == "queued"


def test_no_job_comes_after_one_that_failed(store: SqlJobStore) -> None:
    (first,) = store.submit([new_job()])
    fail_job(store, take_next(store))
    with pytest.raises(RequestError, match="has ended: failed"):
        store.submit([new_job(after=first)])
    with pytest.raises(RequestError, match="not found"):
        store.submit([new_job(), new_job(after=new_id())])
    assert fetch_all(store) == []


def test_many_jobs_may_wait_for_one(store: SqlJobStore) -> None:
    first = new_job()
    others = [new_job(after=first.id, priority=n % 3) for n in range(1200)]
    store.submit([first, *others])
    finish_job(store, take_next(store))
    assert [each.jobs for each in store.waiting()] == [400, 400, 400]
    assert store.redeliver_missing() == 0


def test_a_batch_may_come_after_a_batch(store: SqlJobStore) -> None:
    first = new_batch()
    second = new_batch(after=first.id)
    kid = new_job(parent=second.id)
    store.submit([first, new_job(parent=first.id), second, kid])
    assert store.read(kid.id).state == "held"
    finish_job(store, take_next(store))
    assert states_of(store, first.id, kid.id) == ["done", "queued"]


# Sheets


def _grid(store: SqlJobStore) -> tuple[str, str]:
    """A comparison of two cells: its id, and that of its sheet."""
    grid = NewJob(kind="grid", name="grid")
    spec = new_job().spec
    sheet = NewJob(kind="sheet", spec=spec, parent=grid.id, number=2)
    cells = [new_job(parent=grid.id, number=n) for n in range(2)]
    store.submit([grid, *cells, sheet])
    return grid.id, sheet.id


def test_a_sheet_is_drawn_once_all_cells_have_ended(store: SqlJobStore) -> None:
    grid, sheet = _grid(store)
    assert store.read(sheet).state == "held"
    finish_job(store, take_next(store))
    assert store.read(sheet).state == "held"
    fail_job(store, take_next(store))
    assert states_of(store, sheet, grid) == ["queued", "running"]
    assert [each.pool for each in store.waiting()] == ["sheet"]
    drawn = take_next(store, queue="sheet/")
    store.finish(drawn.fence, None, _SETTINGS)
    assert states_of(store, sheet, grid) == ["done", "failed"]


def test_a_cell_that_is_retried_has_the_sheet_drawn_again(store: SqlJobStore) -> None:
    grid, sheet = _grid(store)
    finish_job(store, take_next(store))
    fail_job(store, take_next(store))
    store.finish(take_next(store, queue="sheet/").fence, None, _SETTINGS)
    assert store.retry(grid) == 1
    assert states_of(store, sheet, grid) == ["held", "running"]
    finish_job(store, take_next(store))
    store.finish(take_next(store, queue="sheet/").fence, None, _SETTINGS)
    assert states_of(store, sheet, grid) == ["done", "done"]


def test_a_sheet_in_line_waits_again_for_a_cell_that_is_retried(store: SqlJobStore) -> None:
    grid, sheet = _grid(store)
    finish_job(store, take_next(store))
    fail_job(store, take_next(store))
    assert store.read(sheet).state == "queued"
    store.retry(grid)
    assert store.read(sheet).state == "held"
    assert fetch_all(store, "sheet/") == []
    finish_job(store, take_next(store))
    store.finish(take_next(store, queue="sheet/").fence, None, _SETTINGS)
    assert states_of(store, grid, sheet) == ["done", "done"]


def test_the_sheet_of_a_cancelled_comparison_is_cancelled(store: SqlJobStore) -> None:
    grid, sheet = _grid(store)
    assert store.cancel(grid) == 3
    assert states_of(store, grid, sheet) == ["cancelled", "cancelled"]


# Places of a resource


def test_a_resource_has_so_many_places(store: SqlJobStore) -> None:
    ids = store.submit([new_job(), new_job()])
    deliveries = [store.queue.fetch([["gpu/"]]) for _ in range(2)]
    taken = [
        each and store.take(each, worker="w1", backend="gpu", resource="card", at_once=1)
        for each in deliveries
    ]
    assert taken[0] is not None
    assert taken[1] is None
    assert [job.id for job in store.running("card")] == [taken[0].id]
    store.leave_engine(taken[0].fence)
    assert store.running("card") == []
    assert [job.id for job in store.running()] == [taken[0].id]
    wait_until(lambda: fetch_all(store) == [ids[1]])


def test_a_resource_starts_so_many_jobs_in_a_time(store: SqlJobStore) -> None:
    store.submit([new_job() for _ in range(3)])
    started = []
    for _ in range(3):
        delivery = store.queue.fetch([["gpu/"]])
        assert delivery is not None
        started.append(
            store.take(delivery, worker="w1", backend="gpu", resource="cloud", rate=(2, 1.0))
        )
    assert [one is not None for one in started] == [True, True, False]
    wait_until(lambda: len(fetch_all(store)) == 1)
    assert store.read(store.list_jobs(states=["queued"])[0].id).attempt == 0


def test_two_workers_do_not_share_the_last_place(store: SqlJobStore) -> None:
    for _ in range(5):
        resource = new_id()
        store.submit([new_job() for _ in range(4)])
        deliveries = [store.queue.fetch([["gpu/"]]) for _ in range(4)]
        with ThreadPoolExecutor(4) as pool:
            taken = list(
                pool.map(
                    lambda each, place=resource: store.take(
                        each, worker="w1", backend="gpu", resource=place, at_once=1
                    ),
                    filter(None, deliveries),
                )
            )
        assert sum(one is not None for one in taken) == 1


def test_an_adopted_job_needs_no_place_and_keeps_its_own(store: SqlJobStore) -> None:
    spec = JobSpec(request=Request(prompt="a fox"), backend="pool")
    (id,) = store.submit([new_job(affinity="xl", spec=spec)])
    delivery = store.queue.fetch([["pool/xl"]])
    assert delivery is not None
    taken = store.take(delivery, worker="w1", backend="gpu", resource="card", at_once=1)
    assert taken is not None
    job = submitted(taken)
    store.write(taken.fence, job, _SETTINGS)
    assert redeliver(store, taken.token)
    (waiting,) = store.waiting(["gpu"])
    assert (waiting.pool, waiting.affinity, waiting.priority) == ("gpu", "xl", 1_000_000)
    assert [job.id for job in store.running("card")] == [id]
    delivery = store.queue.fetch([["pool/xl"], ["gpu/xl"]])
    assert delivery is not None
    adopted = store.take(delivery, worker="w2", backend="gpu", resource="card", at_once=1)
    assert adopted is not None
    assert (adopted.attempt, adopted.job) == (2, job)
    assert store.again(adopted.fence, keep_job=False) == "queued"
    assert [each.pool for each in store.waiting()] == ["pool"]
    assert store.running("card") == []


# Progress


def test_progress_is_stored_twice_a_second_and_each_stage_once(store: SqlJobStore) -> None:
    (id,) = store.submit([new_job()])
    taken = take_next(store)
    for percent in range(100):
        progress = Progress(stage="running", fraction=percent / 100, node="KSampler\x1b[2J")
        store.report(taken.fence, progress)
    store.report(taken.fence, Progress(stage="fetching", fraction=1.0, preview=b"jpeg"))
    events = [event for event in store.events_after(0, job=id) if event.kind == "progress"]
    assert [event.data["stage"] for event in events[:1] + events[-1:]] == ["running", "fetching"]
    assert 2 <= len(events) < 20
    assert "\x1b" not in str(events[0].data["node"])
    assert store.preview(id) == b"jpeg"
    progress_now = store.read(id).progress
    assert progress_now is not None
    assert progress_now["stage"] == "fetching"
    finish_job(store, taken)
    assert store.preview(id) is None
    assert [event.data for event in store.events_after(0, job=id)] == [
        {"state": "queued"},
        {"state": "running"},
        {"state": "done"},
    ]


def test_progress_says_that_the_job_is_to_be_cancelled(store: SqlJobStore) -> None:
    (id,) = store.submit([new_job()])
    taken = take_next(store)
    assert not store.report(taken.fence, Progress(stage="queued"))
    store.cancel(id)
    assert store.report(taken.fence, Progress(stage="running"))


def test_large_previews_are_left_out(store: SqlJobStore) -> None:
    (id,) = store.submit([new_job()])
    taken = take_next(store)
    store.report(taken.fence, Progress(stage="running", preview=b"x" * 2**20))
    assert store.preview(id) is None


def test_an_event_waits_for_those_with_smaller_numbers(store: SqlJobStore) -> None:
    (id,) = store.submit([new_job()])
    taken = take_next(store)
    last = store.last_event()
    with ThreadPoolExecutor(1) as pool:
        with store.library.writing() as connection:
            change = Transition(connection, store.queue)
            change.note(id, state="running")
            change.write_events()
            later = pool.submit(store.report, taken.fence, Progress(stage="running"))
            with pytest.raises(TimeoutError):
                later.result(0.5)
        later.result(30)
    assert [event.kind for event in store.events_after(last)] == ["state", "progress"]


def test_events_become_visible_in_the_order_of_their_numbers(store: SqlJobStore) -> None:
    ids = store.submit([new_job() for _ in range(40)])
    last = store.last_event()
    with ThreadPoolExecutor(5) as pool:
        works = [pool.submit(store.cancel, id) for id in ids]
        seen: list[int] = []
        is_over = False
        while not is_over:
            is_over = all(work.done() for work in works)  # before the last look
            new = [event.seq for event in store.events_after(seen[-1] if seen else last)]
            assert new == sorted(new)
            seen += new
    assert sum(work.result() for work in works) == len(ids)
    assert len(seen) == len(ids)


# Ends


class _BrokenQueue(EmbeddedQueue):
    """Its database fails once a job is put."""

    def put_many(self, connection: Connection, puts: Sequence[Put]) -> list[str]:  # noqa: ARG002
        if puts:
            raise ConnectionError("the disk is full")
        return []


def test_the_end_of_a_job_happens_as_a_whole_or_not_at_all(store: SqlJobStore) -> None:
    first = new_job()
    second = new_job(after=first.id)
    store.submit([first, second])
    taken = take_next(store)
    broken = SqlJobStore(store.library, _BrokenQueue(store.library, "w1"))
    with pytest.raises(ConnectionError):
        finish_job(broken, taken)
    assert states_of(store, first.id, second.id) == ["running", "held"]
    assert recorded_states(store) == {}
    finish_job(store, taken)
    assert states_of(store, first.id, second.id) == ["done", "queued"]


def test_deliveries_are_queued_with_the_end(store: SqlJobStore) -> None:
    from imagen.config import Webhook

    settings = Settings(webhooks=(Webhook(url="https://example.org/hook"),))
    store.submit([new_job()])
    taken = take_next(store)
    store.finish(taken.fence, recorded(taken), settings, {})
    assert [each.delivery.kind for each in list_unsent(store.library)] == ["webhook"]


def test_a_failure_is_recorded_with_its_end(store: SqlJobStore) -> None:
    (id,) = store.submit([new_job()])
    taken = take_next(store)
    error = {"code": "failed", "message": "Out of memory."}
    record = recorded(taken).model_copy(update={"state": "failed", "error": error})
    message = "Out of\x1b[31m memory" + "!" * 10_000
    store.fail(taken.fence, Failed(message), record=record, settings=_SETTINGS)
    stored = store.read(id).error
    assert stored is not None
    assert stored["code"] == "failed"
    assert str(stored["message"]).startswith("Out of[31m memory!")
    assert len(str(stored["message"])) < 5000
    assert recorded_states(store) == {id: "failed"}


def test_a_job_that_has_ended_takes_no_more_writes(store: SqlJobStore) -> None:
    (id,) = store.submit([new_job()])
    taken = take_next(store)
    finish_job(store, taken)
    for change in (
        lambda: finish_job(store, taken),
        lambda: store.write(taken.fence, planned(taken), _SETTINGS),
        lambda: store.report(taken.fence, Progress(stage="done")),
        lambda: store.again(taken.fence),
    ):
        with pytest.raises(LetGo):
            change()
    assert store.read(id).state == "done"
