"""Answers of the server are read once, whatever they hold."""

from __future__ import annotations

from typing import Any

import pytest

from imagen.backends.comfyui import answers
from imagen.backends.comfyui.answers import Queue, Stats, Waiting

JUNK = [
    pytest.param(None, id="null"),
    pytest.param([], id="a list"),
    pytest.param("idle", id="text"),
    pytest.param({"queue_running": {}, "queue_pending": [7, [1], ["a", "b"]]}, id="wrong inside"),
]


def test_those_that_wait_are_sorted() -> None:
    """The server gives a heap; lower numbers run first, and equal ones by id."""
    said = {
        "queue_running": [[0, "r", {}, {"client_id": "me"}, []]],
        "queue_pending": [[2, "c", {}, {}, []], [3, "d"], [1, "b", {}, {}, []], [-4, "a", {}]],
    }
    queue = answers.queue(said)
    assert [item.prompt_id for item in queue.pending] == ["a", "b", "c", "d"]
    assert (queue.position("c"), queue.position("r"), queue.runs("r")) == (2, None, True)
    assert queue.of_client("me") == "r"
    assert (queue.runs("r"), queue.runs("a"), queue.runs("z")) == (True, False, False)


@pytest.mark.parametrize("said", JUNK)
def test_a_queue_that_is_none_is_empty(said: Any) -> None:
    """Nothing breaks on it."""
    assert answers.queue(said) == Queue()


def test_the_history_of_a_prompt_is_read() -> None:
    """Its outputs, its messages, and which nodes stand for which."""
    said = {
        "p": {
            "prompt": [1, "p", {}, {"client_id": "me"}, []],
            "outputs": {"5.0.2": {"images": []}},
            "status": {
                "status_str": "success",
                "messages": [["execution_start", {"timestamp": 1}], 7],
            },
            "meta": {"5.0.2": {"display_node": "5"}, "6": None},
        }
    }
    entry = answers.entry(said, "p")
    assert entry is not None
    assert entry.display == {"5.0.2": "5"}
    assert entry.messages == (("execution_start", {"timestamp": 1}),)
    assert answers.of_client(said, "me") == "p"
    assert answers.of_client(said, "you") is None


@pytest.mark.parametrize("said", [{}, None, [], {"p": None}, {"q": {}}])
def test_a_prompt_without_history_has_none(said: Any) -> None:
    """It may wait, run, or be unknown."""
    assert answers.entry(said, "p") is None


def test_an_old_server_chooses_the_id() -> None:
    """A new one gives ours back."""
    assert answers.accepted({"prompt_id": "theirs"}, "ours").prompt_id == "theirs"
    assert answers.accepted({}, "ours").prompt_id == "ours"


def test_memory_is_told_for_a_gpu_only() -> None:
    """What a processor's memory holds is everybody's."""
    system = {"comfyui_version": "0.3.64"}
    gpu = {"name": "cuda:0", "type": "cuda", "vram_total": 10, "vram_free": 4}
    assert answers.stats({"system": system, "devices": [gpu]}) == Stats("0.3.64", 6, "cuda:0")
    assert answers.stats({"system": system, "devices": [{**gpu, "type": "cpu"}]}) == Stats(
        "0.3.64", None, "cuda:0"
    )
    assert answers.stats({"devices": 7}) == Stats()


def test_an_unknown_queue_item_has_no_client() -> None:
    """An older server may tell less."""
    assert answers.queue({"queue_running": [[1, "p"]]}).running == (Waiting("p", ""),)
