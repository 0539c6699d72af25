"""The simple API: one call, one image."""

from __future__ import annotations

import email.policy
import io
from email.parser import BytesParser
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from support.live_server import LiveServer, live_server, server_settings

from imagen.config import Style

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

_FOX: dict[str, Any] = {"prompt": "a fox", "width": 64, "height": 32, "seed": 7}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    blocks: dict[str, dict[str, Any]] = {
        "mock": {"type": "mock"},
        "blocked": {"type": "mock", "fail": "rejected"},
    }
    folder = tmp_path_factory.mktemp("server")
    (folder / "wildcards").mkdir()
    (folder / "wildcards" / "animal.txt").write_text("fox\nhare\n")
    settings = server_settings(
        blocks,
        folder=folder,
        styles={"ink": Style(prompt="{prompt}, in ink")},
        wildcard_dirs=(folder / "wildcards",),
    )
    with live_server(settings) as server:
        yield server


def _generate(server: LiveServer, accept: str | None = None, **body: Any) -> httpx.Response:
    headers = {"Accept": accept} if accept else {}
    return server.client.post("/generate", json=body, headers=headers)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, "multipart/mixed"),
        ("multipart/form-data", "multipart/form-data"),
        ("text/html, multipart/*;q=0.5", "multipart/mixed"),
    ],
)
def test_generate_answers_meta_and_images_in_parts(
    shared: LiveServer, accept: str | None, kind: str
) -> None:
    answer = _generate(shared, accept, **_FOX, count=2)
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = BytesParser(policy=email.policy.HTTP).parsebytes(head + answer.content)
    meta, *images = message.iter_parts()
    assert message.get_content_type() == kind
    assert meta.get_content_type() == "application/json"
    assert [str(part.get_filename())[-6:] for part in images] == [".1.png", ".1.png"]
    sizes = [Image.open(io.BytesIO(part.get_content())).size for part in images]
    assert sizes == [(64, 32), (64, 32)]


def test_generate_answers_the_png_alone(shared: LiveServer) -> None:
    answer = _generate(shared, "image/png", **_FOX)
    assert answer.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(answer.content)).size == (64, 32)


def test_generate_answers_json(shared: LiveServer) -> None:
    result = _generate(shared, "application/json", **_FOX).json()
    assert (result["images"][0]["seed"], result["job"]["state"]) == (7, "done")


def test_generate_takes_the_names_of_other_tools(shared: LiveServer) -> None:
    body = {"prompt": "a fox", "size": "64x32", "num_inference_steps": 3, "negative_prompt": "fog"}
    result = _generate(shared, "application/json", **body).json()
    used = result["generations"][0]["request"]
    assert (used["steps"], used["negative"], used["width"]) == (3, "fog", 64)


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        ({"prompt": "a fox", "stepz": 3}, 400, "stepz: unknown key. Did you mean 'steps'?"),
        ({"prompt": "a fox", "backend": "moc"}, 404, "Did you mean 'mock'?"),
        ({"prompt": "a fox", "backend": 5}, 400, "backend: must be text"),
        ({}, 400, "prompt"),
        ({"prompt": "a fox", "backend": "blocked", "width": 64, "height": 64}, 422, ""),
    ],
)
def test_a_failure_is_a_problem(
    shared: LiveServer, body: dict[str, Any], status: int, sentence: str
) -> None:
    answer = _generate(shared, "image/png", **body)
    assert (answer.status_code, answer.json()["status"]) == (status, status)
    assert sentence in answer.json()["detail"]


def test_health_says_version_and_gpus(shared: LiveServer) -> None:
    health = shared.client.get("/health").json()
    assert (health["status"], health["backend"], health["is_engine_ready"]) == ("ok", "mock", True)
    assert health["version"]


def test_the_gallery_generates_and_says_where_the_images_are(shared: LiveServer) -> None:
    answer = shared.client.post("/api/generate", json=_FOX).json()
    (made,) = answer["images"]
    assert made["filename"] == f"{made['image']['uid']}.png"
    assert made["url"] == f"/api/images/{made['filename']}"


def test_models_loras_and_schedulers_are_listed(shared: LiveServer) -> None:
    models = shared.client.get("/api/models").json()
    assert ([one["name"] for one in models["models"]], models["default"]) == (
        ["mock", "mock-dusk"],
        "mock",
    )
    loras = shared.client.get("/api/loras").json()["loras"]
    assert [one["name"] for one in loras] == ["moonlight", "sepia"]
    assert shared.client.get("/api/schedulers").json() == {"samplers": [], "schedulers": []}


def test_config_and_status_describe_the_default_backend(shared: LiveServer) -> None:
    config = shared.client.get("/api/config").json()
    assert (config["backend"], config["defaults"]["steps"]) == ("mock", 8)
    assert config["styles"] == ["ink"]
    assert config["backend"] in config["backends"]
    assert shared.client.get("/api/status").json()["waiting"] == 0


def test_styles_and_wildcards_are_listed(shared: LiveServer) -> None:
    styles = shared.client.get("/api/v1/styles").json()["styles"]
    assert styles["ink"]["prompt"] == "{prompt}, in ink"
    assert shared.client.get("/api/v1/wildcards").json() == {"wildcards": ["animal"]}


def test_blocks_have_slots_and_parameters(shared: LiveServer) -> None:
    answer = shared.client.get("/api/v1/capabilities").json()
    blocks = {one["opcode"]: one for one in answer["blocks"]}
    inpaint = blocks["imagen.inpaint"]
    assert [(one["name"], one["type"]) for one in inpaint["slots"]] == [
        ("image", "block"),
        ("mask", "block"),
        ("prompt", "string"),
    ]
    steps = next(one for one in inpaint["parameters"] if one["name"] == "steps")
    assert (steps["label"], steps["optional"], steps["max"]) == ("Steps", True, 200)
    assert {"imagen.generate", "imagen.upscale", "imagen.preprocess"} <= set(blocks)
