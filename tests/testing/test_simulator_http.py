"""The simulator's HTTP: queue, history, files, uploads, and who may ask."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from support.plain_comfyui_client import (
    PlainClient,
    connect_client,
    flat_graph,
    receive_until,
    sampled_graph,
)
from websockets.exceptions import InvalidStatus

from imagen.testing.comfyui import ComfyUI

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def plain() -> Iterator[PlainClient]:
    with ComfyUI() as server, connect_client(server) as plain:
        yield plain


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 2)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/prompt", {"exec_info": {"queue_remaining": 0}}),
        ("/api/prompt", {"exec_info": {"queue_remaining": 0}}),
        ("/queue", {"queue_running": [], "queue_pending": []}),
        ("/history/unknown", {}),
        ("/history?max_items=0", {}),
        ("/object_info/NopeNode", {}),
        ("/features", {"supports_preview_metadata": True, "max_upload_size": 104857600}),
        ("/embeddings", []),
    ],
)
def test_idle_server_answers(plain: PlainClient, path: str, content: Any) -> None:
    answer = plain.http.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.json() == content


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nope", 404),
        ("GET", "/interrupt", 404),
        ("GET", "/models/nope", 404),
        ("GET", "/ws", 400),
        ("GET", "/history?max_items=x", 500),
        ("POST", "/free", 500),
        ("POST", "/queue", 500),
    ],
)
def test_unknown_or_malformed_requests_are_refused(
    plain: PlainClient, method: str, path: str, status: int
) -> None:
    assert plain.http.request(method, path).status_code == status


def test_system_stats_report_version_and_vram() -> None:
    with ComfyUI(version="0.9.2", vram=(1000, 400)) as server, connect_client(server) as plain:
        answer = plain.http.get("/system_stats").json()
    assert answer["system"]["comfyui_version"] == "0.9.2"
    assert answer["devices"][0]["vram_total"] == 1000
    assert answer["devices"][0]["vram_free"] == 400


def test_object_info_describes_a_class_as_comfyui_does(plain: PlainClient) -> None:
    answer = plain.http.get("/object_info/VAEDecode").json()
    assert answer == {
        "VAEDecode": {
            "input": {"required": {"samples": ["LATENT"], "vae": ["VAE"]}},
            "input_order": {"required": ["samples", "vae"]},
            "output": ["IMAGE"],
            "output_is_list": [False],
            "output_name": ["IMAGE"],
            "name": "VAEDecode",
            "display_name": "VAEDecode",
            "description": "",
            "python_module": "nodes",
            "category": "",
            "output_node": False,
        }
    }


def test_object_info_lists_model_files_as_choices(plain: PlainClient) -> None:
    answer = plain.http.get("/object_info").json()
    loaders = answer["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"]
    assert "sd_turbo.safetensors" in loaders[0]
    assert plain.http.get("/models/checkpoints").json() == loaders[0]
    assert answer["VAELoader"]["input"]["required"]["vae_name"][0][-1] == "pixel_space"


def test_given_node_catalog_replaces_the_classes() -> None:
    catalogue = {"Odd": {"input": {}, "output": [], "output_node": True}}
    with ComfyUI(node_catalog=catalogue) as server, connect_client(server) as plain:
        assert list(plain.http.get("/object_info").json()) == ["Odd"]
        plain.submit({"1": {"class_type": "Odd", "inputs": {}}})


def test_queue_lists_running_and_pending_prompts() -> None:
    with ComfyUI(step_seconds=5) as server, connect_client(server) as plain:
        ids = [plain.submit(sampled_graph(seed=seed)) for seed in range(3)]
        assert plain.wait_until_running() == ids[0]
        first = plain.submit(sampled_graph(seed=3), front=True)
        answer = plain.http.get("/queue").json()
        assert [row[1] for row in answer["queue_running"]] == ids[:1]
        assert sorted(row[1] for row in answer["queue_pending"]) == sorted([*ids[1:], first])
        assert server.queue_state() == (ids[0], [first, *ids[1:]])
        assert answer["queue_running"][0][3:] == [{"client_id": "me"}, ["9"]]


def test_only_pending_prompts_can_be_deleted() -> None:
    with ComfyUI(step_seconds=5) as server, connect_client(server) as plain:
        ids = [plain.submit(sampled_graph(seed=seed)) for seed in range(3)]
        assert plain.wait_until_running() == ids[0]
        assert plain.http.post("/queue", json={"delete": ids[:2]}).content == b""
        assert server.queue_state() == (ids[0], [ids[2]])
        plain.http.post("/queue", json={"clear": True})
        assert server.queue_state() == (ids[0], [])


@pytest.mark.parametrize("body", [b"", b"{}"])
def test_interrupt_without_an_id_stops_whatever_runs(body: bytes) -> None:
    with ComfyUI(step_seconds=0.02) as server, connect_client(server) as plain:
        prompt_id = plain.submit(sampled_graph(steps=200))
        with plain.socket("me") as websocket:
            receive_until(websocket, "progress 3 9/200")
            plain.http.post("/interrupt", content=body)
            entry = plain.wait_until_finished(prompt_id)
    assert server.interrupts == [None]
    assert (entry["status"]["status_str"], entry["status"]["completed"]) == ("error", False)
    kind, answer = entry["status"]["messages"][-1]
    assert kind == "execution_interrupted"
    assert set(answer) == {"prompt_id", "node_id", "node_type", "executed", "timestamp"}


def test_interrupt_of_another_prompt_does_nothing() -> None:
    with ComfyUI(step_seconds=0.01) as server, connect_client(server) as plain:
        prompt_id = plain.submit(sampled_graph(steps=10))
        plain.http.post("/interrupt", json={"prompt_id": "another"})
        assert plain.wait_until_finished(prompt_id)["status"]["status_str"] == "success"


def test_interrupt_while_idle_does_not_affect_the_next_run(plain: PlainClient) -> None:
    plain.http.post("/interrupt")
    entry = plain.wait_until_finished(plain.submit(flat_graph()))
    assert entry["status"]["status_str"] == "success"


def test_history_returns_its_last_entries_and_can_be_cleared(plain: PlainClient) -> None:
    ids = [plain.run(flat_graph(color=color)).prompt_id for color in range(3)]
    assert list(plain.http.get("/history?max_items=2").json()) == ids[1:]
    assert list(plain.http.get("/history?max_items=1&offset=0").json()) == ids[:1]
    plain.http.post("/history", json={"delete": ids[:1]})
    assert list(plain.http.get("/history").json()) == ids[1:]
    plain.http.post("/history", json={"clear": True})
    assert plain.http.get("/history").json() == {}


def test_view_sends_type_length_and_name(plain: PlainClient) -> None:
    answer = plain.view(plain.run(flat_graph()).images[0])
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-length"] == str(len(answer.content))
    assert answer.headers["content-disposition"] == 'filename="simple_00001_.png"'


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("filename=simple_00001_.png&subfolder=lab", 200),
        ("filename=simple_00001_.png&subfolder=lab&type=output&rand=1", 200),
        ("filename=simple_00001_.png", 404),
        ("filename=lab/simple_00001_.png", 404),
        ("filename=nope.png&type=output", 404),
        ("", 404),
        ("filename=", 400),
        ("filename=simple_00001_.png&subfolder=lab&type=bogus", 400),
        ("filename=..%2F..%2Fmain.py", 400),
        ("filename=a..b.png", 400),
        ("filename=/etc/passwd", 400),
        ("filename=main.py&subfolder=..", 403),
        ("filename=passwd&subfolder=/etc", 403),
    ],
)
def test_view_refuses_unknown_and_climbing_paths(
    plain: PlainClient, query: str, status: int
) -> None:
    plain.run(flat_graph())
    assert plain.http.get(f"/view?{query}").status_code == status


@pytest.mark.parametrize(
    ("form", "kind"),
    [("webp;90", "image/webp"), ("jpeg;50", "image/jpeg"), ("png", "image/webp")],
)
def test_view_reencodes_previews(plain: PlainClient, form: str, kind: str) -> None:
    answer = plain.view({**plain.run(flat_graph()).images[0], "preview": form})
    assert answer.headers["content-type"] == kind
    assert Image.open(io.BytesIO(answer.content)).size == (64, 48)


def test_upload_keeps_its_name_unless_other_bytes_have_it(plain: PlainClient) -> None:
    names = [
        plain.http.post("/upload/image", files={"image": ("lab up.png", data)}).json()["name"]
        for data in (b"a", b"a", b"b", b"b")
    ]
    assert names == ["lab up.png", "lab up.png", "lab up (1).png", "lab up (1).png"]


@pytest.mark.parametrize(
    ("name", "fields", "status"),
    [
        ("mü 猫.png", {}, 200),
        ("a.png", {"subfolder": "lab/deep", "type": "temp"}, 200),
        ("a.png", {"type": "bogus"}, 500),
        ("x/y.png", {}, 500),
        ("../evil.png", {}, 400),
        ("a.png", {"subfolder": "../.."}, 400),
        ("a.png", {"subfolder": "/tmp"}, 400),
    ],
)
def test_upload_refuses_climbing_paths(
    plain: PlainClient, name: str, fields: dict[str, str], status: int
) -> None:
    answer = plain.http.post("/upload/image", files={"image": (name, b"x")}, data=fields)
    assert answer.status_code == status


def test_upload_replaces_a_file_only_with_overwrite(plain: PlainClient) -> None:
    plain.http.post("/upload/image", files={"image": ("a.png", b"1")})
    form = {"overwrite": "true"}
    plain.http.post("/upload/image", files={"image": ("a.png", b"2")}, data=form)
    assert plain.view({"filename": "a.png", "type": "input"}).content == b"2"


def test_uploaded_image_can_be_loaded(plain: PlainClient) -> None:
    plain.http.post("/upload/image", files={"image": ("a.png", png())})
    graph = {**flat_graph(), "1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}}}
    data = plain.view(plain.run(graph).images[0]).content
    assert Image.open(io.BytesIO(data)).size == (4, 2)


def test_base_path_serves_nothing_beside_it() -> None:
    with ComfyUI(base_path="/comfy") as server, connect_client(server) as plain:
        assert server.url.endswith("/comfy")
        assert plain.run(flat_graph()).entry["status"]["completed"]
        assert plain.http.get(server.url.replace("/comfy", "/prompt")).status_code == 404


@pytest.mark.parametrize(
    ("credential", "header"),
    [("Bearer x", "Bearer x"), (("me", "secret"), "Basic bWU6c2VjcmV0")],
)
def test_credential_is_required_for_http_and_websocket(credential: Any, header: str) -> None:
    right = {"Authorization": header}
    with ComfyUI(credential=credential) as server, connect_client(server) as plain:
        assert plain.http.get("/prompt").status_code == 401
        assert plain.http.get("/prompt", headers=right).status_code == 200
        with plain.socket(additional_headers=right):
            pass
        with pytest.raises(InvalidStatus, match="401"), plain.raw_socket():
            pass


def test_foreign_origin_is_refused(plain: PlainClient) -> None:
    answer = plain.http.get("/prompt", headers={"Origin": "http://evil.example"})
    assert answer.status_code == 403
