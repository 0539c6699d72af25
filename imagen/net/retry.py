"""The one retry policy: the error says whether another attempt is worth it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from imagen.errors import ImagenError, RateLimited

if TYPE_CHECKING:
    from collections.abc import Callable

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
    attempt = 1
    while True:
        try:
            return call()
        except ImagenError as error:
            requested = error.retry_after_seconds if isinstance(error, RateLimited) else None
            if (
                attempt >= attempts
                or not error.retryable
                or (requested or 0.0) > patience_seconds
                or unless(error)
            ):
                raise
            pause = requested
            if pause is None:
                from random import uniform  # only needed after a failure

                growing = min(_FIRST_PAUSE * 2 ** (attempt - 1), _LONGEST_PAUSE)
                pause = growing + uniform(0, _FIRST_PAUSE)
        sleep(pause)
        attempt += 1
