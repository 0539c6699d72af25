"""Work in a background thread."""

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


def test_limit_total_time_raises_at_the_next_report() -> None:
    heard: list[Progress] = []
    tell = limit_total_time(heard.append, 0.0, remedy="Raise it.")
    with pytest.raises(TimedOut) as caught:
        tell(_report("queued"))
    assert str(caught.value) == "The job took more than 0 s in all.\nRaise it."
    assert (caught.value.is_stopped, heard) == (True, [_report("queued")])


def test_a_timeout_while_fetching_keeps_the_job_at_the_engine() -> None:
    tell = limit_total_time(no_progress, 0.0, remedy="")
    with pytest.raises(TimedOut) as caught:
        tell(_report("fetching"))
    assert not caught.value.is_stopped
    assert caught.value.remedy == "The images are finished, and the engine still has them."


def test_limit_total_time_passes_tickets_and_the_end_on() -> None:
    heard: list[Progress] = []
    tell = limit_total_time(heard.append, 0.0, remedy="")
    ticket = Ticket(id="1", backend="x", request=Request(), receipt={})
    reports = [_report("submitted", ticket), _report("done")]
    for report in reports:
        tell(report)
    assert heard == reports


def test_a_job_within_its_total_time_continues() -> None:
    heard: list[Progress] = []
    limit_total_time(heard.append, 60.0, remedy="")(_report("queued"))
    assert heard == [_report("queued")]


def test_result_returns_the_value_of_the_call() -> None:
    work = Background(lambda: 7)
    assert work.ready(10)
    assert work.result() == 7


def test_result_waits_for_the_end_of_the_call() -> None:
    go = threading.Event()
    work = Background(lambda: go.wait(10))
    threading.Timer(0.05, go.set).start()
    assert work.result() is True


def test_result_raises_the_error_of_the_call() -> None:

    def fail() -> int:
        raise Unavailable("gone")

    with pytest.raises(Unavailable, match="gone"):
        run_while_reporting(fail, lambda: None)


def test_result_raises_errors_of_any_kind() -> None:

    def slip() -> int:
        raise KeyError("a slip")

    work = Background(slip)
    assert work.ready(10)
    with pytest.raises(KeyError, match="a slip"):
        work.result()


def test_run_while_reporting_ticks_until_the_call_ends() -> None:
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
