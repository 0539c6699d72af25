"""`imagen serve` as a process: where it listens, what it prints, and how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from support.terminal_runs import run_on_terminal

from imagen.cli import run
from imagen.config import load_settings
from imagen.jobs.sql_store import open_job_store
from imagen.library import open_library
from imagen.library.tokens import list_tokens
from imagen.testing.comfyui import ComfyUI

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagen.jobs.model import QueuedJob

_DEADLINE_SECONDS = 20.0
_MOST_SECONDS = 10.0
"""How long the end of a server may take."""


class _Server:
    """A running `imagen serve`, and a client of it."""

    def __init__(self, process: subprocess.Popen[str], url: str, client: httpx.Client) -> None:
        self.process = process
        self.url = url
        self.client = client

    def stop(self, number: int = signal.SIGTERM) -> tuple[float, str]:
        """How long its end takes after a signal, and what it wrote to stderr."""
        began = time.monotonic()
        self.process.send_signal(number)
        out, error = self.process.communicate(timeout=_DEADLINE_SECONDS)
        assert self.process.returncode == 0, error
        assert out == ""
        return time.monotonic() - began, error


@contextmanager
def _serving(*words: str, name: str = "serve") -> Iterator[_Server]:
    command = [sys.executable, "-m", "imagen", name, "--port", "0", *words]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, env=dict(os.environ), stdout=pipe, stderr=pipe, text=True
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            match = re.fullmatch(r"Listening on (https?://\S+)\n", line)
            assert match, (line, process.stderr and process.stderr.read())
            with httpx.Client(base_url=match[1], timeout=20) as client:
                yield _Server(process, match[1], client)
        finally:
            process.kill()


def _submit(server: _Server, prompt: str) -> str:
    answer = server.client.post("/api/v1/generations", json={"request": {"prompt": prompt}})
    return str(answer.raise_for_status().json()["job"])


def _state(server: _Server, job: str) -> str:
    return str(server.client.get(f"/api/v1/jobs/{job}").raise_for_status().json()["state"])


def _wait_until_running(server: _Server, job: str) -> None:
    until = time.monotonic() + _DEADLINE_SECONDS
    while _state(server, job) != "running":
        assert time.monotonic() < until


def _stored(job: str) -> QueuedJob:
    with open_job_store(load_settings()) as store:
        return store.read(job)


def test_the_end_of_a_server_is_quick_and_loses_no_job() -> None:
    """With a slow job of this process, a stream, and a request that waits."""
    Path("imagen.yaml").write_text("backends: {mock: {type: mock, step_seconds: 0.1}}\n")
    with _serving("--log", "json", "--model", "mock/mock-dusk") as server:
        job = _submit(server, "a slow fox")
        _wait_until_running(server, job)
        answers: list[object] = []

        def wait() -> None:
            headers = {"Prefer": "wait=60"}
            body = {"request": {"prompt": "another"}}
            try:
                answers.append(httpx.post(url, json=body, headers=headers, timeout=20).status_code)
            except httpx.HTTPError as error:
                answers.append(error)

        url = f"{server.url}/api/v1/generations"
        waiting = threading.Thread(target=wait)
        waiting.start()
        until = time.monotonic() + _DEADLINE_SECONDS
        while len(server.client.get("/api/v1/jobs").json()["jobs"]) < 2:
            assert time.monotonic() < until
        with server.client.stream("GET", "/api/v1/events") as stream:
            lines = stream.iter_lines()
            next(lines)
            seconds, error = server.stop()
            for _ in lines:  # the stream ends as it should
                assert time.monotonic() < until
        waiting.join(_DEADLINE_SECONDS)
    assert seconds < _MOST_SECONDS
    logged = [json.loads(line) for line in error.splitlines()]
    requests = [one for one in logged if one["event"] == "request"]
    assert ("POST", "/api/v1/generations", 202) in [
        (one["method"], one["path"], one["status"]) for one in requests
    ]
    assert "fox" not in error  # no prompt is logged
    assert job not in {part for one in requests for part in one["path"].split("/")}
    assert answers == [503]
    stored = _stored(job)
    assert stored.state == "done"  # it got the time to finish
    assert stored.spec is not None
    assert stored.spec.request.model == "mock-dusk"


def test_jobs_at_a_server_go_on_there() -> None:
    with ComfyUI(step_seconds=0.05) as comfyui:
        block = f"studio: {{type: comfyui, url: {comfyui.url}, workflow: sdxl}}"
        Path("imagen.yaml").write_text(f"default_backend: studio\nbackends: {{{block}}}\n")
        with _serving() as server:
            job = _submit(server, "a fox")
            until = time.monotonic() + _DEADLINE_SECONDS
            while not comfyui.prompts:
                assert time.monotonic() < until
                time.sleep(0.02)
            seconds, error = server.stop(signal.SIGINT)
        assert seconds < _MOST_SECONDS
        assert error == ""
        assert run(["worker", "--drain"]) == 0
        assert _stored(job).state == "done"
        assert len(comfyui.prompts) == 1  # made once


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--addr", ":1", "--port", "2"], "--addr includes what --host and --port say"),
        (["--addr", "8080"], "not an address to listen at"),
        (["--addr", "http://x:1"], "not an address to listen at"),
        (["--addr", "127.0.0.1:99999"], "not an address to listen at"),
        (["--host", "203.0.113.7"], "this machine does not have that address"),
        (["--base-path", "x y"], "base_path: must be a path such as /imagen"),
        (["--tls-cert", "x.pem"], "both tls_cert and tls_key are needed"),
        (["--tls-cert", "x.pem", "--tls-key", "y.pem", "--port", "0"], "files for TLS cannot be"),
        (["--token", "short"], "--token is not a safe token"),
        (["--host", "0.0.0.0", "--port", "0"], "clients need a token, but none exists yet"),
    ],
)
def test_what_cannot_be_served_is_a_sentence(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["serve", *words]) == 2
    captured = capsys.readouterr()
    assert sentence in " ".join(captured.err.split())
    assert captured.out == ""


def test_a_port_in_use_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        assert run(["serve", "--port", str(port)]) == 2
    error = capsys.readouterr().err
    assert f"cannot listen at port {port} of 127.0.0.1: another program uses it." in error


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("IMAGEN_TOKEN", "a b c d e f g h i j", "IMAGEN_TOKEN is not a safe token"),
        ("IMAGEN_TOKEN_FILE", "missing.txt", "missing.txt cannot be read"),
    ],
)
def test_a_token_of_the_environment_is_checked(
    name: str,
    value: str,
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(name, value)
    assert run(["serve", "--port", "0"]) == 2
    assert sentence in capsys.readouterr().err


def test_the_gallery_is_the_same_server_with_its_page_and_its_images() -> None:
    Path("imagen.yaml").write_text("backends: {mock: {type: mock}, other: {type: mock}}\n")
    with _serving("--model", "other", name="gallery") as server:
        page = server.client.get("/")
        assert (page.status_code, "text/html" in page.headers["content-type"]) == (200, True)
        assert server.client.get("/api/v1/status").json()["backend"] == "other"
        assert server.client.get("/api/images").json()["images"] == []
        _, error = server.stop()
    assert error == ""


def test_the_gallery_has_a_port_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    with closing(socket.socket()) as taken:
        with suppress(OSError):  # somebody else has it
            taken.bind(("127.0.0.1", 7860))
            taken.listen()
        assert run(["gallery"]) != 0
    assert "7860" in capsys.readouterr().err


def test_a_gallery_honours_the_token_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEN_TOKEN", "x" * 32)
    with _serving(name="gallery") as server:
        assert server.client.get("/api/v1/status").status_code == 401


def test_a_server_without_its_page_says_on_a_terminal_how_to_build_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("imagen.server.routes.page.BUILT_PAGE", tmp_path / "static")
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = str(free.getsockname()[1])
    ending = _end_once_ready(port)
    shown = run_on_terminal(80, "gallery", "--port", port)
    ending.join()
    assert "python scripts/build_web.py" in " ".join(shown.split())


def _end_once_ready(port: str) -> threading.Thread:
    """Send this process the signal that ends its server, once that answers."""
    until = time.monotonic() + _DEADLINE_SECONDS

    def end() -> None:
        while time.monotonic() < until:
            with suppress(httpx.HTTPError):
                if httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200:
                    break
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    ending = threading.Thread(target=end)
    ending.start()
    return ending


def test_the_first_token_is_shown_on_a_terminal_once() -> None:
    """As a URL and as a QR code; the server is ended by a signal to this process."""
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = str(free.getsockname()[1])
    ending = _end_once_ready(port)
    shown = run_on_terminal(80, "serve", "--host", "0.0.0.0", "--port", port, "--no-worker")
    ending.join()
    match = re.search(r"http://[\d.]+:\d+/#token=(imagen_[\w-]{43})", shown)
    assert match, shown
    assert "█" in shown or "▄" in shown
    with open_library(load_settings()) as library:
        (token,) = list_tokens(library)
    assert token.scopes == ("read", "generate", "admin")
