"""Progress on a terminal and in a pipe."""

from __future__ import annotations

import io
import os
import signal
from typing import TYPE_CHECKING

import pytest

from imagen.cli.progress import describe_progress, show_progress
from imagen.core.result import Progress
from imagen.errors import Cancelled

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_pipe_gets_one_line_per_stage() -> None:
    pipe = io.StringIO()
    with show_progress("studio", stream=pipe) as tell:
        tell(Progress(stage="queued", queue_position=2))
        tell(Progress(stage="queued", queue_position=1))
        tell(Progress(stage="running", node="Sampler", step=1, steps=4))
        tell(Progress(stage="running", node="Sampler", step=2, steps=4))
        tell(Progress(stage="done", fraction=1.0))
    assert pipe.getvalue() == ("studio: queued, 2 ahead\nstudio: running: Sampler\nstudio: done\n")


def test_a_terminal_gets_a_bar_with_step_and_time_left() -> None:
    terminal, times = _Terminal(), iter([10.0, 14.0])
    with show_progress("studio", stream=terminal, clock=lambda: next(times)) as tell:
        tell(Progress(stage="running", fraction=0.0, node="Sampler", step=1, steps=4))
        tell(Progress(stage="running", fraction=0.5, node="Sampler", step=2, steps=4))
    assert terminal.getvalue() == (
        "\r\x1b[Kstudio ░░░░░░░░░░░░░░░░░░░░░░░░ 0% running: Sampler, step 1 of 4"
        "\r\x1b[Kstudio ████████████░░░░░░░░░░░░ 50% running: Sampler, step 2 of 4, 4.0 s left"
        "\r\x1b[K"
    )


def _drawn(columns: int, progress: Progress, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a terminal of this width shows."""
    monkeypatch.setenv("COLUMNS", str(columns))
    terminal, times = _Terminal(), iter([10.0, 14.0])
    with show_progress("flux-schnell-local", stream=terminal, clock=lambda: next(times)) as tell:
        tell(Progress(stage="running", image=progress.image, images=progress.images))
        tell(progress)
    return terminal.getvalue().split("\r\x1b[K")[2]


_HALF_DONE = Progress(
    stage="running",
    fraction=0.5,
    node="Sample the latent image",
    step=2,
    steps=4,
    image=2,
    images=4,
)


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (
            120,
            "flux-schnell-local ████████████░░░░░░░░░░░░ 2 of 4, 50% running: "
            "Sample the latent image, step 2 of 4, 4.0 s left",
        ),
        (
            96,
            "flux-schnell-local ███░░░ 2 of 4, 50% running: "
            "Sample the latent image, step 2 of 4, 4.0 s left",
        ),
        (80, "flux-schnel… 2 of 4, 50% running: Sample the latent i…, step 2 of 4, 4.0 s left"),
        (60, "flux-schnell-… 2 of 4, 50% running, step 2 of 4, 4.0 s left"),
    ],
)
def test_the_bar_shrinks_first_on_a_narrow_terminal(
    columns: int, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _drawn(columns, _HALF_DONE, monkeypatch) == line


def test_a_pipe_does_not_number_images() -> None:
    pipe = io.StringIO()
    with show_progress("studio", stream=pipe) as tell:
        tell(Progress(stage="running", image=2, images=4))
    assert pipe.getvalue() == "studio: running\n"


def test_quiet_shows_no_progress() -> None:
    terminal = _Terminal()
    with show_progress("studio", quiet=True, stream=terminal) as tell:
        tell(Progress(stage="running"))
    assert terminal.getvalue() == ""


def test_control_characters_of_node_names_are_removed() -> None:
    assert describe_progress(Progress(stage="running", node="\x1b[2JBoom")) == "running: [2JBoom"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "terminate"])
def test_a_signal_cancels_at_the_next_progress(number: signal.Signals) -> None:
    with show_progress("studio", quiet=True) as tell:
        tell(Progress(stage="running"))
        signal.raise_signal(number)
        with pytest.raises(Cancelled):
            tell(Progress(stage="running"))


@pytest.fixture
def _ctrl_c_as_in_a_terminal() -> Iterator[None]:
    """A background process ignores Ctrl-C, so restore the default first."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_ctrl_c_as_in_a_terminal")
def test_a_second_ctrl_c_acts_at_once() -> None:
    with show_progress("studio", quiet=True):
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_signal_handlers_are_restored() -> None:
    before = signal.getsignal(signal.SIGINT)
    with show_progress("studio", quiet=True):
        pass
    assert signal.getsignal(signal.SIGINT) is before


def test_the_bar_fits_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "COLUMNS", "20")
    terminal = _Terminal()
    with show_progress("studio", stream=terminal) as tell:
        tell(Progress(stage="running", node="Sampler"))
    assert [len(line) <= 19 for line in terminal.getvalue().split("\r\x1b[K")] == [True] * 3


def test_the_time_left_is_for_the_current_image() -> None:
    terminal, times = _Terminal(), iter([10.0, 14.0, 16.0])
    with show_progress("studio", stream=terminal, clock=lambda: next(times)) as tell:
        tell(Progress(stage="running", fraction=0.5, image=1, images=2))
        tell(Progress(stage="running", fraction=0.0, image=2, images=2))
        tell(Progress(stage="running", fraction=0.5, image=2, images=2))
    assert "2.0 s left" in terminal.getvalue()
