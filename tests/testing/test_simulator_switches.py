"""Each switch of the simulator does what it says, over HTTP and in the run."""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING

import httpx
import pytest
from PIL import Image
from support.plain_comfyui_client import (
    FLAGS,
    PlainClient,
    connect_client,
    flat_graph,
    node,
    receive_until,
    sampled_graph,
    summarize,
)

from imagen.testing.comfyui import ComfyUI, FailureSwitches, GatewayAnswer

if TYPE_CHECKING:
    from typing import Any


def test_unknown_switch_raises() -> None:
    with pytest.raises(TypeError, match="unknown"):
        ComfyUI(unknown=True)


def test_switches_can_be_set_while_the_server_runs() -> None:
    with ComfyUI() as server, connect_client(server) as plain:
        server.switches = FailureSwitches(empty_success=True)
        assert plain.run(flat_graph()).entry["outputs"] == {}


def test_instant_cached_run_ends_before_the_answer() -> None:
    with (
        ComfyUI(instant_cached=True) as server,
        connect_client(server) as plain,
        plain.socket() as websocket,
    ):
        prompt_id = plain.submit(flat_graph())
        assert plain.history_entry(prompt_id)["outputs"]["9"]["images"]
        assert [summarize(frame) for frame in receive_until(websocket)] == [
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


def test_interrupt_stops_the_run_half_way() -> None:
    with ComfyUI(interrupt=True) as server, connect_client(server) as plain:
        run = plain.run(sampled_graph(steps=4))
    assert run.lines[-5:] == [
        "state 4f 6f 7f 5f 3r",
        "progress 3 2/4",
        "execution_interrupted",
        "status 0",
        "executing null",
    ]
    assert server.interrupts == []


@pytest.mark.parametrize("graph", [flat_graph(), sampled_graph()], ids=["flat", "sampled"])
def test_die_ends_the_server_for_good(graph: Any) -> None:
    with ComfyUI(die=True) as server, connect_client(server) as plain, plain.socket() as websocket:
        plain.submit(graph)
        assert "executing null" not in [summarize(frame) for frame in receive_until(websocket)]
        assert _becomes_reachable(plain, wanted=False)


def _becomes_reachable(plain: PlainClient, *, wanted: bool) -> bool:
    """Whether the server is reachable, or unreachable, within ten seconds."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            plain.http.get("/prompt")
        except httpx.TransportError:
            if not wanted:
                return True
        else:
            if wanted:
                return True
    return False


def test_restart_empty_comes_back_without_queue_and_history() -> None:
    with ComfyUI(restart_empty=True) as server, connect_client(server) as plain:
        url = server.url
        with plain.socket() as websocket:
            prompt_id = plain.submit(flat_graph())
            receive_until(websocket)
        assert _becomes_reachable(plain, wanted=True)
        assert server.url == url
        assert plain.http.get(f"/history/{prompt_id}").json() == {}
        assert server.queue_state() == (None, [])
        assert plain.run(flat_graph()).entry["status"]["completed"]


def test_busy_queues_foreign_prompts_first() -> None:
    with ComfyUI(busy=2, busy_seconds=5) as server, connect_client(server) as plain:
        prompt_id = plain.submit(flat_graph())
        assert plain.wait_until_running() != prompt_id
        _, pending = server.queue_state()
    assert len(pending) == 2
    assert pending[-1] == prompt_id


def test_submit_foreign_queues_a_prompt_of_another_client() -> None:
    with ComfyUI() as server, connect_client(server) as plain:
        foreign_id = server.submit_foreign(seconds=0.01)
        prompt_id = plain.submit(flat_graph())
        plain.wait_until_finished(prompt_id)
        assert list(server.history) == [foreign_id, prompt_id]


def test_worker_dead_leaves_prompts_pending() -> None:
    with ComfyUI(worker_dead=True) as server, connect_client(server) as plain:
        prompt_id = plain.submit(flat_graph())
        assert plain.http.get("/prompt").json() == {"exec_info": {"queue_remaining": 1}}
        assert server.queue_state() == (None, [prompt_id])


def test_silent_load_sends_nothing_while_http_answers() -> None:
    with (
        ComfyUI(silent_load=30) as server,
        connect_client(server) as plain,
        plain.socket() as websocket,
    ):
        plain.submit(sampled_graph())
        assert summarize(receive_until(websocket, "executing 4")[-1]) == "executing 4"
        assert plain.http.get("/prompt").status_code == 200
        with pytest.raises(TimeoutError):
            websocket.recv(timeout=0.1)


def test_slow_delays_each_answer() -> None:
    with (
        ComfyUI(slow=30) as server,
        connect_client(server, timeout=0.1) as plain,
        pytest.raises(httpx.ReadTimeout),
    ):
        plain.http.get("/prompt")


def test_http_errors_strike_the_given_path_the_given_times() -> None:
    refusal = GatewayAnswer(status=429, times=2, path="/view", method="GET", retry_after="1")
    with ComfyUI(http_errors=(refusal,)) as server, connect_client(server) as plain:
        image = plain.run(flat_graph()).images[0]
        answers = [plain.view(image) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert answers[0].headers["retry-after"] == "1"


def test_redirect_leads_to_the_same_path_elsewhere() -> None:
    with ComfyUI(redirect="http://elsewhere.example") as server, connect_client(server) as plain:
        answer = plain.http.get("/view", params={"filename": "a.png"})
    assert answer.status_code == 302
    assert answer.headers["location"] == "http://elsewhere.example/view"


def test_lost_post_request_is_not_accepted() -> None:
    with ComfyUI(lost_post_request=True) as server, connect_client(server) as plain:
        with pytest.raises(httpx.TransportError):
            plain.submit(flat_graph())
        assert server.prompts == []
        plain.submit(flat_graph())


def test_lost_post_response_leaves_the_prompt_accepted() -> None:
    with ComfyUI(lost_post_response=True) as server, connect_client(server) as plain:
        with pytest.raises(httpx.TransportError):
            plain.submit(flat_graph(), prompt_id="mine")
        assert plain.wait_until_finished("mine")["status"]["completed"]
        assert len(server.prompts) == 1


def test_node_errors_200_skips_the_last_of_several_outputs() -> None:
    graph = {**flat_graph(), "5": node("PreviewImage", images=["1", 0])}
    with ComfyUI(node_errors_200=True) as server, connect_client(server) as plain:
        answer = plain.http.post("/prompt", json={"prompt": graph})
        assert answer.status_code == 200
        assert list(answer.json()["node_errors"]) == ["5"]
        assert list(plain.wait_until_finished(answer.json()["prompt_id"])["outputs"]) == ["9"]


@pytest.mark.parametrize(
    ("prompt_id", "status"),
    [
        ("0b0dd4f4-6d4a-4c0e-9b5a-5b4cf37880f6", 200),
        ("0B0DD4F4-6D4A-4C0E-9B5A-5B4CF37880F6", 400),
        ("0b0dd4f46d4a4c0e9b5a5b4cf37880f6", 400),
    ],
)
def test_strict_uuid_accepts_only_the_canonical_form(prompt_id: str, status: int) -> None:
    with ComfyUI(strict_uuid=True) as server, connect_client(server) as plain:
        answer = plain.http.post("/prompt", json={"prompt": flat_graph(), "prompt_id": prompt_id})
    assert answer.status_code == status
    assert (status == 400) == ("invalid_prompt_id" in answer.text)


def test_old_server_chooses_its_own_id_and_sends_no_progress_state() -> None:
    with ComfyUI(old_server=True) as server, connect_client(server) as plain:
        with plain.socket() as websocket:
            websocket.send(FLAGS)
            prompt_id = plain.submit(flat_graph(), prompt_id="mine")
            lines = [summarize(frame) for frame in receive_until(websocket)]
        stats = plain.http.get("/system_stats").json()
        assert plain.http.get("/features").status_code == 404
    assert prompt_id != "mine"
    assert stats["system"]["comfyui_version"] == "0.3.40"
    assert lines[2:7] == ["execution_start", "cached", "executing 1", "executing 9", "executed 9"]


def test_old_server_interrupts_whatever_runs() -> None:
    slow = ComfyUI(old_server=True, step_seconds=0.02)
    with slow as server, connect_client(server) as plain, plain.socket() as websocket:
        prompt_id = plain.submit(sampled_graph(steps=200))
        receive_until(websocket, "progress 3 1/200")
        plain.http.post("/interrupt", json={"prompt_id": "another"})
        assert "execution_interrupted" in [summarize(frame) for frame in receive_until(websocket)]
    assert server.history[prompt_id]["status"]["status_str"] == "error"
    assert server.interrupts == ["another"]


def test_empty_success_has_no_outputs() -> None:
    with ComfyUI(empty_success=True) as server, connect_client(server) as plain:
        run = plain.run(flat_graph())
    assert "executed 9" not in run.lines
    assert (run.entry["status"]["status_str"], run.entry["outputs"]) == ("success", {})


def test_history_late_is_empty_for_some_requests() -> None:
    with (
        ComfyUI(history_late=2) as server,
        connect_client(server) as plain,
        plain.socket() as websocket,
    ):
        prompt_id = plain.submit(flat_graph())
        receive_until(websocket)
        found = [plain.http.get(f"/history/{prompt_id}").json() for _ in range(3)]
    assert [list(answer) for answer in found] == [[], [], [prompt_id]]


def test_truncate_view_announces_more_than_it_sends() -> None:
    with ComfyUI(truncate_view=1) as server, connect_client(server) as plain:
        image = plain.run(flat_graph()).images[0]
        with pytest.raises(httpx.RemoteProtocolError):
            plain.view(image)
        assert Image.open(io.BytesIO(plain.view(image).content)).size == (64, 48)


def test_cut_file_sends_half_a_file_with_its_length() -> None:
    with ComfyUI(cut_file=1) as server, connect_client(server) as plain:
        image = plain.run(flat_graph()).images[0]
        half, whole = plain.view(image), plain.view(image)
    assert half.headers["content-length"] == str(len(half.content))
    assert half.content == whole.content[: len(whole.content) // 2]


def test_rename_upload_stores_under_another_name() -> None:
    with ComfyUI(rename_upload=True) as server, connect_client(server) as plain:
        answer = plain.http.post("/upload/image", files={"image": ("a.png", b"x")}).json()
        assert answer == {"name": "a (1).png", "subfolder": "", "type": "input"}
        assert plain.view({"filename": "a (1).png", "type": "input"}).content == b"x"


def test_extra_outputs_add_files_in_other_places_and_of_other_kinds() -> None:
    with ComfyUI(extra_outputs=True) as server, connect_client(server) as plain:
        run = plain.run(flat_graph())
        sizes = [Image.open(io.BytesIO(plain.view(image).content)).size for image in run.images]
    name = "simple_00001_.png"
    assert run.images == [
        {"filename": name, "subfolder": "lab", "type": "output"},
        {"filename": name, "subfolder": "elsewhere", "type": "output"},
        {"filename": name, "subfolder": "", "type": "temp"},
        {"filename": "expanded_from_9_00001_.png", "subfolder": "expanded", "type": "output"},
    ]
    assert sizes == [(64, 48), (64, 48), (48, 64), (64, 48)]
    assert set(run.entry["outputs"]["9"]) == {"images", "gifs", "audio", "text", "animated"}
    assert run.entry["meta"]["9.0.0.1"]["display_node"] == "9"
    assert [answer["output"] is None for answer in run.data("executed")] == [False, False, True]


def test_evil_names_can_be_downloaded() -> None:
    with ComfyUI(evil_names=True) as server, connect_client(server) as plain:
        image = plain.run(flat_graph()).images[0]
        answer = plain.view(image)
    assert image["filename"].startswith("../../evil\x1b[31m\r\n")
    assert answer.status_code == 200
