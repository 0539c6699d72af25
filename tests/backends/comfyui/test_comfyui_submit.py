"""A job is submitted exactly once, with the requested values."""

from __future__ import annotations

import re
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from support.comfyui_backends import (
    REQUEST,
    SAMPLED,
    open_comfyui,
    request_paths,
    run_and_collect_progress,
    run_request,
)

from imagen.core.result import no_progress
from imagen.errors import (
    BackendError,
    Lost,
    RateLimited,
    Rejected,
    Unauthorized,
    Unavailable,
    WorkflowError,
)
from imagen.testing.comfyui import ComfyUI, GatewayAnswer

if TYPE_CHECKING:
    from imagen.core.result import Progress
    from imagen.core.ticket import Ticket


def test_a_part_that_the_server_skips_is_a_warning() -> None:
    graph = SAMPLED | {
        "100": {"class_type": "SaveImage", "inputs": {"images": ["90", 0], "filename_prefix": "b"}}
    }
    with ComfyUI(node_errors_200=True) as server:
        result = run_request(server, graph)
    assert len(result.images) == 1
    assert result.warnings[0].startswith("ComfyUI skipped a part: node ")


def test_a_server_that_refuses_access_is_asked_once() -> None:
    with ComfyUI(credential="Bearer right") as server, pytest.raises(Unauthorized) as caught:
        run_request(server)
    assert "backends.lab.bearer_env" in caught.value.remedy
    assert request_paths(server) == ["/ws", "/prompt"]


def test_an_unreachable_server_says_how_to_start_it() -> None:
    with ComfyUI() as server:
        pass
    with pytest.raises(Unavailable) as caught:
        run_request(server, hint="Ring Ada.")
    assert server.url in caught.value.message
    assert "python main.py --listen" in caught.value.remedy
    assert caught.value.remedy.endswith("Ring Ada.")


def test_a_starting_server_is_tried_again() -> None:
    starting = GatewayAnswer(status=503, times=2, path="/prompt", method="POST")
    with ComfyUI(http_errors=(starting,)) as server:
        assert len(run_request(server).images) == 1
        assert len(server.prompts) == 1


def test_retry_after_of_the_server_is_respected() -> None:
    soon = GatewayAnswer(status=429, path="/prompt", retry_after="0.01")
    with ComfyUI(http_errors=(soon,)) as server:
        assert len(run_request(server).images) == 1
    late = GatewayAnswer(status=429, path="/prompt", retry_after="3600")
    with ComfyUI(http_errors=(late,)) as server, pytest.raises(RateLimited) as caught:
        run_request(server)
    assert caught.value.retry_after_seconds == 3600


def test_times_are_in_seconds() -> None:
    with ComfyUI(step_seconds=0.05) as server:
        facts = run_request(server, poll_seconds=10).facts
    assert 0.1 < (facts.executing_seconds or 0) < 10
    assert (facts.latency_seconds or 0) >= (facts.executing_seconds or 0)
    assert 0 <= (facts.queued_seconds or -1.0) < 10
    assert facts.engine["node_seconds"]["8"] > 0.1


@pytest.mark.parametrize(
    "prompt",
    [
        pytest.param('say "hi" \\ and\nnew line\ttab', id="quotes and lines"),
        pytest.param("🦊 " * 1000 + "שלום \u202e مرحبا", id="emoji and right to left"),
        pytest.param("\x00\x1b[31m\x7f", id="control characters"),
        pytest.param("x" * 100_000, id="100 kB"),
        pytest.param("$<seed> and ${seed}", id="what looks like a token"),
    ],
)
def test_a_prompt_arrives_unchanged(prompt: str) -> None:
    with ComfyUI() as server:
        run_request(server, request=REQUEST.with_values({"prompt": prompt}))
        assert server.prompts[0]["prompt"]["5"]["inputs"]["text"] == prompt


def test_empty_text_and_zero_are_values() -> None:
    request = REQUEST.with_values({"seed": 0, "cfg": 0.0, "negative": "", "prompt": ""})
    with ComfyUI() as server:
        result = run_request(server, request=request)
        inputs = {node: said["inputs"] for node, said in server.prompts[0]["prompt"].items()}
        headers = server.requests[1].headers
    assert (inputs["8"]["seed"], inputs["8"]["cfg"]) == (0, 0.0)
    assert (inputs["5"]["text"], inputs["6"]["text"]) == ("", "")
    assert (result.facts.seed, result.facts.cfg) == (0, 0.0)
    assert "authorization" not in headers


def test_a_model_in_another_folder_is_found() -> None:
    theirs = "sd15\\V1-5-pruned-emaonly-fp16.safetensors"
    with ComfyUI(models={"checkpoints": [theirs]}) as server:
        result = run_request(server)
    assert result.facts.model == theirs
    assert result.warnings[0].startswith(
        "The server has 'v1-5-pruned-emaonly-fp16.safetensors' as 'sd15"
    )


def test_every_request_has_the_path_and_the_credential(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIO", "ada:lovelace")
    with ComfyUI(base_path="/gpu/1", credential=("ada", "lovelace")) as server:
        result = run_request(server, basic_env="STUDIO", headers={"X-Team": "art"})
        asked = {path.removeprefix("/gpu/1/") for path in request_paths(server)}
        assert asked >= {"ws", "prompt", "system_stats", "view"}
        assert all(path.startswith("/gpu/1/") for path in request_paths(server))
        assert {seen.headers["authorization"] for seen in server.requests} == {
            "Basic YWRhOmxvdmVsYWNl"
        }
        assert {seen.headers["x-team"] for seen in server.requests} == {"art"}
    assert (len(result.images), result.warnings) == (1, ())


@pytest.mark.parametrize("switch", ["lost_post_response", "lost_post_request"])
@pytest.mark.parametrize("old", [False, True], ids=["new server", "old server"])
def test_a_lost_answer_does_not_cause_a_second_job(switch: str, old: bool) -> None:
    switches: dict[str, Any] = {switch: 1, "old_server": old}
    with ComfyUI(**switches) as server:
        assert len(run_request(server).images) == 1
        assert len(server.prompts) == 1


def test_a_job_is_lost_when_its_server_dies() -> None:
    with ComfyUI(die=True) as server, pytest.raises(Lost, match="went away") as caught:
        run_request(server)
    assert not caught.value.is_certain  # it may only be out of reach


def test_a_job_is_lost_when_its_server_restarts_empty() -> None:
    again = ComfyUI(restart_empty=True)
    with again as server, pytest.raises(Lost, match="no longer knows") as caught:
        run_request(server, lost_seconds=10)
    assert caught.value.is_certain


def test_the_ticket_is_reported_before_anything_is_sent() -> None:
    with ComfyUI() as server:
        sent: list[tuple[bool, list[str]]] = []

        def note(progress: Progress) -> None:
            if progress.ticket is not None:
                sent.append((progress.ticket.submitted, request_paths(server)))

        run_request(server, on_progress=note)
    before, taken, *_ = sent
    assert before == (True, [])
    assert "/prompt" in taken[1]


def test_the_prompt_id_of_an_old_server_is_reported_when_it_is_known() -> None:
    with ComfyUI(old_server=True) as server:
        tickets = [p.ticket for p in run_and_collect_progress(server) if p.ticket]
        (theirs,) = server.history
    assert [t.engine["prompt_id"] for t in tickets[:2]] == [tickets[0].id, theirs]


def _crashed(server: ComfyUI, request: Any = REQUEST) -> Ticket:
    """The ticket of a job that its caller left without stopping it."""
    with closing(open_comfyui(server.url)) as backend:
        ticket = backend.prepare(request)
        client = backend.client()
        client.submit(ticket.payload, ticket.id, "the-one-that-crashed")
    return ticket.sent(prompt_id=ticket.id, client_id="the-one-that-crashed")


def test_a_submitted_ticket_is_found_and_not_sent_again() -> None:
    with ComfyUI(step_seconds=0.05) as server:
        ticket = _crashed(server)
        with closing(open_comfyui(server.url)) as backend:
            first = backend.collect(ticket, no_progress)
            again = backend.collect(ticket, no_progress)
        assert len(server.prompts) == 1
        assert "the-one-that-crashed" not in server.client_ids
    assert first.images[0].data == again.images[0].data


def test_a_submitted_ticket_is_found_on_an_old_server() -> None:
    with ComfyUI(old_server=True) as server:
        ticket = _crashed(server)
        with closing(open_comfyui(server.url)) as backend:
            assert len(backend.collect(ticket, no_progress).images) == 1
        assert len(server.prompts) == 1


def test_a_submitted_ticket_that_the_server_does_not_know_is_lost() -> None:
    with ComfyUI() as server, closing(open_comfyui(server.url)) as backend:
        ticket = backend.prepare(REQUEST).sent()
        with pytest.raises(Lost, match="does not know the job"):
            backend.collect(ticket, no_progress)
        assert server.prompts == []


def test_a_server_that_is_strict_about_ids_accepts_the_job() -> None:
    with ComfyUI(strict_uuid=True) as server:
        run_request(server)
        run_request(server)
        ids = [body["prompt_id"] for body in server.prompts]
    assert len(set(ids)) == 2
    assert all(re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", i) for i in ids)


def test_a_redirect_is_not_followed() -> None:
    with ComfyUI() as other, ComfyUI(redirect=other.url) as server:
        with pytest.raises(BackendError, match="redirects are not followed") as caught:
            run_request(server)
        assert other.requests == []
    assert other.url in caught.value.message


def test_a_graph_with_a_cycle_is_never_sent() -> None:
    graph = {
        "1": {"class_type": "ImageInvert", "inputs": {"image": ["2", 0]}},
        "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["2", 0]}},
    }
    with ComfyUI() as server:
        with pytest.raises(WorkflowError, match="depends on itself"):
            run_request(server, graph)
        assert request_paths(server) == []


def test_a_server_that_is_not_comfyui_is_reported() -> None:
    other = GatewayAnswer(status=404, path="/prompt", times=9)
    with ComfyUI(http_errors=(other,)) as server, pytest.raises(Rejected, match="404"):
        run_request(server)
