"""Jobs of the queue at a server whose images only the submitting process can receive."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from simulators.a1111 import A1111Server, A1111Switches
from support.queue_runs import drain, new_job, wait_until, working

from imagen.config import LibrarySettings, OutputSettings, Settings
from imagen.config.settings import JobSettings
from imagen.jobs.sql_store import SqlJobStore, open_job_store

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def server() -> Iterator[A1111Server]:
    with A1111Server("forge", A1111Switches(seconds=0.4)) as server:
        yield server


@pytest.fixture
def settings(server: A1111Server) -> Settings:
    block = {"type": "a1111", "url": server.url, "poll_seconds": 0.02}
    return Settings(
        backends={"lab": block},
        state_dir=Path("state").absolute(),
        library=LibrarySettings(url=str(Path("library.db").absolute())),
        output=OutputSettings(directory=Path("out")),
        jobs=JobSettings(lease_seconds=2.0),
    )


@pytest.fixture
def store(settings: Settings) -> Iterator[SqlJobStore]:
    with open_job_store(settings) as store:
        yield store


def test_a_worker_that_stops_finishes_its_job(
    server: A1111Server, settings: Settings, store: SqlJobStore
) -> None:
    (id,) = store.submit([new_job()])
    with working(settings):
        wait_until(server.is_at_work)
    assert store.read(id).state == "done"
    assert (server.submissions, server.interrupts) == (1, 0)


def test_a_second_request_to_stop_interrupts_the_job_and_another_worker_begins_it_anew(
    server: A1111Server, settings: Settings, store: SqlJobStore
) -> None:
    server.switches = A1111Switches(seconds=60)
    (id,) = store.submit([new_job()])
    with working(settings) as worker:
        wait_until(lambda: server.current_task is not None)
        wait_until(lambda: (store.read(id).progress or {}).get("stage") == "running")
        worker.stop.set()
        worker.stop.set()
    assert (store.read(id).state, server.interrupts) == ("queued", 1)
    assert not server.is_at_work()
    server.switches = A1111Switches()
    drain(settings)
    assert store.read(id).state == "done"
    assert server.submissions == 2
