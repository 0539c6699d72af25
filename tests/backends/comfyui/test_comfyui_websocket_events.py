"""Frames of the websocket become events."""

from __future__ import annotations

import json
from typing import Any

import pytest

from imagen.backends.comfyui import websocket
from imagen.backends.comfyui.websocket import parse_frame

OURS = "6f1e2d3c-0000-4000-8000-00000000abcd"


def _text(kind: Any, **data: Any) -> str:
    return json.dumps({"type": kind, "data": data})


def _number(value: int) -> bytes:
    return value.to_bytes(4, "big")


def _with_metadata(about: Any, image: bytes) -> bytes:
    encoded = json.dumps(about).encode()
    return _number(4) + _number(len(encoded)) + encoded + image


@pytest.mark.parametrize(
    ("frame", "event"),
    [
        pytest.param(
            _text("execution_start", prompt_id=OURS, timestamp=1795244021852),
            websocket.JobStarted(1795244021852),
            id="start",
        ),
        pytest.param(
            _text("execution_cached", prompt_id=OURS, nodes=["1", "2"]),
            websocket.NodesCached(("1", "2")),
            id="cached",
        ),
        pytest.param(
            _text("executing", prompt_id=OURS, node="5.0.2", display_node="5"),
            websocket.NodeRunning("5.0.2", "5"),
            id="a node that the server made",
        ),
        pytest.param(
            _text("executing", prompt_id=OURS, node="5"),
            websocket.NodeRunning("5", "5"),
            id="a node",
        ),
        pytest.param(
            _text("executing", prompt_id=OURS, node=None), websocket.JobEnded(), id="the end"
        ),
        pytest.param(
            _text("progress", prompt_id=OURS, node="8", value=3, max=20),
            websocket.NodeStepped("8", 3, 20),
            id="a step",
        ),
        pytest.param(
            _text("progress", prompt_id=OURS, node="8", value=30, max=20),
            websocket.NodeStepped("8", 20, 20),
            id="a step too many",
        ),
        pytest.param(
            _text(
                "progress_state",
                prompt_id=OURS,
                nodes={"1": {"state": "finished"}, "2": {"state": "running"}, "3": 7},
            ),
            websocket.NodesFinished(("1",)),
            id="states",
        ),
        pytest.param(
            _text("executed", prompt_id=OURS, node="9", output=None),
            websocket.NodeOutput("9", "9", {}),
            id="an output of nothing",
        ),
        pytest.param(
            _text("execution_success", prompt_id=OURS, timestamp=5),
            websocket.JobSucceeded(5),
            id="success",
        ),
        pytest.param(
            _text("execution_interrupted", prompt_id=OURS, node_id="8"),
            websocket.JobInterrupted("8"),
            id="interrupted",
        ),
        pytest.param(
            _text(
                "execution_error",
                prompt_id=OURS,
                node_id="8",
                node_type="KSampler",
                exception_type="ValueError",
                exception_message="no\n",
                traceback=["a", "b"],
            ),
            websocket.NodeFailed("8", "KSampler", "ValueError", "no\n", ("a", "b")),
            id="error",
        ),
        pytest.param(_text("status", status={}), websocket.QueueChanged(), id="anybody's status"),
    ],
)
def test_a_text_frame_becomes_an_event(frame: str, event: websocket.ComfyEvent) -> None:
    found = parse_frame(frame, OURS)
    assert found == event
    assert type(found) is type(event)


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param("", id="empty"),
        pytest.param("null", id="null"),
        pytest.param("[1, 2]", id="a list"),
        pytest.param("{not json", id="no JSON"),
        pytest.param("[" * 100_000, id="too deep"),
        pytest.param('{"type": "executing"}', id="no data"),
        pytest.param(_text("executing", node="5"), id="no prompt, as after a reconnect"),
        pytest.param(_text("executing", node=None), id="end of an unknown job"),
        pytest.param(_text("executing", prompt_id="another", node=None), id="another's end"),
        pytest.param(_text("executing", prompt_id=OURS), id="no node at all"),
        pytest.param(_text("executing", prompt_id=OURS, node=7), id="a node that is a number"),
        pytest.param(_text("progress", prompt_id=OURS, value="x", max=2), id="a step in words"),
        pytest.param(_text("progress", prompt_id=OURS, value=1, max=0), id="of no steps"),
        pytest.param(
            _text("progress", prompt_id=OURS, value=float("nan"), max=float("inf")),
            id="a step that is not a number",
        ),
        pytest.param(_text("executed", prompt_id=OURS, node=None), id="made by no node"),
        pytest.param(_text("crystools.monitor", prompt_id=OURS), id="a custom node's"),
        pytest.param(_text(7, prompt_id=OURS), id="a type that is a number"),
        pytest.param(_text("execution_error", exception_message="x"), id="error of an unknown job"),
        pytest.param(b"", id="empty binary"),
        pytest.param(b"\x00", id="one byte"),
        pytest.param(_number(1), id="a preview cut short"),
        pytest.param(_number(1) + _number(9) + b"x", id="a preview in another format"),
        pytest.param(_number(3) + _number(1) + b"9text", id="a text in binary"),
        pytest.param(_number(99) + b"x", id="an unknown kind"),
        pytest.param(_number(4) + _number(1 << 30) + b"{}", id="metadata cut short"),
        pytest.param(_number(4) + _number(3) + b"{noX", id="metadata that is no JSON"),
        pytest.param(_with_metadata({"prompt_id": "another"}, b"x"), id="another's preview"),
        pytest.param(_with_metadata(["a"], b"x"), id="metadata that is a list"),
    ],
)
def test_frames_of_other_jobs_give_no_event(frame: str | bytes) -> None:
    assert parse_frame(frame, OURS) is None


def test_an_old_preview_frame_names_no_node() -> None:
    assert parse_frame(_number(1) + _number(1) + b"\xff\xd8", OURS) == websocket.SocketImage(
        b"\xff\xd8", None
    )


def test_a_new_preview_frame_names_its_node() -> None:
    about = {"prompt_id": OURS, "node_id": "5.0.2", "display_node_id": "5"}
    assert parse_frame(_with_metadata(about, b"\x89PNG"), OURS) == websocket.SocketImage(
        b"\x89PNG", "5"
    )


def test_a_blocked_branch_differs_from_a_failed_node() -> None:
    blocked = websocket.NodeFailed("9", "SaveImage", "comfy.ExecutionBlocked", "not today")
    assert blocked.is_blocked
    assert not websocket.NodeFailed("9", "SaveImage", "ValueError", "no").is_blocked
