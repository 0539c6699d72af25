"""An answer of a gateway in sd-server's place says nothing about a job."""

from __future__ import annotations

import json
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from support.fake_sd_server import CAPABILITIES, FakeSdServer, GatewayAnswer
from support.raw_server import RawServer, answer_or_drip

from imagen.backends import open_backend
from imagen.backends.remote_job import cancel_and_confirm
from imagen.backends.sdcpp.config import SdCppConfig
from imagen.backends.sdcpp.server import SdServer as Backend
from imagen.backends.sdcpp.server import SdServerJob
from imagen.core.request import Lora, Request
from imagen.core.result import Progress, no_progress
from imagen.errors import (
    BackendError,
    Cancelled,
    Lost,
    RateLimited,
    Rejected,
    TimedOut,
    Unauthorized,
    Unavailable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from imagen.core.result import Result
    from imagen.core.ticket import Ticket

_REQUEST = Request(prompt="a fox", width=64, height=64, seed=7, steps=2)
_SUBMISSION, _LOOK = "POST /sdcpp/v1/img_gen", "GET /sdcpp/v1/jobs/"
_CANCEL = "POST /sdcpp/v1/jobs/"
_ANSWERS = {
    "an error as JSON": (200, '{"error": "no", "ok": false}'),
    "an empty object": (200, "{}"),
    "half a JSON": (200, '{"id": "job_6920_000000'),
    "a page": (200, "<html>Log in</html>"),
    "no access": (403, "<html>Forbidden</html>"),
    "a login": (401, ""),
    "another server": (404, "<html>Not found</html>"),
    "another API": (404, '{"error": "no such route"}'),
    "a timeout": (408, ""),
    "patience": (429, '{"error": "slow down"}'),
    "trouble": (500, "<html>Oops</html>"),
    "a bad gateway": (502, ""),
}
_answers = pytest.mark.parametrize(("status", "body"), _ANSWERS.values(), ids=_ANSWERS)


@pytest.fixture
def server() -> Iterator[FakeSdServer]:
    with closing(FakeSdServer()) as server:
        yield server


def _config(url: str, **more: Any) -> SdCppConfig:
    quick: dict[str, Any] = {"poll_seconds": 0.02, "connect_seconds": 1, "cancel_seconds": 0.2}
    return SdCppConfig(name="rigged", url=url, **(quick | more))


def _collect(
    url: str,
    *,
    request: Request = _REQUEST,
    sent: Ticket | None = None,
    clock: Callable[[], float] = time.monotonic,
    on_progress: Callable[[Progress], None] = no_progress,
    **more: Any,
) -> tuple[Result | BackendError, list[Ticket]]:
    """The result or the error, and the tickets that were reported."""
    tickets: list[Ticket] = []

    def note(progress: Progress) -> None:
        if progress.ticket is not None:
            tickets.append(progress.ticket)
        on_progress(progress)

    config = _config(url, **more)
    with closing(Backend(config)) as backend:
        ticket = sent or backend.prepare(request)
        job = SdServerJob(ticket, backend.client(), config, note, backend.read_info, clock=clock)
        try:
            return job.run(), tickets
        except BackendError as error:
            return error, tickets


def _fast_clock(server: FakeSdServer) -> Callable[[], float]:
    """A clock that advances by ten seconds with each look at a job."""
    return lambda: 10.0 * sum(asked.startswith(_LOOK) for asked in server.asked)


def _cancel_requests(server: FakeSdServer) -> list[str]:
    return [asked for asked in server.asked if asked.startswith(_CANCEL)]


@pytest.mark.parametrize("reaches", [False, True], ids=["did not arrive", "arrived"])
@_answers
def test_a_submission_answered_by_a_gateway_is_not_repeated(
    server: FakeSdServer, status: int, body: str, reaches: bool
) -> None:
    server.gateway = GatewayAnswer(_SUBMISSION, status, body, reaches=reaches)
    error, tickets = _collect(server.url)
    assert isinstance(error, Lost)
    assert (error.is_certain, error.never_ran) == (False, False)
    assert "sd-server has no list in which to look for the job" in error.message
    assert [(ticket.submitted, ticket.engine) for ticket in tickets] == [(True, {})]
    assert sum(asked.startswith(_SUBMISSION) for asked in server.asked) == 1
    assert len(server.jobs) == int(reaches)


@_answers
def test_nothing_is_submitted_to_anything_but_an_sd_server(
    server: FakeSdServer, status: int, body: str
) -> None:
    server.gateway = GatewayAnswer("", status, body)
    error, tickets = _collect(server.url)
    assert isinstance(error, BackendError)
    assert not isinstance(error, Lost)
    assert (tickets, [asked for asked in server.asked if "capabilities" not in asked]) == ([], [])


def test_a_ticket_is_reported_before_its_submission(server: FakeSdServer) -> None:
    told: list[tuple[bool, int]] = []

    def note(progress: Progress) -> None:
        if progress.ticket is not None:
            told.append((progress.ticket.submitted, len(server.jobs)))

    _collect(server.url, on_progress=note)
    assert told == [(True, 0), (True, 1)]


def test_a_ticket_without_an_id_is_not_submitted_again(server: FakeSdServer) -> None:
    with closing(Backend(_config(server.url))) as backend:
        sent = backend.prepare(_REQUEST).sent()
    error, _ = _collect(server.url, sent=sent)
    assert isinstance(error, Lost)
    assert (error.is_certain, error.never_ran) == (True, False)
    assert "never arrived" in error.message
    assert server.asked == []


@pytest.mark.parametrize(
    ("way", "kind", "words"),
    [
        pytest.param("rejected", Rejected, "invalid generation parameters", id="refused"),
        pytest.param("full", RateLimited, "job queue is full", id="full"),
        pytest.param("trouble", Unavailable, "bad allocation", id="trouble"),
    ],
)
def test_a_submission_refused_by_sd_server_is_not_submitted(
    server: FakeSdServer, way: str, kind: type[BackendError], words: str
) -> None:
    server.way = way
    error, tickets = _collect(server.url)
    assert (type(error), words in str(error)) == (kind, True)
    assert [ticket.submitted for ticket in tickets] == [True, False]


def test_a_request_too_large_for_the_gateway_is_not_submitted(server: FakeSdServer) -> None:
    server.gateway = GatewayAnswer(_SUBMISSION, 413, "<html>Too large</html>")
    error, tickets = _collect(server.url)
    assert isinstance(error, Rejected)
    assert "The request is too large for" in error.message
    assert [ticket.submitted for ticket in tickets] == [True, False]


def test_cancelling_an_unanswered_submission_leaves_the_job_in_doubt() -> None:
    def cancel(progress: Progress) -> None:
        if progress.ticket is None:
            raise Cancelled

    known = {"GET /sdcpp/v1/capabilities": CAPABILITIES}
    with RawServer(answer_or_drip(known)) as server, pytest.raises(Cancelled) as caught:
        _collect(server.url, on_progress=cancel)
    assert not caught.value.is_stopped
    assert "may have accepted it" in caught.value.remedy


@_answers
def test_a_job_survives_answers_of_a_gateway(server: FakeSdServer, status: int, body: str) -> None:
    server.gateway = GatewayAnswer(_LOOK, status, body, times=3)
    result, tickets = _collect(server.url, clock=_fast_clock(server), lost_seconds=0.001)
    assert not isinstance(result, BackendError)
    assert len(result.images) == 1
    assert (len(server.jobs), _cancel_requests(server), len(tickets)) == (1, [], 2)


@_answers
def test_a_job_is_in_doubt_after_30_seconds_of_gateway_answers(
    server: FakeSdServer, status: int, body: str
) -> None:
    server.way = "endless"
    server.gateway = GatewayAnswer(_LOOK, status, body, after=2)
    error, tickets = _collect(server.url, clock=_fast_clock(server))
    assert isinstance(error, Lost)
    assert "gave no state of the job for 30 seconds" in error.message
    assert (error.is_certain, tickets[-1].submitted) == (False, True)
    assert tickets[-1].engine == {"job_id": "job_6920_00000000"}
    assert _cancel_requests(server) == []


def test_outages_that_ended_do_not_add_up(server: FakeSdServer) -> None:
    """Three failed looks, an answer, and three more."""
    server.way = "slow"
    server.gateway = GatewayAnswer(_LOOK, 403, times=3)

    def note(progress: Progress) -> None:
        if progress.stage == "running" and server.gateway and server.gateway.after == 0:
            server.gateway = GatewayAnswer(_LOOK, 403, times=3, after=4)

    result, _ = _collect(server.url, clock=_fast_clock(server), on_progress=note)
    assert not isinstance(result, BackendError)
    assert server.gateway.after == 4


def test_a_job_unknown_to_sd_server_is_lost_at_once(server: FakeSdServer) -> None:
    server.way = "lost"
    error, _ = _collect(server.url)
    assert isinstance(error, Lost)
    assert error.is_certain
    assert sum(asked.startswith(_LOOK) for asked in server.asked) == 1


@pytest.mark.parametrize(
    ("way", "words"),
    [
        pytest.param("half", "image 1, which came cut short or damaged", id="half an image"),
        pytest.param("page", "image 1, which is not an image", id="a page"),
        pytest.param("garbled", "no base64 for image 1", id="not base64"),
    ],
)
def test_an_incomplete_image_is_requested_again(server: FakeSdServer, way: str, words: str) -> None:
    server.way = way
    error, _ = _collect(server.url, clock=_fast_clock(server))
    assert isinstance(error, Lost)
    assert (error.is_certain, words in error.message) == (False, True)
    assert _cancel_requests(server) == []

    def note(progress: Progress) -> None:
        looks = sum(asked.startswith(_LOOK) for asked in server.asked)
        if progress.stage == "queued" and looks >= seen + 2:
            server.way = "ok"

    server.way, seen = way, sum(asked.startswith(_LOOK) for asked in server.asked)
    result, _ = _collect(server.url, on_progress=note)
    assert not isinstance(result, BackendError)
    assert result.images[0].data.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "said",
    [
        {"id": "job_6920_00000001", "status": "completed", "result": {"images": []}},
        {"id": "job_6920_00000000", "status": "paused"},
        {"id": "job_6920_00000000", "status": "completed", "result": None},
        {"id": "job_6920_00000000", "status": "completed", "result": {"images": [7]}},
    ],
    ids=["another job", "another state", "no result", "an image that is a number"],
)
def test_only_a_complete_answer_about_this_job_counts(server: FakeSdServer, said: object) -> None:
    server.gateway = GatewayAnswer(_LOOK, 200, json.dumps(said), times=2)
    result, _ = _collect(server.url)
    assert not isinstance(result, BackendError)
    assert len(result.images) == 1


@_answers
def test_an_answer_of_a_gateway_does_not_confirm_a_cancellation(
    server: FakeSdServer, status: int, body: str
) -> None:
    server.way = "waits"
    config = _config(server.url, cancel_seconds=0)
    with closing(Backend(config)) as backend:
        ticket = backend.prepare(_REQUEST)
        id = backend.client().submit({"prompt": "a fox", "width": 64, "height": 64, "seed": 1})
        server.gateway = GatewayAnswer(_CANCEL, status, body)
        job = SdServerJob(ticket, backend.client(), config, no_progress, backend.read_info)
        doubt = cancel_and_confirm(job, job.policy, lambda: id)
    assert doubt.startswith("sd-server could not be asked to cancel the job: ")


@_answers
def test_cached_capabilities_outlive_a_gateway(
    server: FakeSdServer, status: int, body: str, tmp_path: Path
) -> None:
    block = {"type": "sdcpp", "url": server.url, "cache_dir": str(tmp_path)}
    with closing(open_backend("rigged", {"rigged": block})) as engine:
        assert engine.check().ok
        server.gateway = GatewayAnswer("", status, body)
        assert not engine.check().ok
        assert engine.capabilities().parameters["count"].max == 4


def test_loras_are_looked_up_without_another_request(server: FakeSdServer) -> None:
    _collect(server.url, request=_REQUEST.with_values({"loras": (Lora(name="ink"),)}))
    assert [asked for asked in server.asked if "capabilities" in asked] == [
        "GET /sdcpp/v1/capabilities"
    ]


@pytest.mark.parametrize("drips", ["GET /sdcpp/v1/capabilities", _SUBMISSION, _LOOK])
def test_a_server_that_answers_byte_by_byte_cannot_exceed_total_seconds(drips: str) -> None:
    answers = {
        "GET /sdcpp/v1/capabilities": CAPABILITIES,
        _SUBMISSION: {"id": "job_1"},
        _LOOK: {"id": "job_1", "status": "queued"},
    }
    del answers[drips]
    with RawServer(answer_or_drip(answers)) as server:
        error, _ = _collect(server.url, total_seconds=0.5)
    assert isinstance(error, TimedOut)
    assert "took more than 0.5 s in all" in error.message
    assert error.is_stopped is ("capabilities" in drips)


def test_a_token_that_expires_leaves_the_job_in_doubt(server: FakeSdServer) -> None:
    server.way = "endless"
    server.gateway = GatewayAnswer(_LOOK, 401, after=1)
    error, _ = _collect(server.url, clock=_fast_clock(server))
    assert isinstance(error, Lost)
    assert isinstance(error.__cause__, Unauthorized)
    assert "bearer_env" in error.remedy
