"""One job: its progress, its end, and the jobs of other people on the same server."""

from __future__ import annotations

import time
from threading import Thread
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from simulators.a1111 import A1111Server, A1111Switches

from imagen.core.request import Request
from imagen.core.result import Progress, no_progress
from imagen.errors import (
    BackendError,
    Cancelled,
    Failed,
    LetGo,
    Lost,
    Rejected,
    Unauthorized,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.a1111_backend import OpenA1111

    from imagen.core.ticket import Ticket

REQUEST = Request(prompt="a lighthouse", width=64, height=64, seed=7, steps=20)


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def raise_when_running(error: Exception) -> Callable[[Progress], None]:
    def on_progress(progress: Progress) -> None:
        if progress.stage == "running":
            raise error

    return on_progress


class Stranger:
    """Another user of the server."""

    def __init__(self, server: A1111Server) -> None:
        self.status = 0
        self._url = f"{server.url}/sdapi/v1/txt2img"
        self._thread = Thread(target=self._draw)
        self._thread.start()
        wait_until(lambda: server.current_task == "stranger" or server.program == "sdnext")
        wait_until(server.is_at_work)

    def _draw(self) -> None:
        body = {"force_task_id": "stranger", "seed": 1, "width": 8, "height": 8, "steps": 4}
        self.status = httpx.post(self._url, json=body, timeout=30).status_code

    def wait(self) -> int:
        self._thread.join(10)
        return self.status


@pytest.mark.parametrize("program", ["a1111", "sdnext"])
def test_progress_has_steps_and_previews(open_a1111: OpenA1111, program: Any) -> None:
    server = A1111Server(program, A1111Switches(seconds=60))
    backend = open_a1111(server)
    running: list[Progress] = []

    def note(progress: Progress) -> None:
        if progress.stage == "running":
            running.append(progress)
            server.finish_current()

    backend.collect(backend.prepare(REQUEST), note)
    assert {one.steps for one in running} == {20}
    assert any(one.preview for one in running)
    assert server.interrupts == 0


def test_job_that_waits_shows_nothing_of_the_job_before_it(open_a1111: OpenA1111) -> None:
    server = A1111Server("forge", A1111Switches(seconds=60))
    backend = open_a1111(server)
    stranger = Stranger(server)
    waiting: list[Progress] = []
    running: list[Progress] = []

    def note(progress: Progress) -> None:
        (waiting if server.current_task == "stranger" else running).append(progress)
        if len([one for one in waiting if one.stage == "queued"]) == 5:
            server.switches = A1111Switches(seconds=0.2)
            server.finish_current()

    backend.collect(backend.prepare(REQUEST), note)
    assert {one.stage for one in waiting} == {"submitted", "queued"}
    assert not any(one.preview for one in waiting)
    assert any(one.preview for one in running)
    assert stranger.wait() == 200


def cancel_when_queued(server: A1111Server, *, then_runs: bool) -> Callable[[Progress], None]:
    """Cancels once the server has said that our job waits behind that of a stranger."""

    def on_progress(progress: Progress) -> None:
        if progress.ticket is not None and progress.ticket.engine.get("has_tasks"):
            assert server.current_task == "stranger"
            if then_runs:
                server.finish_current()
            raise Cancelled

    return on_progress


def test_cancelling_a_waiting_job_does_not_stop_the_job_of_another_user(
    open_a1111: OpenA1111,
) -> None:
    """The server cannot take a job out of its queue, and its interrupt stops what runs."""
    server = A1111Server("a1111", A1111Switches(seconds=60))
    backend = open_a1111(server, cancel_seconds=0)
    stranger = Stranger(server)
    with pytest.raises(Cancelled) as caught:
        backend.collect(backend.prepare(REQUEST), cancel_when_queued(server, then_runs=False))
    assert not caught.value.is_stopped
    assert server.interrupts == 0
    server.finish_current()
    assert stranger.wait() == 200


def test_cancelled_waiting_job_is_interrupted_once_it_runs(open_a1111: OpenA1111) -> None:
    server = A1111Server("a1111", A1111Switches(seconds=60))
    backend = open_a1111(server, cancel_seconds=10)
    stranger = Stranger(server)
    with pytest.raises(Cancelled) as caught:
        backend.collect(backend.prepare(REQUEST), cancel_when_queued(server, then_runs=True))
    assert caught.value.is_stopped
    assert (stranger.wait(), server.interrupts, server.is_at_work()) == (200, 1, False)


@pytest.mark.parametrize(("exclusive", "interrupts"), [(False, 0), (True, 1)])
def test_server_that_does_not_tell_jobs_apart_is_interrupted_only_where_nobody_else_uses_it(
    open_a1111: OpenA1111, *, exclusive: bool, interrupts: int
) -> None:
    server = A1111Server("sdnext", A1111Switches(seconds=60))
    backend = open_a1111(server, exclusive=exclusive, cancel_seconds=1 if exclusive else 0)
    with pytest.raises(Cancelled) as caught:
        backend.collect(backend.prepare(REQUEST), raise_when_running(Cancelled()))
    assert (server.interrupts, caught.value.is_stopped) == (interrupts, exclusive)


def test_server_that_will_not_be_interrupted_is_not_waited_for(open_a1111: OpenA1111) -> None:
    server = A1111Server("sdnext", A1111Switches(seconds=30))
    backend = open_a1111(server, cancel_seconds=60)
    began = time.monotonic()

    def cancel_later(progress: Progress) -> None:
        if progress.stage == "running" and time.monotonic() - began > 1.2:
            raise Cancelled

    with pytest.raises(Cancelled) as caught:
        backend.collect(backend.prepare(REQUEST), cancel_later)
    assert "backends.studio.exclusive" in caught.value.remedy
    assert (caught.value.is_stopped, server.interrupts) == (False, 0)


def test_server_without_a_web_page_is_treated_as_one_that_cannot_tell(
    open_a1111: OpenA1111,
) -> None:
    server = A1111Server("a1111", A1111Switches(seconds=60, has_tasks=False))
    backend = open_a1111(server, cancel_seconds=0)
    with pytest.raises(Cancelled):
        backend.collect(backend.prepare(REQUEST), raise_when_running(Cancelled()))
    assert server.interrupts == 0


def test_job_that_another_user_interrupts_fails(open_a1111: OpenA1111) -> None:
    """The server answers with the unfinished image."""
    server = A1111Server("forge", A1111Switches(seconds=10))
    backend = open_a1111(server)
    Thread(target=interrupt_slowly, args=(server,)).start()
    with pytest.raises(Failed, match="interrupted on the server, but not by imagen"):
        backend.collect(backend.prepare(REQUEST), no_progress)


def interrupt_slowly(server: A1111Server) -> None:
    """As a person does: the program works on for a moment after it was asked to stop."""
    wait_until(lambda: server.current_task is not None)
    server.lingers = True
    httpx.post(f"{server.url}/sdapi/v1/interrupt", timeout=10)


# Lost answers


def test_lost_answer_is_never_sent_again(open_a1111: OpenA1111) -> None:
    server = A1111Server("a1111", A1111Switches(answer="cut", seconds=60))
    backend = open_a1111(server)

    def finish_once_seen(progress: Progress) -> None:
        if progress.stage == "running":
            server.finish_current()

    with pytest.raises(Lost) as caught:
        backend.collect(backend.prepare(REQUEST), finish_once_seen)
    # It was seen to run, and the server says that it works on it no more.
    assert caught.value.is_certain
    assert server.submissions == 1


def test_lost_answer_of_a_server_without_ids_is_uncertain_while_it_works(
    open_a1111: OpenA1111,
) -> None:
    server = A1111Server("sdnext", A1111Switches(answer="gateway"))
    backend = open_a1111(server)
    with pytest.raises(Lost, match="502") as caught:
        backend.collect(backend.prepare(REQUEST), no_progress)
    assert not caught.value.is_certain
    assert server.submissions == 1


@pytest.mark.parametrize("answer", ["login", "empty"])
def test_answer_of_something_else_says_nothing_about_the_job(
    open_a1111: OpenA1111, answer: Any
) -> None:
    server = A1111Server("forge", A1111Switches(answer=answer))
    backend = open_a1111(server)
    with pytest.raises(Lost, match="does not answer like A1111") as caught:
        backend.collect(backend.prepare(REQUEST), no_progress)
    assert not caught.value.is_certain


def test_server_that_dies_while_it_works_is_reported_as_gone(open_a1111: OpenA1111) -> None:
    server = A1111Server("forge", A1111Switches(seconds=20))
    backend = open_a1111(server)

    def kill() -> None:
        wait_until(server.is_at_work)
        server.stop(abruptly=True)

    Thread(target=kill, daemon=True).start()
    with pytest.raises(Lost) as caught:
        backend.collect(backend.prepare(REQUEST), no_progress)
    assert not caught.value.is_certain


def test_resumed_job_is_uncertain_while_the_server_works_on_it(open_a1111: OpenA1111) -> None:
    """The process that waited for it was killed: its images are lost."""
    server = A1111Server("forge", A1111Switches(seconds=60))
    backend = open_a1111(server)
    sent: list[Ticket] = []

    def note(progress: Progress) -> None:
        if progress.ticket is not None:
            sent.append(progress.ticket)

    working = Thread(target=lambda: backend.collect(backend.prepare(REQUEST), note))
    working.start()
    wait_until(lambda: any(ticket.engine for ticket in sent))
    other = open_a1111(server)
    with pytest.raises(Lost, match="still works on the job") as caught:
        other.collect(sent[-1], no_progress)
    assert not caught.value.is_certain
    server.finish_current()
    working.join(10)
    with pytest.raises(Lost) as caught:
        other.collect(sent[-1], no_progress)
    assert caught.value.is_certain
    assert server.submissions == 1


def test_job_that_a_worker_lets_go_is_stopped(open_a1111: OpenA1111) -> None:
    """No other process could collect it."""
    server = A1111Server("forge", A1111Switches(seconds=20))
    backend = open_a1111(server)
    with pytest.raises(LetGo):
        backend.collect(backend.prepare(REQUEST), raise_when_running(LetGo("The worker stops.")))
    assert (server.interrupts, server.is_at_work()) == (1, False)


# Errors of the server


@pytest.mark.parametrize(
    ("refusal", "error", "says", "remedy"),
    [
        ((500, {"error": "OutOfMemoryError", "errors": "CUDA out of memory."}), Failed,
         "OutOfMemoryError: CUDA out of memory", "smaller size"),
        ((500, {"error": "RuntimeError", "detail": "", "errors": "model 'x' not found"}), Rejected,
         "model 'x' not found", "imagen models"),
        ((500, b"Internal Server Error"), Failed, "it gave no reason", "log"),
        ((500, "int() argument must be a string"), Failed, "must be a string", "log"),
        ((422, {"detail": [{"loc": ["body", "steps"], "msg": "not an integer"}]}), Rejected,
         "steps: not an integer", ""),
        ((400, {"error": "invalid params"}), Rejected, "invalid params", ""),
        ((413, b"<html>"), Rejected, "too large", "smaller images"),
        ((401, {"detail": "no"}), Unauthorized, "refused access", "basic_env"),
        ((503, {"error": "upstream"}), Lost, "may have the job", ""),
    ],
)  # fmt: skip
def test_each_answer_of_the_server_is_its_error(
    open_a1111: OpenA1111,
    refusal: tuple[int, Any],
    error: type[BackendError],
    says: str,
    remedy: str,
) -> None:
    server = A1111Server("forge", A1111Switches(refusal=refusal))
    backend = open_a1111(server)
    with pytest.raises(BackendError, match=r"\w") as caught:
        backend.collect(backend.prepare(REQUEST), no_progress)
    assert type(caught.value) is error
    assert says in caught.value.message
    assert remedy in caught.value.remedy
    assert caught.value.backend == "studio"


@pytest.mark.parametrize(
    ("answer", "says"), [("no-images", "without an image"), ("half", "Image 1")]
)
def test_no_image_and_half_an_image_are_no_success(
    open_a1111: OpenA1111, answer: Any, says: str
) -> None:
    server = A1111Server(switches=A1111Switches(answer=answer))
    backend = open_a1111(server)
    with pytest.raises(Failed, match=says):
        backend.collect(backend.prepare(REQUEST), no_progress)
