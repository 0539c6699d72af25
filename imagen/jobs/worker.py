"""A worker: takes jobs from the queue and runs them on its engines until it is stopped.

One thread gives jobs to free places, one is the heart, one keeps house, and each job has a thread
of its own. While the images of a job are saved, its place has the next job already.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from imagen.backends import load_adapter
from imagen.config.paths import host_name
from imagen.core.ticket import new_id
from imagen.delivery.background import start_sync
from imagen.errors import ImagenError, LetGo, LibraryError, Unavailable
from imagen.jobs.blobs import open_blobs
from imagen.jobs.choice import Choice, Favour, Place, RunningJob
from imagen.jobs.clock import now_ms
from imagen.jobs.cron import submit_due_schedules
from imagen.jobs.lanes import JobRun, Workplace
from imagen.jobs.model import INTERPOLATION, ServedResource, WorkerInfo
from imagen.jobs.queue import ADOPTION_PRIORITY, queue_name
from imagen.jobs.resources import find_resources
from imagen.jobs.sql_store import open_job_store
from imagen.jobs.submission import SHEET_POOL
from imagen.library.schema import datetime_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from imagen.config import Settings
    from imagen.jobs.model import QueuedJob, Speed, WaitingQueue
    from imagen.jobs.resources import Resource
    from imagen.jobs.sql_store import SqlJobStore
    from imagen.jobs.worker_rows import Pause

T = TypeVar("T")

_IDLE_SECONDS = 1.0
"""How long to wait for a wake-up at most; jobs may also fall due."""
_DECLINED_SECONDS = 0.2
"""How long to wait after declining: the others may turn out to be slower than it seemed."""
_FIRST_SETUP_SECONDS = 0.2
_NEWEST_WEIGHT = 0.3
_MARGIN_SECONDS = 0.1
_MOST_AHEAD = 0.25
"""The part of a job's usual time that its successor may be taken before its end."""
_UNREACHABLE_SECONDS = 1.0
_REPORT_SECONDS = 0.26
_FINISH_SECONDS = 20.0
"""How long jobs on engines of this process may go on once the worker is to stop."""
_ABORT_SECONDS = 3.0
_SOON_SECONDS = 61.0
"""A worker that drains the queue waits for jobs that are tried again within this time."""
_SWEEPS_EACH = 5
"""Beats from one look for lost deliveries to the next."""
_PRUNE_SECONDS = 3600.0
_SYNC_SECONDS = 5.0
"""How often deliveries are sent at most."""
_SCHEDULE_SECONDS = 2.0
_MOVES_AFTER_FAILURES = 3
"""After so many failed probes, the jobs of an engine that is down fail over."""
_GIVES_UP_AFTER = 4
"""After so many failed probes, a worker that drains the queue ends with an error."""
_WITHOUT_ENGINE = (INTERPOLATION, SHEET_POOL)
_PRELOADED = {
    "comfyui": ("imagen.backends.comfyui.job", "imagen.backends.comfyui.prepare"),
    "mock": ("imagen.backends.mock.painting",),
    "replicate": ("imagen.backends.replicate.job", "imagen.backends.replicate.payload"),
}
"""What the first job of an adapter would import, where that is not a heavy library."""


OUTCOMES = ("done", "failed", "cancelled", "lost", "queued", "let_go")
"""The kinds of event that end the work on a job here; `queued` and `let_go` give it back."""


class WorkerEvent(NamedTuple):
    """What happens in a worker."""

    kind: str
    """`ready`, `started`, `done`, `failed`, `queued` (given back), `paused`, `stopping`, …"""
    message: str = ""
    job: str = ""
    backend: str = ""
    code: str = ""
    """Of an error."""


class StopRequest:
    """Asks a worker to stop: once for an orderly end, again for an immediate one."""

    def __init__(self) -> None:
        self.is_set = False
        self.abort = threading.Event()
        self.wake: Callable[[], None] = lambda: None
        """Called when it is set; by a signal handler too."""

    def set(self) -> None:
        if self.is_set:
            self.abort.set()
        self.is_set = True
        self.wake()


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
    backends: Sequence[str] | None = None,
    once: bool = False,
    drain: bool = False,
    stop: StopRequest | None = None,
    on_event: Callable[[WorkerEvent], None] = lambda _: None,
) -> None:
    """Run jobs of these backends and pools until asked to stop; None: of all configured ones.

    Jobs without an engine, such as sheets, are run in any case.

    With `once`, run one job; with `drain`, end once no job is due. Both raise Unavailable if all
    that is left is for engines that have been down for long. Raises ConfigError for a backend that
    cannot be opened, and LibraryError if the library cannot be opened.
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

    def job_of(self, row: QueuedJob) -> RunningJob:
        """A running job, and how long it has taken."""
        seconds = (self.now - (row.started or self.now)).total_seconds()
        return RunningJob(row.backend, row.affinity, max(0.0, seconds))

    def refusal(self, pause: Pause | None) -> ImagenError | None:
        """Why the jobs of a paused engine move on."""
        if pause is None or pause.until <= self.now:
            return None
        return Unavailable(str((pause.error or {}).get("message", "The engine is paused.")))

    def is_paused(self, resource: str) -> bool:
        return resource in self.pauses and self.pauses[resource].until > self.now


@dataclass(eq=False)
class _Lane:
    """One place of a resource, or the place of jobs that need no engine."""

    resource: Resource | None
    favour: Favour = field(default_factory=Favour)
    runs: list[JobRun] = field(default_factory=list)
    """The job that takes this place, and the next one, which is submitted just before it ends."""
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
        self._resources = {name: resource for resource in resources for name in resource.backends}
        pools = {pool: settings.members(pool) for pool in (*settings.pools, *self._resources)}
        self._pools = {
            pool: members
            for pool, members in pools.items()
            if any(name in self._resources for name in members)
        }
        self._lanes = [_Lane(each) for each in resources for _ in range(each.at_once)]
        self._lanes.append(_Lane(None))
        self._runs: dict[str, JobRun] = {}
        """By the token of their delivery."""
        self._started = 0
        self._began = datetime.now(UTC)
        self._beats = 0
        self._beat_at = time.monotonic(), time.time()
        self._has_ended = threading.Event()
        self._has_ended_jobs = threading.Event()
        """Whether there may be deliveries since the last look for them."""
        self._fleet: list[WorkerInfo] = []
        self._speeds: dict[tuple[str, str], Speed] = {}
        self._setup_seconds = _FIRST_SETUP_SECONDS
        self._outage = ""
        self._place = Workplace(
            settings=settings,
            store=store,
            blobs=open_blobs(settings, store.library),
            worker=id,
            is_beat_known=self._is_beat_known,
            is_served=lambda name: any(name in each.backends for each in self._fleet),
            learn_speed=self._learn_speed,
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
        self._stop.wake = self._store.queue.wake
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
            self._send_deliveries()
            self._place.engines.close()
            with suppress(LibraryError):
                self._store.forget_worker(self._id)

    # --- giving out jobs ---

    def _start_jobs(self) -> float:
        """Start what can start; for how many seconds to wait then."""
        if not self._store.queue.is_beat_fresh():
            self._beat()  # a process that was frozen may own nothing any more
        look = self._look()
        cancelled = {row.id for row in look.running if row.cancel and row.owner == self._id}
        for run in list(self._runs.values()):
            if run.row.id in cancelled:
                run.interrupt("cancelled")
        seconds = _IDLE_SECONDS
        for queue in look.waiting:
            is_own = queue.pool in self._resources and not self._has_run_all()
            names = [queue_name(queue.pool, queue.affinity)]
            if is_own and _is_adoption(queue) and self._start([names], None, look):
                seconds = 0.0  # there may be more
        for lane in self._lanes:
            due = self._seconds_until_free(lane)
            if due <= 0 and look.waiting and self._can_start(lane, look):
                groups = self._choose(lane, look)
                if groups and self._start(groups, lane, look):
                    look = self._look()
                elif lane.declined is not None:
                    seconds = min(seconds, _DECLINED_SECONDS)
            elif due > 0:
                seconds = min(seconds, due)
        return seconds

    def _seconds_until_free(self, lane: _Lane) -> float:
        """When a lane takes its next job: so long before the end of the last that it is ready."""
        if not lane.runs:
            return 0.0
        (run, *next) = lane.runs
        usual = self._speeds.get((run.row.backend, run.row.affinity))
        if next or usual is None:
            return float("inf")
        ahead = min(1.5 * self._setup_seconds + _MARGIN_SECONDS, usual.seconds * _MOST_AHEAD)
        return run.seconds_until_free(usual.seconds) - ahead

    def _look(self) -> _Look:
        waiting = self._store.waiting([*self._pools, *_WITHOUT_ENGINE])
        with self._store.library.reading() as connection:
            now = datetime_of(now_ms(connection))
        running = self._store.running() if waiting or self._runs else []
        return _Look(now, waiting, running, self._store.pauses() if waiting else {})

    def _can_start(self, lane: _Lane, look: _Look) -> bool:
        """Whether a place is free in the whole fleet. An engine that was down gets one probe."""
        resource = lane.resource
        if resource is None or self._has_run_all():
            return not self._has_run_all()
        if look.is_paused(resource.name):
            # The jobs of an engine that has been down for long go to other backends.
            chains = self._settings.failover
            has_next = any(name in chain[:-1] for name in resource.backends for chain in chains)
            return has_next and look.pauses[resource.name].failures >= _MOVES_AFTER_FAILURES
        busy = sum(row.resource == resource.name and row.is_at_engine for row in look.running)
        if resource.name in look.pauses:
            return busy == 0
        return busy < resource.at_once + len(lane.runs)

    def _has_run_all(self) -> bool:
        return self._most is not None and self._started >= self._most

    def _choose(self, lane: _Lane, look: _Look) -> list[list[str]]:
        """The queues that a free lane asks; none if it declines."""
        if lane.resource is None:
            names = [
                queue_name(q.pool, q.affinity) for q in look.waiting if q.pool in _WITHOUT_ENGINE
            ]
            return [names] if names else []
        choice = self._choice(lane, look)
        oldest = min((queue.oldest for queue in choice.waiting), default=None)
        if lane.declined is not None and lane.declined[0] != oldest:
            lane.declined = None
        now = time.monotonic()
        groups = choice.groups(now, now - lane.declined[1] if lane.declined else 0.0)
        if groups:
            lane.declined = None
        elif oldest is not None and lane.declined is None:
            lane.declined = oldest, now
        return groups

    def _choice(self, lane: _Lane, look: _Look, run: JobRun | None = None) -> Choice:
        """What a lane knows when it chooses: every place of the fleet, and what it does."""
        own = lane.resource
        assert own is not None
        resources = {each.name: each for info in self._fleet for each in info.resources}
        others: list[Place] = []
        for name, resource in resources.items():
            rows = [row for row in look.running if row.resource == name and row.is_at_engine]
            rows = rows[-resource.at_once :]  # the older ones are about to end
            busy = [Place(backends=resource.backends, running=look.job_of(row)) for row in rows]
            idle = 0 if look.is_paused(name) else resource.at_once - len(busy)
            if name == own.name:
                own_run = run or next(iter(lane.runs), None)
                if own_run is None:
                    idle -= 1
                else:
                    pairs = zip(busy, rows, strict=True)
                    busy = [each for each, row in pairs if row.id != own_run.row.id]
            others += [*busy, *([Place(backends=resource.backends)] * max(idle, 0))]
        mine = None if run is None else RunningJob(run.row.backend, run.row.affinity, run.seconds)
        return Choice(
            place=Place(backends=own.backends, running=mine),
            others=others,
            waiting=[q for q in look.waiting if not _is_adoption(q) and q.pool in self._pools],
            pools=self._pools,
            speeds=self._speeds,
            favour=lane.favour,
        )

    def _start(self, groups: list[list[str]], lane: _Lane | None, look: _Look) -> bool:
        """Fetch a job from the first of these groups of queues, and run it in a thread."""
        delivery = self._store.queue.fetch(groups)
        if delivery is None:
            return False
        queue = next(
            (q for q in look.waiting if queue_name(q.pool, q.affinity) == delivery.queue), None
        )
        pool = queue.pool if queue is not None else delivery.queue.partition("/")[0]
        served = (
            self._resources if lane is None or lane.resource is None else lane.resource.backends
        )
        backend = next((name for name in self._pools.get(pool, (pool,)) if name in served), pool)
        resource = self._resources.get(backend)
        row = self._store.take(
            delivery,
            worker=self._id,
            backend=backend,
            resource=resource.name if resource else "",
            at_once=resource.at_once + len(lane.runs if lane else ()) if resource else None,
            rate=resource.rate if resource else None,
        )
        if row is None:
            return True
        pause = look.pauses.get(resource.name) if resource else None
        is_remote = resource is not None and resource.is_remote
        run = JobRun(
            row,
            delivery,
            self._place,
            is_remote=is_remote,
            is_synchronous=resource is not None and resource.is_synchronous,
            refusal=look.refusal(pause) if lane is not None else None,
            on_left_engine=lambda run: self._free(run, lane, is_probe=pause is not None),
        )
        if run.is_adopted and not is_remote:
            # The process in which it ran is gone, and with it all that it had made.
            self._store.again(row.fence, keep_job=False, is_failure=False)
            return True
        if lane is not None:
            others = any(q.affinity != row.affinity for q in look.waiting if q.pool in self._pools)
            now = time.monotonic()
            lane.favour = lane.favour.after(row.affinity, now, is_other_waiting=others)
            lane.runs.append(run)
        self._started += 1
        self._runs[delivery.token] = run
        threading.Thread(target=self._run_job, args=(run,), daemon=True).start()
        return True

    def _run_job(self, run: JobRun) -> None:
        try:
            run.run()
        finally:
            self._runs.pop(run.token, None)
            self._has_ended_jobs.set()
            self._store.queue.wake()
        if run.is_let_go:
            run.remove_unrecorded()

    def _free(self, run: JobRun, lane: _Lane | None, *, is_probe: bool) -> None:
        """Give the place of a job to the next one; its engine is well if it has images."""
        if is_probe and run.has_images:
            self._guard(lambda: self._store.unpause(run.row.resource))
        if run.setup_seconds is not None:
            self._setup_seconds += (run.setup_seconds - self._setup_seconds) * _NEWEST_WEIGHT
        if lane is not None and run in lane.runs:
            lane.runs.remove(run)
            for waiting in lane.runs:
                waiting.began = time.monotonic()  # now its engine begins with it
        self._store.queue.wake()

    def _is_finished(self) -> bool:
        """Whether a worker that is to end by itself has nothing left to do.

        Raises Unavailable if all that waits is for engines that have been down for long.
        """
        if not self._is_drain or self._runs:
            return False
        if self._has_run_all():
            return True
        pools = [*self._pools, *_WITHOUT_ENGINE]
        try:
            soon = self._store.next_due(pools)
            waiting, pauses = self._store.waiting(pools), self._store.pauses()
        except LibraryError:
            return False
        members = [self._pools.get(queue.pool, (queue.pool,)) for queue in waiting]
        engines = [
            {self._resources[name].name for name in each if name in self._resources}
            for each in members
        ]
        down = {name: pause for name, pause in pauses.items() if pause.failures >= _GIVES_UP_AFTER}
        if waiting and all(each and each <= down.keys() for each in engines):
            why = (next(iter(down.values())).error or {}).get("message", "the engine is paused")
            raise Unavailable(
                f"Jobs are left that cannot run now: {why}",
                remedy="Start the engine, and run the worker again.",
            )
        return not waiting and (soon is None or soon > _SOON_SECONDS)

    # --- the heart ---

    def _run_heart(self) -> None:
        """Beat four times in a lease; twice a second, report progress and hear of cancellations."""
        seconds = self._settings.jobs.lease_seconds / 4
        due = time.monotonic() + seconds
        while not self._has_ended.wait(_REPORT_SECONDS):
            if time.monotonic() >= due or not self._is_beat_known():
                self._guard(self._beat)
                due = time.monotonic() + seconds
            for run in list(self._runs.values()):
                self._guard(run.report_progress)
            self._guard(self._interrupt_late)

    def _beat(self) -> None:
        """Say that this worker lives, and take over the jobs of those that do not."""
        store, runs = self._store, dict(self._runs)
        for token, held in store.queue.beat(list(runs)).items():
            if not held.is_mine:
                runs[token].interrupt("fenced")
            elif held.is_cancelled:
                runs[token].interrupt("cancelled")
        self._beat_at = time.monotonic(), time.time()
        self._beats += 1
        resources = dict.fromkeys(lane.resource for lane in self._lanes if lane.resource)
        served = [ServedResource(each.name, each.at_once, each.backends) for each in resources]
        store.see_worker(
            WorkerInfo(
                id=self._id,
                host=host_name(),
                pid=os.getpid(),
                started=self._began,
                seen=self._began,
                resources=tuple(served),
                facts={"jobs": sorted(run.row.id for run in runs.values())},
            )
        )
        self._fleet = store.workers()
        self._speeds = store.speeds({name for info in self._fleet for name in info.backends})
        for delivery in store.queue.stalled():
            store.redeliver(delivery)

    def _interrupt_late(self) -> None:
        """Interrupt the jobs of late engines that an idle engine would begin anew."""
        for lane in self._lanes:
            run = next(iter(lane.runs), None)
            if run is None or not run.can_be_late:
                continue
            usual = self._speeds.get((run.row.backend, run.row.affinity))
            if usual is None or run.seconds > usual.seconds:
                look = self._look()
                if self._choice(lane, look, run).is_late(run.row.pool, run.seconds_left):
                    run.interrupt("late")

    def _learn_speed(self, backend: str, affinity: str, seconds: float) -> None:
        self._store.learn_speed(backend, affinity, seconds)
        self._speeds = self._speeds | self._store.speeds([backend])

    def _is_beat_known(self) -> bool:
        """Whether the last beat is younger than the lease, also by the clock on the wall."""
        age = max(time.monotonic() - self._beat_at[0], time.time() - self._beat_at[1])
        return age < self._settings.jobs.lease_seconds

    def _keep_house(self) -> None:
        """Mend lost deliveries, submit what schedules say, and delete what is old."""
        seconds = self._settings.jobs.lease_seconds / 4
        sweep_at, prune_at = time.monotonic() + _SWEEPS_EACH * seconds, time.monotonic()
        sync_at = prune_at + _SYNC_SECONDS
        schedule_at = time.monotonic()
        while not self._has_ended.wait(_IDLE_SECONDS):
            now = time.monotonic()
            if now >= sweep_at:
                self._guard(self._store.redeliver_missing)
                sweep_at = now + _SWEEPS_EACH * seconds
            if now >= schedule_at:
                submit = partial(submit_due_schedules, self._store, self._settings)
                for problem in self._guard(submit) or ():
                    self._on_event(WorkerEvent("schedule", problem))
                schedule_at = now + _SCHEDULE_SECONDS
            if now >= sync_at:
                self._send_deliveries()
                sync_at = now + _SYNC_SECONDS
            if now >= prune_at:
                old = datetime.now(UTC) - timedelta(days=self._settings.jobs.keep_days)
                self._guard(partial(self._store.prune, old))
                self._guard(self._place.blobs.prune)
                prune_at = now + _PRUNE_SECONDS

    def _send_deliveries(self) -> None:
        """Send the deliveries of the jobs that have ended, in another process."""
        if self._has_ended_jobs.is_set():
            self._has_ended_jobs.clear()
            start_sync(self._settings)

    # --- the end ---

    def _end_jobs(self) -> None:
        """Let go of jobs at remote engines, which another worker adopts, and finish the others."""
        self._on_event(WorkerEvent("stopping"))
        began = time.monotonic()
        for run in list(self._runs.values()):
            run.stop_by = began if run.can_be_left else began + _FINISH_SECONDS
            run.interrupt("stopping")
        until = began + _FINISH_SECONDS + _ABORT_SECONDS
        while self._runs and time.monotonic() < until:
            if self._stop.abort.wait(0.05):
                until = min(until, time.monotonic() + _ABORT_SECONDS)
                for run in list(self._runs.values()):
                    run.stop_by = began
                time.sleep(0.05)

    def _report(self, kind: str, run: JobRun, message: str, code: str = "") -> None:
        self._on_event(WorkerEvent(kind, message, run.row.id, run.row.backend, code))

    def _guard(self, work: Callable[[], T]) -> T | None:
        """What work returns; None after an error, which is reported once: it is tried again."""
        message = ""
        try:
            return work()
        except LetGo:
            return None
        except LibraryError as error:
            message = error.message
        except Exception as error:  # noqa: BLE001 - the heart must go on beating
            message = f"{type(error).__name__}: {error}"
        finally:
            if bool(message) != bool(self._outage):
                kind = "outage" if message else "reconnected"
                self._on_event(WorkerEvent(kind, message))
            self._outage = message
        return None


def _is_adoption(queue: WaitingQueue) -> bool:
    """Whether its jobs may be at their engines already."""
    return queue.priority > ADOPTION_PRIORITY // 2
