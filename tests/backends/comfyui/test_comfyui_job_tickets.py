"""The tickets that are reported while a job is submitted."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from support.comfyui_backends import REQUEST, SAMPLED, open_comfyui, run_request

from imagen.core.result import no_progress
from imagen.errors import BackendError, Cancelled, Lost, WorkflowError
from imagen.testing.comfyui import ComfyUI, FailureSwitches, GatewayAnswer

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagen.core.result import Progress
    from imagen.core.ticket import Ticket


def _note_in(tickets: list[Ticket]) -> Callable[[Progress], None]:
    """Keeps each ticket that is reported."""

    def note(progress: Progress) -> None:
        if progress.ticket is not None:
            tickets.append(progress.ticket)

    return note


def _refusing(status: int) -> GatewayAnswer:
    return GatewayAnswer(status=status, path="/prompt", method="POST", times=9, retry_after="3600")


@pytest.mark.parametrize(
    "switches",
    [
        pytest.param({"http_errors": (_refusing(401),)}, id="no access"),
        pytest.param({"http_errors": (_refusing(413),)}, id="too large"),
        pytest.param({"http_errors": (_refusing(429),)}, id="too many"),
        pytest.param({"http_errors": (_refusing(503),)}, id="trouble"),
        pytest.param({"missing_models": ["v1-5-pruned-emaonly-fp16.safetensors"]}, id="no model"),
    ],
)
def test_a_refused_ticket_is_reported_as_unsent(switches: dict[str, Any]) -> None:
    tickets: list[Ticket] = []
    with ComfyUI(**switches) as server, pytest.raises(BackendError):
        run_request(server, on_progress=_note_in(tickets))
    assert [ticket.submitted for ticket in tickets] == [True, False]


def test_a_ticket_that_is_not_json_is_reported_as_unsent() -> None:
    tickets: list[Ticket] = []
    with ComfyUI() as server, pytest.raises(WorkflowError, match="cannot be sent"):
        run_request(
            server,
            {**SAMPLED, "7": {**SAMPLED["7"], "inputs": {"width": "$<sparkle>"}}},
            request=REQUEST.with_values({"sparkle": float("nan")}),
            on_progress=_note_in(tickets),
        )
    assert [ticket.submitted for ticket in tickets] == [True, False]


def test_a_job_that_may_have_arrived_stays_submitted() -> None:
    tickets: list[Ticket] = []
    refused = GatewayAnswer(status=401, path="/history", times=9)
    with (
        ComfyUI(lost_post_response=1, http_errors=(refused,)) as server,
        pytest.raises(Lost, match="broke off while the job was submitted") as caught,
    ):
        run_request(server, on_progress=_note_in(tickets))
    assert not caught.value.is_certain
    assert [ticket.submitted for ticket in tickets] == [True]


@pytest.mark.parametrize("old", [False, True], ids=["new server", "old server"])
def test_a_job_cancelled_while_it_is_sent_is_cancelled_by_the_id_of_the_answer(old: bool) -> None:
    with ComfyUI(slow=0.7, step_seconds=1, old_server=old) as server:

        def cancel(progress: Progress) -> None:
            if progress.ticket is None:
                server.switches = FailureSwitches(old_server=old)
                raise Cancelled

        with pytest.raises(Cancelled) as caught:
            run_request(server, on_progress=cancel)
        assert len(server.prompts) == 1
        assert server.queue_state() == (None, [])
    assert caught.value.remedy == ""


@pytest.mark.parametrize("old", [False, True], ids=["new server", "old server"])
def test_a_job_cancelled_while_it_is_looked_up_is_cancelled_at_the_server(old: bool) -> None:
    with ComfyUI(step_seconds=1, old_server=old) as server:

        def cancel(_: Progress) -> None:
            server.switches = FailureSwitches(old_server=old)
            raise Cancelled

        with closing(open_comfyui(server.url)) as backend:
            ticket = backend.prepare(REQUEST)
            backend.client().submit(ticket.payload, ticket.id, "the-one-that-crashed")
            server.switches = FailureSwitches(slow=0.7, old_server=old)
            with pytest.raises(Cancelled):
                backend.collect(ticket.sent(client_id="the-one-that-crashed"), cancel)
        assert server.queue_state() == (None, [])


def test_a_failed_look_up_of_a_resumed_job_cancels_nothing() -> None:
    refused = GatewayAnswer(status=401, path="/history", times=1)
    with ComfyUI(step_seconds=0.05, http_errors=(refused,)) as server:
        with closing(open_comfyui(server.url)) as backend:
            ticket = backend.prepare(REQUEST)
            backend.client().submit(ticket.payload, ticket.id, "the-one-that-crashed")
            with pytest.raises(BackendError, match="401"):
                backend.collect(ticket.sent(), no_progress)
            assert len(backend.collect(ticket.sent(), no_progress).images) == 1
        assert server.interrupts == []


@pytest.mark.parametrize("lost", [0, 1], ids=["answered", "answer lost"])
def test_the_ticket_holds_the_graph_that_was_sent(lost: int) -> None:
    tickets: list[Ticket] = []
    theirs = "sd15/v1-5-pruned-emaonly-fp16.safetensors"
    with ComfyUI(models={"checkpoints": [theirs]}, lost_post_response=lost) as server:
        result = run_request(server, on_progress=_note_in(tickets))
        (body,) = server.prompts
    before, taken, *_ = tickets
    assert [ticket.payload["1"]["inputs"]["ckpt_name"] for ticket in (before, taken)] == [
        "v1-5-pruned-emaonly-fp16.safetensors",
        theirs,
    ]
    assert taken.payload == body["prompt"]
    assert taken.engine == before.engine | {"is_taken": True}
    assert "that was used" in result.warnings[0]
