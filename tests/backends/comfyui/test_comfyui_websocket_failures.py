"""A job ends correctly although its websocket fails."""

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


def test_a_silent_websocket_after_a_reconnect_does_not_block() -> None:
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
def test_an_end_that_came_while_the_websocket_was_closed_is_found(event: str) -> None:
    with ComfyUI(drop_at=event) as server:
        result = run_request(server)
        assert len(result.images) == 1
        assert len(server.prompts) == 1


def test_a_silent_websocket_delays_nothing() -> None:
    with ComfyUI(silent=True) as server:
        result = run_request(server)
    assert len(result.images) == 1
    assert "node_seconds" not in result.facts.engine


def test_a_broken_websocket_is_a_warning() -> None:
    with ComfyUI(drop_at="progress", refuse_reconnect=True, step_seconds=0.1) as server:
        result = run_request(server)
    assert len(result.images) == 1
    (warning,) = result.warnings
    assert "The websocket of http://127.0.0.1" in warning


def test_a_refused_websocket_is_a_warning() -> None:
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
def test_a_job_without_an_image_is_never_a_success(switches: dict[str, Any]) -> None:
    with ComfyUI(empty_success=True, **switches) as server, pytest.raises(Failed) as caught:
        run_request(server)
    assert caught.value.message == "ComfyUI ended the job without an image."


def test_a_job_that_ends_before_its_submission_is_answered_is_noticed() -> None:
    with ComfyUI(instant_cached=True) as server:
        result = run_request(server, poll_seconds=10)
        assert len(result.images) == 1
        assert request_paths(server)[:2] == ["/ws", "/prompt"]
        assert "/queue" not in request_paths(server)


def test_a_cached_run_gives_its_images_and_is_marked_as_cached() -> None:
    with ComfyUI() as server:
        first, second = run_request(server), run_request(server)
    assert second.images[0].data == first.images[0].data
    assert (first.facts.cached, second.facts.cached) == (False, True)


def test_foreign_and_malformed_frames_are_ignored() -> None:
    with ComfyUI(foreign_frames=True) as server:
        result = run_request(server)
    assert [output.name for output in result.outputs] == ["lab/a_00001_.png"]
    assert result.warnings == ()


def test_a_server_that_is_silent_while_it_loads_is_awaited() -> None:
    with ComfyUI(silent_load=0.5) as server:
        result = run_request(server, connect_seconds=0.1)
        assert "/history" in "".join(request_paths(server))
    assert len(result.images) == 1


def test_a_failed_node_is_noticed_without_a_websocket() -> None:
    with (
        ComfyUI(refuse_ws=True, error=NodeError(message="no")) as server,
        pytest.raises(Failed, match="ValueError: no"),
    ):
        run_request(server)


def test_an_open_websocket_replaces_polling() -> None:
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
def test_an_end_without_the_usual_events_is_found(switches: dict[str, Any]) -> None:
    with ComfyUI(**switches) as server:
        assert len(run_request(server).images) == 1


def test_a_frame_with_an_image_is_a_preview_and_not_a_result() -> None:
    with ComfyUI(previews=True, step_seconds=0.01) as server:
        progress = run_and_collect_progress(server, poll_seconds=10)
        result = run_request(server)
    assert [output.media_type for output in result.outputs] == ["image/png"]
    assert len([p for p in progress if p.preview]) == 3


@pytest.mark.parametrize("kind", [1, 4])
def test_previews_of_both_kinds_are_shown(kind: int) -> None:
    with ComfyUI(switches=FailureSwitches(previews=kind)) as server:
        assert any(
            progress.preview for progress in run_and_collect_progress(server, poll_seconds=10)
        )


def test_a_frame_of_twenty_megabytes_is_accepted() -> None:
    with ComfyUI(huge_frame=True) as server:
        result = run_request(server)
    assert (len(result.images), result.warnings) == (1, ())


def test_collect_works_inside_a_running_event_loop() -> None:

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
def test_an_image_saved_to_the_websocket_is_a_result(
    poll_seconds: float, switches: dict[str, Any]
) -> None:
    graph = {**SAMPLED, "99": {"class_type": "SaveImageWebsocket", "inputs": {"images": ["90", 0]}}}
    with ComfyUI(**switches) as server:
        result = run_request(server, graph, poll_seconds=poll_seconds)
    (image,) = result.images
    assert (image.media_type, image.source, image.seed) == ("image/png", "99", REQUEST.seed)


def test_an_image_saved_to_a_closed_websocket_is_reported_missing() -> None:
    graph = {**SAMPLED, "99": {"class_type": "SaveImageWebsocket", "inputs": {"images": ["90", 0]}}}
    with ComfyUI(refuse_ws=True) as server, pytest.raises(Failed, match="SaveImage keeps it"):
        run_request(server, graph)
