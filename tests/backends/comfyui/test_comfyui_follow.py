"""Following a job for hours, by a fake clock."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from support.comfyui_backends import REQUEST, job_progress, open_comfyui

from imagen.backends import validate_block
from imagen.backends.comfyui import ComfyUIConfig, websocket
from imagen.backends.comfyui.follow import ComfyJobRecord, ComfyProgress, JobFollower
from imagen.backends.comfyui.websocket import ComfyWebSocket
from imagen.errors import BackendError, TimedOut
from imagen.testing.comfyui import ComfyUI

if TYPE_CHECKING:
    from imagen.core.result import Progress


class _Clock:
    """Goes on by a minute each time it is read."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 60.0
        return self.now


class _CountingSocket(ComfyWebSocket):
    """Counts its signs of life."""

    pings = 0

    def ping(self) -> None:
        self.pings += 1
        super().ping()


def _follow_to_timeout(server: ComfyUI, **block: Any) -> tuple[list[Progress], TimedOut]:
    """What is reported of a job that never ends, and how the wait for it ends."""
    config = validate_block("lab", {"url": server.url, "workflow": "x", **block}, ComfyUIConfig)
    reports: list[Progress] = []
    with closing(open_comfyui(server.url)) as backend:
        ticket = backend.prepare(REQUEST)
        comfy_socket = _CountingSocket(backend.client(), 5)
        comfy_socket.open()
        backend.client().submit(ticket.payload, ticket.id, comfy_socket.client_id)
        comfy_socket.prompt_id = ticket.id
        record, comfy_progress = (
            ComfyJobRecord(ticket.payload),
            ComfyProgress(ticket.payload, job_progress(reports.append)),
        )
        follower = JobFollower(
            backend.client(), comfy_socket, record, comfy_progress, config, clock=_Clock()
        )
        with pytest.raises(TimedOut) as caught:
            follower.follow()
        comfy_socket.close()
        assert comfy_socket.pings > 30
    return reports, caught.value


def test_a_job_waits_in_the_queue_for_hours() -> None:
    with ComfyUI() as server:
        server.submit_foreign(seconds=60)
        reports, error = _follow_to_timeout(server, total_seconds=7200, idle_seconds=10800)
    assert "in all" in error.message
    assert len(reports) > 30
    assert {progress.stage for progress in reports[-20:]} == {"queued"}


def test_a_job_without_progress_times_out_after_idle_seconds() -> None:
    with ComfyUI(silent_load=60) as server:
        _, error = _follow_to_timeout(server, idle_seconds=7200)
    assert "without any progress" in error.message
    assert error.remedy == "If it needs longer, raise backends.lab.idle_seconds."


def test_the_interval_between_looks_grows_to_a_limit() -> None:
    with ComfyUI() as server, closing(open_comfyui(server.url, poll_seconds=0.5)) as backend:
        comfy_socket = ComfyWebSocket(backend.client(), 5)
        record, comfy_progress = ComfyJobRecord({}), ComfyProgress({}, job_progress())
        config = validate_block(
            "lab", {"url": server.url, "workflow": "x", "poll_seconds": 0.5}, ComfyUIConfig
        )
        follower = JobFollower(backend.client(), comfy_socket, record, comfy_progress, config)
        assert [follower.interval(looks) for looks in (0, 1, 2, 100_000)] == [
            0.1,
            pytest.approx(0.15),
            pytest.approx(0.225),
            1.0,
        ]
        comfy_socket.open()
        assert [follower.interval(looks) for looks in (0, 1, 100_000)] == [0.5, 0.75, 5.0]
        record.apply(websocket.JobSucceeded(None))
        assert follower.interval(100_000) == 0.1
        comfy_socket.close()


def test_following_ends_at_once_where_the_history_has_everything() -> None:
    record = ComfyJobRecord({})

    def clock() -> float:
        assert not record.ended
        return time.monotonic()

    with ComfyUI(silent=True) as server, closing(open_comfyui(server.url)) as backend:
        ticket = backend.prepare(REQUEST)
        config = validate_block("lab", {"url": server.url, "workflow": "x"}, ComfyUIConfig)
        comfy_socket = ComfyWebSocket(backend.client(), 5)
        comfy_socket.open()
        backend.client().submit(ticket.payload, ticket.id, comfy_socket.client_id)
        comfy_socket.prompt_id = ticket.id
        comfy_progress = ComfyProgress(ticket.payload, job_progress())
        JobFollower(
            backend.client(), comfy_socket, record, comfy_progress, config, clock=clock
        ).follow()
        comfy_socket.close()
    assert list(record.outputs) == ["99"]


def test_closing_the_backend_ends_following_at_once() -> None:
    with ComfyUI(silent_load=60) as server:
        backend = open_comfyui(server.url)
        ticket = backend.prepare(REQUEST)
        config = validate_block("lab", {"url": server.url, "workflow": "x"}, ComfyUIConfig)
        comfy_socket = ComfyWebSocket(backend.client(), 5)
        comfy_socket.prompt_id = ticket.id
        record, comfy_progress = (
            ComfyJobRecord(ticket.payload),
            ComfyProgress(ticket.payload, job_progress()),
        )
        follower = JobFollower(
            backend.client(), comfy_socket, record, comfy_progress, config, clock=_Clock()
        )
        backend.close()
        with pytest.raises(BackendError, match="was closed") as caught:
            follower.follow()
    assert type(caught.value) is BackendError


def test_a_slow_answer_is_awaited_without_a_busy_loop() -> None:
    reads = 0

    def clock() -> float:
        nonlocal reads
        reads += 1
        return time.monotonic()

    with ComfyUI(slow=0.3) as server, closing(open_comfyui(server.url)) as backend:
        ticket = backend.prepare(REQUEST)
        config = validate_block("lab", {"url": server.url, "workflow": "x"}, ComfyUIConfig)
        comfy_socket = ComfyWebSocket(backend.client(), 5)
        backend.client().submit(ticket.payload, ticket.id, comfy_socket.client_id)
        comfy_socket.prompt_id = ticket.id
        record, comfy_progress = (
            ComfyJobRecord(ticket.payload),
            ComfyProgress(ticket.payload, job_progress()),
        )
        JobFollower(
            backend.client(), comfy_socket, record, comfy_progress, config, clock=clock
        ).follow()
    assert record.ended
    assert reads < 500
