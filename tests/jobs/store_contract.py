"""What the store does with every queue that carries its jobs."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, ClassVar

import pytest
from sqlalchemy import update
from support.queued_jobs import (
    QUEUE,
    fetch_all,
    new_job,
    submitted,
    take_next,
    wait_until,
)

from imagen.config import LibrarySettings, Settings
from imagen.errors import Failed, LetGo
from imagen.jobs.sql_store import SqlJobStore
from imagen.library import open_library
from imagen.library.schema import jobs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from imagen.jobs.queue import JobDelivery, JobQueue
    from imagen.library import Library

    OpenStore = Callable[[str], SqlJobStore]

_DEADLINE_SECONDS = 30.0


class StoreContract:
    """Subclasses open the queue."""

    STALL_SECONDS: ClassVar[float] = 2.0

    def open_queue(self, library: Library, worker_id: str) -> JobQueue:
        """A queue that counts a worker as vanished after `STALL_SECONDS`."""
        raise NotImplementedError

    @pytest.fixture
    def open_store(self, library_url: str) -> Iterator[OpenStore]:
        """Opens stores that share nothing but the database, like processes."""
        settings = Settings(library=LibrarySettings(url=library_url))
        with ExitStack() as stack:

            def open_one(worker_id: str) -> SqlJobStore:
                library = stack.enter_context(open_library(settings))
                queue = self.open_queue(library, worker_id)
                stack.callback(queue.close, is_handed_over=False)
                queue.beat(())
                return SqlJobStore(library, queue, lease_seconds=self.STALL_SECONDS)

            yield open_one

    @pytest.fixture
    def store(self, open_store: OpenStore) -> SqlJobStore:
        return open_store("w1")

    def vanish(self, store: SqlJobStore, *tokens: str) -> list[JobDelivery]:
        """Wait until the workers of these deliveries count as vanished."""
        wait_until(lambda: {each.token for each in store.queue.stalled()} >= set(tokens))
        return [each for each in store.queue.stalled() if each.token in tokens]

    def test_a_cancelled_job_that_waits_is_gone(self, store: SqlJobStore) -> None:
        (id,) = store.submit([new_job()])
        assert store.cancel(id) == 1
        assert store.read(id).state == "cancelled"
        assert fetch_all(store) == []
        assert store.queue.live() == set()

    def test_the_worker_of_a_cancelled_job_is_told(self, open_store: OpenStore) -> None:
        working, other = open_store("w1"), open_store("w2")
        (id,) = other.submit([new_job()])
        token = take_next(working, "w1").token or ""
        assert not working.queue.beat([token])[token].is_cancelled
        assert other.cancel(id) == 1
        assert other.read(id).state == "running"
        assert working.queue.beat([token])[token] == (True, True)

    def test_a_cancelled_job_whose_worker_died_is_cancelled_by_the_next(
        self, open_store: OpenStore
    ) -> None:
        dying, other = open_store("w1"), open_store("w2")
        (id,) = other.submit([new_job()])
        taken = take_next(dying, "w1")
        dying.write(taken.fence, submitted(taken), Settings())
        other.cancel(id)
        (stalled,) = self.vanish(other, taken.token or "")
        assert other.redeliver(stalled)
        adopted = take_next(other, "w2")
        assert (adopted.state, adopted.cancel) == ("cancelling", True)
        other.fail(adopted.fence, Failed("stopped"), state="cancelled")
        assert other.read(id).state == "cancelled"

    def test_a_job_comes_again_after_a_while(self, store: SqlJobStore) -> None:
        store.submit([new_job()])
        taken = take_next(store, "w1")
        assert store.again(taken.fence, delay_seconds=1.0, error=Failed("busy")) == "queued"
        assert fetch_all(store) == []
        wait_until(lambda: fetch_all(store) == [taken.id])

    def test_two_sweepers_redeliver_once(self, open_store: OpenStore) -> None:
        dying, *sweepers = (open_store(f"w{n}") for n in range(3))
        dying.submit([new_job()])
        token = take_next(dying, "w0").token or ""
        (stalled,) = self.vanish(sweepers[0], token)
        with ThreadPoolExecutor(2) as pool:
            done = list(pool.map(lambda store: store.redeliver(stalled), sweepers))
        assert sorted(done) == [False, True]
        assert len(fetch_all(sweepers[0])) == 1

    def test_the_job_of_a_dead_worker_is_first(self, open_store: OpenStore) -> None:
        dying, other = open_store("w1"), open_store("w2")
        (first,) = dying.submit([new_job(priority=-9)])
        token = take_next(dying, "w1").token or ""
        other.submit([new_job(priority=9)])
        (stalled,) = self.vanish(other, token)
        other.redeliver(stalled)
        assert fetch_all(other)[0] == first

    def test_a_former_owner_changes_nothing(self, open_store: OpenStore) -> None:
        former, other = open_store("w1"), open_store("w2")
        (id,) = former.submit([new_job()])
        lost = take_next(former, "w1")
        (stalled,) = self.vanish(other, lost.token or "")
        other.redeliver(stalled)
        for owner in ("", "w2"):  # while it waits, and while another worker has it
            before = other.read(id)
            assert before.owner == owner
            former.queue.finish(lost.token or "")
            for change in (
                lambda: former.again(lost.fence),
                lambda: former.write(lost.fence, submitted(lost), Settings()),
                lambda: former.fail(lost.fence, Failed("late")),
                lambda: former.finish(lost.fence, None, Settings()),
                lambda: former.leave_engine(lost.fence),
            ):
                with pytest.raises(LetGo):
                    change()
            assert other.read(id) == before
            if not owner:
                take_next(other, "w2")
        token = other.read(id).token or ""
        assert other.queue.beat([token])[token].is_mine

    def test_an_outdated_delivery_is_dropped(self, store: SqlJobStore) -> None:
        (id,) = store.submit([new_job()])
        outdated = store.queue.fetch([[QUEUE]])
        assert outdated is not None
        store.move(id, priority=5)
        assert store.take(outdated, worker="w1", backend="gpu") is None
        assert store.queue.live() == {store.read(id).token}
        assert take_next(store, "w1").priority == 5

    def test_a_vanished_delivery_is_replaced_once(self, open_store: OpenStore) -> None:
        store, other = open_store("w1"), open_store("w2")
        (id,) = store.submit([new_job()])
        store.queue.finish(store.read(id).token or "")
        with ThreadPoolExecutor(2) as pool:
            assert sum(pool.map(lambda each: each.redeliver_missing(), (store, other))) == 1
        assert store.redeliver_missing() == 0
        assert fetch_all(store) == [id]

    def test_a_row_without_a_token_is_redelivered(self, store: SqlJobStore) -> None:
        (id,) = store.submit([new_job()])
        with store.library.writing() as connection:
            connection.execute(update(jobs).where(jobs.c.id == id).values(token=None))
        assert store.redeliver_missing() == 1
        assert store.read(id).token is not None

    def test_a_delivery_that_was_fetched_and_forgotten_comes_again(
        self, open_store: OpenStore
    ) -> None:
        forgetful, other = open_store("w1"), open_store("w2")
        (id,) = forgetful.submit([new_job()])
        forgotten = forgetful.queue.fetch([[QUEUE]])
        assert forgotten is not None
        (stalled,) = self.vanish(other, forgotten.token)
        assert other.redeliver(stalled)
        assert take_next(other, "w2").id == id
        assert forgetful.take(forgotten, worker="w1", backend="gpu") is None
        assert other.read(id).deaths == 0

    def test_due_times_are_kept(self, store: SqlJobStore) -> None:
        later = datetime.now(UTC) + timedelta(hours=1)
        (id,) = store.submit([new_job(due=later)])
        assert fetch_all(store) == []
        store.move(id, due=datetime.now(UTC))
        assert fetch_all(store) == [id]

    def test_a_job_that_is_to_run_again_wakes_another_process(self, open_store: OpenStore) -> None:
        waiting, other = open_store("w1"), open_store("w2")
        other.submit([new_job()])
        taken = take_next(other, "w2")
        self.wait_for_nothing(waiting)
        with ThreadPoolExecutor(1) as pool:
            woken = pool.submit(self.wait_for_job, waiting)
            other.again(taken.fence)
            assert woken.result(_DEADLINE_SECONDS)

    def test_a_put_before_the_wait_ends_it(self, open_store: OpenStore) -> None:
        waiting, other = open_store("w1"), open_store("w2")
        self.wait_for_nothing(waiting)
        assert waiting.queue.fetch([[QUEUE]]) is None
        other.submit([new_job()])
        assert self.wait_for_job(waiting)

    def wait_for_nothing(self, store: SqlJobStore) -> None:
        """The first waits may end early, until the queue has looked."""
        for _ in range(4):
            store.queue.wait(0.2)

    def wait_for_job(self, store: SqlJobStore) -> bool:
        """Whether the wait ends early, and a job is there; it may end early for nothing."""
        end = time.monotonic() + _DEADLINE_SECONDS
        while (left := end - time.monotonic()) > 0:
            if store.queue.fetch([[QUEUE]]) is not None:
                return True
            store.queue.wait(left)
        return False
