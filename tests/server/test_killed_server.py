"""The server is killed amid submissions: no job is lost or run twice, and no event is missed.

By default a short run. IMAGEN_CHAOS_JOBS makes it longer.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from sqlalchemy import func, select
from support.event_streams import StreamedEvent, follow_events
from support.serve_process import serve_process, write_settings
from support.thoroughness import scaled

from imagen.jobs.sql_store import open_job_store
from imagen.library.schema import generations, images
from imagen.testing.comfyui import ComfyUI

if TYPE_CHECKING:
    from pathlib import Path

    from support.serve_process import ServeProcess

_JOBS = int(os.environ.get("IMAGEN_CHAOS_JOBS", scaled(6, 100)))
_DEADLINE_SECONDS = 60.0 + _JOBS

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a killed process keeps its port")


class _Follower(threading.Thread):
    """A client of the event stream that comes back with the last event that it knows."""

    def __init__(self, server: ServeProcess, until: float) -> None:
        super().__init__(daemon=True)
        self.events: list[StreamedEvent] = []
        self.resyncs = 0
        self.is_ready = threading.Event()
        self._server = server
        self._until = until
        self._ended: set[str] = set()

    def run(self) -> None:
        last: str | None = None
        while time.monotonic() < self._until and len(self._ended) < _JOBS:
            try:
                with (
                    httpx.Client(base_url=self._server.url, timeout=20) as client,
                    follow_events(client, after=last) as events,
                ):
                    for event in events:
                        last = event.id or last
                        self._note(event)
                        if len(self._ended) == _JOBS:
                            return
            except httpx.HTTPError:
                time.sleep(0.05)

    def _note(self, event: StreamedEvent) -> None:
        self.is_ready.set()
        if event.kind == "resync":
            self.resyncs += 1
        if event.kind == "state":
            self.events.append(event)
            if event.data["data"]["state"] == "done":
                self._ended.add(event.data["job"])


def _submit(server: ServeProcess, number: int, until: float) -> str:
    """Submit a request, again and again until the server has answered; the id of its job."""
    request = {"prompt": f"fox {number}", "seed": number, "width": 64, "height": 64, "steps": 2}
    while time.monotonic() < until:
        try:
            answer = httpx.post(
                f"{server.url}/api/v1/generations",
                json={"request": request, "key": f"chaos-{number}"},
                timeout=20,
            )
        except httpx.HTTPError:
            time.sleep(0.05)
            continue
        assert answer.status_code == 202, answer.text
        return str(answer.json()["job"])
    raise AssertionError("the server does not answer")


def test_a_killed_server_loses_no_job_and_runs_none_twice(tmp_path: Path) -> None:
    until = time.monotonic() + _DEADLINE_SECONDS
    waits: dict[str, Any] = {"poll_seconds": 0.2, "lost_seconds": 1.0, "connect_seconds": 3.0}
    with ComfyUI(images="flat", step_seconds=0.02) as engine:
        block = {"type": "comfyui", "url": engine.url, "workflow": "sd15", **waits}
        settings = write_settings(tmp_path, {"lab": block})
        with serve_process(tmp_path) as server:
            follower = _Follower(server, until)
            follower.start()
            assert follower.is_ready.wait(20)
            with ThreadPoolExecutor(_JOBS) as pool:
                made = [pool.submit(_submit, server, n, until) for n in range(_JOBS)]
                made[_JOBS // 2].result()
                server.kill()
                server.start()
                ids = [one.result() for one in made]
            follower.join(max(1.0, until - time.monotonic()))
        submitted = len(engine.prompts)
    assert len({*ids}) == _JOBS
    with open_job_store(settings) as store:
        assert [store.read(id).state for id in ids] == ["done"] * _JOBS
        with store.library.reading() as connection:
            assert connection.scalar(select(func.count()).select_from(generations)) == _JOBS
            assert connection.scalar(select(func.count()).select_from(images)) == _JOBS
        stored = [(e.seq, e.job, e.data) for e in store.events_after(0) if e.kind == "state"]
    assert submitted == _JOBS
    seen = [(int(e.id), e.data["job"], e.data["data"]) for e in follower.events]
    assert follower.resyncs == 0
    assert seen == stored
