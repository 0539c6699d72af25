"""The simulator runs graphs and sends the messages recorded from a real server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from support.plain_comfyui_client import (
    PlainClient,
    connect_client,
    flat_graph,
    node,
    receive_until,
    sampled_graph,
    summarize,
)

from imagen.testing.comfyui import BLOCKED, OUT_OF_MEMORY, ComfyUI, NodeError

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIMPLE = [
    "status 1",
    "status 1",
    "execution_start",
    "cached",
    "state 1r",
    "executing 1",
    "state 1f",
    "state 1f 9r",
    "executing 9",
    "executed 9",
    "state 1f 9f",
    "execution_success",
    "status 0",
    "executing null",
]
_ALL_CACHED = [
    "status 1",
    "status 1",
    "execution_start",
    "cached 1 9",
    "executed 9",
    "state 9f",
    "execution_success",
    "status 0",
    "executing null",
]


@pytest.fixture
def plain() -> Iterator[PlainClient]:
    with ComfyUI() as server, connect_client(server) as plain:
        yield plain


def test_run_sends_messages_from_start_to_end(plain: PlainClient) -> None:
    assert plain.run(flat_graph()).lines == _SIMPLE


def test_every_message_of_a_run_has_its_prompt_id(plain: PlainClient) -> None:
    run = plain.run(flat_graph(), prompt_id="mine")
    texts = [json.loads(frame) for frame in run.frames]
    ids = {text["data"].get("prompt_id") for text in texts if text["type"] != "status"}
    assert ids == {"mine"}


def test_websocket_is_greeted_with_its_client_id(plain: PlainClient) -> None:
    with plain.raw_socket("a b") as websocket:
        said = json.loads(websocket.recv(timeout=5))
    remaining = {"exec_info": {"queue_remaining": 0}}
    assert said == {"type": "status", "data": {"status": remaining, "sid": "a b"}}


def test_websocket_without_a_client_id_gets_one(plain: PlainClient) -> None:
    with plain.raw_socket("") as websocket:
        said = json.loads(websocket.recv(timeout=5))
    assert len(said["data"]["sid"]) == 32


def test_history_holds_prompt_outputs_and_messages(plain: PlainClient) -> None:
    graph = flat_graph()
    run = plain.run(graph, extra_data={"note": 1, "api_key_comfy_org": "secret"})
    assert set(run.entry) == {"prompt", "outputs", "status", "meta"}
    assert run.entry["prompt"] == [
        0,
        run.prompt_id,
        graph,
        {"note": 1, "client_id": "me"},
        ["9"],
    ]
    assert run.entry["outputs"] == {
        "9": {"images": [{"filename": "simple_00001_.png", "subfolder": "lab", "type": "output"}]}
    }
    assert run.entry["meta"] == {
        "9": {"node_id": "9", "display_node": "9", "parent_node": None, "real_node_id": "9"}
    }


def test_success_is_completed_and_timestamped_in_milliseconds(plain: PlainClient) -> None:
    status = plain.run(flat_graph()).entry["status"]
    assert (status["status_str"], status["completed"]) == ("success", True)
    assert [kind for kind, _ in status["messages"]] == [
        "execution_start",
        "execution_cached",
        "execution_success",
    ]
    assert status["messages"][0][1]["timestamp"] > 1_600_000_000_000


def test_sampler_reports_its_steps(plain: PlainClient) -> None:
    assert plain.run(sampled_graph()).lines == [
        "status 1",
        "status 1",
        "execution_start",
        "cached",
        "state 4r",
        "executing 4",
        "state 4f",
        "state 4f 6r",
        "executing 6",
        "state 4f 6f",
        "state 4f 6f 7r",
        "executing 7",
        "state 4f 6f 7f",
        "state 4f 6f 7f 5r",
        "executing 5",
        "state 4f 6f 7f 5f",
        "state 4f 6f 7f 5f 3r",
        "executing 3",
        "state 4f 6f 7f 5f 3r",
        "progress 3 1/2",
        "state 4f 6f 7f 5f 3r",
        "progress 3 2/2",
        "state 4f 6f 7f 5f 3f",
        "state 4f 6f 7f 5f 3f 8r",
        "executing 8",
        "state 4f 6f 7f 5f 3f 8f",
        "state 4f 6f 7f 5f 3f 8f 9r",
        "executing 9",
        "executed 9",
        "state 4f 6f 7f 5f 3f 8f 9f",
        "execution_success",
        "status 0",
        "executing null",
    ]


def test_progress_state_reports_how_far_a_node_is(plain: PlainClient) -> None:
    run = plain.run(sampled_graph())
    assert run.data("progress_state")[9]["nodes"]["3"] == {
        "value": 1,
        "max": 2,
        "state": "running",
        "node_id": "3",
        "prompt_id": run.prompt_id,
        "display_node_id": "3",
        "parent_node_id": None,
        "real_node_id": "3",
    }


def test_same_prompt_again_is_cached_with_the_old_file_names(plain: PlainClient) -> None:
    first, second = plain.run(flat_graph()), plain.run(flat_graph())
    assert second.lines == _ALL_CACHED
    assert second.entry["outputs"] == first.entry["outputs"]


def test_only_changed_nodes_run_again(plain: PlainClient) -> None:
    plain.run(flat_graph())
    changed = {**flat_graph(), "9": node("SaveImage", images=["1", 0], filename_prefix="other")}
    assert plain.run(changed).lines[2:8] == [
        "execution_start",
        "cached 1",
        "state 9r",
        "executing 9",
        "executed 9",
        "state 9f",
    ]


def test_cache_holds_only_the_last_prompt(plain: PlainClient) -> None:
    plain.run(flat_graph(color=1))
    plain.run(flat_graph(color=2))
    assert plain.run(flat_graph(color=1)).images[0]["filename"] == "simple_00003_.png"


def test_free_empties_the_cache(plain: PlainClient) -> None:
    plain.run(flat_graph())
    plain.http.post("/free", json={"unload_models": True, "free_memory": True})
    assert plain.run(flat_graph()).lines == _SIMPLE


def test_client_without_flags_receives_previews_after_the_progress() -> None:
    with ComfyUI(previews=True) as server, connect_client(server) as plain:
        lines = plain.run(sampled_graph()).lines
    assert lines[18:21] == ["state 4f 6f 7f 5f 3r", "progress 3 1/2", "binary 1"]


def test_client_with_flags_receives_previews_with_metadata_before_the_progress() -> None:
    with ComfyUI(previews=True) as server, connect_client(server) as plain:
        run = plain.run(sampled_graph(), flags=True)
    assert run.lines[18:21] == ["state 4f 6f 7f 5f 3r", "binary 4", "progress 3 1/2"]
    frame = run.frames[19]
    assert isinstance(frame, bytes)
    size = int.from_bytes(frame[4:8], "big")
    assert json.loads(frame[8 : 8 + size]) == {
        "node_id": "3",
        "prompt_id": run.prompt_id,
        "display_node_id": "3",
        "parent_node_id": None,
        "real_node_id": "3",
        "image_type": "image/jpeg",
    }
    assert frame[8 + size :].startswith(b"\xff\xd8\xff")


def test_images_over_the_websocket_leave_no_output(plain: PlainClient) -> None:
    graph = {"1": flat_graph(batch_size=2)["1"], "9": node("SaveImageWebsocket", images=["1", 0])}
    run = plain.run(graph)
    assert run.lines[8:16] == [
        "executing 9",
        "state 1f 9r",
        "progress 9 0/2",
        "binary 1",
        "state 1f 9r",
        "progress 9 1/2",
        "binary 1",
        "state 1f 9f",
    ]
    assert run.entry["outputs"] == {}


def test_other_clients_receive_only_the_status(plain: PlainClient) -> None:
    with plain.socket("other") as other:
        plain.run(flat_graph())
        assert [json.loads(other.recv(timeout=5))["type"] for _ in range(3)] == ["status"] * 3


def test_progress_of_a_prompt_without_client_goes_to_everybody(plain: PlainClient) -> None:
    with plain.socket() as websocket:
        plain.submit(flat_graph(), client_id=None)
        assert [_kind(frame) for frame in receive_until(websocket, "status 0")] == [
            "status",
            "status",
            "progress_state",
            "progress_state",
            "progress_state",
            "progress_state",
            "status",
        ]


def test_interrupt_of_a_prompt_without_client_goes_to_everybody() -> None:
    with (
        ComfyUI(step_seconds=0.02) as server,
        connect_client(server) as plain,
        plain.socket() as websocket,
    ):
        plain.submit(sampled_graph(steps=200), client_id=None)
        receive_until(websocket, "progress 3 1/200")
        plain.http.post("/interrupt")
        assert "execution_interrupted" in [
            summarize(frame) for frame in receive_until(websocket, "status 0")
        ]


def test_failing_node_fails_the_run(plain: PlainClient) -> None:
    plain.server.upload(b"no image", "note.txt")
    graph = {**flat_graph(), "1": node("LoadImage", image="note.txt")}
    run = plain.run(graph)
    assert run.data("execution_error")[0]["exception_type"] == "UnidentifiedImageError"
    assert plain.run(flat_graph()).lines == _SIMPLE


def test_output_class_of_a_given_catalog_saves() -> None:
    inputs = {"required": {"images": ["IMAGE"]}}
    catalogue = {
        "EmptyImage": {"input": {}, "output": ["IMAGE"], "output_node": False},
        "MySaver": {"input": inputs, "output": [], "output_node": True},
    }
    graph = {**flat_graph(), "9": node("MySaver", images=["1", 0])}
    with ComfyUI(node_catalog=catalogue) as server, connect_client(server) as plain:
        assert plain.run(graph).images[0]["type"] == "output"


def _kind(frame: str | bytes) -> str:
    kind: str = json.loads(frame)["type"]
    return kind


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        pytest.param(NodeError(message="boom", node="9"), "boom\n", id="any"),
        pytest.param(
            OUT_OF_MEMORY,
            "Allocation on device 0 would exceed allowed memory. (out of memory)\n"
            "This error means you ran out of memory on your GPU.\n\n"
            "TIPS: If the workflow worked before you might have accidentally set the batch_size to "
            "a large number.",
            id="out of memory",
        ),
    ],
)
def test_execution_error_names_its_node_and_ends_the_run(fault: NodeError, message: str) -> None:
    with ComfyUI(error=fault) as server, connect_client(server) as plain:
        run = plain.run(flat_graph())
    assert run.lines[6:] == [
        "state 1f",
        "state 1f 9r",
        "executing 9",
        "execution_error",
        "status 0",
        "executing null",
    ]
    said = run.data("execution_error")[0]
    assert set(said) == {
        "prompt_id",
        "node_id",
        "node_type",
        "executed",
        "exception_message",
        "exception_type",
        "traceback",
        "current_inputs",
        "current_outputs",
        "timestamp",
    }
    assert (said["node_id"], said["node_type"], said["executed"]) == ("9", "SaveImage", ["1"])
    assert (said["exception_message"], said["exception_type"]) == (message, fault.exception)
    assert run.entry["status"]["status_str"] == "error"
    assert run.entry["status"]["messages"][-1] == ["execution_error", said]


def test_blocked_branch_is_an_error_in_a_successful_run() -> None:
    with ComfyUI(error=BLOCKED) as server, connect_client(server) as plain:
        run = plain.run(flat_graph())
    assert run.lines[8:] == [
        "executing 9",
        "execution_error",
        "state 1f 9f",
        "execution_success",
        "status 0",
        "executing null",
    ]
    assert "timestamp" not in run.data("execution_error")[0]
    assert (run.entry["status"]["status_str"], run.entry["outputs"]) == ("success", {})


def test_outputs_before_an_error_remain() -> None:
    graph = {**flat_graph(), "5": node("PreviewImage", images=["1", 0])}
    with ComfyUI(error=NodeError(node="5")) as server, connect_client(server) as plain:
        run = plain.run(graph)
    assert list(run.entry["outputs"]) == ["9"]
