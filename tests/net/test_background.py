"""Work beside the caller: its result or its error comes out, and the caller is not left alone."""

from __future__ import annotations

import threading

import pytest

from imagen.core.request import Request
from imagen.core.result import Progress, Stage, no_progress
from imagen.core.ticket import Ticket
from imagen.errors import Cancelled, TimedOut, Unavailable
from imagen.net.threads import Background, limit_total_time, run_while_reporting


def _report(stage: Stage, ticket: Ticket | None = None) -> Progress:
    return Progress(stage=stage, ticket=ticket)


def test_a_job_ends_by_its_total_at_the_next_report() -> None:
    heard: list[Progress] = []
    tell = limit_total_time(heard.append, 0.0, remedy="Raise it.")
    with pytest.raises(TimedOut) as caught:
        tell(_report("queued"))
    assert str(caught.value) == "The job took more than 0 s in all.\nRaise it."
    assert (caught.value.is_stopped, heard) == (True, [_report("queued")])


def test_finished_images_that_were_not_fetched_in_time_stay_at_their_engine() -> None:
    """So the ticket is kept."""
    tell = limit_total_time(no_progress, 0.0, remedy="")
    with pytest.raises(TimedOut) as caught:
        tell(_report("fetching"))
    assert not caught.value.is_stopped
    assert caught.value.remedy == "The images are finished, and the engine still has them."


def test_neither_a_ticket_nor_the_end_is_withheld_after_the_total() -> None:
    heard: list[Progress] = []
    tell = limit_total_time(heard.append, 0.0, remedy="")
    ticket = Ticket(id="1", backend="x", request=Request(), receipt={})
    reports = [_report("submitted", ticket), _report("done")]
    for report in reports:
        tell(report)
    assert heard == reports


def test_a_job_within_its_total_goes_on() -> None:
    heard: list[Progress] = []
    limit_total_time(heard.append, 60.0, remedy="")(_report("queued"))
    assert heard == [_report("queued")]


def test_the_result_comes_out() -> None:
    """Once it is ready."""
    work = Background(lambda: 7)
    assert work.ready(10)
    assert work.result() == 7


def test_the_result_is_waited_for() -> None:
    """Who is told of the end by other means may be there a moment before it."""
    go = threading.Event()
    work = Background(lambda: go.wait(10))
    threading.Timer(0.05, go.set).start()
    assert work.result() is True


def test_the_error_comes_out() -> None:
    """In the thread of the caller."""

    def fail() -> int:
        raise Unavailable("gone")

    with pytest.raises(Unavailable, match="gone"):
        run_while_reporting(fail, lambda: None)


def test_a_mistake_of_ours_comes_out_too() -> None:
    """As itself, not as something that is missing."""

    def slip() -> int:
        raise KeyError("a slip")

    work = Background(slip)
    assert work.ready(10)
    with pytest.raises(KeyError, match="a slip"):
        work.result()


def test_the_caller_is_told_again_and_again_that_it_still_works() -> None:
    """And may end the wait."""
    ended = threading.Event()
    ticks: list[int] = []

    def tick() -> None:
        ticks.append(1)
        if len(ticks) == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        run_while_reporting(lambda: ended.wait(30), tick)
    ended.set()
    assert len(ticks) == 2
