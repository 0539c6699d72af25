"""Workers are killed and frozen while they drive engines: nothing is lost, made or paid twice.

By default a short run. IMAGEN_CHAOS_JOBS and IMAGEN_CHAOS_ACTS make it longer.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from simulators.replicate import COMMUNITY, TOKEN, Replicate
from sqlalchemy import func, select
from support.queue_runs import new_job, wait_until
from support.thoroughness import scaled

from imagen.config import load_settings
from imagen.jobs.model import ENDED
from imagen.jobs.sql_store import open_job_store
from imagen.library.schema import generations, images, usage
from imagen.testing.comfyui import ComfyUI

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from imagen.config import Settings
    from imagen.jobs.model import QueuedJob
    from imagen.jobs.sql_store import SqlJobStore

_JOBS = int(os.environ.get("IMAGEN_CHAOS_JOBS", scaled(12, 24)))
_ACTS = int(os.environ.get("IMAGEN_CHAOS_ACTS", scaled(3, 8)))
_WORKERS = 4
_LEASE_SECONDS = 2.0
_STEPS = 8
_STEP_SECONDS = 0.1
_DEADLINE_SECONDS = 60.0 + 2 * _JOBS + 8 * _ACTS

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals"),
    pytest.mark.timeout(2 * _DEADLINE_SECONDS),
]


class _Fleet:
    """Worker processes of one configuration; each that was killed is replaced by a new one."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self._folder = folder
        self._chance = chance
        self._environment = os.environ | {"IMAGEN_CONFIG": str(folder / "imagen.yaml")}
        self._workers = [self._start() for _ in range(_WORKERS)]

    def _start(self) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-m", "imagen", "worker", "--log", "json"]
        with (self._folder / "worker.log").open("ab") as log:
            return subprocess.Popen(
                words, stdout=log, stderr=log, cwd=self._folder, env=self._environment
            )

    def kill_one(self) -> None:
        number = self._chance.randrange(_WORKERS)
        self._workers[number].kill()
        self._workers[number].wait()
        self._workers[number] = self._start()

    def freeze_one(self) -> None:
        """Stop one for longer than its lease; then it goes on as if nothing had happened."""
        process = self._chance.choice(self._workers)
        process.send_signal(signal.SIGSTOP)
        time.sleep(_LEASE_SECONDS * 1.7)
        process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        for process in self._workers:
            process.send_signal(signal.SIGTERM)
        for process in self._workers:
            process.wait(60)

    @property
    def log(self) -> str:
        return (self._folder / "worker.log").read_text("utf-8", "replace")


def _settings(folder: Path, blocks: dict[str, dict[str, Any]], url: str) -> Settings:
    values = {
        "backends": blocks,
        "pools": {"all": sorted(blocks)},
        "state_dir": str(folder / "state"),
        "library": {"url": url or str(folder / "library.db")},
        "output": {"directory": str(folder / "out")},
        "jobs": {"lease_seconds": _LEASE_SECONDS, "deaths": 100, "queue": "embedded"},
    }
    (folder / "imagen.yaml").write_text(json.dumps(values))
    return load_settings(folder / "imagen.yaml")


@contextmanager
def _comfyui_servers() -> Iterator[list[ComfyUI]]:
    with ExitStack() as stack:
        yield [
            stack.enter_context(ComfyUI(images="flat", step_seconds=_STEP_SECONDS))
            for _ in range(_WORKERS)
        ]


def _comfyui_blocks(servers: list[ComfyUI]) -> dict[str, dict[str, Any]]:
    waits = {"poll_seconds": 0.2, "lost_seconds": 1.0, "connect_seconds": 3.0}
    return {
        f"gpu{number}": {"type": "comfyui", "url": server.url, "workflow": "sd15", **waits}
        for number, server in enumerate(servers)
    }


def _run(
    settings: Settings, act: Callable[[_Fleet], None], chance: random.Random
) -> tuple[list[QueuedJob], str]:
    """The rows of all jobs once they have ended, with acts in between; and the workers' log."""
    with open_job_store(settings) as store:
        ids = store.submit(
            [new_job(seed, backend="all", affinity="sd15", steps=_STEPS) for seed in range(_JOBS)]
        )
        with closing(_Fleet(Path.cwd(), chance)) as fleet:
            for number in range(_ACTS):
                # Spread over the whole run: some jobs have ended before each act.
                done = _JOBS * number // (_ACTS + 1)
                _wait_for(store, done)
                act(fleet)
            _wait_for(store, _JOBS)
        return [store.read(id) for id in ids], fleet.log


def _wait_for(store: SqlJobStore, ended: int) -> None:
    """Wait until so many jobs have ended."""

    def has_ended() -> bool:
        return len(store.list_jobs(states=ENDED, limit=_JOBS + 1)) >= ended

    wait_until(has_ended, seconds=_DEADLINE_SECONDS)


def _counts(settings: Settings) -> tuple[int, int, int]:
    """How many generations, images and rows of the ledger there are."""
    with open_job_store(settings) as store, store.library.reading() as connection:
        found = [
            connection.scalar(select(func.count()).select_from(table)) or 0
            for table in (generations, images, usage)
        ]
    return found[0], found[1], found[2]


def _check(rows: list[QueuedJob], log: str, settings: Settings) -> None:
    """Each job is done once, on disk, in the library and in the ledger."""
    wrong = [(row.state, row.error) for row in rows if row.state != "done"]
    assert wrong == []
    assert _counts(settings) == (_JOBS,) * 3
    # A worker that was frozen removes what it has saved in vain, once it is known to be in vain.
    wait_until(lambda: len(list(Path("out").glob("*.png"))) == _JOBS)
    assert "Traceback" not in log
    with open_job_store(settings) as store:
        assert store.queue.live() == set()


def _made(servers: list[ComfyUI]) -> list[str]:
    """The ids of the prompts that servers ran to their end."""
    return [
        id
        for server in servers
        for id, entry in server.history.items()
        if entry["status"]["status_str"] == "success"
    ]


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    return "" if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))


@pytest.mark.parametrize("what", ["kill", "freeze"])
def test_comfyui_makes_each_job_once(url: str, what: str) -> None:
    chance = random.Random(12)
    with _comfyui_servers() as servers:
        settings = _settings(Path.cwd(), _comfyui_blocks(servers), url)
        act = _Fleet.kill_one if what == "kill" else _Fleet.freeze_one
        rows, log = _run(settings, act, chance)
        _check(rows, log, settings)
        made = _made(servers)
        assert sorted(made) == sorted(row.ticket_id for row in rows)
        posts = [str(prompt["prompt_id"]) for server in servers for prompt in server.prompts]
        assert len(posts) == len(set(posts))


def test_servers_that_are_killed_lose_no_job(url: str) -> None:
    chance = random.Random(13)
    with _comfyui_servers() as servers:
        settings = _settings(Path.cwd(), _comfyui_blocks(servers), url)

        def restart_server(_: _Fleet) -> None:
            server = chance.choice(servers)
            server.die()
            time.sleep(0.5)
            server.restart()

        rows, log = _run(settings, restart_server, chance)
        _check(rows, log, settings)
        posts = [str(prompt["prompt_id"]) for server in servers for prompt in server.prompts]
        assert len(posts) == len(set(posts))


@pytest.mark.parametrize("what", ["kill", "freeze"])
def test_replicate_is_paid_once_for_each_job(
    url: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPLICATE_API_TOKEN", TOKEN)
    chance = random.Random(14)
    with Replicate(seconds=1.0) as cloud:
        block = {"type": "replicate", "model": COMMUNITY, "base_url": cloud.url}
        waits = {"wait_seconds": 0, "poll_seconds": 0.1}
        settings = _settings(Path.cwd(), {"cloud": {**block, **waits, "at_once": 4}}, url)
        act = _Fleet.kill_one if what == "kill" else _Fleet.freeze_one
        rows, log = _run(settings, act, chance)
        # What was cut between the row and the answer may have cost money: a person decides.
        lost = [row for row in rows if row.state == "lost"]
        assert cloud.submissions == _JOBS - len(lost)
        with open_job_store(settings) as store:
            for row in lost:
                store.retry(row.id, is_confirmed=True)
            rows, log = _finish(store, [row.id for row in rows], chance)
        _check(rows, log, settings)
        assert cloud.submissions == _JOBS


def _finish(
    store: SqlJobStore, ids: list[str], chance: random.Random
) -> tuple[list[QueuedJob], str]:
    with closing(_Fleet(Path.cwd(), chance)) as fleet:
        _wait_for(store, _JOBS)
    return [store.read(id) for id in ids], fleet.log
