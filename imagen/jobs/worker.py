"""A worker: takes jobs from the queue and runs them on its engines until it is stopped.

One thread gives jobs to free places, one is the heart, one keeps house, and each job has a thread
of its own. While the images of a job are saved, its place has the next job already.
"""

from __future__ import annotations

import os
import platform
import signal
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from imagen.backends import load_adapter
from imagen.backends.resources import Resource, resource_of
from imagen.core.ticket import new_id
from imagen.errors import ConfigError, ImagenError, LetGo, LibraryError, Unavailable
from imagen.jobs.blobs import open_blobs
from imagen.jobs.choice import Choice, Favour, Place, RunningJob
from imagen.jobs.clock import now_ms
from imagen.jobs.lanes import JobRun, Workplace
from imagen.jobs.model import ServedResource, WorkerInfo
from imagen.jobs.queue import ADOPTION_PRIORITY, queue_name
from imagen.jobs.sql_store import SHEET_POOL, open_job_store
from imagen.jobs.submit import INTERPOLATION, members_of
from imagen.library.schema import datetime_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from imagen.config import Settings
    from imagen.jobs.model import QueuedJob, Speed, WaitingQueue
    from imagen.jobs.sql_store import SqlJobStore
    from imagen.jobs.worker_rows import Pause

_IDLE_SECONDS = 1.0
"""How long to wait for a wake-up at most; jobs may also fall due."""
_DECLINED_SECONDS = 0.2
"""How long to wait after declining: the others may turn out to be slower than it seemed."""
_UNREACHABLE_SECONDS = 1.0
_FINISH_SECONDS = 20.0
"""How long jobs on engines of this process may go on once the worker is to stop."""
_ABORT_SECONDS = 3.0
_SOON_SECONDS = 61.0
"""A worker that drains the queue waits for jobs that are tried again within this time."""
_MENDS_EACH = 5
"""Beats from one look for lost deliveries to the next."""
_PRUNE_SECONDS = 3600.0
_MOVES_AFTER_FAILURES = 3
"""After so many failed probes, the jobs of an engine that is down fail over."""
_WITHOUT_ENGINE = (SHEET_POOL, INTERPOLATION)
_PRELOADED = {
    "comfyui": ("imagen.backends.comfyui.job", "imagen.backends.comfyui.prepare"),
    "mock": ("imagen.backends.mock.painting",),
    "replicate": ("imagen.backends.replicate.job", "imagen.backends.replicate.payload"),
}
"""What the first job of an adapter would import, where that is not a heavy library."""


class WorkerEvent(NamedTuple):
    """What a worker tells about itself."""

    kind: str
    """`ready`, `started`, `done`, `failed`, `queued` (given back), `paused`, `stopping`, …"""
    message: str = ""
    job: str = ""
    backend: str = ""


class StopRequest:
    """Asks a worker to stop: once for an orderly end, again for an immediate one."""

    def __init__(self) -> None:
        self.is_set = False
        self.abort = threading.Event()

    def set(self) -> None:
        if self.is_set:
            self.abort.set()
        self.is_set = True


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """A request that SIGINT and SIGTERM make, and Ctrl-Break on Windows; the third one kills."""
    request = StopRequest()

    def handle(number: int, _: object) -> None:
        if request.abort.is_set():
            os._exit(128 + number)
        request.set()

    numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGBREAK"):
        numbers.append(signal.SIGBREAK)
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_worker(
    settings: Settings,
    *,
    backends: Sequence[str] = (),
    once: bool = False,
    drain: bool = False,
    stop: StopRequest | None = None,
    on_event: Callable[[WorkerEvent], None] = lambda _: None,
) -> None:
    """Run jobs of these backends, by default of all that are configured, until asked to stop.

    With `once`, run one job; with `drain`, end once no job is due. Raises ConfigError for a backend
    that cannot be opened, and LibraryError if the library cannot be opened.
    """
    resources = find_resources(backends, settings)
    worker = new_id()
    with open_job_store(settings, worker_id=worker) as store:
        preload(resources, settings)
        _Worker(
            worker,
            settings,
            store,
            resources,
            most=1 if once else None,
            is_drain=once or drain,
            stop=stop or StopRequest(),
            on_event=on_event,
        ).run()


def find_resources(backends: Sequence[str], settings: Settings) -> list[Resource]:
    """What the jobs of these backends or pools take turns on."""
    named = [member for name in backends for member in members_of(name, settings)]
    found: dict[str, Resource] = {}
    for name in dict.fromkeys(named or settings.backends or [settings.default_backend]):
        resource = resource_of(name, settings)
        known = found.get(resource.name)
        found[resource.name] = resource if known is None else known.joined(resource)
    return list(found.values())


def preload(resources: Sequence[Resource], settings: Settings) -> None:
    """Import what the first job would, except heavy libraries of engines in this process."""
    modules = ["imagen.library.write", "imagen.outputs.save"]
    for resource in resources:
        for name in resource.backends:
            kind = str(settings.backends.get(name, {}).get("type", name))
            load_adapter(kind)
            modules += _PRELOADED.get(kind, ())
    for module in modules:
        import_module(module)


class _Look(NamedTuple):
    """What the queue looks like at one moment."""

    now: datetime
    waiting: list[WaitingQueue]
    running: list[QueuedJob]
    pauses: dict[str, Pause]

    def is_paused(self, resource: str) -> bool:
        return resource in self.pauses and self.pauses[resource].until > self.now


@dataclass(eq=False)
class _Lane:
    """One place of a resource."""

    resource: Resource
    favour: Favour = Favour()
    run: JobRun | None = None
    declined: tuple[datetime, float] | None = None
    """The job that has waited longest when it declined first, and since when."""


class _Worker:
    """The threads of one worker, and what they share."""

    def __init__(
        self,
        id: str,
        settings: Settings,
        store: SqlJobStore,
        resources: Sequence[Resource],
        *,
        most: int | None,
        is_drain: bool,
        stop: StopRequest,
        on_event: Callable[[WorkerEvent], None],
    ) -> None:
        self._id = id
        self._settings = settings
        self._store = store
        self._stop = stop
        self._most = most
        """How many jobs to run; None for any number."""
        self._is_drain = is_drain
        self._on_event = on_event
        self._resources = {
            name: resource for resource in resources for name in resource.backends
        }
        self._pools = {
            pool: members
            for pool in (*settings.pools, *self._resources)
            if any(name in self._resources for name in (members := settings.members(pool)))
        }
        self._lanes = [_Lane(each) for each in resources for _ in range(each.at_once)]
        self._runs: dict[str, JobRun] = {}
        """By the token of their delivery."""
        self._started = 0
        self._began = datetime.now(UTC)
        self._beats = 0
        self._beat_at = time.monotonic(), time.time()
        self._has_ended = threading.Event()
        self._fleet: list[WorkerInfo] = []
        self._speeds: dict[tuple[str, str], Speed] = {}
        self._outage = ""
        self._place = Workplace(
            settings=settings,
            store=store,
            blobs=open_blobs(settings, store.library),
            worker=id,
            is_beat_known=self._is_beat_known,
            is_served=lambda name: any(name in each.backends for each in self._fleet),
            report=self._report,
            abort=stop.abort,
        )

    def run(self) -> None:
        """Work until asked to stop, or until there is nothing left to do."""
        self._guard(self._beat)
        threads = [
            threading.Thread(target=body, name=body.__name__, daemon=True)
            for body in (self._run_heart, self._keep_house)
        ]
        for thread in threads:
            thread.start()
        self._on_event(WorkerEvent("ready", ", ".join(self._resources)))
        try:
            while not self._stop.is_set:
                seconds = self._guard(self._start_jobs)
                if self._is_finished():
                    break
                self._store.queue.wait(_UNREACHABLE_SECONDS if seconds is None else seconds)
        finally:
            self._end_jobs()
            self._has_ended.set()
            self._store.queue.wake()
            for thread in threads:
                thread.join(_ABORT_SECONDS)
            self._place.engines.close()
            with suppress(LibraryError):
                self._store.forget_worker(self._id)

    # --- giving out jobs ---

    def _start_jobs(self) -> float:
        """Start what can start; for how many seconds to wait then."""
        if not self._store.queue.is_beat_fresh():
            self._beat()  # a process that was frozen may own nothing any more
        look = self._look()
        for queue in look.waiting:
            if queue.priority >= ADOPTION_PRIORITY // 2 and queue.pool in self._resources:
                self._start([[queue_name(queue.pool, queue.affinity)]], None, look)
        seconds = _IDLE_SECONDS
        for lane in self._lanes:
            if lane.run is None and self._can_start(lane.resource, look):
                groups = self._choose(lane, look)
                if groups and self._start(groups, lane, look):
                    look = self._look()
                elif lane.declined is not None:
                    seconds = _DECLINED_SECONDS
        self._start_without_engine(look)
        return seconds

    def _look(self) -> _Look:
        with self._store.library.reading() as connection:
            now = datetime_of(now_ms(connection))
        waiting = self._store.waiting([*self._pools, *_WITHOUT_ENGINE])
        running = self._store.running() if waiting else []
        return _Look(now, waiting, running, self._store.pauses() if waiting else {})

    def _can_start(self, resource: Resource, look: _Look) -> bool:
        """Whether a place of a resource is free in the whole fleet; a paused one gets one probe."""
        if self._most is not None and self._started >= self._most:
            return False
        busy = sum(row.resource == resource.name and row.is_at_engine for row in look.running)
        is_down = resource.name in look.pauses
        if look.is_paused(resource.name):
            return self._moves_jobs_of(resource, look)
        return busy < (1 if is_down else resource.at_once)

    def _moves_jobs_of(self, resource: Resource, look: _Look) -> bool:
        """Whether the jobs of an engine that has been down for long go to other backends."""
        chains = self._settings.failover
        has_next = any(name in chain[:-1] for name in resource.backends for chain in chains)
        return has_next and look.pauses[resource.name].failures >= _MOVES_AFTER_FAILURES

    def _choose(self, lane: _Lane, look: _Look) -> list[list[str]]:
        """The queues that a free lane asks; none if it declines."""
        waiting = [queue for queue in look.waiting if queue.priority < ADOPTION_PRIORITY // 2]
        oldest = min((queue.oldest for queue in waiting), default=None)
        if lane.declined is not None and lane.declined[0] != oldest:
            lane.declined = None
        now = time.monotonic()
        choice = self._choice(Place(backends=lane.resource.backends), lane.resource, look, waiting)
        choice = choice._replace(favour=lane.favour)
        groups = choice.groups(now, now - lane.declined[1] if lane.declined else 0.0)
        if groups:
            lane.declined = None
        elif waiting and oldest is not None and lane.declined is None:
            lane.declined = oldest, now
        return groups
