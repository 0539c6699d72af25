"""A gateway that answers in ComfyUI's place says nothing about a job."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from support.comfyui_backends import REQUEST, open_comfyui, run_request

from imagen.core.result import no_progress
from imagen.errors import BackendError, Lost, Unauthorized
from imagen.testing.comfyui import ComfyUI, GatewayAnswer

if TYPE_CHECKING:
    from imagen.core.result import Progress
    from imagen.core.ticket import Ticket

_ANSWERS: dict[str, dict[str, Any]] = {
    "an error as JSON": {"status": 200, "body": '{"error": "no", "ok": false}'},
    "an empty object": {"status": 200, "body": "{}"},
    "half a JSON": {"status": 200, "body": '{"prompt_id": "0', "content_type": "application/json"},
    "a page": {"status": 200, "body": "<html>Log in</html>", "content_type": "text/html"},
    "a timeout": {"status": 408, "body": ""},
    "no access": {"status": 403, "body": "<html>Forbidden</html>", "content_type": "text/html"},
    "a bad request": {"status": 400, "body": '{"error": "no"}'},
    "another server": {"status": 404, "body": ""},
    "patience": {"status": 429, "body": "", "retry_after": "0.01"},
    "a bad gateway": {"status": 502, "body": ""},
}
_ON_QUESTIONS = {
    name: _ANSWERS[name]
    for name in ("an error as JSON", "half a JSON", "a page", "a timeout", "no access")
}


def _collected(server: ComfyUI, **block: Any) -> tuple[int, list[Ticket]]:
    """How many images came, and the tickets that were reported."""
    tickets: list[Ticket] = []

    def note(progress: Progress) -> None:
        if progress.ticket is not None:
            tickets.append(progress.ticket)

    return len(run_request(server, on_progress=note, **block).images), tickets


@pytest.mark.parametrize("said", _ANSWERS.values(), ids=_ANSWERS)
@pytest.mark.parametrize("old", [False, True], ids=["new server", "old server"])
def test_a_job_is_found_after_a_gateway_replaced_the_answer(
    said: dict[str, Any], old: bool
) -> None:
    replaced = GatewayAnswer(path="/prompt", method="POST", reaches=True, **said)
    with ComfyUI(http_errors=(replaced,), old_server=old) as server:
        images, tickets = _collected(server)
        assert (images, len(server.prompts)) == (1, 1)
    assert tickets[-1].engine["is_taken"]


@pytest.mark.parametrize("said", _ANSWERS.values(), ids=_ANSWERS)
def test_a_job_that_did_not_arrive_is_unsent_or_sent_again(said: dict[str, Any]) -> None:
    refused = GatewayAnswer(path="/prompt", method="POST", times=99, **said)
    tickets: list[Ticket] = []
    with ComfyUI(http_errors=(refused,)) as server, closing(open_comfyui(server.url)) as backend:
        ticket = backend.prepare(REQUEST)
        with pytest.raises(BackendError) as caught:
            backend.collect(ticket, lambda p: tickets.append(p.ticket) if p.ticket else None)
        assert server.prompts == []
    assert not isinstance(caught.value, Lost)
    assert [ticket.submitted for ticket in tickets] == [True, False]


@pytest.mark.parametrize("said", _ON_QUESTIONS.values(), ids=_ON_QUESTIONS)
@pytest.mark.parametrize("path", ["/history", "/queue"])
def test_a_job_that_cannot_be_looked_up_stays_submitted(path: str, said: dict[str, Any]) -> None:
    shut = GatewayAnswer(path=path, method="GET", times=99, **said)
    tickets: list[Ticket] = []
    with ComfyUI(lost_post_response=1, http_errors=(shut,), step_seconds=1) as server:
        with closing(open_comfyui(server.url)) as backend, pytest.raises(Lost) as caught:
            backend.collect(
                backend.prepare(REQUEST), lambda p: tickets.append(p.ticket) if p.ticket else None
            )
        assert len(server.prompts) == 1
    assert "broke off while the job was submitted" in caught.value.message
    assert (caught.value.is_certain, caught.value.never_ran) == (False, False)
    assert [ticket.submitted for ticket in tickets] == [True]


@pytest.mark.parametrize("said", _ON_QUESTIONS.values(), ids=_ON_QUESTIONS)
@pytest.mark.parametrize("path", ["/history", "/queue"])
def test_a_running_job_survives_what_a_gateway_answers(path: str, said: dict[str, Any]) -> None:
    between = GatewayAnswer(path=path, method="GET", times=6, **said)
    with ComfyUI(silent=True, step_seconds=0.1, http_errors=(between,)) as server:
        assert _collected(server, lost_seconds=0.001)[0] == 1
        assert (len(server.prompts), server.interrupts) == (1, [])


@pytest.mark.parametrize("said", _ON_QUESTIONS.values(), ids=_ON_QUESTIONS)
@pytest.mark.parametrize("path", ["/history", "/queue"])
def test_a_resumed_job_is_not_lost_because_of_a_gateway(path: str, said: dict[str, Any]) -> None:
    shut = GatewayAnswer(path=path, method="GET", times=99, **said)
    with ComfyUI(http_errors=(shut,), step_seconds=5) as server:
        with closing(open_comfyui(server.url)) as backend:
            ticket = backend.prepare(REQUEST)
            backend.client().submit(ticket.payload, ticket.id, "the-one-that-crashed")
            with pytest.raises(BackendError) as caught:
                backend.collect(ticket.sent(), no_progress)
        assert (len(server.prompts), server.interrupts) == (1, [])
    assert not isinstance(caught.value, Lost)


def test_refused_access_to_everything_leaves_the_ticket_unsent() -> None:
    shut = GatewayAnswer(status=403, times=99)
    with ComfyUI(http_errors=(shut,)) as server, pytest.raises(Unauthorized):
        run_request(server)


def test_a_job_that_arrives_late_is_not_sent_twice() -> None:
    with ComfyUI(lost_post_response=1, taken_late=3) as server:
        assert _collected(server)[0] == 1
        assert len(server.prompts) == 1
