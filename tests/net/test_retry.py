"""One policy of trying again: it asks the error, and sleeps only as it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imagen.errors import ImagenError, RateLimited, Rejected, Unavailable
from imagen.net.retry import retry

if TYPE_CHECKING:
    from collections.abc import Callable

GONE = Unavailable("gone")


def _after(*errors: Exception) -> Callable[[], str]:
    """A call that fails in these ways, and then answers."""
    left = list(errors)

    def call() -> str:
        if left:
            raise left.pop(0)
        return "here"

    return call


def test_what_succeeds_is_called_once() -> None:
    """And nothing sleeps."""
    slept: list[float] = []
    assert retry(_after(), sleep=slept.append) == "here"
    assert slept == []


def test_what_is_retryable_is_tried_again() -> None:
    """With pauses that grow, each a little jittered."""
    slept: list[float] = []
    assert retry(_after(GONE, GONE), attempts=3, sleep=slept.append) == "here"
    first, second = slept
    assert 0.2 <= first <= 0.4
    assert 0.4 <= second <= 0.6


def test_it_gives_up_after_so_many_attempts() -> None:
    """The last error is the one that comes out."""
    last = Unavailable("still gone")
    slept: list[float] = []
    with pytest.raises(Unavailable) as caught:
        retry(_after(GONE, last, GONE), attempts=2, sleep=slept.append)
    assert caught.value is last
    assert len(slept) == 1


@pytest.mark.parametrize(
    "error",
    [pytest.param(Rejected("no"), id="refused"), pytest.param(KeyError("x"), id="not ours")],
)
def test_what_is_not_retryable_comes_out_at_once(error: Exception) -> None:
    """There is no use in asking again."""
    slept: list[float] = []
    with pytest.raises(type(error)) as caught:
        retry(_after(error), sleep=slept.append)
    assert caught.value is error
    assert slept == []


def test_it_stops_at_a_later_error_that_is_not_retryable() -> None:
    """Each error is asked anew."""
    with pytest.raises(Rejected):
        retry(_after(GONE, Rejected("no")), attempts=5, sleep=lambda _: None)


def test_it_waits_as_long_as_the_engine_says() -> None:
    """No longer, and no shorter."""
    slept: list[float] = []
    busy = RateLimited("busy", retry_after_seconds=7.0)
    assert retry(_after(busy), sleep=slept.append) == "here"
    assert slept == [7.0]


def test_it_does_not_wait_an_hour() -> None:
    """The caller can decide better than we what to do meanwhile."""
    busy = RateLimited("busy", retry_after_seconds=3600.0)
    slept: list[float] = []
    with pytest.raises(RateLimited):
        retry(_after(busy), sleep=slept.append)
    assert slept == []


def test_the_caller_may_know_better() -> None:
    """What it excepts comes out at once."""
    with pytest.raises(Unavailable) as caught:
        retry(_after(GONE), unless=lambda error: error is GONE, sleep=lambda _: None)
    assert caught.value is GONE


def test_one_attempt_is_no_retry() -> None:
    """The same error, at once."""
    with pytest.raises(ImagenError) as caught:
        retry(_after(GONE), attempts=1, sleep=lambda _: None)
    assert caught.value is GONE
