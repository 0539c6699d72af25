"""The websocket fails in every way, and the job ends rightly all the same."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from support.comfyui_backends import (
    REQUEST,
    SAMPLED,
    request_paths,
    run_and_collect_progress,
    run_request,
)

from imagen.errors import Failed
from imagen.testing.comfyui import ComfyUI, FailureSwitches, NodeError

if TYPE_CHECKING:
    from imagen.core.result import Result


def test_p1_a_socket_that_is_deaf_after_a_reconnect_is_not_waited_for() -> None:
    """Pitfall 1: the history ends the job; no connection has the name of another."""
    with ComfyUI(drop_at="progress", deaf_after_reconnect=True, step_seconds=0.1) as server:
        result = run_request(server)
        assert len(result.images) == 1
        assert server.sockets_opened >= 2
        assert len(set(server.client_ids)) == server.sockets_opened


@pytest.mark.parametrize(
    "event",
    [
        "greeting",
        "execution_start",
        "execution_cached",
        "executing",
        "progress",
        "executed",
        "execution_success",
        "end",
    ],
)
def test_p2_an_end_that_came_while_the_socket_was_gone_is_found(event: str) -> None:
    """Pitfall 2: nothing is told again after a reconnect, wherever the socket broke."""
    with ComfyUI(drop_at=event) as server:
        result = run_request(server)
        assert len(result.images) == 1
        assert len(server.prompts) == 1


def test_p3_a_socket_that_never_says_anything_delays_nothing() -> None:
    """Pitfall 3: once the history has the end, the socket is not waited for."""
    with ComfyUI(silent=True) as server:
        result = run_request(server)
    assert len(result.images) == 1
    assert "node_seconds" not in result.facts.engine


def test_p4_a_socket_that_breaks_is_a_warning_and_no_failure() -> None:
    """Pitfall 4: the job goes on at the server."""
    with ComfyUI(drop_at="progress", refuse_reconnect=True, step_seconds=0.1) as server:
        result = run_request(server)
    assert len(result.images) == 1
    (warning,) = result.warnings
    assert "The websocket of http://127.0.0.1" in warning


def test_p4_a_socket_that_is_refused_is_a_warning_too() -> None:
    """A proxy may let nothing but HTTP through."""
    with ComfyUI(refuse_ws=True) as server:
        result = run_request(server)
    assert len(result.images) == 1
    assert "could not be opened (status 403)" in result.warnings[0]


@pytest.mark.parametrize(
    "switches",
    [
        pytest.param({}, id="told over the socket"),
        pytest.param({"drop_at": "end"}, id="with the socket closed"),
        pytest.param({"refuse_ws": True}, id="without a socket"),
    ],
)
def test_p5_no_picture_is_never_a_success(switches: dict[str, Any]) -> None:
    """Pitfall 5: however the run ended."""
    with ComfyUI(empty_success=True, **switches) as server, pytest.raises(Failed) as caught:
        run_request(server)
    assert caught.value.message == "ComfyUI ended the job without an image."


def test_p6_a_job_that_is_over_before_the_post_is_answered_is_seen() -> None:
    """Pitfall 6: the socket is open, and the id known, before anything is sent."""
    with ComfyUI(instant_cached=True) as server:
        result = run_request(server, poll_seconds=10)
        assert len(result.images) == 1
        assert request_paths(server)[:2] == ["/ws", "/prompt"]
        assert "/queue" not in request_paths(server)


def test_p7_a_cached_run_gives_its_pictures_and_says_so() -> None:
    """Pitfall 7: the same bytes, and no error."""
    with ComfyUI() as server:
        first, second = run_request(server), run_request(server)
    assert second.images[0].data == first.images[0].data
    assert (first.facts.cached, second.facts.cached) == (False, True)


def test_p15_foreign_and_malformed_frames_are_let_pass() -> None:
    """Pitfall 15: others' ends, errors and outputs are not ours."""
    with ComfyUI(foreign_frames=True) as server:
        result = run_request(server)
    assert [output.name for output in result.outputs] == ["lab/a_00001_.png"]
    assert result.warnings == ()


def test_p16_a_server_that_is_silent_while_it_loads_is_waited_for() -> None:
    """Pitfall 16: it answers when it is asked, so it is alive."""
    with ComfyUI(silent_load=0.5) as server:
        result = run_request(server, connect_seconds=0.1)
        assert "/history" in "".join(request_paths(server))
    assert len(result.images) == 1


def test_p18_an_error_is_seen_without_a_socket() -> None:
    """Pitfall 18: the history of a failed job is an end like another."""
    with (
        ComfyUI(refuse_ws=True, error=NodeError(message="no")) as server,
        pytest.raises(Failed, match="ValueError: no"),
    ):
        run_request(server)


def test_p18_with_a_socket_nothing_is_polled() -> None:
    """The end is heard; one question for the server's version is all that is asked besides."""
    with ComfyUI() as server:
        run_request(server, poll_seconds=10)
        assert sorted(request_paths(server)) == ["/prompt", "/system_stats", "/view", "/ws"]


@pytest.mark.parametrize(
    "switches",
    [
        pytest.param({"no_execution_success": True}, id="no success"),
        pytest.param({"no_terminal": True}, id="no end"),
        pytest.param({"history_late": 3, "no_terminal": True}, id="a history that comes late"),
    ],
)
def test_an_end_that_is_not_told_as_usual_is_found(switches: dict[str, Any]) -> None:
    """Other servers, and other versions, leave one or the other out."""
    with ComfyUI(**switches) as server:
        assert len(run_request(server).images) == 1


def test_p13_a_frame_with_a_picture_is_a_preview_and_no_result() -> None:
    """Pitfall 13: what is fetched is the result, and nothing else."""
    with ComfyUI(previews=True, step_seconds=0.01) as server:
        progress = run_and_collect_progress(server, poll_seconds=10)
        result = run_request(server)
    assert [output.media_type for output in result.outputs] == ["image/png"]
    assert len([p for p in progress if p.preview]) == 3


@pytest.mark.parametrize("kind", [1, 4])
def test_previews_of_either_kind_are_shown(kind: int) -> None:
    """The older kind says not whose it is: it counts while ours runs."""
    with ComfyUI(switches=FailureSwitches(previews=kind)) as server:
        assert any(
            progress.preview for progress in run_and_collect_progress(server, poll_seconds=10)
        )


def test_p27_a_frame_of_twenty_megabytes_is_taken() -> None:
    """Pitfall 27: there is no limit that would close the socket."""
    with ComfyUI(huge_frame=True) as server:
        result = run_request(server)
    assert (len(result.images), result.warnings) == (1, ())


def test_p27_it_works_inside_a_running_event_loop() -> None:
    """A notebook has one."""

    async def within(server: ComfyUI) -> Result:
        return run_request(server)

    with ComfyUI() as server:
        assert len(asyncio.run(within(server)).images) == 1


@pytest.mark.parametrize(
    ("poll_seconds", "switches"),
    [
        pytest.param(10, {}, id="heard"),
        pytest.param(0.001, {}, id="with a history that is sooner"),
        pytest.param(0.01, {"no_terminal": True}, id="without an end"),
    ],
)
def test_a_picture_that_is_saved_to_the_socket_is_a_result(
    poll_seconds: float, switches: dict[str, Any]
) -> None:
    """It comes nowhere else, so it is waited for a little."""
    graph = {**SAMPLED, "99": {"class_type": "SaveImageWebsocket", "inputs": {"images": ["90", 0]}}}
    with ComfyUI(**switches) as server:
        result = run_request(server, graph, poll_seconds=poll_seconds)
    (picture,) = result.images
    assert (picture.media_type, picture.source, picture.seed) == ("image/png", "99", REQUEST.seed)


def test_a_picture_saved_to_a_socket_that_is_not_there_says_so() -> None:
    """It is gone; SaveImage would have kept it."""
    graph = {**SAMPLED, "99": {"class_type": "SaveImageWebsocket", "inputs": {"images": ["90", 0]}}}
    with ComfyUI(refuse_ws=True) as server, pytest.raises(Failed, match="SaveImage keeps it"):
        run_request(server, graph)
