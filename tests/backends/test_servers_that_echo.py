"""Credentials are not shown where a server echoes the request."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from imagen.cli import run
from imagen.testing.http_server import HttpAnswer, HttpRequest, HttpServer, json_answer

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOKEN = "t0p/s3cret+t0ken"
_PASSWORD = "hunter2/hunter2"
_BASIC = f"studio:{_PASSWORD}"
_SECRETS = (
    *("s3cret", "hunter2", b64encode(_BASIC.encode()).decode().rstrip("=")),
    *("k3y-0f-the-gateway", "s3rvice", "h00k-path"),
)
_OF_CREDENTIALS = ("authorization", "x-key", "cookie", "apikey")
_GRAPH = {
    "1": {"class_type": "KSampler", "inputs": {"seed": "$<seed>", "text": "$<prompt>"}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "a"}},
}
_MANIFEST = {
    "parameters": {
        "prompt": {"type": "string", "description": "What to show."},
        "seed": {"type": "int", "description": "Where the noise starts."},
    }
}
_BLOCKS: dict[str, dict[str, Any]] = {
    "comfy": {"type": "comfyui", "workflow": "./graph.json", "bearer_env": "A_TOKEN"},
    "comfy_basic": {"type": "comfyui", "workflow": "./graph.json", "basic_env": "A_PAIR"},
    "comfy_header": {
        "type": "comfyui",
        "workflow": "./graph.json",
        "headers_env": {"X-Key": "A_KEY", "Cookie": "A_COOKIE"},
    },
    "cloud": {
        "type": "replicate",
        "model": "me/model",
        "api_token_env": "A_TOKEN",
        "input_schema": "schema.json",
    },
    "cloud_asked": {"type": "replicate", "model": "me/model", "api_token_env": "A_TOKEN"},
    "sd": {"type": "sdcpp", "bearer_env": "A_TOKEN"},
    "images": {"type": "openai", "api_key_env": "A_TOKEN"},
    "webui": {"type": "a1111", "basic_env": "A_PAIR"},
}


class _Echo:
    """Answers with a status and all that it was sent; or takes a job, and fails it so."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.hooks: list[bytes] = []
        self._server = HttpServer(self.answer)

    @property
    def url(self) -> str:
        return self._server.url

    def close(self) -> None:
        self._server.stop()

    def answer(self, request: HttpRequest) -> HttpAnswer:
        method, path, headers, body = (
            request.method,
            request.target,
            request.headers,
            request.body,
        )
        if path.startswith("/h00k-path"):
            self.hooks.append(body)
            return HttpAnswer(status=204)
        sent = {name: headers[name] for name in _OF_CREDENTIALS if name in headers}
        said = f"bad request: {json.dumps(sent)} {sent!r} {method} {path}"
        if self.status != 200:
            return json_answer(_everywhere(said), self.status, Location=f"/{said[:400]}")
        return _of_a_job(path, said, body)


def _everywhere(said: str) -> dict[str, Any]:
    """In each form in which an engine says what is wrong."""
    return {
        "error": {"type": "invalid", "message": said, "details": said, "extra_info": {}},
        "node_errors": {
            "1": {
                "class_type": "KSampler",
                "errors": [{"type": "odd", "message": said, "details": said, "extra_info": {}}],
            }
        },
        "title": said,
        "detail": said,
        "message": said,
        "invalid_fields": [{"field": "prompt", "description": said}],
        "status": 422,
    }


def _of_a_job(path: str, said: str, body: bytes) -> HttpAnswer:
    if path == "/prompt":
        return json_answer({"prompt_id": json.loads(body)["prompt_id"], "node_errors": {}})
    if path.startswith("/history/"):
        broken = {"node_id": "1", "exception_type": said, "exception_message": said}
        status = {
            "status_str": "error",
            "messages": [["execution_error", broken | {"traceback": [said]}]],
        }
        return json_answer({path.rpartition("/")[2]: {"outputs": {}, "status": status}})
    if path == "/models/me/model":
        schema = {"properties": {"prompt": {"type": "string", "description": said}}}
        return json_answer({"latest_version": {"id": "1", "openapi_schema": {"Input": schema}}})
    if path.endswith("/predictions"):
        failed = {"id": "abc", "status": "failed", "model": "me/model", "logs": f"{said}\n{said}"}
        return json_answer(failed | {"error": said}, 201)
    if path == "/sdcpp/v1/img_gen":
        return json_answer({"id": "job_1"}, 202)
    if path == "/images/generations":
        return json_answer({"data": [{"url": f"http://127.0.0.1:9/?{said}"}]})
    if path == "/sdapi/v1/options":
        return json_answer({"sd_model_checkpoint": said})
    if path.startswith("/sdapi/v1/progress"):
        return json_answer({"state": {"job_count": 0}, "progress": 0})
    if path == "/sdapi/v1/txt2img":
        return json_answer({"error": "RuntimeError", "errors": said}, 500)
    if path.startswith("/sdcpp/v1/jobs/"):
        return json_answer({"id": "job_1", "status": "failed", "error": {"message": said}})
    nothing: dict[str, Any] = {"queue_running": [], "queue_pending": [], "devices": []}
    return json_answer(nothing | {"system": {}, "samplers": []})


@pytest.fixture(params=[200, 302, 400, 401, 422, 500])
def echo(request: pytest.FixtureRequest) -> Iterator[_Echo]:
    server = _Echo(request.param)
    yield server
    server.close()


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_TOKEN", _TOKEN)
    monkeypatch.setenv("A_PAIR", _BASIC)
    monkeypatch.setenv("A_KEY", "Key k3y-0f-the-gateway")
    monkeypatch.setenv("A_COOKIE", f"session={_TOKEN}")
    Path("graph.json").write_text(json.dumps(_GRAPH))
    Path("graph.yaml").write_text(json.dumps(_MANIFEST))
    Path("schema.json").write_text('{"Input": {"properties": {"prompt": {"type": "string"}}}}')


def _configure(echo: _Echo, name: str = "", **more: Any) -> None:
    address = "base_url" if "cloud" in name else "url"
    polls = {} if name == "images" else {"poll_seconds": 0.05}
    blocks = {name: _BLOCKS[name] | {address: echo.url, **polls}} if name else {}
    whole = {
        "backends": blocks,
        "state_dir": "state",
        "library": {"url": "library.db"},
        "webhooks": [{"url": f"{echo.url}/h00k-path"}],
    }
    Path("imagen.yaml").write_text(json.dumps(whole | more))


def _refuse_secrets(text: str) -> None:
    assert [secret for secret in _SECRETS if secret in text] == []


def _files() -> str:
    """All that was written here, but for the configuration."""
    files = [path for path in Path().rglob("*") if path.is_file() and path.name != "imagen.yaml"]
    return "".join(path.read_bytes().decode("latin-1") for path in files)


@pytest.mark.parametrize("name", sorted(_BLOCKS))
def test_no_adapter_shows_its_credentials(
    echo: _Echo, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _configure(echo, name)
    ended = [
        run(["generate", "a fox", "-b", name, "--seed", "7"]),
        run(["generate", "a fox", "-b", name, "--seed", "7", "--json"]),
    ]
    assert ended == [4, 4]
    run(["backends", "--check"])
    run(["backends", "show", name])
    run(["workflows", "check", "graph.json", "--backend", name])
    run(["sync"])
    shown = capsys.readouterr()
    assert "bad request" in shown.err + shown.out or echo.status == 302
    _refuse_secrets(shown.out + shown.err)
    _refuse_secrets(_files().replace("h00k-path", ""))
    _refuse_secrets(b"".join(echo.hooks).decode())


def test_the_cloud_targets_do_not_show_their_credentials(
    echo: _Echo, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUPABASE_URL", echo.url)
    monkeypatch.setenv("SUPABASE_SERVICE_KEY", "s3rvice+role/key")
    _configure(echo, owner_user_id="99999999-8888-4777-8666-555555555555", webhooks=[])
    assert run(["generate", "a fox", "-b", "mock", "--size", "32x32"]) == 0
    run(["sync"])
    run(["sync", "--list", "--json"])
    run(["doctor"])
    shown = capsys.readouterr()
    _refuse_secrets(shown.out + shown.err)
    _refuse_secrets(_files())
