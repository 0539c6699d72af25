"""Clients follow all events in one stream, and miss none when they come back."""

from __future__ import annotations

import asyncio
import sqlite3
from base64 import b64decode
from contextlib import aclosing, closing
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from support.event_streams import follow_events, states_of
from support.live_server import live_server, server_settings

from imagen.core.result import Progress
from imagen.library.events import LibraryEvent, insert_image_events
from imagen.server.event_hub import EventHub
from imagen.testing.comfyui import ComfyUI

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from support.live_server import LiveServer

    from imagen.config import Settings


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("server"))
        return server_settings()


@pytest.fixture(scope="module")
def server(settings: Settings) -> Iterator[LiveServer]:
    with live_server(settings) as server:
        yield server


def _submit(server: LiveServer, **more: int) -> str:
    body = {"request": {"prompt": "a fox", "width": 64, "height": 64, **more}}
    answer = server.client.post("/api/v1/generations", json=body)
    return str(answer.raise_for_status().json()["job"])


def _generate(server: LiveServer) -> str:
    """The id of a job that is done."""
    id = _submit(server)
    server.client.get(f"/api/v1/generations/{id}", params={"wait": 20}).raise_for_status()
    return id


def test_a_client_sees_a_job_from_line_to_image(server: LiveServer) -> None:
    with follow_events(server.client) as events:
        first = next(events)
        assert (first.kind, first.data["seq"]) == ("ready", int(first.id))
        id = _submit(server)
        found = []
        for event in events:
            found.append(event)
            if event.kind == "state" and event.data["data"]["state"] == "done":
                break
    states = [one.data["data"]["state"] for one in found if one.kind == "state"]
    assert states == ["queued", "running", "done"]
    assert [one.data["data"]["images"] for one in found if one.kind == "images_added"] == [
        [f"{id}.1"]
    ]
    numbers = [int(one.id) for one in found]
    assert numbers == sorted({*numbers})


def test_a_client_that_comes_back_gets_what_it_missed(server: LiveServer) -> None:
    with follow_events(server.client) as events:
        known = next(events).id
    id = _generate(server)
    with follow_events(server.client, after=known) as events:
        assert states_of(id, events) == ["queued", "running", "done"]
    with follow_events(server.client, url=f"/api/v1/events?after={known}") as events:
        assert states_of(id, events) == ["queued", "running", "done"]


def test_a_client_gets_what_it_missed_before_a_restart(
    server: LiveServer, settings: Settings
) -> None:
    known = server.runtime.store.last_event()
    id = _generate(server)
    with live_server(settings, has_worker=False) as other:
        with follow_events(other.client, after=known) as events:
            assert next(events).kind == "ready"
            assert states_of(id, events)[-1] == "done"
        with follow_events(other.client) as events:
            next(events)
            assert states_of(_submit(server), events) == ["queued", "running", "done"]


@pytest.mark.parametrize("known", ["99999999", "-1", "x", "9" * 30])
def test_a_client_whose_last_event_is_unknown_reads_everything_anew(
    server: LiveServer, known: str
) -> None:
    with follow_events(server.client, after=known) as events:
        first = next(events)
    assert (first.kind, first.data["seq"]) == ("resync", int(first.id))


def test_a_client_whose_next_event_was_deleted_reads_everything_anew(
    server: LiveServer, settings: Settings
) -> None:
    _generate(server)
    server.runtime.store.prune(datetime.now(UTC) + timedelta(seconds=5))
    _generate(server)
    with (
        live_server(settings, has_worker=False) as other,
        follow_events(other.client, after=0) as events,
    ):
        assert next(events).kind == "resync"


def test_events_of_other_processes_come_at_once(server: LiveServer, settings: Settings) -> None:
    with follow_events(server.client) as events:
        next(events)
        with closing(sqlite3.connect(settings.library_at)) as connection, connection:
            connection.execute(
                "INSERT INTO events (job, at_ms, kind, data) VALUES ('', 0, ?, ?)",
                ("images_changed", '{"images": ["a.1"]}'),
            )
        assert next(events).data["data"] == {"images": ["a.1"]}


def test_clients_get_small_previews() -> None:
    large = BytesIO()
    Image.new("RGB", (640, 320), "red").save(large, "PNG")
    with live_server(server_settings(), has_worker=False) as idle:
        store = idle.runtime.store
        with follow_events(idle.client) as events:
            next(events)
            _submit(idle)
            (name,) = [queue.pool for queue in store.waiting()]
            delivery = store.queue.fetch([[f"{name}/mock"]])
            assert delivery is not None
            job = store.take(delivery, worker="w", backend="mock")
            assert job is not None
            progress = Progress(stage="running", fraction=0.5, preview=large.getvalue())
            store.report(job.fence, progress)
            preview = next(event for event in events if event.kind == "preview")
    assert (preview.id, preview.data["job"]) == ("", job.id)
    kind, _, encoded = preview.data["image"].partition(",")
    assert kind == "data:image/jpeg;base64"
    with Image.open(BytesIO(b64decode(encoded))) as image:
        assert (image.format, image.size) == ("JPEG", (256, 128))


def test_the_previews_of_an_engine_reach_clients() -> None:
    with ComfyUI(images="flat", previews=True, step_seconds=0.15) as engine:
        block = {"type": "comfyui", "url": engine.url, "workflow": "sd15"}
        with (
            live_server(server_settings({"mock": block})) as server,
            follow_events(server.client) as events,
        ):
            next(events)
            _submit(server, steps=6)
            kinds = []
            for event in events:
                kinds.append(event.kind)
                if event.kind == "images_added":
                    break
    assert "preview" in kinds


def test_old_events_of_images_are_deleted(server: LiveServer) -> None:
    store = server.runtime.store
    uid = f"{_generate(server)}.1"
    with server.runtime.library.writing() as connection:
        insert_image_events(connection, "images_changed", [uid])
    seq = store.last_event()
    store.prune(datetime.now(UTC) - timedelta(days=1))
    assert [event.seq for event in store.events_after(seq - 1)] == [seq]
    store.prune(datetime.now(UTC) + timedelta(seconds=5))
    assert [event for event in store.events_after(0) if not event.job] == []


def test_a_slow_client_is_told_to_read_anew_and_delays_no_other(server: LiveServer) -> None:
    async def run() -> tuple[bytes, bytes]:
        hub = EventHub(server.runtime)
        start = hub.last
        async with aclosing(hub.stream(None)) as slow, aclosing(hub.stream(None)) as fast:
            for stream in (slow, fast):
                await _next(stream, 2)
            first = [_event(start + n) for n in range(1, 1001)]
            hub.publish(first)
            quick = await _next(fast, 1)
            hub.publish([_event(start + n) for n in range(1001, 4001)])
            return quick, await _next(slow, 1)

    quick, late = asyncio.run(run())
    assert quick.count(b"event: state") == 1000
    assert late.startswith(b"id: ")
    assert b"event: resync" in late


def test_an_idle_stream_sends_heartbeats(server: LiveServer) -> None:
    async def run() -> bytes:
        hub = EventHub(server.runtime, heartbeat_seconds=0.01)
        async with aclosing(hub.stream(None)) as stream:
            await _next(stream, 2)
            return await _next(stream, 1)

    assert asyncio.run(run()) == b"event: ping\ndata: {}\n\n"


async def _next(stream: AsyncIterator[bytes], number: int) -> bytes:
    async with asyncio.timeout(10):
        return b"".join([await anext(stream) for _ in range(number)])


def _event(seq: int) -> LibraryEvent:
    return LibraryEvent(seq, "a", datetime.now(UTC), "state", {"state": "queued"})
