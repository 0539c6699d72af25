"""Questions to a terminal, on a real pseudo-terminal."""

from __future__ import annotations

import os
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from support.terminals import QUESTION, Terminal

from imagen.preview import supports_sixel
from imagen.preview.terminal import TerminalSize, measure_terminal

_ASK = """
import os, sys
from imagen.preview import supports_sixel
print(supports_sixel(int(sys.argv[1]), int(sys.argv[1]), timeout_seconds=float(sys.argv[2])))
"""


def _asked(terminal: Terminal, *, patience: float = 20) -> str:
    """The answer of supports_sixel in a process whose terminal this is."""
    ran = subprocess.run(
        [sys.executable, "-c", f"{_OWN}{_ASK}", str(terminal.slave), str(patience)],
        pass_fds=[terminal.slave],
        start_new_session=True,
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stdout.strip()


_OWN = """
import fcntl, sys, termios
fcntl.ioctl(int(sys.argv[1]), termios.TIOCSCTTY, 0)
"""


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        pytest.param(b"\x1b[?62;4;22c", "True", id="with sixels"),
        pytest.param(b"\x1b[?62;22c", "False", id="without"),
        pytest.param(b"\x1b[?64;14;44c", "False", id="with attributes that hold a 4"),
        pytest.param(b"typed ahead\x1b[?4c", "True", id="after what was typed"),
    ],
)
def test_supports_sixel_reads_the_answer_of_the_terminal(answer: bytes, said: str) -> None:
    with Terminal(answer) as terminal:
        before = termios.tcgetattr(terminal.slave)
        assert _asked(terminal) == said
        assert termios.tcgetattr(terminal.slave) == before
        assert terminal.hang_up() == QUESTION


def test_supports_sixel_gives_up_on_a_silent_terminal() -> None:
    with Terminal() as terminal:
        before = termios.tcgetattr(terminal.slave)
        assert _asked(terminal, patience=0.05) == "False"
        assert termios.tcgetattr(terminal.slave) == before


def test_supports_sixel_asks_only_its_own_terminal() -> None:
    with Terminal(b"\x1b[?4c") as terminal:
        assert supports_sixel(terminal.slave, terminal.slave) is False
        assert terminal.hang_up() == b""


def test_supports_sixel_does_not_ask_a_pipe() -> None:
    reading, writing = os.pipe()
    assert supports_sixel(reading, writing) is False
    os.close(writing)
    assert os.read(reading, 1) == b""
    os.close(reading)


def test_measure_terminal_gives_pixels() -> None:
    with Terminal(pixels=(800, 480)) as terminal:
        assert measure_terminal(terminal.slave) == TerminalSize(
            columns=80, rows=24, width=800, height=480
        )


def test_measure_terminal_assumes_a_common_cell_size() -> None:
    with Terminal(pixels=(0, 0)) as terminal:
        assert measure_terminal(terminal.slave) == TerminalSize(
            columns=80, rows=24, width=640, height=384
        )


def test_measure_terminal_assumes_a_size_for_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LINES", "30")
    with Path("file").open("wb") as file:
        assert measure_terminal(file.fileno()) == TerminalSize(
            columns=100, rows=30, width=800, height=480
        )
