"""What disturbs the wait for a job, and what ends it: by a clock that looks move on."""

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
        listener = ComfyWebSocket(backend.client(), 5)
        listener.open()
        backend.client().submit(ticket.payload, ticket.id, listener.client_id)
        listener.prompt_id = ticket.id
        answers = (_refusal(word, ticket.id) for word in script)
        server.switches = FailureSwitches(http_errors=(*answers, *server.switches.http_errors))

        def clock() -> float:
            looks = sum(path.startswith(counted) for path in request_paths(server))
            return time.monotonic() + looks * _LOOK_SECONDS

        usual = {"poll_seconds": 0.02, "total_seconds": 200, "idle_seconds": 1000} | block
        known = {"url": server.url, "workflow": "x", **usual}
        config = validate_block("lab", known, ComfyUIConfig)
        record, telling = (
            ComfyJobRecord(ticket.payload),
            ComfyProgress(ticket.payload, job_progress()),
        )
        following = JobFollower(backend.client(), listener, record, telling, config, clock=clock)
        with pytest.raises(BackendError) as caught:
            following.follow()
        listener.close()
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
def test_disturbances_that_ended_do_not_add_up(script: tuple[str, ...]) -> None:
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
def test_a_disturbance_that_lasts_ends_the_wait(
    script: tuple[str, ...], kind: str, words: str
) -> None:
    with ComfyUI() as server:
        error = _ended(server, *script, lost_seconds=15)
        looks = sum(path == "/queue" for path in request_paths(server))
    assert (error.code, words in error.message) == (kind, True)
    assert looks <= 6  # within a minute


def test_a_job_behind_one_whose_worker_died_is_not_waited_for() -> None:
    """It stays listed as running, and nothing behind it ever runs."""
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
def test_what_an_old_look_saw_is_not_said_of_a_job_that_can_not_be_looked_for(
    trouble: str, words: str, remedy: str
) -> None:
    """It waited in the queue before."""
    with ComfyUI() as server:
        error = _ended(server, "other", *(trouble,) * 9, idle_seconds=25)
    assert isinstance(error, TimedOut)
    assert error.message.startswith(
        "The job took more than 25 seconds without any progress. Its state could not be read: "
    )
    assert words in error.message
    assert remedy in error.remedy


def test_a_job_behind_others_that_get_on_is_waited_for() -> None:
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
def test_the_history_of_a_job_that_ran_may_be_hidden(
    script: tuple[str, ...], is_certain: bool
) -> None:
    """A cache before the server answers with an old history; a restart breaks the websocket."""
    with ComfyUI() as server:
        error = _ended(server, *script)
    assert isinstance(error, Lost)
    assert error.is_certain is is_certain


def test_access_that_is_refused_for_good_may_come_back() -> None:
    """A session ran out in the middle of the job, which goes on."""
    with ComfyUI() as server:
        error = _ended(server, *("401",) * 9)
    assert isinstance(error, Lost)
    assert not error.is_certain
    assert "bearer_env" in error.remedy


def test_a_server_that_went_away_is_not_told_to_stop_when_it_is_back() -> None:
    """Its questions break off; what changes anything would get through."""
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


def test_a_submission_that_is_cancelled_is_not_sent_again() -> None:
    """The server asked for patience, and it would have been sent again after that."""
    later = GatewayAnswer(path="/prompt", status=429, times=9, retry_after="3")
    with ComfyUI(http_errors=(later,)) as server:
        with pytest.raises(Cancelled) as caught:
            run_request(server, on_progress=_cancel_once("/prompt", server))
        assert request_paths(server).count("/prompt") == 1
    assert caught.value.is_stopped


def test_a_job_that_arrives_after_it_was_cancelled_is_taken_back() -> None:
    """Not to find it means nothing while its submission is still on its way."""
    with ComfyUI(slow=3, step_seconds=1) as server:
        with pytest.raises(Cancelled) as caught:
            run_request(server, on_progress=_cancel_once("/prompt", server))
        assert len(server.prompts) == 1
        assert server.queue_state() == (None, [])
    assert caught.value.is_stopped


def test_each_connection_of_a_submission_has_a_name_of_its_own() -> None:
    starting = GatewayAnswer(path="/prompt", status=503)
    with ComfyUI(http_errors=(starting,)) as server:
        run_request(server)
        assert len(set(server.client_ids)) == server.sockets_opened == 2


def test_a_refusal_needs_no_catalogue() -> None:
    """Where it can't be had, the server's own words are enough."""
    node = SAMPLED["8"] | {"inputs": SAMPLED["8"]["inputs"] | {"sampler_name": "eulr"}}
    hidden = GatewayAnswer(path="/object_info", times=9)
    with ComfyUI(http_errors=(hidden,)) as server, pytest.raises(Rejected, match="eulr"):
        run_request(server, SAMPLED | {"8": node})


def test_a_socket_that_is_refused_twice_is_opened_the_third_time() -> None:
    refused = GatewayAnswer(path="/ws", status=403, after=1, times=2)
    with ComfyUI(drop_at="status", http_errors=(refused,)) as server:
        server.submit_foreign(seconds=60)

        def enough(_: Progress) -> None:
            if server.sockets_opened == 2:
                raise Cancelled

        with pytest.raises(Cancelled):
            run_request(server, on_progress=enough, total_seconds=30)


def test_a_job_is_looked_for_as_soon_as_the_socket_breaks() -> None:
    with ComfyUI(drop_at="end") as server:
        assert len(run_request(server, poll_seconds=60, total_seconds=10).images) == 1


def test_a_wait_ends_with_its_backend() -> None:
    with (
        ComfyUI(silent=True, silent_load=60) as server,
        closing(open_comfyui(server.url)) as backend,
    ):

        def close(progress: Progress) -> None:
            if progress.stage == "running" or "/queue" in request_paths(server):
                backend.close()

        with pytest.raises(BackendError, match="was closed while it worked"):
            backend.collect(backend.prepare(REQUEST), close)


def test_a_server_that_never_answers_is_given_up_by_the_idle_time() -> None:
    """Its socket included; the submission waits for what is left."""
    silent = GatewayAnswer(hangs=True, times=10**6)
    with ComfyUI(http_errors=(silent,)) as server:
        with pytest.raises(Lost, match="does not answer, and cannot be asked") as caught:
            run_request(server, connect_seconds=0.5, idle_seconds=1.5)
        asked = [path.split("/")[1] for path in request_paths(server)]
    assert asked == ["ws", "prompt", "history"]
    assert not caught.value.is_certain


def test_a_submission_that_is_never_answered_is_not_sent_again() -> None:
    """What holds it back may still deliver it, though the server has no such job yet."""
    held = GatewayAnswer(path="/prompt", method="POST", hangs=True)
    with ComfyUI(http_errors=(held,)) as server:
        with pytest.raises(Lost, match="does not answer, and does not have the job yet") as caught:
            run_request(server, idle_seconds=1)
        assert request_paths(server).count("/prompt") == 1
    assert not caught.value.is_certain


def test_a_file_of_a_server_that_says_no_type_has_that_of_its_name() -> None:
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


def test_an_upload_that_is_never_answered_is_sent_once() -> None:
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
