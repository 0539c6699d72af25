"""Work in a background thread, while the caller reports progress and can cancel."""

from __future__ import annotations

import time
from threading import Event, Thread
from typing import TYPE_CHECKING, Generic, TypeVar

from imagen.errors import TimedOut

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagen.core.result import OnProgress, Progress

T = TypeVar("T")

TICK_SECONDS = 0.5
"""How long a wait may last before progress is reported again."""


class Background(Generic[T]):
    """One call in a daemon thread, which never keeps the program alive."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._ended = Event()
        self._values: list[T] = []
        self._error: BaseException | None = None

        def run() -> None:
            try:
                self._values.append(call())
            except BaseException as error:  # noqa: BLE001 - of any kind: `result` raises it
                self._error = error
            finally:
                self._ended.set()

        Thread(target=run, daemon=True).start()

    def ready(self, timeout: float = 0.0) -> bool:
        """Whether the call has ended; waits for up to `timeout` seconds."""
        return self._ended.wait(timeout) if timeout > 0 else self._ended.is_set()

    def result(self) -> T:
        """What the call returned, or its error; waits for its end."""
        self._ended.wait()
        if self._error is not None:
            raise self._error
        return self._values[0]


def run_while_reporting(call: Callable[[], T], tick: Callable[[], None]) -> T:
    """What `call` returns. `tick` is called regularly while it works, and may raise."""
    work = Background(call)
    while not work.ready(TICK_SECONDS):
        tick()
    return work.result()


def limit_total_time(on_progress: OnProgress, seconds: float, *, remedy: str) -> OnProgress:
    """An `on_progress` for one job that raises TimedOut after so many seconds in all."""
    end = time.monotonic() + seconds

    def report(progress: Progress) -> None:
        on_progress(progress)
        if progress.ticket is None and progress.stage != "done" and time.monotonic() >= end:
            error = TimedOut(f"The job took more than {seconds:g} s in all.", remedy=remedy)
            if progress.stage == "fetching":
                raise error.as_unstopped("The images are finished, and the engine still has them.")
            raise error

    return report
