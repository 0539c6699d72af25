"""Servers that hang, are not ComfyUI, or are behind TLS or a proxy."""

from __future__ import annotations

import logging
import socket
import threading
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.comfyui_backends import REQUEST, SAMPLED, open_comfyui, request_paths, run_request

from imagen.core.result import no_progress
from imagen.errors import BackendError, Lost, Rejected, Unavailable, WorkflowError
from imagen.testing.comfyui import ComfyUI, GatewayAnswer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagen.core.result import Progress

_HERE = Path(__file__).parent
TLS = str(_HERE / "loopback-certificate.pem"), str(_HERE / "loopback-key.pem")
"""For 127.0.0.1, signed by itself, until 2120; a key of no other use."""


@contextmanager
def _hung() -> Iterator[str]:
    """A port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


class _Page(BaseHTTPRequestHandler):
    """A page for people, whatever is asked for."""

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        body = b"<html>Please log in</html>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""


@contextmanager
def _login_page() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_submission_without_an_answer_is_lost_without_certainty() -> None:
    told: list[Progress] = []
    with (
        _hung() as url,
        closing(open_comfyui(url, connect_seconds=0.1, idle_seconds=0.2)) as backend,
    ):
        ticket = backend.prepare(REQUEST)
        with pytest.raises(Lost, match="does not answer, and cannot be asked") as caught:
            backend.collect(ticket, told.append)
    assert not caught.value.is_certain
    assert {progress.stage for progress in told} == {"submitted"}


def test_a_login_page_is_not_comfyui() -> None:
    with _login_page() as url, closing(open_comfyui(url)) as backend:
        ticket = backend.prepare(REQUEST)
        with pytest.raises(BackendError, match="sent text/html instead of JSON") as caught:
            backend.collect(ticket, no_progress)
        assert not backend.check().ok
    assert "backends.lab.url" in caught.value.remedy


def test_a_value_that_json_cannot_hold_is_refused() -> None:
    graph = {**SAMPLED, "7": {**SAMPLED["7"], "inputs": {"width": "$<sparkle>"}}}
    with ComfyUI() as server:
        with pytest.raises(WorkflowError, match="cannot be sent as JSON"):
            run_request(server, graph, request=REQUEST.with_values({"sparkle": float("nan")}))
        assert server.prompts == []


def test_a_file_name_with_a_lone_surrogate_does_not_break_the_url() -> None:
    with ComfyUI() as server, closing(open_comfyui(server.url)) as backend:
        response = backend.client().view("half \ud83d a pair.png", "", "output")
    assert response.status_code == 404


def test_a_url_without_its_path_is_explained() -> None:
    with (
        ComfyUI(base_path="/comfy") as server,
        closing(open_comfyui(server.url.removesuffix("/comfy"))) as backend,
    ):
        ticket = backend.prepare(REQUEST)
        with pytest.raises(Rejected, match="404") as caught:
            backend.collect(ticket, no_progress)
    assert "including its path" in caught.value.remedy


@pytest.mark.parametrize(
    "status",
    [
        pytest.param(200, id="a page that is no JSON"),
        pytest.param(401, id="a session that ran out"),
        pytest.param(404, id="another server"),
        pytest.param(429, id="patience"),
        pytest.param(502, id="a gateway without its server"),
        pytest.param(503, id="trouble"),
    ],
)
def test_a_refused_look_does_not_lose_the_job(status: int) -> None:
    busy = GatewayAnswer(status=status, path="/history", times=3)
    with ComfyUI(silent=True, step_seconds=0.05, http_errors=(busy,)) as server:
        assert len(run_request(server, lost_seconds=0.001).images) == 1
        assert len(server.prompts) == 1
        assert server.interrupts == []


def test_a_request_that_is_too_large_says_how_to_raise_the_limit() -> None:
    narrow = GatewayAnswer(status=413, path="/prompt", times=9)
    with ComfyUI(http_errors=(narrow,)) as server, pytest.raises(Rejected) as caught:
        run_request(server)
    assert "as large as this one" in caught.value.message
    assert "--max-upload-size" in caught.value.remedy


def test_credentials_are_never_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TOKEN", "hunter2secret")
    caplog.set_level(logging.WARNING, logger="websockets.server")  # the simulator's
    caplog.set_level(logging.DEBUG)
    with ComfyUI(credential="Bearer hunter2secret") as server:
        run_request(server, bearer_env="TOKEN")
    assert caplog.text != ""
    assert "hunter2secret" not in caplog.text


def test_a_long_run_reports_the_memory_in_use() -> None:
    with ComfyUI(step_seconds=0.4) as server, closing(open_comfyui(server.url)) as backend:
        first = backend.collect(backend.prepare(REQUEST), no_progress)
        again = backend.collect(backend.prepare(REQUEST), no_progress)
        asked = [path for path in request_paths(server) if path == "/system_stats"]
    assert first.facts.engine["vram_used_bytes"] == 4 << 30
    assert "vram_used_bytes" not in again.facts.engine
    assert again.facts.engine["server_version"] == "0.9.2"
    assert len(asked) == 2


def test_check_reports_a_missing_ca_file() -> None:
    with closing(open_comfyui("https://127.0.0.1:1", ca_file="not-there.pem")) as backend:
        health = backend.check()
        backend.free()
    assert "ca_file 'not-there.pem' cannot be used" in health.summary


def test_http_and_websocket_use_https() -> None:
    with ComfyUI(tls=TLS) as server:
        result = run_request(server, ca_file=TLS[0])
    assert (len(result.images), result.warnings) == (1, ())


def test_an_untrusted_certificate_is_refused() -> None:
    with (
        ComfyUI(tls=TLS) as server,
        pytest.raises(Unavailable, match="cannot be trusted") as caught,
    ):
        run_request(server)
    assert "ca_file" in caught.value.remedy


@pytest.mark.parametrize("sampler", ["eulr", "Euler"])
def test_an_invalid_choice_from_a_long_list_suggests_the_nearest(sampler: str) -> None:
    node = SAMPLED["8"] | {"inputs": SAMPLED["8"]["inputs"] | {"sampler_name": sampler}}
    with ComfyUI() as server, pytest.raises(Rejected, match="Did you mean 'euler'"):
        run_request(server, SAMPLED | {"8": node})
