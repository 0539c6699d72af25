"""A remote job is submitted once, found again, and cancelled with a confirmation."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import httpx
import pytest

from imagen.backends.remote_job import JobProgress, Outage, RemoteJobPolicy, run_remote_job
from imagen.core.request import Request
from imagen.core.result import Facts, Progress, Result
from imagen.core.ticket import Ticket
from imagen.errors import (
    BackendError,
    Cancelled,
    Failed,
    ImagenError,
    LetGo,
    Lost,
    Rejected,
    TimedOut,
    Unavailable,
)
from imagen.net.http import translate_errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagen.backends.remote_job import JobState

_POLICY = RemoteJobPolicy(look_up_pauses=(0.0, 0.0), settle_seconds=0.1, cancel_seconds=0.2)


def _http_error(error: httpx.HTTPError) -> BackendError:
    """The error of imagen for one of httpx's."""
    try:
        with translate_errors("engine"):
            raise error
    except BackendError as translated:
        return translated


BROKEN = _http_error(httpx.ReadError("broken"))
UNANSWERED = _http_error(httpx.ReadTimeout("late"))
UNREACHABLE = _http_error(httpx.ConnectError("refused"))
DISCONNECTED = _http_error(httpx.RemoteProtocolError("disconnected"))
REFUSED = Rejected("no")


class _FakeJob:
    """Fails to submit with these errors in turn; has the job once a submission succeeded."""

    engine = "The engine"
    at = "http://engine"

    def __init__(
        self,
        *errors: ImagenError,
        arrives: bool = False,
        find_error: BackendError | None = None,
        ends: ImagenError | None = None,
        state: JobState = "ended",
    ) -> None:
        self.calls: list[str] = []
        self._errors = list(errors)
        self._has_arrived = arrives
        self._find_error = find_error
        self._ends = ends
        self._state: JobState = state

    def prepare(self) -> Ticket:
        self.calls.append("prepare")
        return _ticket().sent(began="now")

    def submit(self) -> str:
        self.calls.append("submit")
        if self._errors:
            raise self._errors.pop(0)
        return "id"

    def is_refusal(self, error: BackendError) -> bool:
        return error is REFUSED

    def find(self) -> str | None:
        self.calls.append("find")
        if self._find_error is not None:
            raise self._find_error
        return "id" if self._has_arrived else None

    def find_id(self) -> str:
        return "id"

    def id_of(self, handle: str) -> str:
        return handle

    def attach(self) -> str:
        self.calls.append("attach")
        if self._errors:
            raise self._errors.pop(0)
        return "id"

    def accepted_ticket(self, handle: str) -> Ticket:
        return _ticket().sent(began="now", id=handle)

    def follow(self, handle: str) -> str:
        self.calls.append("follow")
        if self._ends is not None:
            raise self._ends
        return handle

    def collect(self, handle: str) -> Result:
        self.calls.append("collect")
        return Result(outputs=(), facts=Facts(engine={"id": handle}))

    def cancel(self, id: str) -> None:
        self.calls.append(f"cancel {id}")

    def state(self, id: str) -> JobState:  # noqa: ARG002
        return self._state


def _ticket() -> Ticket:
    return Ticket(id="1", backend="x", request=Request(), receipt={})


def _run(
    job: _FakeJob,
    *,
    ticket: Ticket | None = None,
    policy: RemoteJobPolicy = _POLICY,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Result:
    progress = JobProgress(ticket or _ticket(), on_progress, total_seconds=60, remedy="")
    return run_remote_job(job, progress, policy)


def _reported_tickets(job: _FakeJob) -> list[Ticket]:
    """The tickets that are reported while a job runs or fails."""
    reports: list[Progress] = []
    with suppress(ImagenError):
        _run(job, on_progress=reports.append)
    return [report.ticket for report in reports if report.ticket is not None]


def test_a_job_is_prepared_submitted_followed_and_collected() -> None:
    job = _FakeJob()
    assert _run(job).facts.engine == {"id": "id"}
    assert job.calls == ["prepare", "submit", "follow", "collect"]


def test_the_ticket_is_reported_as_submitted_before_and_after_the_submission() -> None:
    assert [(ticket.submitted, ticket.engine) for ticket in _reported_tickets(_FakeJob())] == [
        (True, {"began": "now"}),
        (True, {"began": "now", "id": "id"}),
    ]


def test_a_submission_with_a_lost_answer_is_looked_up_and_not_repeated() -> None:
    job = _FakeJob(BROKEN, arrives=True)
    _run(job)
    assert job.calls == ["prepare", "submit", "find", "follow", "collect"]


def test_a_submission_that_did_not_arrive_is_repeated() -> None:
    job = _FakeJob(BROKEN)
    _run(job)
    assert job.calls == ["prepare", "submit", "find", "find", "submit", "follow", "collect"]


def test_an_unanswered_submission_is_never_repeated() -> None:
    job = _FakeJob(UNANSWERED)
    with pytest.raises(Lost, match="does not have the job yet: it may still arrive") as caught:
        _run(job)
    assert not caught.value.is_certain
    assert job.calls.count("submit") == 1


def test_a_submission_that_cannot_be_looked_up_is_never_repeated() -> None:
    job = _FakeJob(BROKEN, find_error=Unavailable("gone"))
    with pytest.raises(Lost, match="cannot be asked whether it took the job") as caught:
        _run(job)
    assert not caught.value.is_certain
    assert job.calls.count("submit") == 1


def test_a_submission_to_an_unreachable_engine_is_repeated_without_a_look_up() -> None:
    job = _FakeJob(UNREACHABLE)
    _run(job)
    assert job.calls == ["prepare", "submit", "submit", "follow", "collect"]


def test_a_refused_job_is_reported_as_not_submitted() -> None:
    job = _FakeJob(REFUSED)
    assert [ticket.submitted for ticket in _reported_tickets(job)] == [True, False]
    assert job.calls == ["prepare", "submit"]


def test_a_job_that_may_have_arrived_stays_submitted() -> None:
    tickets = _reported_tickets(_FakeJob(UNANSWERED))
    assert [ticket.submitted for ticket in tickets] == [True]


def test_a_submitted_ticket_is_attached_and_not_submitted_again() -> None:
    job = _FakeJob()
    _run(job, ticket=_ticket().sent())
    assert job.calls == ["attach", "follow", "collect"]


def test_a_failed_look_up_of_a_submitted_ticket_cancels_nothing() -> None:
    job = _FakeJob(REFUSED)
    with pytest.raises(Rejected):
        _run(job, ticket=_ticket().sent())
    assert job.calls == ["attach"]


def test_an_error_while_following_cancels_the_job() -> None:
    job = _FakeJob(ends=TimedOut("late"))
    with pytest.raises(TimedOut) as caught:
        _run(job)
    assert job.calls[-1] == "cancel id"
    assert caught.value.is_stopped


@pytest.mark.parametrize("error", [Lost("gone"), Unavailable("away")], ids=["lost", "away"])
def test_a_job_that_may_be_found_later_is_not_cancelled(error: BackendError) -> None:
    job = _FakeJob(ends=error)
    with pytest.raises(type(error)):
        _run(job)
    assert job.calls[-1] == "follow"


def test_a_job_that_failed_is_not_cancelled() -> None:
    class _FailedJob(_FakeJob):
        def collect(self, handle: str) -> Result:
            raise Failed(handle)

    job = _FailedJob()
    with pytest.raises(Failed):
        _run(job)
    assert job.calls[-1] == "follow"


def test_an_unconfirmed_cancellation_is_reported() -> None:
    policy = RemoteJobPolicy(cancel_seconds=0.1, after_failed_cancel="It ends after 300 s.")
    with pytest.raises(TimedOut) as caught:
        _run(_FakeJob(ends=TimedOut("late"), state="active"), policy=policy)
    assert not caught.value.is_stopped
    assert caught.value.remedy == (
        "The engine was asked to cancel the job and did not confirm it. It ends after 300 s."
    )


def test_images_that_were_finished_before_the_cancellation_are_reported() -> None:
    with pytest.raises(Cancelled) as caught:
        _run(_FakeJob(ends=Cancelled(), state="finished"))
    assert not caught.value.is_stopped
    assert caught.value.remedy == "The job was finished before it could be cancelled."


def test_a_caller_that_leaves_during_the_submission_cancels_the_job() -> None:
    class _SlowJob(_FakeJob):
        def submit(self) -> str:
            handle = super().submit()
            is_left.wait(10)
            return handle

    is_left = threading.Event()

    def leave(progress: Progress) -> None:
        if progress.ticket is None:
            is_left.set()
            raise Cancelled

    job = _SlowJob()
    with pytest.raises(Cancelled) as caught:
        _run(job, on_progress=leave)
    assert job.calls == ["prepare", "submit", "cancel id"]
    assert caught.value.is_stopped


def test_a_caller_that_leaves_an_engine_that_is_down_leaves_no_job_there() -> None:
    class _DownJob(_FakeJob):
        def submit(self) -> str:
            self.calls.append("submit")
            is_left.wait(10)
            raise UNREACHABLE

        def cancel(self, id: str) -> None:
            self.calls.append(f"cancel {id}")
            raise UNREACHABLE

    is_left = threading.Event()

    def leave(progress: Progress) -> None:
        if progress.ticket is None:
            is_left.set()
            raise Cancelled

    job = _DownJob()
    policy = RemoteJobPolicy(settle_seconds=10, cancel_seconds=0.2)
    with pytest.raises(Cancelled) as caught:
        _run(job, on_progress=leave, policy=policy)
    assert (job.calls, caught.value.is_stopped) == (["prepare", "submit"], True)


def test_a_job_that_is_let_go_is_not_cancelled() -> None:
    job = _FakeJob(ends=LetGo("mine no more"))
    with pytest.raises(LetGo):
        _run(job)
    assert job.calls == ["prepare", "submit", "follow"]


def test_letting_go_of_the_reported_ticket_prevents_the_submission() -> None:
    def let_go(_: Progress) -> None:
        raise LetGo("mine no more")

    job = _FakeJob()
    with pytest.raises(LetGo):
        _run(job, on_progress=let_go)
    assert job.calls == ["prepare"]


def test_letting_go_does_not_wait_for_a_submission_that_is_on_its_way() -> None:
    class _SlowJob(_FakeJob):
        def submit(self) -> str:
            handle = super().submit()
            assert is_answered.wait(30)
            return handle

    is_answered = threading.Event()

    def let_go(progress: Progress) -> None:
        if progress.ticket is None:
            raise LetGo("mine no more")

    job = _SlowJob()
    with pytest.raises(LetGo):
        _run(job, on_progress=let_go, policy=RemoteJobPolicy(settle_seconds=30))
    assert not is_answered.is_set()
    is_answered.set()
    assert job.calls == ["prepare", "submit"]


def test_a_submission_that_fails_after_it_was_let_go_is_not_repeated() -> None:
    class _SlowJob(_FakeJob):
        def submit(self) -> str:
            assert is_let_go.wait(30)
            try:
                return super().submit()
            finally:
                has_failed.set()

    is_let_go, has_failed = threading.Event(), threading.Event()

    def let_go(progress: Progress) -> None:
        if progress.ticket is None:
            raise LetGo("mine no more")

    job = _SlowJob(UNREACHABLE)
    with pytest.raises(LetGo):
        _run(job, on_progress=let_go)
    before = set(threading.enumerate()) - {threading.current_thread()}
    is_let_go.set()
    assert has_failed.wait(30)
    for thread in before:
        if "(run)" in thread.name:
            thread.join(30)
    assert job.calls == ["prepare", "submit"]


def test_a_job_is_not_sent_before_the_caller_of_a_frozen_process_was_asked_again() -> None:
    """It may have lost the job while it was frozen, between the report and the submission."""
    now = 0.0
    progress = JobProgress(
        _ticket(), lambda _: None, total_seconds=60, remedy="", clock=lambda: now
    )
    now = 20.0
    asked = threading.Thread(target=progress.require_caller)
    asked.start()
    asked.join(0.2)
    assert asked.is_alive()
    progress.tick()
    asked.join(30)
    assert not asked.is_alive()


def test_a_job_is_not_sent_once_the_caller_left() -> None:
    now = 0.0
    progress = JobProgress(
        _ticket(), lambda _: None, total_seconds=60, remedy="", clock=lambda: now
    )
    now = 20.0
    progress.is_left.set()
    with pytest.raises(Cancelled):
        progress.require_caller()


def _clock(*times: float) -> Callable[[], float]:
    left = list(times)
    return lambda: left.pop(0)


def test_an_engine_that_refuses_connections_is_lost_after_lost_seconds() -> None:
    outage = Outage("http://engine", lost_seconds=3, clock=_clock(0, 2, 4))
    outage.check(DISCONNECTED)
    outage.check(DISCONNECTED)
    with pytest.raises(Lost, match="went away while it had the job"):
        outage.check(DISCONNECTED)


def test_an_engine_that_refuses_access_is_lost_after_refused_seconds() -> None:
    outage = Outage("http://engine", lost_seconds=3, clock=_clock(0, 29, 31))
    outage.check(REFUSED)
    outage.check(REFUSED)
    with pytest.raises(Lost, match="gave no state of the job for 31 seconds: no"):
        outage.check(REFUSED)


def test_an_outage_that_ended_does_not_count() -> None:
    outage = Outage("http://engine", lost_seconds=3, clock=_clock(0, 4, 8))
    outage.check(DISCONNECTED)
    outage.end()
    outage.check(DISCONNECTED)
    outage.end()
    outage.check(DISCONNECTED)
