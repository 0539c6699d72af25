"""Run one job of the queue at its engine: prepare it, wait for it, and settle how it ended."""

from __future__ import annotations

import random
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from threading import Event, Lock
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

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
from imagen.jobs.model import ENDED, INTERPOLATION
from imagen.jobs.outage import retry_until_reachable
from imagen.jobs.prepare_queued import prepare_job, settings_of
from imagen.jobs.row_store import RowJobStore, is_stopped_by_us
from imagen.jobs.sql_store import error_data
from imagen.library import images_of
from imagen.pipeline.budgets import refuse_over_budget
from imagen.pipeline.generate import run_job, upscale_locally
from imagen.pipeline.pools import open_named
from imagen.pipeline.prepare import with_local_images

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from imagen.backends import Backend
    from imagen.config import Settings
    from imagen.core.result import Progress
    from imagen.jobs.blobs import BlobStore
    from imagen.jobs.model import Job, QueuedJob, QueueState
    from imagen.jobs.queue import JobDelivery
    from imagen.jobs.sql_store import SqlJobStore

T = TypeVar("T")

Interruption = Literal["", "stopping", "late", "cancelled", "fenced"]
"""Why a job is not to go on, the weightiest last: the worker stops; the engine is late and others
are idle; a user cancelled it; another worker has it."""
_WEIGHTS: dict[Interruption, int] = {"": 0, "stopping": 1, "late": 2, "cancelled": 3, "fenced": 4}
_LONGEST_PAUSE_SECONDS = 60.0
_CONFIRM_SECONDS = 2.0
"""How long to wait until a cancellation that was not confirmed is asked for again."""
_LOOK_SECONDS = 0.1
_REMOVE_SECONDS = 600.0
_SILENT_SECONDS = 2.0
"""A job whose engine was not heard for so long may be further than it seems."""
_ON_TIME = 0.5
"""The progress of a job that is as fast as usual, compared with its time: engines weigh their
steps differently."""


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


class ReportJob(Protocol):
    """Tells about a job: a word for what happened, a sentence, and the code of an error."""

    def __call__(self, kind: str, run: JobRun, message: str, code: str = "") -> None: ...


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
    learn_speed: Callable[[str, str, float], None]
    """Note how long an engine took, by backend and model."""
    report: ReportJob
    engines: EnginePool = field(default_factory=EnginePool)
    abort: Event = field(default_factory=Event)
    """Set once the worker has to end at once."""


class JobRun:
    """One job in the hands of this worker. `run` is the body of its thread."""

    def __init__(
        self,
        row: QueuedJob,
        delivery: JobDelivery,
        place: Workplace,
        *,
        is_remote: bool,
        is_synchronous: bool = False,
        refusal: ImagenError | None = None,
        on_left_engine: Callable[[JobRun], None],
    ) -> None:
        """`refusal` is why its engine gets no jobs now: then it can only move on."""
        self.row = row
        self.token = delivery.token
        self.is_remote = is_remote
        """Whether its engine goes on with it without this process."""
        self.can_be_left = is_remote and not is_synchronous
        """Whether another worker can collect it."""
        self.is_adopted = row.job is not None and row.job.ticket.submitted
        """Whether its engine may have it already, by an earlier worker."""
        self.began = time.monotonic()
        self.is_at_engine = True
        self.is_paid = False
        self.stop_by = float("inf")
        """Until when it may go on although the worker stops."""
        self.is_let_go = False
        self._kept: RowJobStore | None = None
        self._engine_seconds = 0.0
        self.setup_seconds: float | None = None
        """How long it took until it was submitted."""
        self._progress: Progress | None = None
        """The latest that was not stored yet."""
        self._fraction = 0.0
        self._heard_at = 0.0
        self._is_submitted = self.is_adopted
        self._is_saving = False
        self._interruption: Interruption = ""
        self._place = place
        self._refusal = refusal
        self._on_left_engine = on_left_engine

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return time.monotonic() - self.began

    @property
    def seconds_left(self) -> float:
        """How long its engine will still need by its progress; without, as long as until now."""
        share = self._fraction if self._fraction > 0 else 0.5
        return self.seconds * (1 - share) / share

    def seconds_until_free(self, usual: float) -> float:
        """How long its engine will still need, if it is as fast as usual; infinite if it is not.

        It is not where its progress is far behind.
        """
        is_on_time = self._fraction >= _ON_TIME * self.seconds / usual
        is_known = self._fraction > 0 and self.is_remote and not self.is_adopted
        return max(0.0, usual - self.seconds) if is_on_time and is_known else float("inf")

    @property
    def has_images(self) -> bool:
        """Whether its engine has finished it."""
        return self._is_saving

    @property
    def can_be_late(self) -> bool:
        """Whether it may be begun anew elsewhere: it is at an engine that costs nothing."""
        is_heard = time.monotonic() - self._heard_at < _SILENT_SECONDS
        return self._is_submitted and not self._is_saving and not self.is_paid and is_heard

    def interrupt(self, why: Interruption) -> None:
        """Let it end early; it hears of it with its next progress."""
        if _WEIGHTS[why] > _WEIGHTS[self._interruption]:
            self._interruption = why

    def run(self) -> None:
        """Run the job to its end; nothing is raised."""
        try:
            self._place.report("started", self, "")
            self._run()
            self._leave_engine()
            self._learn_speed(self._engine_seconds)
            self._place.report("done", self, "")
        except LetGo:
            self.is_let_go = True
            self._hand_over()
        except ImagenError as error:
            self._settle(error)
        except Exception as error:  # noqa: BLE001 - one job must not end the worker
            self._settle(ImagenError(f"imagen failed: {type(error).__name__}: {error}"))
        finally:
            self._leave_engine()

    def _run(self) -> None:
        row, place = self.row, self._place
        assert row.spec is not None
        if self._refusal is not None:
            raise self._refusal
        settings = settings_of(row.spec, row.backend, place.settings)
        if row.kind == "sheet":
            from imagen.comparison.collect import draw_queued_sheet  # with Pillow's fonts

            self._persist(lambda: draw_queued_sheet(row, place.store, place.settings))
            self._persist(lambda: place.store.finish(row.fence, None, settings))
            return
        kept = self._kept = RowJobStore(
            place.store,
            row.fence,
            settings,
            caller=row.caller,
            owner=row.spec.owner,
            blobs=place.blobs,
            stop=place.abort,
        )
        if row.backend == INTERPOLATION:
            request = with_local_images(row.spec.request, settings, blobs=place.blobs)
            upscale_locally(request, settings, strict=row.spec.strict, store=kept, id=row.ticket_id)
        else:
            with place.engines.use(row.backend, settings, row.spec.workflow) as engine:
                job = row.job if self.is_adopted else None
                job = job or prepare_job(row, engine, settings, place.store, place.blobs)
                self.is_paid = job.ticket.estimate is not None
                try:
                    self._run_job(engine, job, settings, kept)
                except Lost as error:
                    if not (error.never_ran and self.is_adopted):
                        raise
                    # Its former owner may have been frozen just before it submits the job.
                    if place.abort.wait(place.settings.jobs.lease_seconds):
                        raise LetGo("The worker ended.") from error
                    self._run_job(engine, job, settings, kept)

    def _run_job(self, engine: Backend, job: Job, settings: Settings, kept: RowJobStore) -> None:
        told = self._on_progress
        made = run_job(engine, job, settings, told, store=kept, is_resumed=self.is_adopted)
        if made.remark:
            self._place.report("not_copied", self, made.remark, "not_copied")

    # --- while it runs ---

    def _on_progress(self, progress: Progress) -> None:
        self._is_saving = self._is_saving or progress.stage in ("fetching", "done")
        self._heed_interruption()
        if progress.ticket is not None:  # only now: an error above prevents the submission
            self._is_submitted = progress.ticket.submitted
            self.setup_seconds = self.setup_seconds or self.seconds
        unreported = self._progress
        if progress.preview is None and unreported is not None and unreported.preview is not None:
            progress = replace(progress, preview=unreported.preview)
        self._progress, self._fraction = progress, progress.fraction
        self._heard_at = time.monotonic()
        if self._is_saving:
            self._leave_engine()

    def report_progress(self) -> None:
        """Store the latest progress, and see whether the job was cancelled."""
        progress, self._progress = self._progress, None
        if progress is None or self._is_saving:
            return
        try:
            if self._place.store.report(self.row.fence, progress):
                self.interrupt("cancelled")
        except LetGo:
            self.interrupt("fenced")

    def _heed_interruption(self) -> None:
        """Raise LetGo or Cancelled if the job is not to go on.

        A worker that was frozen, or without its database, for longer than its lease waits until it
        knows whether the job is still its own.
        """
        while not self._place.is_beat_known() and self._interruption != "fenced":
            if self._place.abort.wait(_LOOK_SECONDS):
                raise LetGo("The worker ended.")
        if self._interruption == "fenced":
            raise LetGo("Another worker has the job now.")
        if self._interruption == "stopping" and time.monotonic() >= self.stop_by:
            raise LetGo("The worker stops.")
        if self._interruption in ("cancelled", "late") and not self._is_saving:
            raise Cancelled

    def _leave_engine(self) -> None:
        """Give the place at the engine to the next job, while this one is saved."""
        if not self.is_at_engine:
            return
        self.is_at_engine = False
        self._engine_seconds = self.seconds
        try:
            if self._is_saving:
                self._place.store.leave_engine(self.row.fence)
        except (LetGo, LibraryUnreachable):
            pass  # the row says so once it has ended
        finally:
            self._on_left_engine(self)

    def _learn_speed(self, seconds: float) -> None:
        if not self.is_adopted and self.row.resource:
            with suppress(LibraryUnreachable):
                self._place.learn_speed(self.row.backend, self.row.affinity, seconds)

    # --- how it ended ---

    def _hand_over(self) -> None:
        """Let another worker go on at once, unless one has the job already.

        An engine of this process has stopped it.
        """
        is_fenced = self._interruption == "fenced"
        reason = "Another worker has it now." if is_fenced else "This worker stops."
        self._place.report("let_go", self, reason)
        if not is_fenced:
            is_kept = self._is_submitted and self.is_remote
            with suppress(LetGo, LibraryUnreachable):
                self._place.store.again(self.row.fence, keep_job=is_kept, is_failure=False)

    def remove_unrecorded(self) -> None:
        """Delete images that were saved after another worker had got the job.

        A worker that is frozen for long may save what the other one saves as well. Which images
        count is known once the job is done.
        """
        saved = () if self._kept is None else self._kept.saved
        until = time.monotonic() + _REMOVE_SECONDS
        with suppress(ImagenError, OSError):
            while saved and time.monotonic() < until:
                row = self._place.store.read(self.row.id)
                if row.state in ENDED:
                    images = images_of(self._place.store.library, row.ticket_id)
                    known = {image.path for image in images}
                    for image in saved if row.state == "done" else ():
                        if image.path not in known:
                            image.path.unlink(missing_ok=True)
                            if image.sidecar is not None:
                                image.sidecar.unlink(missing_ok=True)
                    return
                if self._place.abort.wait(_CONFIRM_SECONDS):
                    return

    def _settle(self, error: ImagenError) -> None:
        """Write down what becomes of the job after an error."""
        with suppress(LetGo, LibraryUnreachable):
            state = self._persist(lambda: self._decide(error))
            self._place.report(state, self, error.message, error.code)

    def _decide(self, error: ImagenError) -> QueueState:
        """What becomes of the job, by the class of the error."""
        if isinstance(error, Cancelled):
            return self._after_cancelling(error)
        if isinstance(error, Lost):
            return self._after_loss(error)
        if isinstance(error, Unavailable | RateLimited):
            return self._after_refusal(error)
        if is_stopped_by_us(error, self.row.job):
            return self._after_cancelling(Cancelled())
        if isinstance(error, OutputError) and error.lost:
            return self._try_again(error)  # the engine still has the images
        return self._fail(error)

    def _after_cancelling(self, error: Cancelled) -> QueueState:
        if not error.is_stopped:
            # It stays submitted: whoever gets it next finds it, and cancels it again.
            return self._give_back(error, seconds=_CONFIRM_SECONDS)
        if not self.row.cancel and self._interruption != "cancelled":  # an idle engine begins anew
            self._learn_speed(self.seconds)
            return self._give_back(error, keep_job=False)
        self._place.store.fail(self.row.fence, error, state="cancelled")
        return "cancelled"

    def _after_loss(self, error: Lost) -> QueueState:
        """A new attempt only where the engine certainly has nothing that was paid."""
        if not error.is_certain:
            seconds = back_off(self.row.failures + 1)
            return self._give_back(error, seconds=seconds, is_failure=True)
        if error.never_ran or not self.is_paid:
            return self._try_again(error, keep_job=False)
        return self._fail(error, state="lost")

    def _after_refusal(self, error: Unavailable | RateLimited) -> QueueState:
        """An engine that is down, or wants fewer jobs, gets none for a while; no attempt counts.

        If it is well and only this job fails, the attempt counts.
        """
        resource, store = self.row.resource, self._place.store
        if self._refusal is None:
            if isinstance(error, Unavailable) and self._is_engine_well():
                return self._try_again(error, keep_job=self._is_submitted)
            seconds = error.retry_after_seconds if isinstance(error, RateLimited) else None
            known = store.pauses().get(resource)
            seconds = back_off(known.failures if known else 0) if seconds is None else seconds
            store.pause(resource, seconds, error_data(error))
            self._place.report("paused", self, error.message, error.code)
        else:
            seconds = _LONGEST_PAUSE_SECONDS
        if self._is_submitted:  # it may be at the engine: only there it goes on
            return self._give_back(error, seconds=seconds)
        moved = self._move_on(error)
        if moved is not None:
            return moved
        seconds = 0.0 if self._refusal is None else seconds
        return self._give_back(error, seconds=seconds, keep_job=False)

    def _is_engine_well(self) -> bool:
        row = self.row
        assert row.spec is not None
        settings = settings_of(row.spec, row.backend, self._place.settings)
        with self._place.engines.use(row.backend, settings, row.spec.workflow) as engine:
            return engine.check().ok

    def _try_again(self, error: ImagenError, *, keep_job: bool = True) -> QueueState:
        """Another attempt later or on another backend, until there were too many."""
        if not (keep_job and self._is_submitted):
            moved = self._move_on(error)
            if moved is not None:
                return moved
        failures = self.row.failures
        if failures >= self._place.settings.jobs.retries:
            return self._fail(error)
        return self._give_back(
            error, seconds=back_off(failures), keep_job=keep_job, is_failure=True
        )

    def _give_back(
        self,
        error: ImagenError,
        *,
        seconds: float = 0.0,
        keep_job: bool = True,
        is_failure: bool = False,
        pool: str | None = None,
    ) -> QueueState:
        return self._place.store.again(
            self.row.fence,
            delay_seconds=seconds,
            error=error,
            keep_job=keep_job,
            is_failure=is_failure,
            pool=pool,
        )

    def _fail(self, error: ImagenError, *, state: QueueState = "failed") -> QueueState:
        with suppress(LetGo):  # with its record it has ended already
            self._place.store.fail(self.row.fence, error, state=state)
        return state

    def _persist(self, change: Callable[[], T]) -> T:
        """Make a change once the database can be reached."""
        return retry_until_reachable(change, stop=self._place.abort)

    def _move_on(self, error: ImagenError) -> QueueState | None:
        """Move a job that certainly did not run to the next backend of its failover chain.

        Only to one that a worker serves and that honours the request, and within the budgets.
        """
        for chain in self._place.settings.failover:
            later = chain[chain.index(self.row.backend) + 1 :] if self.row.backend in chain else ()
            for name in later:
                if self._place.is_served(name) and self._can_run_on(name):
                    self._place.report("moved", self, f"to {name}: {error.message}", error.code)
                    return self._give_back(error, keep_job=False, pool=name)
        return None

    def _can_run_on(self, backend: str) -> bool:
        row, place = self.row.model_copy(update={"backend": backend}), self._place
        assert row.spec is not None
        with suppress(ImagenError):
            settings = settings_of(row.spec, backend, place.settings)
            with place.engines.use(backend, settings, row.spec.workflow) as engine:
                ticket = prepare_job(row, engine, settings, place.store, place.blobs).ticket
            refuse_over_budget([ticket], settings)
            return not not_honoured(ticket.receipt)
        return False
