"""Progress of a job: one line on a terminal, plain lines in a pipe; and Ctrl-C."""

from __future__ import annotations

import signal
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from imagen.cli.terminal import display_width, terminal_width, truncate
from imagen.core.text import format_duration, one_line
from imagen.errors import Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from imagen.core.result import OnProgress, Progress

_BAR, _SHORTEST_BAR = 24, 4
_SHORTEST_LABEL = 12
_DEFAULT_WIDTH = 80
_REDRAW_SECONDS = 0.05
_CLEAR_LINE = "\r\x1b[K"
_STAGES = {
    "submitted": "submitting",
    "queued": "queued",
    "loading": "loading the model",
    "running": "running",
    "fetching": "downloading",
    "done": "done",
}


@contextmanager
def show_progress(
    label: str,
    *,
    quiet: bool = False,
    stream: TextIO | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[OnProgress]:
    """An `OnProgress` that shows progress on stderr, and raises `Cancelled` after Ctrl-C.

    A second Ctrl-C ends the program at once.
    """
    stream = stream or sys.stderr
    bar = _ProgressBar(label, stream, clock) if stream.isatty() and not quiet else None
    printed: set[str] = set()
    with interruptible() as interrupted:

        def on_progress(progress: Progress) -> None:
            if bar is not None:
                bar.draw(progress)
            elif not quiet and progress.stage not in printed:
                printed.add(progress.stage)
                _write(stream, f"{label}: {describe_progress(progress, steps=False)}\n")
            if interrupted.is_set():
                raise Cancelled

        try:
            yield on_progress
        finally:
            if bar is not None:
                _write(stream, _CLEAR_LINE)


def _write(stream: TextIO, text: str) -> None:
    stream.write(text)
    stream.flush()


class _ProgressBar:
    """One line that is redrawn."""

    def __init__(self, label: str, stream: TextIO, clock: Callable[[], float]) -> None:
        self._label, self._stream, self._clock = label, stream, clock
        self._started: float | None = None
        self._image: int | None = None
        self._drawn = float("-inf")

    def draw(self, progress: Progress) -> None:
        now = self._clock()
        if progress.image != self._image:
            self._image, self._started = progress.image, None
        if progress.stage == "running" and self._started is None:
            self._started = now
        if now - self._drawn < _REDRAW_SECONDS:
            return
        self._drawn = now
        # On a narrow terminal the bar shrinks first, then the node, the label and the rest.
        elapsed = 0.0 if self._started is None else now - self._started
        left = ""
        if progress.fraction >= 0.05 and elapsed >= 1:
            left = f", {format_duration(elapsed / progress.fraction - elapsed)} left"
        number = f"{progress.image} of {progress.images}, " if progress.images else ""
        start = f" {number}{progress.fraction:.0%} "
        room = (terminal_width(self._stream) or _DEFAULT_WIDTH) - 1
        texts = [f"{start}{describe_progress(progress, longest_node=n)}{left}" for n in (40, 20, 0)]
        fitting = (text for text in texts if display_width(text) <= room - _SHORTEST_LABEL)
        text = truncate(next(fitting, texts[-1]), room)
        label = truncate(one_line(self._label), room - display_width(text))
        width = min(_BAR, room - display_width(text) - display_width(label) - 1)
        full = round(width * progress.fraction)
        bar = f" {'█' * full}{'░' * (width - full)}" if width >= _SHORTEST_BAR else ""
        line = f"{label}{bar}{text}".lstrip()
        _write(self._stream, f"{_CLEAR_LINE}{line}")


def describe_progress(progress: Progress, *, steps: bool = True, longest_node: int = 40) -> str:
    """`queued, 2 ahead`, `running: Sampler, step 3 of 8`."""
    text = _STAGES[progress.stage]
    if progress.stage == "queued" and progress.queue_position:
        return f"{text}, {progress.queue_position} ahead"
    if progress.node and longest_node and progress.stage in ("loading", "running"):
        text = f"{text}: {one_line(progress.node, limit=longest_node)}"
    if steps and progress.step is not None and progress.steps:
        text = f"{text}, step {progress.step} of {progress.steps}"
    return text


@contextmanager
def show_status(*, quiet: bool) -> Iterator[Callable[[str], None]]:
    """Show a status on one line of a terminal, elsewhere nothing; "" clears the line."""
    is_shown = sys.stderr.isatty() and not quiet

    def show(text: str) -> None:
        if is_shown:
            room = (terminal_width(sys.stderr) or _DEFAULT_WIDTH) - 1
            _write(sys.stderr, f"{_CLEAR_LINE}{truncate(text, room)}")

    try:
        yield show
    finally:
        show("")


@contextmanager
def count_progress(doing: str, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Show how many of how many are done, on one line of a terminal; elsewhere nothing."""
    drawn = float("-inf")
    with show_status(quiet=quiet) as show:

        def count(done: int, total: int) -> None:
            nonlocal drawn
            if time.monotonic() - drawn >= _REDRAW_SECONDS or done == total:
                drawn = time.monotonic()
                show(f"{doing} {done} of {total}")

        yield count


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets; a second signal acts as it always does."""
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        interrupted.set()
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, interrupt)
    try:
        yield interrupted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
