"""Each switch of the simulator does what it says, over HTTP and in the run."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import httpx
import pytest
from PIL import Image
from support.plain_comfyui_client import FLAGS, Plain, client, flat, line, listen, node, sampled

from imagen.testing.comfyui import ComfyUI, FailureSwitches, GatewayAnswer

if TYPE_CHECKING:
    from typing import Any


def test_an_unknown_switch_is_an_error() -> None:
    with pytest.raises(TypeError, match="nasty"):
        ComfyUI(nasty=True)


def test_switches_can_be_set_while_the_server_runs() -> None:
    with ComfyUI() as server, client(server) as plain:
        server.switches = FailureSwitches(empty_success=True)
        assert plain.run(flat()).entry["outputs"] == {}


def test_instant_cached_is_over_before_the_answer() -> None:
    with ComfyUI(instant_cached=True) as server, client(server) as plain, plain.socket() as ours:
        prompt_id = plain.submit(flat())
        assert plain.entry(prompt_id)["outputs"]["9"]["images"]
        assert [line(frame) for frame in listen(ours)] == [
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


def test_somebody_else_interrupts_half_way() -> None:
    with ComfyUI(interrupt=True) as server, client(server) as plain:
        heard = plain.run(sampled(steps=4))
    assert heard.lines[-5:] == [
        "state 4f 6f 7f 5f 3r",
        "progress 3 2/4",
        "execution_interrupted",
        "status 0",
        "executing null",
    ]
    assert server.interrupts == []


@pytest.mark.parametrize("graph", [flat(), sampled()], ids=["flat", "sampled"])
def test_die_ends_it_for_good(graph: Any) -> None:
    with ComfyUI(die=True) as server, client(server) as plain, plain.socket() as ours:
        plain.submit(graph)
        assert "executing null" not in [line(frame) for frame in listen(ours)]
        with pytest.raises(httpx.TransportError):
            _until_down(plain)


def _until_down(plain: Plain) -> None:
    while True:
        plain.http.get("/prompt")


def test_restart_empty_comes_back_and_knows_nothing() -> None:
    with ComfyUI(restart_empty=True) as server, client(server) as plain:
        url = server.url
        with plain.socket() as ours:
            prompt_id = plain.submit(flat())
            listen(ours)
        _until_up(plain)
        assert server.url == url
        assert plain.http.get(f"/history/{prompt_id}").json() == {}
        assert server.queue_state() == (None, [])
        assert plain.run(flat()).entry["status"]["completed"]


def _until_up(plain: Plain) -> None:
    while True:
        try:
            plain.http.get("/prompt")
        except httpx.TransportError:
            continue
        return


def test_busy_puts_strangers_before_us() -> None:
    with ComfyUI(busy=2, busy_seconds=5) as server, client(server) as plain:
        prompt_id = plain.submit(flat())
        assert plain.running() != prompt_id
        _, pending = server.queue_state()
    assert len(pending) == 2
    assert pending[-1] == prompt_id


def test_a_stranger_can_be_put_into_the_queue() -> None:
    with ComfyUI() as server, client(server) as plain:
        stranger = server.submit_foreign(seconds=0.01)
        prompt_id = plain.submit(flat())
        plain.ended(prompt_id)
        assert list(server.history) == [stranger, prompt_id]


def test_a_dead_worker_leaves_jobs_waiting() -> None:
    with ComfyUI(worker_dead=True) as server, client(server) as plain:
        prompt_id = plain.submit(flat())
        assert plain.http.get("/prompt").json() == {"exec_info": {"queue_remaining": 1}}
        assert server.queue_state() == (None, [prompt_id])


def test_silent_load_sends_nothing_while_http_answers() -> None:
    with ComfyUI(silent_load=30) as server, client(server) as plain, plain.socket() as ours:
        plain.submit(sampled())
        assert line(listen(ours, "executing 4")[-1]) == "executing 4"
        assert plain.http.get("/prompt").status_code == 200
        with pytest.raises(TimeoutError):
            ours.recv(timeout=0.1)


def test_slow_delays_each_answer() -> None:
    with (
        ComfyUI(slow=30) as server,
        client(server, timeout=0.1) as plain,
        pytest.raises(httpx.ReadTimeout),
    ):
        plain.http.get("/prompt")


def test_http_errors_strike_so_often_where_they_should() -> None:
    refusal = GatewayAnswer(status=429, times=2, path="/view", method="GET", retry_after="1")
    with ComfyUI(http_errors=(refusal,)) as server, client(server) as plain:
        image = plain.run(flat()).images[0]
        answers = [plain.view(image) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert answers[0].headers["retry-after"] == "1"


def test_a_redirect_leads_to_the_same_path_elsewhere() -> None:
    with ComfyUI(redirect="http://elsewhere.example") as server, client(server) as plain:
        answer = plain.http.get("/view", params={"filename": "a.png"})
    assert answer.status_code == 302
    assert answer.headers["location"] == "http://elsewhere.example/view"


def test_a_lost_request_is_not_taken() -> None:
    with ComfyUI(lost_post_request=True) as server, client(server) as plain:
        with pytest.raises(httpx.TransportError):
            plain.submit(flat())
        assert server.prompts == []
        plain.submit(flat())


def test_a_lost_answer_leaves_the_job_taken() -> None:
    with ComfyUI(lost_post_response=True) as server, client(server) as plain:
        with pytest.raises(httpx.TransportError):
            plain.submit(flat(), prompt_id="mine")
        assert plain.ended("mine")["status"]["completed"]
        assert len(server.prompts) == 1


def test_node_errors_200_skips_the_last_of_several_outputs() -> None:
    graph = {**flat(), "5": node("PreviewImage", images=["1", 0])}
    with ComfyUI(node_errors_200=True) as server, client(server) as plain:
        answer = plain.http.post("/prompt", json={"prompt": graph})
        assert answer.status_code == 200
        assert list(answer.json()["node_errors"]) == ["5"]
        assert list(plain.ended(answer.json()["prompt_id"])["outputs"]) == ["9"]


@pytest.mark.parametrize(
    ("prompt_id", "status"),
    [
        ("0b0dd4f4-6d4a-4c0e-9b5a-5b4cf37880f6", 200),
        ("0B0DD4F4-6D4A-4C0E-9B5A-5B4CF37880F6", 400),
        ("0b0dd4f46d4a4c0e9b5a5b4cf37880f6", 400),
    ],
)
def test_strict_uuid_takes_only_the_canonical_form(prompt_id: str, status: int) -> None:
    with ComfyUI(strict_uuid=True) as server, client(server) as plain:
        answer = plain.http.post("/prompt", json={"prompt": flat(), "prompt_id": prompt_id})
    assert answer.status_code == status
    assert (status == 400) == ("invalid_prompt_id" in answer.text)


def test_an_old_server_chooses_its_own_id_and_sends_no_states() -> None:
    with ComfyUI(old_server=True) as server, client(server) as plain:
        with plain.socket() as ours:
            ours.send(FLAGS)
            prompt_id = plain.submit(flat(), prompt_id="mine")
            lines = [line(frame) for frame in listen(ours)]
        stats = plain.http.get("/system_stats").json()
        assert plain.http.get("/features").status_code == 404
    assert prompt_id != "mine"
    assert stats["system"]["comfyui_version"] == "0.3.40"
    assert lines[2:7] == ["execution_start", "cached", "executing 1", "executing 9", "executed 9"]


def test_an_old_server_interrupts_whatever_runs() -> None:
    slow = ComfyUI(old_server=True, step_seconds=0.02)
    with slow as server, client(server) as plain, plain.socket() as ours:
        prompt_id = plain.submit(sampled(steps=200))
        listen(ours, "progress 3 1/200")
        plain.http.post("/interrupt", json={"prompt_id": "another"})
        assert "execution_interrupted" in [line(frame) for frame in listen(ours)]
    assert server.history[prompt_id]["status"]["status_str"] == "error"
    assert server.interrupts == ["another"]


def test_empty_success_gives_nothing() -> None:
    with ComfyUI(empty_success=True) as server, client(server) as plain:
        heard = plain.run(flat())
    assert "executed 9" not in heard.lines
    assert (heard.entry["status"]["status_str"], heard.entry["outputs"]) == ("success", {})


def test_a_late_history_is_empty_for_a_while() -> None:
    with ComfyUI(history_late=2) as server, client(server) as plain, plain.socket() as ours:
        prompt_id = plain.submit(flat())
        listen(ours)
        found = [plain.http.get(f"/history/{prompt_id}").json() for _ in range(3)]
    assert [list(said) for said in found] == [[], [], [prompt_id]]


def test_truncate_view_announces_more_than_it_sends() -> None:
    with ComfyUI(truncate_view=1) as server, client(server) as plain:
        image = plain.run(flat()).images[0]
        with pytest.raises(httpx.RemoteProtocolError):
            plain.view(image)
        assert Image.open(io.BytesIO(plain.view(image).content)).size == (64, 48)


def test_cut_file_sends_half_a_picture_of_the_right_length() -> None:
    with ComfyUI(cut_file=1) as server, client(server) as plain:
        image = plain.run(flat()).images[0]
        half, whole = plain.view(image), plain.view(image)
    assert half.headers["content-length"] == str(len(half.content))
    assert half.content == whole.content[: len(whole.content) // 2]


def test_rename_upload_stores_under_another_name() -> None:
    with ComfyUI(rename_upload=True) as server, client(server) as plain:
        said = plain.http.post("/upload/image", files={"image": ("a.png", b"x")}).json()
        assert said == {"name": "a (1).png", "subfolder": "", "type": "input"}
        assert plain.view({"filename": "a (1).png", "type": "input"}).content == b"x"


def test_extra_outputs_are_of_all_kinds_and_in_all_places() -> None:
    with ComfyUI(extra_outputs=True) as server, client(server) as plain:
        heard = plain.run(flat())
        sizes = [Image.open(io.BytesIO(plain.view(image).content)).size for image in heard.images]
    name = "simple_00001_.png"
    assert heard.images == [
        {"filename": name, "subfolder": "lab", "type": "output"},
        {"filename": name, "subfolder": "elsewhere", "type": "output"},
        {"filename": name, "subfolder": "", "type": "temp"},
        {"filename": "expanded_from_9_00001_.png", "subfolder": "expanded", "type": "output"},
    ]
    assert sizes == [(64, 48), (64, 48), (48, 64), (64, 48)]
    assert set(heard.entry["outputs"]["9"]) == {"images", "gifs", "audio", "text", "animated"}
    assert heard.entry["meta"]["9.0.0.1"]["display_node"] == "9"
    assert [said["output"] is None for said in heard.data("executed")] == [False, False, True]


def test_evil_names_climb_and_can_still_be_fetched() -> None:
    with ComfyUI(evil_names=True) as server, client(server) as plain:
        image = plain.run(flat()).images[0]
        answer = plain.view(image)
    assert image["filename"].startswith("../../evil\x1b[31m\r\n")
    assert answer.status_code == 200
