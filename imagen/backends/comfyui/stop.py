"""Taking one job back: out of the queue or interrupted, confirmed, and nobody else's touched."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from imagen.backends.comfyui.look import look
from imagen.errors import BackendError
from imagen.net.http import is_connection_refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagen.backends.comfyui.client import ComfyClient

_PATIENCE_SECONDS = 5.0
_FIRST_PAUSE = 0.05
_ATTEMPTS = 3  # where nobody is there, nothing goes on either
_LONGEST_PAUSE = 0.5
_TOLD = "The server was asked to stop the job"
_UNCONFIRMED = f"{_TOLD} and did not confirm it."
_TARGETED = (0, 3, 56)
"""The first version that interrupts one prompt only; older ones stop whatever runs."""


def stop(
    client: ComfyClient,
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
    is_told = False
    while True:
        try:
            settled = is_settled()  # before: a job that is taken in between is not yet looked for
            prompt_id = which()
            _order(client, prompt_id)
            if not is_told:
                is_told, doubt = True, _UNCONFIRMED
            sight = look(client, prompt_id)
            doubt = _UNCONFIRMED
            if sight.entry is not None or (settled and sight.is_gone):
                has_made = sight.entry is not None and sight.entry.has_made
                return "The job had ended before it was stopped." if has_made else ""
        except BackendError as error:
            if not is_told:
                doubt = f"The server could not be asked to stop the job: {error.message}"
            elif time.monotonic() < deadline:  # or else our own haste ended the question
                doubt = f"{_TOLD} and can't be asked whether it did: {error.message}"
            attempts += is_connection_refused(error)
        if time.monotonic() >= deadline or attempts == _ATTEMPTS:
            return doubt
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


def _order(client: ComfyClient, prompt_id: str) -> None:
    """Delete the job from the queue, and interrupt it if it runs."""
    client.delete(prompt_id)
    if _can_target(client):
        client.interrupt(prompt_id)
    elif client.queue().runs(prompt_id):
        client.interrupt(None)


def _can_target(client: ComfyClient) -> bool:
    """Whether the server interrupts by id; one that doesn't tell its version is taken for old."""
    parts = (client.version() or "").split(".")
    numbers = tuple(int(part) for part in parts if part.isdecimal())
    return len(numbers) == len(parts) and numbers >= _TARGETED
