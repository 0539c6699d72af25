"""The server's answers are parsed into typed values."""

from __future__ import annotations

from typing import Any

import pytest

from imagen.backends.base import Gpu
from imagen.backends.comfyui import client
from imagen.backends.comfyui.client import ComfyQueue, ComfyQueueItem, ServerStats

JUNK = [
    pytest.param(None, id="null"),
    pytest.param([], id="a list"),
    pytest.param("idle", id="text"),
    pytest.param({"error": "unauthorized"}, id="an error"),
    pytest.param({"queue_running": []}, id="one half"),
    pytest.param({"queue_running": {}, "queue_pending": []}, id="wrong inside"),
    pytest.param({"queue_running": [[7]], "queue_pending": []}, id="wrong further inside"),
]


def test_waiting_prompts_are_sorted() -> None:
    said = {
        "queue_running": [[0, "r", {}, {"client_id": "me"}, []]],
        "queue_pending": [[2, "c", {}, {}, []], [3, "d"], [1, "b", {}, {}, []], [-4, "a", {}]],
    }
    queue = client.parse_queue(said)
    assert [item.prompt_id for item in queue.pending] == ["a", "b", "c", "d"]
    assert (queue.position("c"), queue.position("r"), queue.runs("r")) == (2, None, True)
    assert queue.find_prompt("me") == "r"
    assert (queue.runs("r"), queue.runs("a"), queue.runs("z")) == (True, False, False)


@pytest.mark.parametrize("said", JUNK)
def test_foreign_json_is_not_a_queue(said: Any) -> None:
    with pytest.raises(ValueError, match="not a queue"):
        client.parse_queue(said)


def test_an_empty_queue_is_empty() -> None:
    assert client.parse_queue({"queue_running": [], "queue_pending": []}) == ComfyQueue()


def test_the_history_of_a_prompt_is_read() -> None:
    said = {
        "p": {
            "prompt": [1, "p", {}, {"client_id": "me"}, []],
            "outputs": {"5.0.2": {"images": []}},
            "status": {
                "status_str": "success",
                "messages": [["execution_start", {"timestamp": 1}], 7, [7, {}], ["alone"]],
            },
            "meta": {"5.0.2": {"display_node": "5"}, "6": None},
        }
    }
    entry = client.parse_history_entry(said, "p")
    assert entry is not None
    assert entry.display_nodes == {"5.0.2": "5"}
    assert entry.messages == (("execution_start", {"timestamp": 1}),)
    assert client.find_client_prompt(said, "me") == "p"
    assert client.find_client_prompt(said, "you") is None


@pytest.mark.parametrize("said", [{}, {"q": {"outputs": {}}}])
def test_a_prompt_without_history_has_none(said: Any) -> None:
    assert client.parse_history_entry(said, "p") is None


@pytest.mark.parametrize("said", [None, [], {"p": None}, {"p": {}}, {"error": "unauthorized"}])
def test_foreign_json_is_not_a_history(said: Any) -> None:
    with pytest.raises(ValueError, match=r"not a history|without outputs"):
        client.parse_history_entry(said, "p")
    with pytest.raises(ValueError, match=r"not a history|without outputs"):
        client.find_client_prompt(said, "me")


def test_the_prompt_id_of_an_old_server_is_its_own() -> None:
    assert client.parse_accepted({"prompt_id": "theirs"}).prompt_id == "theirs"


@pytest.mark.parametrize("said", [{}, {"prompt_id": 7}, {"error": "unauthorized"}, [], None])
def test_an_answer_without_a_prompt_id_is_not_accepted(said: Any) -> None:
    with pytest.raises(ValueError, match="no prompt_id"):
        client.parse_accepted(said)


@pytest.mark.parametrize("said", [{"error": "unauthorized"}, {"node_errors": {}}, "no", None])
def test_foreign_json_is_not_a_refusal(said: Any) -> None:
    with pytest.raises(ValueError, match="no error with node_errors"):
        client.parse_refused(said)


@pytest.mark.parametrize("said", [{"error": "no"}, {"error": {"message": "no"}}, [], None])
def test_foreign_json_is_not_a_node_catalog(said: Any) -> None:
    with pytest.raises(ValueError, match="not a list of node classes"):
        client.parse_node_catalog(said)


def test_memory_is_known_for_a_gpu_only() -> None:
    system = {"comfyui_version": "0.3.64"}
    gpu = {"name": "cuda:0", "type": "cuda", "vram_total": 10, "vram_free": 4}
    known = Gpu(name="cuda:0", vram_total_bytes=10, vram_free_bytes=4)
    assert client.parse_stats({"system": system, "devices": [gpu]}) == ServerStats(
        "0.3.64", 6, "cuda:0", gpus=(known,)
    )
    assert client.parse_stats(
        {"system": system, "devices": [{**gpu, "type": "cpu"}]}
    ) == ServerStats("0.3.64", None, "cuda:0")
    assert client.parse_stats({"system": {}, "devices": 7}) == ServerStats()
    with pytest.raises(ValueError, match="no system"):
        client.parse_stats({"devices": 7})


def test_an_unknown_queue_item_has_no_client() -> None:
    said = {"queue_running": [[1, "p"]], "queue_pending": []}
    assert client.parse_queue(said).running == (ComfyQueueItem("p", ""),)


@pytest.mark.parametrize(
    ("status", "outputs", "has_made"),
    [
        ("success", {"9": {"images": [{"filename": "a.png"}]}}, True),
        ("success", {"8": {}, "9": {"images": []}}, True),
        ("success", {"9": {}}, False),
        ("success", {}, False),
        ("error", {"9": {"images": [{"filename": "a.png"}]}}, False),
    ],
)
def test_a_successful_job_with_outputs_has_made_something(
    status: str, outputs: dict[str, Any], has_made: bool
) -> None:
    said = {"p": {"outputs": outputs, "status": {"status_str": status, "messages": []}}}
    entry = client.parse_history_entry(said, "p")
    assert entry is not None
    assert entry.has_made is has_made
