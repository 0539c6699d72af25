"""The bodies of programs that speak OpenAI's Images API, as their sources have them."""

from __future__ import annotations

import json
from base64 import b64encode
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from support.openai_server import BACKENDS, SIZE, decode, half_mask, openai_server, png

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.live_server import LiveServer

_RED, _BLUE, _MASK = png("red"), png("blue"), half_mask()
_NAN = b'{"prompt": "a", "size": "32x32", "feather": NaN}'
_NAN_SCALE = b'{"prompt": "a", "size": "32x32", "guidance_scale": NaN}'
_DATA_URL = f"data:image/png;base64,{b64encode(_RED).decode()}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with openai_server(tmp_path_factory.mktemp("openai"), BACKENDS) as running:
        yield running


def _task(server: LiveServer, answer: dict[str, Any]) -> str:
    spec = server.runtime.store.read(answer["imagen"]["job"]).spec
    assert spec is not None
    return str(spec.request.task)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(
            {"model": "dall-e-3", "prompt": "a fox", "n": 1, "size": SIZE}
            | {"response_format": "b64_json", "steps": 2},
            id="Open WebUI, with a parameter of its administrator",
        ),
        pytest.param(
            {"model": "gpt-image-1", "prompt": "a fox", "n": 1, "background": "auto"}
            | {"output_format": "png", "quality": "auto", "size": "auto"},
            id="LibreChat",
        ),
        pytest.param(
            {"model": "gpt-image-1", "prompt": "a fox", "n": 1, "size": SIZE}
            | {"response_format": None, "seed": None},
            id="LobeChat, with fields that are null",
        ),
        pytest.param(
            {"prompt": "a fox", "model": "dall-e-3", "response_format": "b64_json"}
            | {"quality": "hd", "size": SIZE, "style": "vivid", "n": 1},
            id="n8n",
        ),
        pytest.param(
            {"model": "gpt-image-1", "prompt": "a fox", "size": SIZE, "quality": "high"}
            | {"background": "auto", "moderation": "auto", "output_format": "png", "n": 1},
            id="Dify",
        ),
        pytest.param(
            {"model": "mock", "prompt": "a fox", "n": 1, "size": SIZE, "user": "u1"}
            | {"response_format": "b64_json", "guidance_scale": 3.5},
            id="Vercel ai, with options of a provider",
        ),
    ],
)
def test_generations(server: LiveServer, body: dict[str, Any]) -> None:
    answer = server.client.post(
        "/v1/images/generations?api-version=2025-04-01",
        json=body,
        headers={"Authorization": "Bearer any", "X-OpenWebUI-User-Name": "ann"},
    )
    assert answer.status_code == 200, answer.text
    assert [{*image} for image in answer.json()["data"]] == [{"b64_json"}]
    assert decode(answer.json()["data"][0]["b64_json"]).format == "PNG"
    assert answer.json()["usage"]["total_tokens"] == 0


@pytest.mark.parametrize(
    ("fields", "files", "task"),
    [
        pytest.param(
            {"model": "dall-e-2", "prompt": "sea", "n": "1", "size": SIZE}
            | {"response_format": "b64_json"},
            [("image", _RED)],
            "edit",
            id="Open WebUI, one image",
        ),
        pytest.param(
            {"model": "gpt-image-1", "prompt": "sea", "background": "opaque", "size": SIZE},
            [("image[]", _RED), ("image[]", _BLUE)],
            "edit",
            id="Open WebUI, two images",
        ),
        pytest.param(
            {"model": "gpt-image-1", "prompt": "sea", "quality": "auto", "size": SIZE},
            [("image[]", _RED)],
            "edit",
            id="LibreChat",
        ),
        pytest.param(
            {"model": "gpt-image-1", "prompt": "sea", "n": "1", "input_fidelity": "high"}
            | {"size": SIZE, "stream": "false"},
            [("image", _RED), ("mask", _MASK)],
            "inpaint",
            id="LobeChat",
        ),
        pytest.param(
            {"model": "gpt-image-1", "prompt": "sea", "size": SIZE, "output_format": "jpeg"}
            | {"output_compression": "80"},
            [("image[]", _RED), ("mask", _MASK)],
            "inpaint",
            id="n8n",
        ),
        pytest.param(
            {"model": "gpt-image-1", "prompt": "sea", "size": SIZE, "quality": "low", "n": "1"},
            [("image[0]", _RED), ("image[1]", _BLUE), ("mask", _MASK)],
            "inpaint",
            id="Dify",
        ),
    ],
)
def test_edits(
    server: LiveServer, fields: dict[str, str], files: list[tuple[str, bytes]], task: str
) -> None:
    parts = [(name, ("image.png", data, "application/octet-stream")) for name, data in files]
    answer = server.client.post("/v1/images/edits", data=fields, files=parts)
    assert answer.status_code == 200, answer.text
    image = decode(answer.json()["data"][0]["b64_json"])
    assert image.format == fields.get("output_format", "png").upper()
    assert _task(server, answer.json()) == task


def test_a_field_named_imagen_holds_any_parameters(server: LiveServer) -> None:
    loras = [{"name": "sepia", "strength": 0.5}]
    answer = server.client.post(
        "/v1/images/edits",
        data={"prompt": "sea", "size": SIZE, "imagen": json.dumps({"loras": loras, "seed": 8})},
        files={"image": ("a.png", _RED)},
    )
    assert answer.status_code == 200, answer.text
    spec = server.runtime.store.read(answer.json()["imagen"]["job"]).spec
    assert spec is not None
    assert (spec.request.loras[0].name, spec.request.seed) == ("sepia", 8)


@pytest.mark.parametrize(
    "images",
    [
        pytest.param({"images": [{"image_url": _DATA_URL}]}, id="data URL"),
        pytest.param({"image": _DATA_URL}, id="image as text"),
        pytest.param({"images": [{"file_id": "DIGEST"}]}, id="upload"),
    ],
)
def test_edits_in_json_name_their_images(server: LiveServer, images: dict[str, Any]) -> None:
    digest = server.runtime.blobs.put(_RED)
    assert digest == sha256(_RED).hexdigest()
    body = json.loads(json.dumps(images).replace("DIGEST", digest))
    mask = {"image_url": f"data:image/png;base64,{b64encode(_MASK).decode()}"}
    more = {"prompt": "sea", "size": SIZE, "mask": mask}
    answer = server.client.post("/v1/images/edits", json=body | more)
    assert answer.status_code == 200, answer.text
    assert _task(server, answer.json()) == "inpaint"


@pytest.mark.parametrize(
    ("fields", "files", "parameter", "sentence"),
    [
        ({}, [("image", _RED)], "prompt", "is missing"),
        ({"prompt": "a"}, [("other", _RED)], "image", "is missing"),
        ({"prompt": "a"}, [("image", b"GIF89a...")], "image", "not an image as PNG"),
        ({"prompt": "a"}, [("image", _RED[:60])], "image", "cannot be decoded"),
        ({"prompt": "a"}, [("image", _RED), ("mask", _RED)], "mask", "nothing in it is transp"),
        (
            {"prompt": "a"},
            [("image", _RED), ("mask", half_mask((32, 32)))],
            *("mask", "32 × 32 pixels, but the image has 64 × 48"),
        ),
        ({"prompt": "a", "imagen": "{"}, [("image", _RED)], "imagen", "not valid JSON"),
        ({"prompt": "a", "n": "many"}, [("image", _RED)], "n", "must be a whole number"),
        ({"prompt": "a", "image": "/etc/passwd"}, [], "image", "not an image that a client"),
        ({"prompt": "a"}, [("image", _RED)] * 17, "image", "at most 16"),
        ({"prompt": "a"}, [("image", _RED)] * 18, None, "Too many files"),
    ],
)
def test_a_wrong_edit_is_refused_with_a_sentence(
    server: LiveServer,
    fields: dict[str, str],
    files: list[tuple[str, bytes]],
    parameter: str | None,
    sentence: str,
) -> None:
    parts: list[tuple[str, Any]] = [(name, ("a.png", data)) for name, data in files]
    parts += [(name, (None, text)) for name, text in fields.items()]
    answer = server.client.post("/v1/images/edits", files=parts)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, parameter), error
    assert sentence in error["message"]


@pytest.mark.parametrize(
    ("method", "path", "send", "status", "code"),
    [
        ("POST", "/v1/images/generations", {"json": {}}, 400, "missing_required_parameter"),
        ("POST", "/v1/images/generations", {"json": []}, 400, "invalid_value"),
        ("POST", "/v1/images/generations", {"content": b"{"}, 400, "invalid_value"),
        ("POST", "/v1/images/generations", {"content": _NAN}, 400, "invalid_value"),
        ("POST", "/v1/images/generations", {"content": _NAN_SCALE}, 400, "invalid_value"),
        ("POST", "/v1/images/edits", {"json": {"prompt": "a"}}, 400, "missing_required_parameter"),
        ("POST", "/v1/images/edits", {"json": [1]}, 400, "invalid_value"),
        ("POST", "/v1/images/edits", {"content": b"prompt=a"}, 400, "invalid_value"),
        ("POST", "/v1/images/variations", {"json": {}}, 404, "unknown_url"),
        ("GET", "/v1/images/generations", {}, 405, "http"),
        ("GET", "/v1/models/nope", {}, 404, "model_not_found"),
        ("GET", "/v1/images/files/x.png?expires=9&signature=y", {}, 404, "not_found"),
    ],
)
def test_every_error_below_v1_has_openais_shape(
    server: LiveServer, method: str, path: str, send: dict[str, Any], status: int, code: str
) -> None:
    json_type = {"Content-Type": "application/json"}
    answer = server.client.request(method, path, headers=json_type, **send)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert {*error} == {"message", "type", "param", "code"}
    assert (error["type"], error["code"]) == ("invalid_request_error", code)


def test_urls_of_images_are_not_fetched_by_default(server: LiveServer) -> None:
    body = {"prompt": "a", "images": [{"image_url": "https://example.org/a.png"}]}
    answer = server.client.post("/v1/images/edits", json=body)
    assert answer.status_code == 400
    assert "not an image that a client can name" in answer.json()["error"]["message"]
