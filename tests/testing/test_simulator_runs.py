"""The simulator runs graphs and tells of it as the recordings of a real server do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from support.plain_comfyui_client import Plain, client, flat, line, listen, node, sampled

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
def plain() -> Iterator[Plain]:
    with ComfyUI() as server, client(server) as found:
        yield found


def test_a_run_is_told_from_its_start_to_its_end(plain: Plain) -> None:
    assert plain.run(flat()).lines == _SIMPLE


def test_every_message_of_a_run_carries_its_prompt_id(plain: Plain) -> None:
    heard = plain.run(flat(), prompt_id="mine")
    texts = [json.loads(frame) for frame in heard.frames]
    ids = {text["data"].get("prompt_id") for text in texts if text["type"] != "status"}
    assert ids == {"mine"}


def test_a_socket_is_greeted_with_its_id(plain: Plain) -> None:
    with plain.unread("a b") as websocket:
        said = json.loads(websocket.recv(timeout=5))
    remaining = {"exec_info": {"queue_remaining": 0}}
    assert said == {"type": "status", "data": {"status": remaining, "sid": "a b"}}


def test_a_socket_without_an_id_gets_one(plain: Plain) -> None:
    with plain.unread("") as websocket:
        said = json.loads(websocket.recv(timeout=5))
    assert len(said["data"]["sid"]) == 32


def test_the_history_holds_the_prompt_the_outputs_and_the_messages(plain: Plain) -> None:
    graph = flat()
    heard = plain.run(graph, extra_data={"note": 1, "api_key_comfy_org": "secret"})
    assert set(heard.entry) == {"prompt", "outputs", "status", "meta"}
    assert heard.entry["prompt"] == [
        0,
        heard.prompt_id,
        graph,
        {"note": 1, "client_id": "me"},
        ["9"],
    ]
    assert heard.entry["outputs"] == {
        "9": {"images": [{"filename": "simple_00001_.png", "subfolder": "lab", "type": "output"}]}
    }
    assert heard.entry["meta"] == {
        "9": {"node_id": "9", "display_node": "9", "parent_node": None, "real_node_id": "9"}
    }


def test_a_success_is_complete_and_tells_its_milliseconds(plain: Plain) -> None:
    status = plain.run(flat()).entry["status"]
    assert (status["status_str"], status["completed"]) == ("success", True)
    assert [kind for kind, _ in status["messages"]] == [
        "execution_start",
        "execution_cached",
        "execution_success",
    ]
    assert status["messages"][0][1]["timestamp"] > 1_600_000_000_000


def test_a_sampler_counts_its_steps(plain: Plain) -> None:
    assert plain.run(sampled()).lines == [
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


def test_a_state_tells_how_far_a_node_is(plain: Plain) -> None:
    heard = plain.run(sampled())
    assert heard.data("progress_state")[9]["nodes"]["3"] == {
        "value": 1,
        "max": 2,
        "state": "running",
        "node_id": "3",
        "prompt_id": heard.prompt_id,
        "display_node_id": "3",
        "parent_node_id": None,
        "real_node_id": "3",
    }


def test_the_same_prompt_again_is_cached_and_gives_the_old_names(plain: Plain) -> None:
    first, second = plain.run(flat()), plain.run(flat())
    assert second.lines == _ALL_CACHED
    assert second.entry["outputs"] == first.entry["outputs"]


def test_only_what_changed_runs_again(plain: Plain) -> None:
    plain.run(flat())
    changed = {**flat(), "9": node("SaveImage", images=["1", 0], filename_prefix="other")}
    assert plain.run(changed).lines[2:8] == [
        "execution_start",
        "cached 1",
        "state 9r",
        "executing 9",
        "executed 9",
        "state 9f",
    ]


def test_the_cache_holds_only_the_last_prompt(plain: Plain) -> None:
    plain.run(flat(color=1))
    plain.run(flat(color=2))
    assert plain.run(flat(color=1)).images[0]["filename"] == "simple_00003_.png"


def test_free_empties_the_cache(plain: Plain) -> None:
    plain.run(flat())
    plain.http.post("/free", json={"unload_models": True, "free_memory": True})
    assert plain.run(flat()).lines == _SIMPLE


def test_a_socket_that_sent_no_flags_gets_previews_after_the_progress() -> None:
    with ComfyUI(previews=True) as server, client(server) as plain:
        lines = plain.run(sampled()).lines
    assert lines[18:21] == ["state 4f 6f 7f 5f 3r", "progress 3 1/2", "binary 1"]


def test_a_socket_that_sent_flags_gets_previews_with_metadata_before_the_progress() -> None:
    with ComfyUI(previews=True) as server, client(server) as plain:
        heard = plain.run(sampled(), flags=True)
    assert heard.lines[18:21] == ["state 4f 6f 7f 5f 3r", "binary 4", "progress 3 1/2"]
    frame = heard.frames[19]
    assert isinstance(frame, bytes)
    size = int.from_bytes(frame[4:8], "big")
    assert json.loads(frame[8 : 8 + size]) == {
        "node_id": "3",
        "prompt_id": heard.prompt_id,
        "display_node_id": "3",
        "parent_node_id": None,
        "real_node_id": "3",
        "image_type": "image/jpeg",
    }
    assert frame[8 + size :].startswith(b"\xff\xd8\xff")


def test_pictures_over_the_websocket_leave_no_output(plain: Plain) -> None:
    graph = {"1": flat(batch_size=2)["1"], "9": node("SaveImageWebsocket", images=["1", 0])}
    heard = plain.run(graph)
    assert heard.lines[8:16] == [
        "executing 9",
        "state 1f 9r",
        "progress 9 0/2",
        "binary 1",
        "state 1f 9r",
        "progress 9 1/2",
        "binary 1",
        "state 1f 9f",
    ]
    assert heard.entry["outputs"] == {}


def test_others_hear_only_the_status(plain: Plain) -> None:
    with plain.socket("other") as other:
        plain.run(flat())
        assert [json.loads(other.recv(timeout=5))["type"] for _ in range(3)] == ["status"] * 3


def test_a_prompt_of_nobody_shows_its_progress_to_all(plain: Plain) -> None:
    with plain.socket() as websocket:
        plain.submit(flat(), client_id=None)
        assert [_kind(frame) for frame in listen(websocket, "status 0")] == [
            "status",
            "status",
            "progress_state",
            "progress_state",
            "progress_state",
            "progress_state",
            "status",
        ]


def test_the_interrupt_of_a_prompt_of_nobody_is_told_to_all() -> None:
    with ComfyUI(step_seconds=0.02) as server, client(server) as plain, plain.socket() as ours:
        plain.submit(sampled(steps=200), client_id=None)
        listen(ours, "progress 3 1/200")
        plain.http.post("/interrupt")
        assert "execution_interrupted" in [line(frame) for frame in listen(ours, "status 0")]


def test_a_node_that_cannot_do_its_work_fails_the_run(plain: Plain) -> None:
    plain.server.upload(b"no picture", "note.txt")
    graph = {**flat(), "1": node("LoadImage", image="note.txt")}
    heard = plain.run(graph)
    assert heard.data("execution_error")[0]["exception_type"] == "UnidentifiedImageError"
    assert plain.run(flat()).lines == _SIMPLE


def test_a_saving_class_of_ones_own_catalogue_saves() -> None:
    inputs = {"required": {"images": ["IMAGE"]}}
    catalogue = {
        "EmptyImage": {"input": {}, "output": ["IMAGE"], "output_node": False},
        "MySaver": {"input": inputs, "output": [], "output_node": True},
    }
    graph = {**flat(), "9": node("MySaver", images=["1", 0])}
    with ComfyUI(node_catalog=catalogue) as server, client(server) as plain:
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
def test_an_error_names_its_node_and_ends_the_run(fault: NodeError, message: str) -> None:
    with ComfyUI(error=fault) as server, client(server) as plain:
        heard = plain.run(flat())
    assert heard.lines[6:] == [
        "state 1f",
        "state 1f 9r",
        "executing 9",
        "execution_error",
        "status 0",
        "executing null",
    ]
    said = heard.data("execution_error")[0]
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
    assert heard.entry["status"]["status_str"] == "error"
    assert heard.entry["status"]["messages"][-1] == ["execution_error", said]


def test_a_blocked_branch_is_an_error_in_a_run_that_succeeds() -> None:
    with ComfyUI(error=BLOCKED) as server, client(server) as plain:
        heard = plain.run(flat())
    assert heard.lines[8:] == [
        "executing 9",
        "execution_error",
        "state 1f 9f",
        "execution_success",
        "status 0",
        "executing null",
    ]
    assert "timestamp" not in heard.data("execution_error")[0]
    assert (heard.entry["status"]["status_str"], heard.entry["outputs"]) == ("success", {})


def test_the_outputs_made_before_an_error_stay() -> None:
    graph = {**flat(), "5": node("PreviewImage", images=["1", 0])}
    with ComfyUI(error=NodeError(node="5")) as server, client(server) as plain:
        heard = plain.run(graph)
    assert list(heard.entry["outputs"]) == ["9"]
