"""Taking one job back: out of the queue or interrupted, confirmed, and nobody else's touched."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from imagen.backends.comfyui.look import look
from imagen.backends.http import is_nobody_there
from imagen.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagen.backends.comfyui.client import Client
    from imagen.backends.comfyui.look import Sight

_PATIENCE_SECONDS = 5.0
_FIRST_PAUSE = 0.05
_ATTEMPTS = 3  # where nobody is there, nothing goes on either
_LONGEST_PAUSE = 0.5
_TARGETED = (0, 3, 56)
"""The first version that interrupts one prompt only; older ones stop whatever runs."""


def stop(
    client: Client,
    which: Callable[[], str],
    *,
    is_settled: Callable[[], bool] = lambda: True,
    patience_seconds: float = _PATIENCE_SECONDS,
) -> str:
    """Take the job back; "" once that is certain, or else a sentence about what is not, or about
    images that were finished before.

    `which` is its id as far as it is known by then. `is_settled` says whether its submission is
    over: before that, not to find it means nothing.
    """
    deadline = time.monotonic() + patience_seconds
    pause, attempts = _FIRST_PAUSE, 0
    doubt = "The server has been told to stop the job, and has not said that it did."
    while True:
        try:
            settled = is_settled()  # before: a job that is taken in between is not yet looked for
            sight = _once(client, which())
            if settled and (sight.is_gone or sight.entry is not None):
                has_made = sight.entry is not None and sight.entry.has_made
                return "The job had ended before it was stopped." if has_made else ""
        except BackendError as error:
            doubt = f"The server could not be told to stop the job: {error.message}"
            attempts += is_nobody_there(error)
        if time.monotonic() >= deadline or attempts == _ATTEMPTS:
            return doubt
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


def _once(client: Client, prompt_id: str) -> Sight:
    """One round of deleting, interrupting and looking."""
    client.delete(prompt_id)
    if _can_target(client):
        client.interrupt(prompt_id)
    elif client.queue().runs(prompt_id):
        client.interrupt(None)
    return look(client, prompt_id)


def _can_target(client: Client) -> bool:
    """Whether the server interrupts by id; one that doesn't tell its version is taken for old."""
    parts = (client.version() or "").split(".")
    numbers = tuple(int(part) for part in parts if part.isdecimal())
    return len(numbers) == len(parts) and numbers >= _TARGETED
