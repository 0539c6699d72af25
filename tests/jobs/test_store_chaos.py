"""Workers are killed and frozen at random: no job is lost, and none is submitted twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import chaos_worker
from support.chaos_worker import STALL_SECONDS, settings_at, submissions
from support.queued_jobs import new_batch, new_job, recorded_states
from support.thoroughness import scaled

from imagen.jobs.sql_store import open_job_store

if TYPE_CHECKING:
    from collections.abc import Iterator

_ACTS = int(os.environ.get("IMAGEN_CHAOS_ACTS", scaled(3, 6)))
"""How often to kill or freeze a worker."""
_WORKERS = 3
_JOBS_PER_ACT = 30
_DEADLINE_SECONDS = 120 + 10 * _ACTS

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals"),
    pytest.mark.timeout(_DEADLINE_SECONDS + 60),
]


class _Fleet:
    """Worker processes of one library; each that was killed is replaced by a new one."""

    def __init__(self, url: str, queue: str, folder: Path) -> None:
        self.url, self.queue = url, queue
        self.engine = folder / "engine.txt"
        self.log = folder / "workers.log"
        self.started = 0
        self.workers = [self._start() for _ in range(_WORKERS)]

    def _start(self) -> subprocess.Popen[bytes]:
        self.started += 1
        script = Path(chaos_worker.__file__)
        words = [sys.executable, str(script), self.url, self.queue, f"w{self.started}"]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [*words, str(self.engine)], stdout=subprocess.DEVNULL, stderr=log
            )

    def kill_one(self, chance: random.Random) -> None:
        number = chance.randrange(_WORKERS)
        self.workers[number].kill()
        self.workers[number].wait()
        self.workers[number] = self._start()

    def freeze_one(self, chance: random.Random) -> None:
        """For longer than the others wait for it."""
        worker = chance.choice(self.workers)
        worker.send_signal(signal.SIGSTOP)
        time.sleep(2 * STALL_SECONDS)
        worker.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        for worker in self.workers:
            worker.kill()
            worker.wait()


@pytest.fixture(
    params=[
        ("sqlite_path", "embedded"),
        ("postgres_url", "embedded"),
        ("postgres_url", "procrastinate"),
    ],
    ids=["sqlite", "postgres", "procrastinate"],
)
def fleet(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[_Fleet]:
    place, queue = request.param
    if queue == "procrastinate":
        pytest.importorskip("procrastinate")
    url = str(request.getfixturevalue(place))
    with open_job_store(settings_at(url, queue)):
        pass  # the workers find the tables
    fleet = _Fleet(url, queue, tmp_path)
    yield fleet
    fleet.stop()


def test_no_job_is_lost_and_none_is_submitted_twice(fleet: _Fleet) -> None:
    chance = random.Random()
    batch = new_batch()
    jobs = [new_job(parent=batch.id, number=n) for n in range(_JOBS_PER_ACT * _ACTS)]
    with open_job_store(settings_at(fleet.url, fleet.queue)) as store:
        store.submit([batch, *jobs])
        end = time.monotonic() + _DEADLINE_SECONDS
        acts = 0
        while store.read(batch.id).state in ("queued", "running"):
            assert time.monotonic() < end, store.children_counts([batch.id])
            assert all(worker.poll() is None for worker in fleet.workers)
            time.sleep(chance.uniform(0.2, 0.8))
            if acts < _ACTS:
                (fleet.freeze_one if acts % 2 else fleet.kill_one)(chance)
                acts += 1
        assert store.children_counts([batch.id]) == {batch.id: {"done": len(jobs)}}
        assert acts > _ACTS // 2
        assert recorded_states(store) == {job.id: "done" for job in jobs}
        assert Counter(submissions(fleet.engine)) == Counter(job.id for job in jobs)
        assert store.queue.live() == set()
    assert fleet.log.read_text(encoding="utf-8") == ""
