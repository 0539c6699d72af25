"""Run one job of the queue at its engine: prepare it, wait for it, and settle how it ended."""

from __future__ import annotations

import random
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import TYPE_CHECKING, Literal, TypeVar

from imagen.core.capabilities import not_honoured
from imagen.errors import (
    Cancelled,
    ImagenError,
    LetGo,
    LibraryUnreachable,
    Lost,
    OutputError,
    RateLimited,
    Unavailable,
)
from imagen.jobs.model import ENDED
from imagen.jobs.outage import retry_until_reachable
from imagen.jobs.prepare_queued import prepare_job, settings_of
from imagen.pipeline.budgets import refuse_over_budget
from imagen.pipeline.generate import run_job
from imagen.pipeline.prepare import open_named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from imagen.backends import Backend
    from imagen.config import Settings
    from imagen.core.result import Progress
    from imagen.jobs.blobs import BlobStore
    from imagen.jobs.model import Job, QueuedJob
    from imagen.jobs.queue import JobDelivery
    from imagen.jobs.sql_store import SqlJobStore
    from imagen.jobs.store import StoredJob

T = TypeVar("T")

Interruption = Literal["", "stopping", "late", "cancelled", "fenced"]
"""Why a job is not to go on, the weightiest last: the worker stops; the engine is late and others
are idle; a user cancelled it; another worker has it."""
_WEIGHTS: dict[Interruption, int] = {"": 0, "stopping": 1, "late": 2, "cancelled": 3, "fenced": 4}
_LONGEST_PAUSE_SECONDS = 60.0
_REPEAT_SECONDS = 1.0
"""How long to wait until a call is repeated that did not reach the database."""


def back_off(failures: int, chance: Callable[[], float] = random.random) -> float:
    """Seconds until the next attempt after so many failures: 1, 2, 4, …, with jitter."""
    seconds = min(2.0 ** min(failures, 10), _LONGEST_PAUSE_SECONDS)
    return seconds * (0.75 + 0.5 * chance())


class EnginePool:
    """Open backends, each used by one job at a time and kept for the next."""

    def __init__(self) -> None:
        self._idle: dict[tuple[str, str], list[Backend]] = {}
        self._lock = Lock()

    @contextmanager
    def use(self, backend: str, settings: Settings, workflow: str = "") -> Iterator[Backend]:
        """A backend with these settings, in which it has this workflow."""
        key = backend, workflow
        with self._lock:
            idle = self._idle.setdefault(key, [])
            engine = idle.pop() if idle else None
        engine = engine or open_named(backend, settings)
        try:
            yield engine
        finally:
            with self._lock:
                idle.append(engine)

    def close(self) -> None:
        with self._lock:
            for engine in (engine for idle in self._idle.values() for engine in idle):
                with suppress(ImagenError):
                    engine.close()
            self._idle.clear()


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """What all jobs of one worker share."""

    settings: Settings
    store: SqlJobStore
    blobs: BlobStore
    worker: str
    """The id of the worker."""
    is_beat_known: Callable[[], bool]
    """Whether the worker knows what it still owns: its heart beat within the lease."""
    is_served: Callable[[str], bool]
    """Whether a living worker serves this backend."""
    report: Callable[[str, JobRun, str], None]
    """Tell about a job: a word for what happened, and a sentence."""
    engines: EnginePool = field(default_factory=EnginePool)
    abort: Event = field(default_factory=Event)
    """Set once the worker has to end at once."""

    def until_reachable(self, call: Callable[[], T]) -> T:
        """What a call returns, repeated until the database is back.

        The engine goes on with its job meanwhile. Raises LetGo if the worker ends first.
        """
        try:
            return retry_until_reachable(call, stop=self.abort)
        except LibraryUnreachable as error:
            raise LetGo("The worker ended while its database was away.") from error


class JobRun:
    """One job in the hands of this worker. `run` is the body of its thread."""

    def __init__(
        self,
        row: QueuedJob,
        delivery: JobDelivery,
        place: Workplace,
        *,
        is_remote: bool,
        on_left_engine: Callable[[JobRun], None],
    ) -> None:
        self.row = row
        self.token = delivery.token
        self.is_remote = is_remote
        """Whether its engine goes on with it without this process."""
        self.began = time.monotonic()
        self.is_at_engine = True
        self.is_submitted = row.job is not None and row.job.ticket.submitted
        self.is_adopted = self.is_submitted
        self.is_paid = False
        self._place = place
        self._on_left_engine = on_left_engine
        self._interruption: Interruption = ""
        self._is_saving = False
        self.stop_by = float("inf")
        """Until when it may go on although the worker stops."""

    def interrupt(self, why: Interruption) -> None:
        """Let it end early; it hears of it with its next progress."""
        if _WEIGHTS[why] > _WEIGHTS[self._interruption]:
            self._interruption = why

    @property
    def is_lost_to_others(self) -> bool:
        return self._interruption == "fenced"

    def run(self) -> None:
        """Run the job to its end; nothing is raised."""
        try:
            self._place.report("started", self, "")
            self._run()
            self._place.report("done", self, "")
        except LetGo:
            self._hand_over()
        except ImagenError as error:
            with suppress(LetGo):
                self._place.until_reachable(lambda: self._settle(error))
        except Exception as error:  # noqa: BLE001 - one job must not end the worker
            broken = ImagenError(f"imagen failed: {type(error).__name__}: {error}")
            with suppress(LetGo):
                self._place.until_reachable(lambda: self._fail(broken))
        finally:
            self._leave_engine()

    def _run(self) -> None:
        row, place = self.row, self._place
        assert row.spec is not None
        settings = settings_of(row.spec, row.backend, place.settings)
        with place.engines.use(row.backend, settings, row.spec.workflow) as engine:
            job = row.job if self.is_adopted and row.job is not None else None
            job = job or prepare_job(row, engine, settings, place.store, place.blobs)
            self.is_paid = job.ticket.estimate is not None
            run_job(
                engine,
                job,
                settings,
                self._on_progress,
                store=_PatientStore(place, self),
                is_resumed=self.is_adopted,
            )

    # --- while it runs ---

    def _on_progress(self, progress: Progress) -> None:
        if progress.ticket is not None:
            self.is_submitted = progress.ticket.submitted
        self._is_saving = self._is_saving or progress.stage in ("fetching", "done")
        self._heed_interruption()
        with suppress(LibraryUnreachable):
            if self._is_saving:
                self._leave_engine()
            if self._place.store.report(self.row.fence, progress):
                self.interrupt("cancelled")

    def _heed_interruption(self) -> None:
        """Raise LetGo or Cancelled if the job is not to go on.

        A worker that was frozen or without its database for longer than its lease waits until it
        knows whether the job is still its own.
        """
        while not self._place.is_beat_known() and self._interruption != "fenced":
            if self._place.abort.wait(0.1):
                raise LetGo("The worker ended.")
        if self._interruption == "fenced":
            raise LetGo("Another worker has the job now.")
        if self._interruption == "stopping" and time.monotonic() >= self.stop_by:
            raise LetGo("The worker stops.")
        if self._interruption in ("cancelled", "late") and not self._is_saving:
            raise Cancelled

    def _leave_engine(self) -> None:
        """Give the place at the engine to the next job, while this one is saved."""
        if self.is_at_engine:
            self.is_at_engine = False
            try:
                if self._is_saving:
                    self._place.store.leave_engine(self.row.fence)
                    if not self.is_adopted:
                        seconds = time.monotonic() - self.began
                        self._place.store.learn_speed(self.row.backend, self.row.affinity, seconds)
            except (LetGo, LibraryUnreachable):
                pass
            finally:
                self._on_left_engine(self)

    # --- how it ended ---

    def _hand_over(self) -> None:
        """Let another worker go on at once, unless one has it already."""
        if self.is_lost_to_others:
            self._place.report("let_go", self, "Another worker has it now.")
            return
        self._place.report("let_go", self, "This worker stops.")
        with suppress(LetGo, LibraryUnreachable):
            self._place.store.again(self.row.fence, is_failure=False)

    def _settle(self, error: ImagenError) -> None:
        """What becomes of a job after an error, by the class of the error."""
        if isinstance(error, Cancelled):
            self._settle_cancelled(error)
        elif isinstance(error, Lost):
            self._settle_lost(error)
        elif isinstance(error, Unavailable | RateLimited):
            self._settle_unavailable(error)
        elif isinstance(error, OutputError) and error.lost:
            self._try_again(error)  # the engine still has the images
        elif self._is_open():
            self._fail(error)

    def _settle_cancelled(self, error: Cancelled) -> None:
        if not error.is_stopped:
            # It stays submitted, so whoever gets it next finds it, and cancels it again.
            self._give_back(error, seconds=_REPEAT_SECONDS)
        elif self._interruption == "late":
            seconds = time.monotonic() - self.began
            self._place.store.learn_speed(self.row.backend, self.row.affinity, seconds)
            self._give_back(error, keep_job=False)
        else:
            self._place.store.fail(self.row.fence, error, state="cancelled")
            self._place.report("cancelled", self, "")

    def _settle_lost(self, error: Lost) -> None:
        if not error.is_certain:
            self._give_back(error, seconds=back_off(self.row.failures + 2))
        elif error.never_ran:
            self._try_again(error, keep_job=False)
        elif self.is_paid:
            if self._is_open():
                self._place.store.fail(self.row.fence, error, state="lost")
            self._place.report("lost", self, error.message)
        else:
            self._try_again(error, keep_job=False)

    def _settle_unavailable(self, error: Unavailable | RateLimited) -> None:
        """An engine that is down or asks for fewer jobs gets none for a while; no attempt counts.

        If only this job fails while the engine is well, the attempt counts.
        """
        row, place = self.row, self._place
        if isinstance(error, RateLimited):
            seconds = error.retry_after_seconds
        elif self._is_engine_well():
            self._try_again(error)
            return
        else:
            seconds = None
        known = place.store.pauses().get(row.resource)
        seconds = back_off(known.failures if known else 0) if seconds is None else seconds
        place.store.pause(row.resource, seconds, error_data(error))
        place.report("paused", self, error.message)
        if not self.is_submitted and self._move_on(error):
            return
        self._give_back(error, keep_job=self.is_submitted)

    def _is_engine_well(self) -> bool:
        row = self.row
        assert row.spec is not None
        settings = settings_of(row.spec, row.backend, self._place.settings)
        with self._place.engines.use(row.backend, settings, row.spec.workflow) as engine:
            return engine.check().ok

    def _try_again(self, error: ImagenError, *, keep_job: bool = True) -> None:
        """Another attempt later, or elsewhere, until there were too many."""
        failures = self.row.failures + 1
        if not self.is_submitted or not keep_job:
            if self._move_on(error):
                return
        if failures > self._place.settings.jobs.retries:
            self._fail(error)
            return
        self._give_back(error, seconds=back_off(failures - 1), keep_job=keep_job, is_failure=True)

    def _give_back(
        self,
        error: ImagenError,
        *,
        seconds: float = 0.0,
        keep_job: bool = True,
        is_failure: bool = False,
        pool: str | None = None,
    ) -> None:
        state = self._place.store.again(
            self.row.fence,
            delay_seconds=seconds,
            error=error,
            keep_job=keep_job,
            is_failure=is_failure,
            pool=pool,
        )
        self._place.report(state, self, error.message)

    def _fail(self, error: ImagenError) -> None:
        self._place.store.fail(self.row.fence, error)
        self._place.report("failed", self, error.message)

    def _is_open(self) -> bool:
        """Whether the row has not ended yet: with its record, it ends in the pipeline."""
        return self._place.store.read(self.row.id).state not in ENDED

    def _move_on(self, error: ImagenError) -> bool:
        """Move the job to the next backend of its failover chain that can make it."""
        for chain in self._place.settings.failover:
            later = chain[chain.index(self.row.backend) + 1 :] if self.row.backend in chain else ()
            for name in later:
                if self._place.is_served(name) and self._can_run_on(name):
                    self._give_back(error, keep_job=False, pool=name)
                    return True
        return False

    def _can_run_on(self, backend: str) -> bool:
        """Whether another backend honours the request, and no budget is exceeded there."""
        row, place = self.row.model_copy(update={"backend": backend}), self._place
        assert row.spec is not None
        with suppress(ImagenError):
            settings = settings_of(row.spec, backend, place.settings)
            with place.engines.use(backend, settings, row.spec.workflow) as engine:
                ticket = prepare_job(row, engine, settings, place.store, place.blobs).ticket
            refuse_over_budget([ticket], settings)
            return not not_honoured(ticket.receipt)
        return False


class _PatientStore:
    """Keeps a job in its row; waits while the database is away, and goes on then."""

    def __init__(self, place: Workplace, run: JobRun) -> None:
        self._place = place
        self._run = run

    @contextmanager
    def keep(self, job: Job, *, is_resumed: bool = False) -> Iterator[StoredJob]:
        with RowJobStore(self._place.store, self._run.row.fence).keep(
            job, is_resumed=is_resumed
        ) as stored:
            yield _PatientJob(stored, self._place)


class _PatientJob:
    def __init__(self, stored: StoredJob, place: Workplace) -> None:
        self._stored = stored
        self._place = place

    def write(self, job: Job) -> None:
        """Write the job; again if that took so long that the process may have been frozen in it.

        After the write comes the submission: then no other worker may have the job.
        """
        while True:
            began = time.monotonic()
            self._place.until_reachable(lambda: self._stored.write(job))
            if time.monotonic() - began < self._place.settings.jobs.lease_seconds / 3:
                return

    def record(self, job: Job, settings: Settings, *, error: ImagenError | None = None) -> str:
        return self._place.until_reachable(
            lambda: self._stored.record(job, settings, error=error)
        )
