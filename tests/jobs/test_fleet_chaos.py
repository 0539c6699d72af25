"""The database goes away in the middle of jobs: no engine is stopped, no image lost or made twice.

By default it is away for a few seconds; `--outage-seconds 30` is the length to prove.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from queue_contract import until
from sqlalchemy import func, select
from support.database_proxy import DatabaseProxy
from support.postgres_server import NoServerError, database, missing, server

from imagen.config import JobSettings, LibrarySettings, OutputSettings, Settings
from imagen.core.request import Request
from imagen.jobs.model import JobSpec, NewJob
from imagen.jobs.sql_store import open_job_store
from imagen.jobs.worker import StopRequest, WorkerEvent, run_worker
from imagen.library import open_library
from imagen.library.schema import generations, images, jobs, usage
from imagen.testing.comfyui import ComfyUI

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
_LEASE_SECONDS = 3.0
_JOBS = 8
_STEPS, _STEP_SECONDS = 6, 0.15
_END_SECONDS = 120.0


@pytest.fixture
def outage_seconds(pytestconfig: pytest.Config) -> float:
    return float(pytestconfig.getoption("--outage-seconds"))


class _Fleet:
    """Two workers in threads, each with its own way to the database and its own folders."""

    def __init__(
        self, url: str, urls: Sequence[str], servers: Sequence[ComfyUI], path: Path
    ) -> None:
        self.url = url
        self.servers = servers
        self._settings = [self._settings_at(one, path / str(n)) for n, one in enumerate(urls)]
        self._stops = [StopRequest() for _ in urls]
        self.events: list[WorkerEvent] = []
        self.errors: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._work, args=pair)
            for pair in zip(self._settings, self._stops, strict=True)
        ]

    def _settings_at(self, url: str, folder: Path) -> Settings:
        block: dict[str, Any] = {"type": "comfyui", "workflow": "sd15"}
        return Settings(
            backends={f"gpu{n}": block | {"url": one.url} for n, one in enumerate(self.servers)},
            pools={"sd15": tuple(f"gpu{n}" for n, _ in enumerate(self.servers))},
            library=LibrarySettings(url=url),
            jobs=JobSettings(queue="procrastinate", lease_seconds=_LEASE_SECONDS),
            state_dir=folder / "state",
            output=OutputSettings(directory=folder / "outputs"),
        )

    def _work(self, settings: Settings, stop: StopRequest) -> None:
        try:
            run_worker(settings, stop=stop, on_event=self.events.append)
        except BaseException as error:  # noqa: BLE001 - the test shows it
            self.errors.append(error)

    def submit(self) -> None:
        """Through the undisturbed way."""
        own = self._settings_at(self.url, Path("submitter"))
        with open_job_store(own) as store:
            store.submit([self._new_job(number) for number in range(_JOBS)])

    def _new_job(self, seed: int) -> NewJob:
        request = Request(prompt=f"fox {seed}", seed=seed, width=64, height=64, steps=_STEPS)
        return NewJob(spec=JobSpec(request=request, backend="sd15"), affinity="sd15")

    @contextmanager
    def running(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            for stop in self._stops:
                stop.set()
            for thread in self._threads:
                thread.join(60)
        assert self.errors == []
        assert not any(thread.is_alive() for thread in self._threads)

    def posts(self) -> list[str]:
        """The id of each prompt that a server was sent."""
        requests = [request for server in self.servers for request in list(server.requests)]
        posts = [one for one in requests if (one.method, one.path) == ("POST", "/prompt")]
        return [one.json()["prompt_id"] for one in posts]

    def wait_for_posts(self, number: int) -> None:
        until(lambda: len(self.posts()) >= number, seconds=_END_SECONDS)

    def wait_for_end(self) -> None:
        ended = select(func.count()).select_from(jobs).where(jobs.c.ended_ms.is_not(None))
        with open_library(Settings(library=LibrarySettings(url=self.url))) as library:

            def has_ended() -> bool:
                with library.reading() as connection:
                    return connection.scalar(ended) == _JOBS

            until(has_ended, seconds=_END_SECONDS)

    def check(self) -> None:
        """Each job was done once."""
        posts = self.posts()
        with (
            open_library(Settings(library=LibrarySettings(url=self.url))) as library,
            library.reading() as connection,
        ):
            states = connection.execute(select(jobs.c.state, jobs.c.error)).all()
            counts = [
                connection.scalar(select(func.count()).select_from(table))
                for table in (generations, images, usage)
            ]
            files = [Path(path) for path in connection.scalars(select(images.c.path))]
        assert [tuple(row) for row in states] == [("done", None)] * _JOBS, self.events
        assert counts == [_JOBS] * 3
        assert len(posts) == len(set(posts)) == _JOBS
        assert [stop for server in self.servers for stop in server.interrupts] == []
        saved = {path for path in files if path.is_file()}
        assert len(saved) == _JOBS
        folders = [settings.output.directory for settings in self._settings]
        assert {path for folder in folders for path in folder.rglob("*.png")} == saved


@contextmanager
def _fleet(url: str, urls: Sequence[str], path: Path) -> Iterator[_Fleet]:
    with ExitStack() as stack:
        servers = [stack.enter_context(ComfyUI(step_seconds=_STEP_SECONDS)) for _ in range(2)]
        fleet = _Fleet(url, urls, servers, path)
        fleet.submit()
        stack.enter_context(fleet.running())
        fleet.wait_for_posts(2)
        yield fleet
        fleet.wait_for_end()
    fleet.check()


@pytest.mark.parametrize("state", ["refused", "silent"])
@pytest.mark.parametrize("workers", [1, 2], ids=["one worker", "all workers"])
def test_the_way_to_the_database_is_lost(
    postgres_url: str, tmp_path: Path, state: str, workers: int, outage_seconds: float
) -> None:
    with DatabaseProxy(postgres_url) as first, DatabaseProxy(postgres_url) as second:
        proxies = [first, second]
        with _fleet(postgres_url, [one.url for one in proxies], tmp_path):
            for proxy in proxies[:workers]:
                if state == "refused":
                    proxy.cut("refused")
                else:
                    proxy.state = "silent"
            time.sleep(outage_seconds)
            for proxy in proxies[:workers]:
                proxy.state = "open"


def test_the_sessions_of_all_workers_are_frozen(
    postgres_url: str, tmp_path: Path, outage_seconds: float
) -> None:
    with _fleet(postgres_url, [postgres_url] * 2, tmp_path):
        pids = _sessions(postgres_url)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(outage_seconds)
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)


def _sessions(url: str) -> list[int]:
    """The server's processes for all other sessions of this database."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT pid FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return [int(row[0]) for row in rows]


@pytest.mark.parametrize("restarts", [2])
def test_the_database_is_restarted_at_once(tmp_path: Path, restarts: int) -> None:
    try:
        with (
            server() as base,
            database(base) as url,
            _fleet(url, [url, url], tmp_path) as fleet,
        ):
            for number in range(1, restarts + 1):
                fleet.wait_for_posts(2 * number)
                _restart(base)
    except NoServerError as error:
        missing(str(error))


def _restart(url: str) -> None:
    """As after a crash: without a checkpoint, and with every session ended."""
    folder = Path(parse_qs(urlsplit(url).query)["host"][0])
    program = Path((folder / "postmaster.opts").read_text().split()[0]).with_name("pg_ctl")
    words = [
        str(program),
        "-D",
        str(folder),
        "-m",
        "immediate",
        "-w",
        "-l",
        str(folder / "log"),
        "restart",
    ]
    owner = folder.stat().st_uid
    subprocess.run(
        words, user=owner if os.getuid() == 0 else None, cwd=folder, check=True, timeout=60
    )
