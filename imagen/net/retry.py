"""The one retry policy: the error says whether another attempt is worth it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from imagen.errors import ImagenError, RateLimited

if TYPE_CHECKING:
    from collections.abc import Callable

    from tenacity import RetryCallState

T = TypeVar("T")

_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 10.0


def retry(
    call: Callable[[], T],
    *,
    attempts: int = 3,
    patience_seconds: float = 60.0,
    unless: Callable[[ImagenError], bool] = lambda _: False,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """What `call` returns, called up to `attempts` times while its errors are retryable.

    The pauses grow and are jittered. Where an engine says how long to wait, the pause is that long;
    an error that asks for more than `patience_seconds` is raised at once, as is one for which
    `unless` is true.
    """

    def is_worth_it(error: BaseException) -> bool:
        return (
            isinstance(error, ImagenError)
            and error.retryable
            and (_requested_pause(error) or 0.0) <= patience_seconds
            and not unless(error)
        )

    try:
        return call()
    except ImagenError as error:
        if attempts <= 1 or not is_worth_it(error):
            raise
        failures = [error]

    import tenacity  # only needed after a failure

    def next_call() -> T:
        if failures:
            raise failures.pop()
        return call()

    policy = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(attempts),
        wait=_pause,
        retry=tenacity.retry_if_exception(is_worth_it),
        sleep=sleep,
        reraise=True,
    )
    return policy(next_call)


def _requested_pause(error: BaseException | None) -> float | None:
    return error.retry_after_seconds if isinstance(error, RateLimited) else None


def _pause(state: RetryCallState) -> float:
    from tenacity import wait_exponential, wait_random

    requested = _requested_pause(state.outcome.exception() if state.outcome else None)
    if requested is not None:
        return requested
    growing = wait_exponential(multiplier=_FIRST_PAUSE, max=_LONGEST_PAUSE)
    return growing(state) + wait_random(0, _FIRST_PAUSE)(state)
