"""Answers that are slow to get: asked for once, and kept for a while."""

from __future__ import annotations

import time
from threading import Lock
from typing import TYPE_CHECKING, Generic, TypeVar

from imagen.errors import TimedOut
from imagen.net.threads import Background

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

T = TypeVar("T")
_MOST_ANSWERS = 500


class AnswerCache(Generic[T]):
    """Answers by what was asked. Threads may share it."""

    def __init__(self, keep_seconds: float, patience_seconds: float) -> None:
        self._keep_seconds = keep_seconds
        self._patience_seconds = patience_seconds
        self._lock = Lock()
        self._answers: dict[Hashable, Answer[T]] = {}

    def begin(self, key: Hashable, call: Callable[[], T]) -> Answer[T]:
        """The answer that is kept or on its way, else a new one."""
        with self._lock:
            known = self._answers.pop(key, None)
            if known is None or known.is_older_than(self._keep_seconds):
                known = Answer(call)
            self._answers[key] = known
            while len(self._answers) > _MOST_ANSWERS:
                del self._answers[next(iter(self._answers))]
            return known

    def finish(self, answer: Answer[T], patience_seconds: float | None = None) -> T:
        """The answer, once it is there. Raises TimedOut, and what the call raised."""
        return answer.within(
            self._patience_seconds if patience_seconds is None else patience_seconds
        )


class Answer(Generic[T]):
    """The result of a call in a thread of its own."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._ended: float | None = None

        def run() -> T:
            try:
                return call()
            finally:
                self._ended = time.monotonic()

        self._started = time.monotonic()
        self._work = Background(run)

    def is_older_than(self, seconds: float) -> bool:
        return self._ended is not None and time.monotonic() - self._ended > seconds

    def within(self, seconds: float) -> T:
        """The result; raises TimedOut this long after the call began, whoever asks."""
        if not self._work.ready(self._started + seconds - time.monotonic()):
            raise TimedOut(
                f"The engine did not answer within {seconds:g} s.",
                remedy="Ask again: the answer is used when it comes.",
            )
        return self._work.result()
