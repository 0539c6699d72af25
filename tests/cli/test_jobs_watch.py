"""imagen jobs watch: a live table that fits its terminal."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.terminals import Terminal

from imagen.cli import run
from imagen.cli.commands.jobs_watch import draw_overview
from imagen.cli.terminal import display_width
from imagen.config import load_settings
from imagen.core.request import Request
from imagen.core.result import Progress
from imagen.jobs.model import ServedResource, WorkerInfo
from imagen.jobs.overview import QueueOverview, read_overview
from imagen.jobs.queue import queue_name
from imagen.jobs.sql_store import open_job_store
from imagen.jobs.submit import JobRequest, SubmitOptions, submit_request, submit_requests

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagen.jobs.sql_store import SqlJobStore

_DEADLINE_SECONDS = 60.0
_CONTROL = re.compile(r"\x1b\[[?0-9;]*[A-Za-z]")


@pytest.fixture
def store() -> Iterator[SqlJobStore]:
    Path("imagen.yaml").write_text("state_dir: state\nbackends: {mock: {type: mock}}\n")
    with open_job_store(load_settings()) as store:
        yield store


def _fill(store: SqlJobStore) -> None:
    """A worker with a running job of a batch, a long line, and a job that has ended."""
    settings, options = load_settings(), SubmitOptions(backend="mock")
    rows = [JobRequest(Request(prompt=f"東京の夜景 {n}", seed=1), "mock") for n in range(4)]
    submit_requests(rows, settings, options, kind="batch", name="prompts.txt", store=store)
    for number in range(40):
        submit_request(Request(prompt=f"fox {number}\x1b[2J"), settings, options, store=store)
    store.cancel(store.list_jobs(limit=1)[0].id)
    now = datetime.now(UTC)
    served = (ServedResource("mock", 1, ("mock",)),)
    store.see_worker(
        WorkerInfo(id="w", host="desk", pid=7, started=now, seen=now, resources=served)
    )
    store.learn_speed("mock", "mock", 60)
    delivery = store.queue.fetch([[queue_name("mock", "mock")]])
    assert delivery is not None
    taken = store.take(delivery, worker="w", backend="mock", resource="mock", at_once=1)
    assert taken is not None
    store.report(taken.fence, Progress(stage="running", fraction=0.5, step=4, steps=8))


def _overview(store: SqlJobStore) -> QueueOverview:
    return read_overview(store, load_settings(), most_active=100, most_ended=20)


def test_the_table_shows_bars_workers_and_the_line(store: SqlJobStore) -> None:
    _fill(store)
    lines = draw_overview(_overview(store), 80, 24)
    assert lines[0].endswith("1 running, 42 waiting, 1 worker")
    assert "RUNNING" in lines
    running = lines[lines.index("RUNNING") + 1]
    assert "██████████░░░░░░░░░░  step 4/8" in running
    assert running.endswith("mock, desk:7")
    batch = lines[lines.index("BATCHES") + 1]
    assert batch.split()[2] == "0/4,"
    assert batch.endswith("prompts.txt")
    assert "fox 0[2J" in "\n".join(lines)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 10), (20, 5), (200, 100)])
def test_the_table_fits_any_terminal(width: int, height: int, store: SqlJobStore) -> None:
    _fill(store)
    lines = draw_overview(_overview(store), width, height)
    assert len(lines) <= height
    assert max(map(display_width, lines)) <= width
    assert not any(character < " " for line in lines for character in line)


def test_an_empty_queue_says_so(store: SqlJobStore) -> None:
    lines = draw_overview(_overview(store), 80, 24)
    assert lines[-1] == "There are no jobs."


def test_watch_repaints_a_terminal_until_ctrl_c_and_leaves_the_last_state(
    store: SqlJobStore,
) -> None:
    _fill(store)
    command = [sys.executable, "-m", "imagen", "jobs", "watch"]
    with Terminal() as terminal:
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), terminal.slave)
        with subprocess.Popen(command, env=dict(os.environ), **streams) as process:  # type: ignore[call-overload]
            try:
                _wait_for(terminal, b"prompts.txt")
                size = struct.pack("HHHH", 12, 50, 0, 0)
                fcntl.ioctl(terminal.slave, termios.TIOCSWINSZ, size)
                painted = len(terminal.heard)
                _wait_for(terminal, b"WAITING", after=painted)
            finally:
                process.send_signal(signal.SIGINT)
            assert process.wait(_DEADLINE_SECONDS) == 0
        heard = terminal.hang_up().decode()
    first, _, rest = heard.partition("\x1b[?1049h")
    frames, _, last = rest.partition("\x1b[?1049l")
    assert first == ""
    assert all(len(_CONTROL.sub("", line)) <= 80 for line in frames.splitlines())
    assert all(len(_CONTROL.sub("", line)) <= 50 for line in last.splitlines())
    assert "0/4" in last


def _wait_for(terminal: Terminal, text: bytes, *, after: int = 0) -> None:
    until = time.monotonic() + _DEADLINE_SECONDS
    while text not in terminal.heard[after:]:
        assert time.monotonic() < until, terminal.heard
        time.sleep(0.02)


def test_watch_needs_a_terminal(store: SqlJobStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["jobs", "watch"]) == 2
    assert "imagen jobs list" in capsys.readouterr().err
    assert store.list_jobs() == []
