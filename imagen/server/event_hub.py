"""The stream of events: what happens is encoded once, and sent to every client."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from bisect import bisect_right
from contextlib import suppress
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image

from imagen.errors import LibraryError
from imagen.jobs.model import ENDED
from imagen.views.jobs import EventView

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Sequence

    from imagen.jobs.sql_store import SqlJobStore
    from imagen.library.events import LibraryEvent
    from imagen.runtime import Runtime

_KEPT_EVENTS = 2000
_KEPT_BYTES = 4 * 1024 * 1024
_MOST_REPLAYED = 2000
"""Events that are read from the library for a client; one that missed more begins anew."""
_HEARTBEAT_SECONDS = 15.0
_TICK_SECONDS = 0.2
"""How often clients get progress and previews at most; all else they get at once."""
_PREVIEW_SIDE = 256
_MOST_PREVIEW_PIXELS = 16_000_000
_HEARTBEAT = b"event: ping\ndata: {}\n\n"
"""An event, because browsers hide comments from pages, which want to know that it is alive."""


class _KeptEvent(NamedTuple):
    seq: int
    encoded: bytes


class EventHub:
    """The latest events, and the clients that follow them. It belongs to one event loop.

    A client has a place among the kept events. So a slow one delays no other, and costs nothing:
    once its place is gone, it gets `resync`, and reads everything anew.
    """

    def __init__(self, runtime: Runtime, *, heartbeat_seconds: float = _HEARTBEAT_SECONDS) -> None:
        self._store = runtime.store
        self._heartbeat_seconds = heartbeat_seconds
        self._loop = asyncio.get_running_loop()
        self._kept: list[_KeptEvent] = []
        self._kept_bytes = 0
        self._first = 0
        """How many events were kept before the first of these."""
        self._start = runtime.events.last
        """All events after this one are kept."""
        self._tick = asyncio.Event()
        self._ticked = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._clients = 0
        self._previews = _Previews(runtime.store)
        self._preview_task: asyncio.Task[None] | None = None

    @property
    def last(self) -> int:
        """The number of the newest event."""
        return self._kept[-1].seq if self._kept else self._start

    def publish(self, batch: Sequence[LibraryEvent]) -> None:
        """Keep new events, and send them to the clients."""
        is_urgent = False
        for event in batch:
            encoded = _encode(event)
            self._kept.append(_KeptEvent(event.seq, encoded))
            self._kept_bytes += len(encoded)
            is_urgent = is_urgent or event.kind != "progress"
            self._previews.note(event)
        gone = 0
        while len(self._kept) - gone > _KEPT_EVENTS or self._kept_bytes > _KEPT_BYTES:
            self._kept_bytes -= len(self._kept[gone].encoded)
            self._start = self._kept[gone].seq
            gone += 1
        del self._kept[:gone]
        self._first += gone
        if not self._clients:
            return
        self._wake_clients(is_urgent=is_urgent)
        if self._previews.due and self._preview_task is None:
            self._preview_task = self._loop.create_task(self._read_previews())

    async def stream(self, after: str | None) -> AsyncGenerator[bytes, None]:
        """What a client gets that knows the events until this one, or only wants new ones."""
        self._clients += 1
        try:
            yield b"retry: 2000\n\n"
            place, opening = await self._open(after)
            yield opening
            version = 0
            while True:
                tick = self._tick
                chunks = [one.encoded for one in self._kept[max(0, place - self._first) :]]
                if place < self._first:
                    chunks = [self._mark("resync")]
                place = self._first + len(self._kept)
                previews, version = self._previews.after(version)
                if chunks or previews:
                    yield b"".join((*chunks, *previews))
                    continue
                try:
                    async with asyncio.timeout(self._heartbeat_seconds):
                        await tick.wait()
                except TimeoutError:
                    yield _HEARTBEAT
        finally:
            self._clients -= 1

    async def _open(self, after: str | None) -> tuple[int, bytes]:
        """Where a client begins, and what it gets first: what it missed, or `resync`.

        Events that were deleted with their jobs are not missed, nor is the progress of jobs that
        have ended.
        """
        if after is None:
            return self._first + len(self._kept), self._mark("ready")
        known = int(after) if after.isdecimal() and len(after) < 16 else -1
        if known < 0 or known > self.last:
            return self._first + len(self._kept), self._mark("resync")
        if known >= self._start:
            return self._find_place(known), self._mark("ready", known)
        start = self._start
        with suppress(LibraryError):
            missed = await asyncio.to_thread(self._read_missed, known, start)
            if missed is not None:
                return self._find_place(start), self._mark("ready", known) + missed
        return self._first + len(self._kept), self._mark("resync")

    def _find_place(self, seq: int) -> int:
        """The place of the first event after this one; before the first kept one if it is gone."""
        if seq < self._start:
            return -1
        return self._first + bisect_right(self._kept, seq, key=lambda one: one.seq)

    def _read_missed(self, after: int, until: int) -> bytes | None:
        """The events between these two; None if there are too many, or some were deleted."""
        oldest = self._store.first_event()
        if oldest is None or after < oldest - 1:
            return None
        events = self._store.events_after(after, limit=_MOST_REPLAYED + 1)
        if len(events) > _MOST_REPLAYED:
            return None
        return b"".join(_encode(event) for event in events if event.seq <= until)

    def _mark(self, name: str, seq: int | None = None) -> bytes:
        """An event that is not in the library: `ready`, or `resync`."""
        seq = self.last if seq is None else seq
        return f'id: {seq}\nevent: {name}\ndata: {{"seq":{seq},"kind":"{name}"}}\n\n'.encode()

    def _wake_clients(self, *, is_urgent: bool) -> None:
        wait = self._ticked + _TICK_SECONDS - self._loop.time()
        if not is_urgent and wait > 0:
            if self._timer is None:
                self._timer = self._loop.call_later(wait, self._wake_now)
            return
        self._wake_now()

    def _wake_now(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._ticked = self._loop.time()
        self._tick.set()
        self._tick = asyncio.Event()

    async def _read_previews(self) -> None:
        """Read the newest previews for all clients, at most five times a second."""
        try:
            while self._previews.due and self._clients:
                due = self._previews.take_due()
                with suppress(LibraryError):
                    self._previews.add(await asyncio.to_thread(self._previews.load, due))
                    self._wake_clients(is_urgent=False)
                await asyncio.sleep(_TICK_SECONDS)
        finally:
            self._preview_task = None


class _Preview(NamedTuple):
    at_ms: int
    encoded: bytes
    version: int = 0


class _Previews:
    """The newest preview of each running job."""

    def __init__(self, store: SqlJobStore) -> None:
        self._store = store
        self._version = 0
        self._newest: dict[str, _Preview] = {}
        self._loading: set[str] = set()
        self.due: set[str] = set()
        """The jobs that may have a new one."""

    def note(self, event: LibraryEvent) -> None:
        if event.kind == "progress":
            self.due.add(event.job)
        elif event.data.get("state") in ENDED:
            self.due.discard(event.job)
            self._loading.discard(event.job)
            self._newest.pop(event.job, None)

    def take_due(self) -> set[str]:
        self._loading, self.due = self.due, set()
        return {*self._loading}

    def load(self, due: Collection[str]) -> dict[str, _Preview]:
        """In a thread: read and encode those of these jobs that have changed."""
        known = {job: one.at_ms for job, one in [*self._newest.items()]}
        found: dict[str, _Preview] = {}
        for job, (at_ms, image) in self._store.previews(due).items():
            if at_ms != known.get(job) and (small := _shrink(image)) is not None:
                url = f"data:image/jpeg;base64,{b64encode(small).decode()}"
                data = json.dumps({"job": job, "kind": "preview", "image": url})
                found[job] = _Preview(at_ms, f"event: preview\ndata: {data}\n\n".encode())
        return found

    def add(self, found: dict[str, _Preview]) -> None:
        for job, one in found.items():
            if job in self._loading:  # or it has ended meanwhile
                self._version += 1
                self._newest[job] = one._replace(version=self._version)

    def after(self, version: int) -> tuple[list[bytes], int]:
        """The previews that are newer than this version, and the version of the newest one."""
        if version == self._version:
            return [], version
        some = [one.encoded for one in self._newest.values() if one.version > version]
        return some, self._version


def _encode(event: LibraryEvent) -> bytes:
    view = EventView.of(event)
    if "error" in event.data:  # all clients get the same
        view = view.without_paths()
    body = view.model_dump_json()
    return f"id: {event.seq}\nevent: {event.kind}\ndata: {body}\n\n".encode()


def _shrink(image: bytes) -> bytes | None:
    """A small JPEG; None if the image cannot be read."""
    small = BytesIO()
    try:
        with Image.open(BytesIO(image), formats=("PNG", "JPEG", "WEBP")) as opened:
            if opened.width * opened.height > _MOST_PREVIEW_PIXELS:
                return None
            if opened.format == "JPEG" and max(opened.size) <= _PREVIEW_SIDE:
                return image
            opened.thumbnail((_PREVIEW_SIDE, _PREVIEW_SIDE))
            opened.convert("RGB").save(small, "JPEG", quality=70)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return small.getvalue()
