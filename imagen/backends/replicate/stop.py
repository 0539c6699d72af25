"""Taking one prediction back: cancelled, and confirmed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from imagen.errors import BackendError, Lost
from imagen.net.http import is_connection_refused, within

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagen.backends.replicate.client import ReplicateClient

_PATIENCE_SECONDS = 8.0
_GRACE_SECONDS = 2.0
"""For an answer that is on its way when patience ends."""
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 0.5
_ATTEMPTS = 3


def stop(
    client: ReplicateClient,
    which: Callable[[], str],
    *,
    deadline_seconds: float,
    is_settled: Callable[[], bool] = lambda: True,
    patience_seconds: float = _PATIENCE_SECONDS,
) -> str:
    """Cancel the prediction; "" once it has certainly ended, or else a sentence about the doubt:
    also where it had succeeded by then, since its pictures are there, and paid for.

    `which` looks for its id; "" where there is none so far. `is_settled` says whether its
    submission is over: before that, not to find it means nothing.
    """
    limit = time.monotonic() + patience_seconds
    pause, attempts = _FIRST_PAUSE, 0
    doubt = "Replicate was asked to cancel the prediction and did not confirm it."
    while True:
        try:
            settled = is_settled()  # before: one that is taken in between is not yet looked for
            with within(limit - time.monotonic() + _GRACE_SECONDS):
                id = which()
                if (not id and settled) or (id and _once(client, id)):
                    return _MADE if id and _has_succeeded(client, id) else ""
        except BackendError as error:
            doubt = f"Replicate could not be asked to cancel the prediction: {error.message}"
            attempts += is_connection_refused(error)
        if time.monotonic() >= limit or attempts == _ATTEMPTS:
            return f"{doubt} It ends by itself after {deadline_seconds:g} s."
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


_MADE = "It had been made before it could be cancelled."


def _has_succeeded(client: ReplicateClient, id: str) -> bool:
    try:
        found = client.get(id)
    except Lost:
        return False
    return found.status == "succeeded" and not found.is_removed


def _once(client: ReplicateClient, id: str) -> bool:
    """One round of cancelling and looking; whether the prediction has ended."""
    try:
        if client.get(id).has_ended:
            return True
        client.cancel(id)
        return client.get(id).has_ended
    except Lost:  # nothing is there that could go on
        return True
