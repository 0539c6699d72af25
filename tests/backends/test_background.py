"""Work beside the caller: its result or its error comes out, and the caller is not left alone."""

from __future__ import annotations

import threading

import pytest

from imagen.backends.background import Background, meanwhile
from imagen.errors import Cancelled, Unavailable


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
        meanwhile(fail, lambda: None)


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
        meanwhile(lambda: ended.wait(30), tick)
    ended.set()
    assert len(ticks) == 2
