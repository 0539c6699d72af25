"""One job at a remote engine: submit once, find again, follow, cancel and confirm.

An adapter implements `RemoteJob`; `run_remote_job` drives it. The rules that cost money or images
when they are broken are here and nowhere else:

- A ticket is reported as submitted before it is sent, so that a process that dies in between
  looks for its job instead of submitting it again.
- After an error that leaves open whether the engine has the job, the job is looked up. It is sent
  again only where the engine certainly does not have it; where that cannot be found out, the
  error is a `Lost` that is not certain.
- A job whose caller leaves is cancelled, and the cancellation is confirmed. Where it cannot be
  confirmed, the error says so. A job that its caller lets go is not touched any more.
- A job is sent only while its caller answers: a process that was frozen may have lost it.
"""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

from imagen.core.result import Progress
from imagen.errors import (
    BackendError,
    Cancelled,
    ImagenError,
    LetGo,
    Lost,
    RateLimited,
    Unavailable,
)
from imagen.net.http import (
    describe_lost_submission,
    is_connection_refused,
    is_timeout,
    is_unanswered,
    not_sent,
    within,
)
from imagen.net.retry import retry
from imagen.net.threads import TICK_SECONDS, Background, limit_total_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from imagen.core.result import OnProgress, Result, Stage
    from imagen.core.ticket import Ticket

Handle = TypeVar("Handle")
"""What an adapter holds of a job that the engine has: its id, and what else it needs."""

JobState = Literal["active", "ended", "finished", "unknown"]
"""How a job is at its engine: queued or running, over without images, over with images, or not
known there."""

_FIRST_CANCEL_PAUSE = 0.05
_LONGEST_CANCEL_PAUSE = 0.5
_CANCEL_REFUSALS = 3
"""After this many refused connections the engine is gone, and the job with it."""
_FRESH_SECONDS = 1.0
"""How recent the last report must be when a job is sent."""
_GRACE_SECONDS = 2.0
"""For an answer that is on its way when the time for a cancellation ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteJobPolicy:
    """How patient one adapter is."""

    attempts: int = 3
    """How often a submission is sent at most, where the engine certainly does not have the job."""
    look_up_pauses: tuple[float, ...] = (0.05, 0.2, 0.5)
    """Seconds before each look for a job whose submission was not answered as expected."""
    settle_seconds: float = 2.0
    """How long a submission that is on its way may still take once its caller leaves."""
    cancel_seconds: float = 5.0
    """How long a cancellation may take to be confirmed."""
    after_failed_cancel: str = ""
    """What happens to a job that could not be cancelled, in a sentence."""


class JobProgress:
    """Reports one job to its caller: the fraction never falls, and the total time is limited.

    `ticket` is the ticket as it was last reported.
    """

    def __init__(
        self,
        ticket: Ticket,
        on_progress: OnProgress,
        *,
        total_seconds: float,
        remedy: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.ticket = ticket
        self.is_left = Event()
        """Whether the caller has left, so that a submission is given up."""
        self._on_progress = limit_total_time(on_progress, total_seconds, remedy=remedy)
        self._last = Progress(stage="submitted")
        self._clock = clock
        self._reported_at = clock()

    def update(
        self,
        stage: Stage,
        *,
        fraction: float = 0.0,
        node: str = "",
        step: int | None = None,
        steps: int | None = None,
        queue_position: int | None = None,
        preview: bytes | None = None,
    ) -> None:
        """Report where the job is now."""
        self._last = Progress(
            stage=stage,
            fraction=max(self._last.fraction, min(fraction, 1.0)),
            node=node,
            step=step,
            steps=steps,
            queue_position=queue_position,
        )
        self._report(replace(self._last, preview=preview))

    def update_ticket(self, ticket: Ticket) -> None:
        """Report that more is known of the job."""
        self.ticket = ticket
        last = self._last
        self._report(Progress(stage=last.stage, fraction=last.fraction, ticket=ticket))

    def tick(self) -> None:
        """Report the last state again, so that the caller can cancel while nothing happens."""
        self._report(self._last)

    def require_caller(self) -> None:
        """Wait until a report is less than a second old; raises Cancelled once the caller left.

        In the thread of a submission, right before the job is sent.
        """
        while self._clock() - self._reported_at > _FRESH_SECONDS:
            if self.is_left.wait(_FIRST_CANCEL_PAUSE):
                break
        if self.is_left.is_set():
            raise Cancelled

    def _report(self, progress: Progress) -> None:
        self._on_progress(progress)
        self._reported_at = self._clock()

    def rest(self, seconds: float) -> None:
        """Sleep, and tick while doing so."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, TICK_SECONDS))
            self.tick()


class RemoteJob(Protocol[Handle]):
    """One ticket at one engine. `submit`, `find` and `attach` run in a thread of their own."""

    @property
    def engine(self) -> str:
        """The engine's name in sentences, such as `ComfyUI`."""

    @property
    def at(self) -> str:
        """The engine's address."""

    def prepare(self) -> Ticket:
        """Do everything that comes before the submission, such as uploads.

        Returns the ticket as it will be submitted. Its `engine` holds what finds the job again if
        this process ends before the answer arrives. An error here means that nothing was submitted.
        """

    def submit(self) -> Handle:
        """Send the job once."""

    def is_refusal(self, error: BackendError) -> bool:
        """Whether `submit` failed in a way that proves that the engine does not have the job."""

    def find(self) -> Handle | None:
        """The job after a `submit` without an answer; None where the engine does not have it.

        Raises BackendError where that cannot be found out.
        """

    def attach(self) -> Handle:
        """The job of a ticket that an earlier process submitted.

        Raises Lost where the engine does not have it.
        """

    def find_id(self) -> str:
        """The id of a job whose submission was not answered; "" where no such job is known.

        Raises Lost where such a job cannot be found at all.
        """

    def id_of(self, handle: Handle) -> str: ...

    def accepted_ticket(self, handle: Handle) -> Ticket:
        """The ticket with what is known now that the engine has the job."""

    def follow(self, handle: Handle) -> Handle:
        """Return once the job is over, well or not.

        The job is cancelled after any error, except LetGo, Lost and those of an engine that is out
        of reach (Unavailable, RateLimited): then it may go on, and be found later.
        """

    def collect(self, handle: Handle) -> Result:
        """The outputs and facts of a job that is over; raises BackendError for one that failed."""

    def cancel(self, id: str) -> None:
        """Order the engine to cancel the job; called again until the job is over."""

    def state(self, id: str) -> JobState:
        """How the job is now."""


def run_remote_job(
    job: RemoteJob[Handle], progress: JobProgress, policy: RemoteJobPolicy
) -> Result:
    """Submit the job, or find it where its ticket was submitted before; wait; collect."""
    if progress.ticket.submitted:
        handle = _attach(job, progress, policy)
    else:
        handle = _submit(job, progress, policy)
    with _cancel_on_error(job, progress, policy, lambda: job.id_of(handle)):
        ticket = job.accepted_ticket(handle)
        if ticket != progress.ticket:
            progress.update_ticket(ticket)
        ended = job.follow(handle)
    result = job.collect(ended)
    progress.update("done", fraction=1.0)
    return result


def _submit(job: RemoteJob[Handle], progress: JobProgress, policy: RemoteJobPolicy) -> Handle:
    unsent = progress.ticket
    progress.update_ticket(job.prepare().sent())
    work = Background(partial(submit_once, job, progress, policy))
    _wait_for(work, job, progress, policy, is_submission=True)
    try:
        return work.result()
    except Lost:
        raise
    except ImagenError:  # the engine does not have the job
        progress.update_ticket(unsent)
        raise


def _attach(job: RemoteJob[Handle], progress: JobProgress, policy: RemoteJobPolicy) -> Handle:
    def is_silent(error: ImagenError) -> bool:
        return is_timeout(error) or is_unanswered(error)

    work = Background(partial(retry, job.attach, attempts=policy.attempts, unless=is_silent))
    _wait_for(work, job, progress, policy)
    return work.result()  # an error here cancels nothing: the job may be found later


def _wait_for(
    work: Background[Handle],
    job: RemoteJob[Handle],
    progress: JobProgress,
    policy: RemoteJobPolicy,
    *,
    is_submission: bool = False,
) -> None:
    """Wait until the job has a handle, or certainly none.

    Where the caller leaves before that, the job is cancelled by the id that is known by then. A
    submission that is on its way when the caller lets go is left to whoever collects the job.
    """

    def known_id() -> str:
        if work.ready():
            try:
                return job.id_of(work.result())
            except Lost:
                pass
            except ImagenError:
                if is_submission:  # the engine does not have the job
                    return ""
        return job.find_id()

    with _cancel_on_error(job, progress, policy, known_id, is_settled=work.ready):
        try:
            while not work.ready(TICK_SECONDS):
                progress.tick()
        except BaseException as error:
            progress.is_left.set()
            if not isinstance(error, LetGo):
                work.ready(policy.settle_seconds)
            raise


def submit_once(job: RemoteJob[Handle], progress: JobProgress, policy: RemoteJobPolicy) -> Handle:
    """Submit the job; again only where the engine certainly does not have it."""

    def pause(seconds: float) -> None:
        progress.is_left.wait(seconds)

    def attempt() -> Handle:
        progress.require_caller()
        try:
            return job.submit()
        except BackendError as error:
            if not_sent(error) or job.is_refusal(error):
                raise
            handle = _look_up(job, policy, error, progress.is_left)
            if handle is None:
                raise
            return handle

    return retry(attempt, attempts=policy.attempts, unless=is_timeout, sleep=pause)


def _look_up(
    job: RemoteJob[Handle], policy: RemoteJobPolicy, after: BackendError, is_left: Event
) -> Handle | None:
    """The job whose submission ended in `after`; None where the engine does not have it.

    It is looked up several times, as it may still be on its way. Raises Lost where that cannot be
    found out, and where the submission was never answered: the job may still arrive.
    """
    trouble: BackendError | None = after
    for pause in policy.look_up_pauses:
        is_left.wait(pause)
        try:
            handle = job.find()
        except BackendError as error:
            trouble = error
            if is_unanswered(error):
                break
            continue
        if handle is not None:
            return handle
        trouble = None
    what = describe_lost_submission(after, job.at)
    if trouble is not None:
        raise Lost(
            f"{what}, and cannot be asked whether it took the job.",
            remedy=trouble.remedy,
            is_certain=False,
        ) from trouble
    if is_unanswered(after):
        raise Lost(f"{what}, and does not have the job yet: it may still arrive.", is_certain=False)
    return None


@contextmanager
def _cancel_on_error(
    job: RemoteJob[Handle],
    progress: JobProgress,
    policy: RemoteJobPolicy,
    known_id: Callable[[], str],
    *,
    is_settled: Callable[[], bool] = lambda: True,
) -> Iterator[None]:
    """Cancel the job after an error of the block, unless it may be found later."""
    try:
        yield
    except (LetGo, Lost, Unavailable, RateLimited):
        raise
    except BaseException as error:
        doubt = cancel_and_confirm(job, policy, known_id, is_settled=is_settled)
        if not doubt or not isinstance(error, ImagenError):
            raise
        with suppress(ImagenError):  # the caller has left already
            progress.update_ticket(progress.ticket.sent(is_stopped=True))
        raise error.as_unstopped(doubt) from error


def cancel_and_confirm(
    job: RemoteJob[Handle],
    policy: RemoteJobPolicy,
    known_id: Callable[[], str],
    *,
    is_settled: Callable[[], bool] = lambda: True,
) -> str:
    """Cancel the job until the engine confirms that it is over.

    Returns "" then, or else a sentence: that it may still run, or that its images were finished
    before. `known_id` gives its id, "" where there is none. `is_settled` says whether its
    submission is over: until then, a job that the engine does not know may still arrive.
    """
    asked = f"{job.engine} was asked to cancel the job"
    doubt = f"{asked} and did not confirm it."
    deadline = time.monotonic() + policy.cancel_seconds
    pause, refusals, is_asked = _FIRST_CANCEL_PAUSE, 0, False
    while True:
        try:
            with within(deadline - time.monotonic() + _GRACE_SECONDS):
                settled = is_settled()  # before the look: a job may arrive in between
                id = known_id()
                state: JobState = "unknown"
                if id:
                    with suppress(Lost):
                        job.cancel(id)
                        is_asked = True
                        state = job.state(id)
            if state == "finished":
                return "The job was finished before it could be cancelled."
            if state == "ended" or (settled and state == "unknown"):
                return ""
            doubt = f"{asked} and did not confirm it."
        except Lost as error:
            doubt = f"{job.engine} may have the job: {error.message}"
            break
        except BackendError as error:
            if not is_asked:
                doubt = f"{job.engine} could not be asked to cancel the job: {error.message}"
            elif time.monotonic() < deadline:  # or else our own deadline ended the request
                doubt = f"{asked}, and cannot be asked whether it did: {error.message}"
            refusals += is_connection_refused(error)
        if time.monotonic() >= deadline or refusals == _CANCEL_REFUSALS:
            break
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_CANCEL_PAUSE)
    return f"{doubt} {policy.after_failed_cancel}".rstrip()


class Outage:
    """How long an engine has given no state of its job; raises Lost where that is too long.

    An engine that refuses connections is gone after `lost_seconds`. One that answers anything else
    than a state, such as a login page, is given `refused_seconds`. Errors of a `patient` kind may
    go on: the deadlines of the job end them.
    """

    def __init__(
        self,
        at: str,
        *,
        lost_seconds: float,
        refused_seconds: float = 30.0,
        patient: tuple[type[BackendError], ...] = (Unavailable, RateLimited),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._at = at
        self._lost_seconds = lost_seconds
        self._refused_seconds = refused_seconds
        self._patient = patient
        self._clock = clock
        self._gone_since: float | None = None
        self._refused_since: float | None = None

    def end(self) -> None:
        """The engine gave a state of the job."""
        self._gone_since = self._refused_since = None

    def check(self, error: BackendError) -> None:
        """Take a failed look at the job into account; raises Lost where it was one too many."""
        now = self._clock()
        if isinstance(error, self._patient):
            self._refused_since = None
        elif self._refused_since is None:
            self._refused_since = now
        if not is_connection_refused(error):
            self._gone_since = None
        elif self._gone_since is None:
            self._gone_since = now
        if self._refused_since is not None and now - self._refused_since >= self._refused_seconds:
            seconds = now - self._refused_since
            raise Lost(
                f"{self._at} gave no state of the job for {seconds:.0f} seconds: {error.message}",
                remedy=error.remedy,
                is_certain=False,
            ) from error
        if self._gone_since is not None and now - self._gone_since >= self._lost_seconds:
            raise Lost(
                f"{self._at} went away while it had the job: {error.message}",
                remedy="Start it again: its log may say why it ended.",
                is_certain=False,
            ) from error
