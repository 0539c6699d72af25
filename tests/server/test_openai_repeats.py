"""A call that its client repeats is one job, and one that its client leaves is cancelled."""

from __future__ import annotations

import json
import time
from contextlib import closing
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import pytest
from support.openai_server import BACKENDS, SIZE, decode, openai_server

from imagen.errors import (
    Cancelled,
    Failed,
    ImagenError,
    Lost,
    OverBudget,
    RateLimited,
    Rejected,
    TimedOut,
    Unauthorized,
    Unavailable,
)
from imagen.server.openai.submit import status_of_failure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.live_server import LiveServer

    from imagen.jobs.model import QueuedJob, QueueState

_URL = "/v1/images/generations"
_DEADLINE_SECONDS = 20.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with openai_server(tmp_path_factory.mktemp("openai"), BACKENDS) as running:
        yield running


def _body(backend: str, steps: int = 1, **more: Any) -> dict[str, Any]:
    return {"model": backend, "prompt": uuid4().hex, "size": SIZE, "steps": steps, **more}


def _leave(server: LiveServer, body: dict[str, Any], headers: dict[str, str]) -> QueuedJob:
    """Send a call, leave once it has a job, and return the job."""
    url = httpx.URL(server.url)
    with closing(HTTPConnection(url.host, url.port, timeout=_DEADLINE_SECONDS)) as connection:
        content = {"Content-Type": "application/json", **headers}
        connection.request("POST", _URL, json.dumps(body), content)
        return _only_job(server, body)


def _only_job(server: LiveServer, body: dict[str, Any]) -> QueuedJob:
    """The job of a call, which the server may still be submitting."""
    until = time.monotonic() + _DEADLINE_SECONDS
    while not (jobs := [j for j in server.runtime.store.list_jobs() if j.name == body["prompt"]]):
        assert time.monotonic() < until, "there is no job"
        time.sleep(0.02)
    (job,) = jobs
    return job


def _wait_for_state(server: LiveServer, job: QueuedJob, state: QueueState) -> None:
    until = time.monotonic() + _DEADLINE_SECONDS
    while (now := server.runtime.store.read(job.id).state) != state:
        assert time.monotonic() < until, f"it is {now}, not {state}"
        time.sleep(0.02)


def test_a_client_that_leaves_cancels_its_job(server: LiveServer) -> None:
    job = _leave(server, _body("slow", steps=100), {})
    _wait_for_state(server, job, "cancelled")


def test_a_client_that_leaves_a_stream_cancels_its_job(server: LiveServer) -> None:
    body = _body("slow", steps=100, stream=True)
    with server.client.stream("POST", _URL, json=body) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        job = _only_job(server, body)
    _wait_for_state(server, job, "cancelled")


def test_a_call_that_openais_client_repeats_gets_the_job_of_the_first(server: LiveServer) -> None:
    body = _body("slow", steps=3)
    job = _leave(server, body, {"X-Stainless-Retry-Count": "0"})
    answer = server.client.post(_URL, json=body, headers={"X-Stainless-Retry-Count": "1"})
    assert answer.status_code == 200
    assert decode(answer.json()["data"][0]["b64_json"]).size == (64, 48)
    assert answer.json()["imagen"]["job"] == _only_job(server, body).id == job.id


def test_the_same_call_that_is_no_repetition_is_another_job(server: LiveServer) -> None:
    body, headers = _body("mock"), {"X-Stainless-Retry-Count": "0"}
    answers = [server.client.post(_URL, json=body, headers=headers).json() for _ in range(2)]
    assert len({answer["imagen"]["job"] for answer in answers}) == 2


def test_a_repetition_gets_its_job_from_the_next_server(tmp_path: Path) -> None:
    body, blocks = _body("slow", steps=3), {"slow": BACKENDS["slow"]}
    with openai_server(tmp_path, blocks) as first:
        job = _leave(first, body, {"X-Stainless-Retry-Count": "0"})
    with openai_server(tmp_path, blocks) as second:
        answer = second.client.post(_URL, json=body, headers={"X-Stainless-Retry-Count": "1"})
        assert answer.status_code == 200
        assert answer.json()["imagen"]["job"] == _only_job(second, body).id == job.id


def test_a_repetition_of_a_cancelled_call_is_another_job(server: LiveServer) -> None:
    body = _body("slow", steps=5)
    job = _leave(server, body, {"X-Stainless-Retry-Count": "0"})
    server.runtime.store.cancel(job.id)
    _wait_for_state(server, job, "cancelled")
    headers = {"X-Stainless-Retry-Count": "1"}
    answer = server.client.post(_URL, json=body, headers=headers)
    assert answer.status_code == 200
    assert answer.json()["imagen"]["job"] != job.id


def test_a_repetition_of_a_call_whose_job_failed_gets_its_error(server: LiveServer) -> None:
    body = _body("broken")
    for retries in ("0", "1"):
        headers = {"X-Stainless-Retry-Count": retries}
        assert server.client.post(_URL, json=body, headers=headers).status_code == 424
    _only_job(server, body)


def test_a_repetition_whose_first_call_never_came_is_submitted(server: LiveServer) -> None:
    headers = {"X-Stainless-Retry-Count": "2"}
    assert server.client.post(_URL, json=_body("mock"), headers=headers).status_code == 200


def test_calls_with_one_idempotency_key_are_one_job(server: LiveServer) -> None:
    body, headers = _body("mock", n=2), {"Idempotency-Key": uuid4().hex}
    first, second = (server.client.post(_URL, json=body, headers=headers) for _ in range(2))
    assert first.json()["data"] == second.json()["data"]
    assert first.json()["imagen"]["job"] == second.json()["imagen"]["job"]
    other = server.client.post(_URL, json=_body("mock"), headers=headers)
    assert other.status_code == 400
    assert other.json()["error"]["param"] == "Idempotency-Key"


def test_a_job_with_an_idempotency_key_goes_on_without_its_client(server: LiveServer) -> None:
    job = _leave(server, _body("slow", steps=4), {"Idempotency-Key": uuid4().hex})
    _wait_for_state(server, job, "done")


@pytest.mark.parametrize("backend", ["broken", "picky"])
@pytest.mark.parametrize("path", ["generations", "stream"])
def test_a_job_without_an_image_is_never_a_success(
    server: LiveServer, backend: str, path: str
) -> None:
    answer = server.client.post(_URL, json=_body(backend, stream=path == "stream"))
    if path == "generations":
        assert answer.status_code in (400, 424)
        assert "as configured" in answer.json()["error"]["message"]
    else:
        assert answer.text.startswith(": keep-alive\n\nevent: error\n")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Rejected("x"), 400),
        (OverBudget("x"), 402),
        (Failed("x"), 424),
        (Lost("x"), 424),
        (TimedOut("x"), 424),
        (Cancelled(), 424),
        (Unauthorized("x"), 424),
        (RateLimited("x"), 429),
        (Unavailable("x"), 503),
    ],
    ids=lambda value: getattr(value, "code", value),
)
def test_only_failures_before_a_job_ran_have_a_status_that_clients_repeat(
    error: ImagenError, status: int
) -> None:
    assert status_of_failure(error) == status
