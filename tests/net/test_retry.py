"""The retry policy."""

from __future__ import annotations

import subprocess
import sys
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


def test_a_successful_call_is_made_once_without_sleeping() -> None:
    slept: list[float] = []
    assert retry(_after(), sleep=slept.append) == "here"
    assert slept == []


def test_a_retryable_error_is_retried_with_growing_pauses() -> None:
    slept: list[float] = []
    assert retry(_after(GONE, GONE), attempts=3, sleep=slept.append) == "here"
    first, second = slept
    assert 0.2 <= first <= 0.4
    assert 0.4 <= second <= 0.6


def test_retry_raises_the_last_error_after_the_last_attempt() -> None:
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
def test_other_errors_are_raised_at_once(error: Exception) -> None:
    slept: list[float] = []
    with pytest.raises(type(error)) as caught:
        retry(_after(error), sleep=slept.append)
    assert caught.value is error
    assert slept == []


def test_retry_stops_at_a_later_error_that_is_not_retryable() -> None:
    with pytest.raises(Rejected):
        retry(_after(GONE, Rejected("no")), attempts=5, sleep=lambda _: None)


def test_retry_waits_as_long_as_the_engine_requests() -> None:
    slept: list[float] = []
    busy = RateLimited("busy", retry_after_seconds=7.0)
    assert retry(_after(busy), sleep=slept.append) == "here"
    assert slept == [7.0]


def test_retry_does_not_wait_beyond_its_patience() -> None:
    busy = RateLimited("busy", retry_after_seconds=3600.0)
    slept: list[float] = []
    with pytest.raises(RateLimited):
        retry(_after(busy), sleep=slept.append)
    assert slept == []


def test_unless_raises_at_once() -> None:
    with pytest.raises(Unavailable) as caught:
        retry(_after(GONE), unless=lambda error: error is GONE, sleep=lambda _: None)
    assert caught.value is GONE


def test_a_single_attempt_is_not_retried() -> None:
    with pytest.raises(ImagenError) as caught:
        retry(_after(GONE), attempts=1, sleep=lambda _: None)
    assert caught.value is GONE


def test_tenacity_is_imported_only_after_a_failure() -> None:
    code = (
        "import sys; from imagen.net.retry import retry; "
        "retry(lambda: 1); print('tenacity' in sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert run.stdout.strip() == "False"
