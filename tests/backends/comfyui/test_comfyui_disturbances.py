"""Disturbances while following a job, by a clock that each look moves on."""

from __future__ import annotations

import json
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from support.comfyui_backends import (
    REQUEST,
    SAMPLED,
    job_progress,
    open_comfyui,
    request_paths,
    run_request,
)

from imagen.backends import validate_block
from imagen.backends.comfyui import ComfyUIConfig, uploads
from imagen.backends.comfyui.follow import ComfyJobRecord, ComfyProgress, JobFollower
from imagen.backends.comfyui.websocket import ComfyWebSocket
from imagen.errors import BackendError, Cancelled, Lost, Rejected, TimedOut, Unavailable
from imagen.testing.comfyui import ComfyUI, FailureSwitches, GatewayAnswer

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagen.core.result import Progress

_LOOK_SECONDS = 10.0
"""How much later it is after each question."""


def _ended(server: ComfyUI, *script: str, counted: str = "/queue", **block: Any) -> BackendError:
    """How the wait ends for a job behind a stranger's, if `/queue` gives these answers first."""
    server.submit_foreign(seconds=60)
    with closing(open_comfyui(server.url)) as backend:
        ticket = backend.prepare(REQUEST)
        comfy_socket = ComfyWebSocket(backend.client(), 5)
        comfy_socket.open()
        backend.client().submit(ticket.payload, ticket.id, comfy_socket.client_id)
        comfy_socket.prompt_id = ticket.id
        answers = (_refusal(word, ticket.id) for word in script)
        server.switches = FailureSwitches(http_errors=(*answers, *server.switches.http_errors))

        def clock() -> float:
            looks = sum(path.startswith(counted) for path in request_paths(server))
            return time.monotonic() + looks * _LOOK_SECONDS

        usual = {"poll_seconds": 0.02, "total_seconds": 200, "idle_seconds": 1000} | block
        known = {"url": server.url, "workflow": "x", **usual}
        config = validate_block("lab", known, ComfyUIConfig)
        record, comfy_progress = (
            ComfyJobRecord(ticket.payload),
            ComfyProgress(ticket.payload, job_progress()),
        )
        follower = JobFollower(
            backend.client(), comfy_socket, record, comfy_progress, config, clock=clock
        )
        with pytest.raises(BackendError) as caught:
            follower.follow()
        comfy_socket.close()
    return caught.value


def _refusal(word: str, prompt_id: str) -> GatewayAnswer:
    ours, other = ([0, id, {}, {}, []] for id in (prompt_id, f"stranger {word}"))
    queues: dict[str, tuple[list[Any], list[Any]]] = {
        "gone": ([], []),
        "stalled": ([], [ours]),
        "runs": ([ours], []),
    }
    if word == "cut":
        return GatewayAnswer(path="/queue", cuts=True)
    if word.isdigit():
        return GatewayAnswer(path="/queue", status=int(word))
    running, pending = queues.get(word, ([other], [ours]))
    body = json.dumps({"queue_running": running, "queue_pending": pending})
    return GatewayAnswer(path="/queue", status=200, body=body)


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(("stalled", "behind", "stalled"), id="two short stalls"),
        pytest.param(("gone", "runs", "gone", "runs"), id="missed twice, not in a row"),
        pytest.param(("cut", "runs", "cut"), id="two outages with an answer between them"),
        pytest.param(("cut", "503", "cut"), id="two outages with trouble between them"),
        pytest.param(("401", "401", "runs", "401", "401"), id="refused twice for a while"),
    ],
)
def test_separate_disturbances_do_not_add_up(script: tuple[str, ...]) -> None:
    with ComfyUI() as server:
        error = _ended(server, *script, lost_seconds=15)
    assert isinstance(error, TimedOut)
    assert "in all" in error.message


@pytest.mark.parametrize(
    ("script", "kind", "words"),
    [
        pytest.param(
            ("stalled",) * 9, "failed", "runs none of the jobs in its queue", id="a stall"
        ),
        pytest.param(("gone",) * 9, "lost", "no longer knows the job", id="missed"),
        pytest.param(("cut",) * 9, "lost", "went away while it had the job", id="an outage"),
        pytest.param(("401",) * 9, "lost", "refused access: 401", id="refused"),
        pytest.param(("404",) * 9, "lost", "refused the request: 404", id="another server"),
    ],
)
def test_a_lasting_disturbance_ends_the_wait(
    script: tuple[str, ...], kind: str, words: str
) -> None:
    with ComfyUI() as server:
        error = _ended(server, *script, lost_seconds=15)
        looks = sum(path == "/queue" for path in request_paths(server))
    assert (error.code, words in error.message) == (kind, True)
    assert looks <= 6  # within a minute


def test_a_job_behind_a_dead_worker_times_out() -> None:
    with ComfyUI(worker_dies=True) as server:
        error = _ended(server, idle_seconds=35)
    assert isinstance(error, TimedOut)
    assert error.message == (
        "The job took more than 35 seconds without any progress: it waits in the queue behind a "
        "job that does not end."
    )
    assert "restart ComfyUI" in error.remedy


@pytest.mark.parametrize(
    ("trouble", "words", "remedy"),
    [
        pytest.param("401", "refused access: 401", "bearer_env", id="a session that ran out"),
        pytest.param("502", "reports an error: 502", "idle_seconds", id="a gateway"),
    ],
)
def test_a_timeout_does_not_quote_an_outdated_queue_position(
    trouble: str, words: str, remedy: str
) -> None:
    with ComfyUI() as server:
        error = _ended(server, "other", *(trouble,) * 9, idle_seconds=25)
    assert isinstance(error, TimedOut)
    assert error.message.startswith(
        "The job took more than 25 seconds without any progress. Its state could not be read: "
    )
    assert words in error.message
    assert remedy in error.remedy


def test_a_job_waits_while_the_jobs_before_it_make_progress() -> None:
    with ComfyUI() as server:
        error = _ended(server, *map("other {}".format, range(99)), idle_seconds=35)
    assert "in all" in error.message


@pytest.mark.parametrize(
    ("script", "is_certain"),
    [
        pytest.param(("runs", "gone", "gone"), False, id="it ran, and no connection broke"),
        pytest.param(("behind", "gone", "gone"), True, id="it waited, and somebody deleted it"),
    ],
)
def test_a_job_that_ran_and_vanished_is_lost_without_certainty(
    script: tuple[str, ...], is_certain: bool
) -> None:
    with ComfyUI() as server:
        error = _ended(server, *script)
    assert isinstance(error, Lost)
    assert error.is_certain is is_certain


def test_a_job_is_lost_without_certainty_after_access_was_refused() -> None:
    with ComfyUI() as server:
        error = _ended(server, *("401",) * 9)
    assert isinstance(error, Lost)
    assert not error.is_certain
    assert "bearer_env" in error.remedy


def test_a_lost_job_is_not_cancelled_when_the_server_is_back() -> None:
    broken = (
        GatewayAnswer(path="/history", cuts=True, times=10**6),
        GatewayAnswer(path="/queue", method="GET", cuts=True, times=10**6),
    )
    with ComfyUI(silent=True, silent_load=60, http_errors=broken) as server:
        with pytest.raises(Lost, match="went away"):
            run_request(server)
        changes = [seen.path for seen in server.requests if seen.method == "POST"]
    assert changes == ["/prompt"]


def _cancel_once(path: str, server: ComfyUI) -> Callable[[Progress], None]:
    def cancel(_: Progress) -> None:
        if path in request_paths(server):
            server.switches = FailureSwitches(http_errors=server.switches.http_errors)
            raise Cancelled

    return cancel


def test_a_cancelled_submission_is_not_sent_again() -> None:
    later = GatewayAnswer(path="/prompt", status=429, times=9, retry_after="3")
    with ComfyUI(http_errors=(later,)) as server:
        with pytest.raises(Cancelled) as caught:
            run_request(server, on_progress=_cancel_once("/prompt", server))
        assert request_paths(server).count("/prompt") == 1
    assert caught.value.is_stopped


def test_a_job_that_arrives_after_its_cancellation_is_cancelled() -> None:
    with ComfyUI(slow=3, step_seconds=1) as server:
        with pytest.raises(Cancelled) as caught:
            run_request(server, on_progress=_cancel_once("/prompt", server))
        assert len(server.prompts) == 1
        assert server.queue_state() == (None, [])
    assert caught.value.is_stopped


def test_each_connection_of_a_submission_has_its_own_client_id() -> None:
    starting = GatewayAnswer(path="/prompt", status=503)
    with ComfyUI(http_errors=(starting,)) as server:
        run_request(server)
        assert len(set(server.client_ids)) == server.sockets_opened == 2


def test_a_refusal_is_explained_without_the_node_catalog() -> None:
    node = SAMPLED["8"] | {"inputs": SAMPLED["8"]["inputs"] | {"sampler_name": "eulr"}}
    hidden = GatewayAnswer(path="/object_info", times=9)
    with ComfyUI(http_errors=(hidden,)) as server, pytest.raises(Rejected, match="eulr"):
        run_request(server, SAMPLED | {"8": node})


def test_a_websocket_that_is_refused_twice_is_opened_at_the_third_attempt() -> None:
    refused = GatewayAnswer(path="/ws", status=403, after=1, times=2)
    with ComfyUI(drop_at="status", http_errors=(refused,)) as server:
        server.submit_foreign(seconds=60)

        def enough(_: Progress) -> None:
            if server.sockets_opened == 2:
                raise Cancelled

        with pytest.raises(Cancelled):
            run_request(server, on_progress=enough, total_seconds=30)


def test_a_broken_websocket_triggers_a_look_at_once() -> None:
    with ComfyUI(drop_at="end") as server:
        assert len(run_request(server, poll_seconds=60, total_seconds=10).images) == 1


def test_closing_the_backend_ends_the_wait() -> None:
    with (
        ComfyUI(silent=True, silent_load=60) as server,
        closing(open_comfyui(server.url)) as backend,
    ):

        def close(progress: Progress) -> None:
            if progress.stage == "running" or "/queue" in request_paths(server):
                backend.close()

        with pytest.raises(BackendError, match="was closed while it worked"):
            backend.collect(backend.prepare(REQUEST), close)


def test_a_silent_server_is_given_up_after_idle_seconds() -> None:
    silent = GatewayAnswer(hangs=True, times=10**6)
    with ComfyUI(http_errors=(silent,)) as server:
        with pytest.raises(Lost, match="does not answer, and cannot be asked") as caught:
            run_request(server, connect_seconds=0.5, idle_seconds=1.5)
        asked = [path.split("/")[1] for path in request_paths(server)]
    assert asked == ["ws", "prompt", "history"]
    assert not caught.value.is_certain


def test_an_unanswered_submission_is_not_sent_again() -> None:
    held = GatewayAnswer(path="/prompt", method="POST", hangs=True)
    with ComfyUI(http_errors=(held,)) as server:
        with pytest.raises(Lost, match="does not answer, and does not have the job yet") as caught:
            run_request(server, idle_seconds=1)
        assert request_paths(server).count("/prompt") == 1
    assert not caught.value.is_certain


def test_a_file_without_a_content_type_gets_the_type_of_its_name() -> None:
    plain = GatewayAnswer(
        path="/view",
        after=3,
        status=200,
        body="fLaC sound",
        content_type="application/octet-stream",
    )
    with ComfyUI(extra_outputs=True, http_errors=(plain,)) as server:
        sound = next(one for one in run_request(server).outputs if one.name.endswith(".flac"))
    assert sound.media_type in ("audio/flac", "audio/x-flac")


def test_an_unanswered_upload_is_sent_once() -> None:
    Image.new("RGB", (8, 8)).save("fox.png")
    upload, _ = uploads.plan_upload("fox.png", "image")
    silent = GatewayAnswer(path="/upload", hangs=True, times=9)
    with ComfyUI(http_errors=(silent,)) as server:
        with (
            closing(open_comfyui(server.url, idle_seconds=0.5)) as backend,
            pytest.raises(Unavailable, match="did not answer in time"),
        ):
            uploads.send_uploads(backend.client(), [upload], {})
        assert request_paths(server) == ["/upload/image"]
