"""imagen worker: runs what detached commands submitted."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from support.webhook_receiver import Receiver

from imagen.cli import run
from imagen.config import load_settings
from imagen.jobs.sql_store import open_job_store

pytestmark = pytest.mark.usefixtures("_config")
_DEADLINE_SECONDS = 60.0


@pytest.fixture
def _config() -> None:
    Path("imagen.yaml").write_text(
        "state_dir: state\noutput: {directory: out}\n"
        "backends:\n  mock: {type: mock}\n"
        "  studio: {type: comfyui, url: 'http://127.0.0.1:9', workflow: flux1-schnell}\n"
        "pools: {both: [mock]}\n"
    )


def test_a_detached_job_is_generated_by_a_worker_and_waited_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["generate", "a red fox", "--seed", "7", "--count", "2", "--detach"]) == 0
    id = capsys.readouterr().out.strip()
    assert run(["worker", "--drain", "--backends", "mock"]) == 0
    assert capsys.readouterr() == ("", "")  # a pipe gets nothing without --log
    assert run(["jobs", "wait", id, "-q"]) == 0
    paths = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert [path.name.rpartition("red-fox-")[2] for path in paths] == ["7.png", "8.png"]
    assert {path.parent for path in paths if path.is_file()} == {Path("out").absolute()}
    assert run(["history", "red fox"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_the_image_of_the_queue_is_that_of_the_plain_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["a red fox", "--seed", "7", "--size", "64x64"]
    assert run(["generate", *words, "-o", "plain.png", "-q"]) == 0
    assert run(["generate", *words, "-o", "queued.png", "--detach"]) == 0
    assert run(["worker", "--drain", "-b", "mock"]) == 0
    capsys.readouterr()
    plain, queued = (
        json.loads(Path(f"{name}.png.json").read_text()) for name in ("plain", "queued")
    )
    same = ("request", "resolved", "receipt", "seed", "backend")
    assert {name: plain[name] for name in same} == {name: queued[name] for name in same}


def test_upscaling_by_interpolation_needs_no_engine_in_the_queue_either(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["generate", "a fox", "--size", "64x64", "-o", "fox.png", "-q"]) == 0
    assert run(["upscale", "fox.png", "--factor", "2", "-o", "large.png", "--detach"]) == 0
    id = capsys.readouterr().out.splitlines()[-1]
    assert run(["worker", "--drain", "-b", "mock"]) == 0
    assert run(["jobs", "wait", id, "-q"]) == 0
    assert Path(capsys.readouterr().out.strip()) == Path("large.png").absolute()


def test_the_log_is_text_or_json_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    run(["generate", "a fox", "--detach"])
    id = capsys.readouterr().out.strip()
    assert run(["worker", "--once", "-b", "mock", "--log", "json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    events = [(line["event"], line.get("job")) for line in lines]
    assert ("started", id) in events
    assert ("done", id) in events
    assert lines[0]["message"] == "Serves mock: 1 job at once."
    run(["generate", "a fox", "--detach"])
    capsys.readouterr()
    assert run(["worker", "--drain", "--log", "text"]) == 0
    assert "studio is not ready" in capsys.readouterr().err


def test_wrong_options_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["worker", "--backends", "mcok"]) == 2
    assert "Unknown backend or pool 'mcok'. Did you mean 'mock'?" in capsys.readouterr().err
    assert run(["worker", "--json"]) == 2
    assert "--json needs --status" in capsys.readouterr().out
    assert run(["worker", "--supabase", "--drain"]) == 2
    capsys.readouterr()


def test_status_lists_running_workers_and_sigterm_ends_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["worker", "--status"]) == 0
    assert capsys.readouterr().err == "No worker is running. Start one with: imagen worker\n"
    command = [sys.executable, "-m", "imagen", "worker", "--backends", "mock"]
    with subprocess.Popen(command, env=dict(os.environ)) as process:
        try:
            status: dict[str, list[dict[str, object]]] = {"workers": []}
            deadline = time.monotonic() + _DEADLINE_SECONDS
            while not status["workers"] and time.monotonic() < deadline:
                assert run(["worker", "--status", "--json"]) == 0
                status = json.loads(capsys.readouterr().out)
            (worker,) = status["workers"]
            assert (worker["pid"], worker["backends"]) == (process.pid, ["mock"])
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(_DEADLINE_SECONDS) == 0
    with open_job_store(load_settings()) as store:
        assert store.workers() == []


def test_metrics_are_served_while_the_worker_runs() -> None:
    from urllib.request import urlopen

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "imagen", "worker", "-b", "mock", "--metrics-port", str(port)]
    with subprocess.Popen(command, env=dict(os.environ)) as process:
        try:
            page = b""
            deadline = time.monotonic() + _DEADLINE_SECONDS
            while b"imagen_workers 1.0" not in page and time.monotonic() < deadline:
                with suppress(OSError):
                    page = urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read()
                time.sleep(0.1)
            assert b'mock"} 1.0' in page
        finally:
            process.terminate()


def test_a_wrong_metrics_port_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["worker", "--drain", "--metrics-port", "http"]) == 2
    assert "'http' is not a port" in capsys.readouterr().err


def test_deliveries_of_jobs_are_sent(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEN_BACKGROUND_SYNC", "on")
    with Receiver() as receiver:
        with Path("imagen.yaml").open("a") as file:
            file.write(f"webhooks: [{{url: {receiver.url}}}]\n")
        assert run(["generate", "a fox", "-b", "mock", "--detach"]) == 0
        id = capsys.readouterr().out.strip()
        assert run(["worker", "--drain", "-b", "mock"]) == 0
        deadline = time.monotonic() + _DEADLINE_SECONDS
        while not receiver.requests and time.monotonic() < deadline:
            time.sleep(0.1)
        (request,) = receiver.requests
    assert id in request.body.decode()
