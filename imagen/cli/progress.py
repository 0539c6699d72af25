"""How far along a run is: one line on a terminal, plain lines in a pipe; and Ctrl-C."""

from __future__ import annotations

import signal
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from imagen.cli.terminal import cut, display_width, terminal_width
from imagen.core.text import format_duration, one_line
from imagen.errors import Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from imagen.core.result import OnProgress, Progress

_BAR, _SHORTEST_BAR = 24, 4
_SHORTEST_LABEL = 12
_USUAL_WIDTH = 80
_REDRAW_SECONDS = 0.05
_WORDS = {
    "submitted": "submitting",
    "queued": "waiting in the queue",
    "loading": "loading the model",
    "running": "running",
    "fetching": "fetching",
    "done": "done",
}


@contextmanager
def shown(
    label: str,
    *,
    quiet: bool = False,
    stream: TextIO | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[OnProgress]:
    """An `OnProgress` that shows what it is told on stderr, and raises `Cancelled` after Ctrl-C.

    A second Ctrl-C ends the program at once.
    """
    stream = stream or sys.stderr
    display = _display(label, stream, clock, quiet=quiet)
    with interruptible() as interrupted:

        def on_progress(progress: Progress) -> None:
            display.tell(progress)
            if interrupted.is_set():
                raise Cancelled

        try:
            yield on_progress
        finally:
            display.clear()


def _display(
    label: str, stream: TextIO, clock: Callable[[], float], *, quiet: bool
) -> _Silence | _Bar | _Lines:
    if quiet:
        return _Silence()
    return _Bar(label, stream, clock) if stream.isatty() else _Lines(label, stream)


class _Silence:
    def tell(self, progress: Progress) -> None: ...
    def clear(self) -> None: ...


class _Lines:
    """A line the first time a stage is told: for pipes and logs."""

    def __init__(self, label: str, stream: TextIO) -> None:
        self._label, self._stream = label, stream
        self._told: set[str] = set()

    def tell(self, progress: Progress) -> None:
        if progress.stage not in self._told:
            self._told.add(progress.stage)
            self._stream.write(f"{self._label}: {what(progress, steps=False)}\n")
            self._stream.flush()

    def clear(self) -> None: ...


class _Bar:
    """One line, drawn over and over."""

    def __init__(self, label: str, stream: TextIO, clock: Callable[[], float]) -> None:
        self._label, self._stream, self._clock = label, stream, clock
        self._started: float | None = None
        self._image: int | None = None
        self._drawn = float("-inf")

    def tell(self, progress: Progress) -> None:
        now = self._clock()
        if progress.image != self._image:
            self._image, self._started = progress.image, None
        if progress.stage == "running" and self._started is None:
            self._started = now
        if now - self._drawn >= _REDRAW_SECONDS:
            self._drawn = now
            self._stream.write(f"\r\x1b[K{self._line(progress, now)}")
            self._stream.flush()

    def clear(self) -> None:
        self._stream.write("\r\x1b[K")
        self._stream.flush()

    def _line(self, progress: Progress, now: float) -> str:
        """On a narrow terminal the bar shrinks first, then the node, the label and the rest."""
        room = (terminal_width(self._stream) or _USUAL_WIDTH) - 1
        number = f"{progress.image} of {progress.images}, " if progress.images else ""
        start, left = f" {number}{progress.fraction:.0%} ", self._left(progress, now)
        texts = [f"{start}{what(progress, longest_node=n)}{left}" for n in (40, 20, 0)]
        fitting = (text for text in texts if display_width(text) <= room - _SHORTEST_LABEL)
        text = cut(next(fitting, texts[-1]), room)
        label = cut(one_line(self._label), room - display_width(text))
        wide = min(_BAR, room - display_width(text) - display_width(label) - 1)
        full = round(wide * progress.fraction)
        bar = f" {'█' * full}{'░' * (wide - full)}" if wide >= _SHORTEST_BAR else ""
        return f"{label}{bar}{text}".lstrip()

    def _left(self, progress: Progress, now: float) -> str:
        elapsed = 0.0 if self._started is None else now - self._started
        if progress.fraction < 0.05 or elapsed < 1:
            return ""
        return f", {format_duration(elapsed / progress.fraction - elapsed)} left"


def what(progress: Progress, *, steps: bool = True, longest_node: int = 40) -> str:
    """`waiting in the queue, 2 before`, `Sampler, step 3 of 8`."""
    words = _WORDS[progress.stage]
    if progress.stage == "queued" and progress.queue_position:
        return f"{words}, {progress.queue_position} before"
    if progress.node and longest_node and progress.stage in ("loading", "running"):
        words = f"{words}: {one_line(progress.node, limit=longest_node)}"
    if steps and progress.step is not None and progress.steps:
        words = f"{words}, step {progress.step} of {progress.steps}"
    return words


@contextmanager
def counted(doing: str, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """How many of how many are done, in one line of a terminal; elsewhere nothing."""
    shows = sys.stderr.isatty() and not quiet
    drawn = float("-inf")

    def tell(done: int, total: int) -> None:
        nonlocal drawn
        if shows and (time.monotonic() - drawn >= _REDRAW_SECONDS or done == total):
            drawn = time.monotonic()
            sys.stderr.write(f"\r\x1b[K{doing} {done} of {total}")
            sys.stderr.flush()

    try:
        yield tell
    finally:
        if shows:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Set once Ctrl-C, or a request to terminate, has come; the next one acts as it always does."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        asked.set()
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, ask)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
