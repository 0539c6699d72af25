"""What every queue must do: one suite over the embedded queue and the one of a fleet."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from imagen.jobs.queue import Put

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from imagen.jobs.queue import JobDelivery, JobQueue
    from imagen.library import Library

STALL_SECONDS = 1.5
_DEADLINE_SECONDS = 20.0


class Line:
    """Several workers with queues of their own on one library."""

    def __init__(self, library: Library, open_queue: Callable[[], JobQueue]) -> None:
        self.library = library
        self._open_queue = open_queue
        self._opened: list[JobQueue] = []
        self.first = self.worker()
        self.second = self.worker()

    def worker(self) -> JobQueue:
        queue = self._open_queue()
        self._opened.append(queue)
        return queue

    def put(self, job: str, queue: str = "q/", *, priority: int = 0, delay: float = 0.0) -> str:
        with self.library.writing() as connection:
            return self.first.put_many(connection, [Put(job, queue, priority, delay)])[0]

    def cancel(self, token: str) -> None:
        with self.library.writing() as connection:
            self.first.cancel_many(connection, [token])

    def close(self) -> None:
        for queue in self._opened:
            queue.close()


def until(look: Callable[[], object], *, seconds: float = _DEADLINE_SECONDS) -> None:
    """Wait until it is true; fail after the deadline."""
    end = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < end, "the deadline passed"
        time.sleep(0.02)


def _fetch(queue: JobQueue, *queues: str) -> JobDelivery:
    delivery = queue.fetch([queues or ("q/",)])
    assert delivery is not None
    return delivery


def _jobs(queue: JobQueue) -> list[str]:
    fetched = []
    while (delivery := queue.fetch([["q/"]])) is not None:
        fetched.append(delivery.job)
    return fetched


class QueueContract:
    """Subclasses define the fixture `line`."""

    @pytest.fixture
    def line(self) -> Iterator[Line]:
        raise NotImplementedError

    def test_a_put_is_rolled_back_with_its_caller(self, line: Line) -> None:
        with suppress(ZeroDivisionError), line.library.writing() as connection:
            line.first.put_many(connection, [Put("a", "q/")])
            raise ZeroDivisionError
        assert line.second.fetch([["q/"]]) is None
        assert line.first.live() == set()

    def test_each_delivery_has_one_fetcher(self, line: Line) -> None:
        jobs = [f"job-{number}" for number in range(40)]
        with line.library.writing() as connection:
            line.first.put_many(connection, [Put(job, "q/") for job in jobs])
        fetched: list[str] = []
        workers = [line.first, line.second, line.first, line.second]
        threads = [
            threading.Thread(target=lambda queue: fetched.extend(_jobs(queue)), args=(queue,))
            for queue in workers
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sorted(fetched) == sorted(jobs)

    def test_priority_comes_first_then_age(self, line: Line) -> None:
        for job, priority in [("a", 0), ("b", 5), ("c", 0), ("d", 5), ("e", -1)]:
            line.put(job, priority=priority)
        assert _jobs(line.second) == ["b", "d", "a", "c", "e"]

    def test_groups_are_asked_in_order(self, line: Line) -> None:
        line.put("other", "q/other", priority=9)
        line.put("loaded", "q/loaded")
        groups = [["q/loaded", "q/none"], ["q/loaded", "q/other"]]
        order = [line.first.fetch(groups), line.first.fetch(groups), line.first.fetch(groups)]
        assert [one and one.job for one in order] == ["loaded", "other", None]

    def test_the_queues_of_a_group_have_one_order(self, line: Line) -> None:
        line.put("a", "q/1")
        line.put("b", "q/2", priority=1)
        line.put("c", "q/3")
        fetched = [_fetch(line.first, "q/1", "q/2", "q/3") for _ in range(3)]
        assert [(one.job, one.queue) for one in fetched] == [
            ("b", "q/2"),
            ("a", "q/1"),
            ("c", "q/3"),
        ]

    def test_no_queue_gives_nothing(self, line: Line) -> None:
        line.put("a")
        assert line.first.fetch([]) is None
        assert line.first.fetch([[]]) is None
        assert line.first.fetch([["another/"]]) is None

    def test_many_queues_can_be_asked_for(self, line: Line) -> None:
        line.put("a", "q/977")
        queues = [f"q/{number}" for number in range(1000)]
        assert _fetch(line.first, *queues).job == "a"

    def test_a_delayed_delivery_waits_and_blocks_none(self, line: Line) -> None:
        line.put("later", priority=9, delay=1.0)
        line.put("now")
        assert _jobs(line.first) == ["now"]
        until(lambda: line.first.fetch([["q/"]]))

    def test_a_delivery_far_ahead_does_not_come(self, line: Line) -> None:
        token = line.put("tomorrow", delay=86_400)
        assert _jobs(line.first) == []
        assert line.first.live() == {token}

    def test_finish_removes_a_delivery_however_often(self, line: Line) -> None:
        token = line.put("a")
        assert _fetch(line.first).token == token
        line.first.finish(token)
        line.first.finish(token)
        line.second.finish("999999")
        assert line.first.live() == set()

    def test_tokens_are_never_used_again(self, line: Line) -> None:
        tokens = set()
        for _ in range(3):
            tokens.add(line.put("a"))
            line.first.finish(_fetch(line.first).token)
        assert len(tokens) == 3

    def test_many_puts_have_a_token_each_in_order(self, line: Line) -> None:
        puts = [Put(f"job-{number}", "q/", number % 3) for number in range(2500)]
        with line.library.writing() as connection:
            tokens = line.first.put_many(connection, puts)
            assert line.first.put_many(connection, []) == []
        assert line.first.live() == set(tokens)
        by_token = dict(zip(tokens, puts, strict=True))
        for _ in range(5):
            delivery = _fetch(line.first)
            assert by_token[delivery.token].job == delivery.job

    @pytest.mark.parametrize(
        "names",
        [
            ("pool/" + "x" * 300 + "1", "pool/" + "x" * 300 + "2"),
            ("pool/Füchse 雪", "pool/Füchse 雨"),
            ("pool/a'b\"c%s{}\\", "pool/"),
        ],
        ids=["long", "unicode", "signs"],
    )
    def test_queues_have_any_names(self, line: Line, names: tuple[str, str]) -> None:
        for job, name in enumerate(names):
            line.put(str(job), name)
        for job, name in reversed(list(enumerate(names))):
            delivery = _fetch(line.second, name)
            assert (delivery.job, delivery.queue) == (str(job), name)

    def test_a_silent_worker_loses_its_delivery(self, line: Line) -> None:
        token = line.put("a", "q/model")
        line.first.beat([])
        _fetch(line.first, "q/model")
        until(line.second.stalled)
        assert line.second.stalled() == [("a", token, "q/model")]

    def test_a_worker_that_beats_keeps_its_delivery(self, line: Line) -> None:
        token = line.put("a")
        _fetch(line.first)
        end = time.monotonic() + 2 * STALL_SECONDS
        while time.monotonic() < end:
            assert line.first.beat([token])[token] == (True, False)
            assert line.first.stalled() == line.second.stalled() == []
            time.sleep(STALL_SECONDS / 10)

    def test_a_delivery_whose_fetch_was_not_heard_is_stalled(self, line: Line) -> None:
        token = line.put("a")
        _fetch(line.first)

        def look() -> bool:
            line.first.beat([])
            return {one.token for one in line.first.stalled() + line.second.stalled()} == {token}

        until(look)

    def test_a_worker_that_leaves_hands_over_at_once(self, line: Line) -> None:
        worker = line.worker()
        token = line.put("a")
        worker.beat([])
        _fetch(worker)
        worker.close()
        assert [one.token for one in line.second.stalled()] == [token]

    def test_without_handing_over_the_worker_counts_as_silent(self, line: Line) -> None:
        worker = line.worker()
        line.put("a")
        token = _fetch(worker).token
        worker.beat([token])
        worker.close(is_handed_over=False)
        assert line.second.stalled() == []
        until(line.second.stalled)

    def test_a_waiting_delivery_is_cancelled(self, line: Line) -> None:
        line.cancel(line.put("a"))
        assert line.first.fetch([["q/"]]) is None
        assert line.first.live() == set()

    def test_a_held_delivery_is_cancelled_by_the_next_beat(self, line: Line) -> None:
        token = line.put("a")
        _fetch(line.first)
        assert line.first.beat([token])[token] == (True, False)
        line.cancel(token)
        assert line.first.beat([token])[token] == (True, True)
        assert line.first.live() == {token}

    def test_a_cancel_is_rolled_back_with_its_caller(self, line: Line) -> None:
        token = line.put("a")
        with suppress(ZeroDivisionError), line.library.writing() as connection:
            line.first.cancel_many(connection, [token])
            raise ZeroDivisionError
        assert _fetch(line.first).token == token

    def test_cancelling_what_is_gone_does_nothing(self, line: Line) -> None:
        token = line.put("a")
        line.first.finish(_fetch(line.first).token)
        line.cancel(token)
        line.cancel("999999")

    def test_a_cancelled_delivery_of_a_dead_worker_is_stalled(self, line: Line) -> None:
        token = line.put("a")
        _fetch(line.first)
        line.first.beat([token])
        line.cancel(token)
        until(line.second.stalled)
        assert [one.token for one in line.second.stalled()] == [token]

    def test_a_delivery_that_was_taken_away_is_not_mine(self, line: Line) -> None:
        token = line.put("a")
        _fetch(line.first)
        with line.library.writing() as connection:
            (new,) = line.second.put_many(connection, [Put("a", "q/")])
        line.second.finish(token)
        assert line.first.beat([token])[token] == (False, False)
        assert _fetch(line.second).token == new
        line.first.finish(token)  # late: changes nothing
        assert line.second.beat([new])[new] == (True, False)

    def test_a_put_wakes_another_worker(self, line: Line) -> None:
        self._assert_wakes(line, lambda: line.put("a"))

    def test_a_cancel_wakes_another_worker(self, line: Line) -> None:
        token = line.put("a")
        _fetch(line.second)
        self._assert_wakes(line, lambda: line.cancel(token))

    def test_wake_ends_every_wait_of_a_process(self, line: Line) -> None:
        self._assert_wakes(line, line.second.wake)

    def _assert_wakes(self, line: Line, act: Callable[[], object]) -> None:
        """That `act` ends a wait of the second worker that would take long."""
        ended, quiet = threading.Event(), threading.Event()

        def wait() -> None:
            line.second.wait(0)
            # It begins to watch with the first wait, and may be woken by that.
            while time.monotonic() < end and not ended.is_set():
                began = time.monotonic()
                line.second.wait(2.5)
                if time.monotonic() - began > 2:
                    quiet.set()
                    line.second.wait(_DEADLINE_SECONDS)
                    ended.set()

        end = time.monotonic() + _DEADLINE_SECONDS
        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        assert quiet.wait(_DEADLINE_SECONDS)
        act()
        assert ended.wait(_DEADLINE_SECONDS / 2)

    def test_a_beat_must_be_recent_to_fetch(self, line: Line) -> None:
        assert not line.first.is_beat_fresh()
        line.first.beat([])
        assert line.first.is_beat_fresh()
        until(lambda: not line.first.is_beat_fresh())
        line.first.beat([])
        assert line.first.is_beat_fresh()
