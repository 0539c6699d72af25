"""The simulated ComfyUI starts, dies, restarts, holds its port and leaves nothing behind."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest
from simulators.replicate import Replicate
from simulators.supabase import Supabase
from support.plain_comfyui_client import (
    connect_client,
    flat_graph,
    receive_until,
    sampled_graph,
    summarize,
)
from websockets.exceptions import ConnectionClosedError

from imagen.testing.comfyui import ComfyUI
from imagen.testing.comfyui.__main__ import parse_switch
from imagen.testing.http_server import HeldPort

# Of 127.0.0.1, made for this test, valid until 2126; its key guards nothing.
_CERTIFICATE = Path(__file__).parent / "loopback.pem"


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("comfyui")]


def test_stop_ends_every_thread() -> None:
    with ComfyUI(step_seconds=30) as server, connect_client(server) as plain, plain.socket():
        plain.submit(sampled_graph())
        assert "comfyui-worker" in threads()
        server.stop()
        assert threads() == []


def test_start_and_stop_can_be_called_twice() -> None:
    server = ComfyUI()
    server.stop()
    server.start()
    server.start()
    server.stop()
    server.stop()
    assert threads() == []


def test_die_resets_connections_and_refuses_new_ones() -> None:
    with ComfyUI() as server, connect_client(server) as plain, plain.socket() as websocket:
        server.die()
        with pytest.raises(ConnectionClosedError):
            websocket.recv(timeout=5)
        with pytest.raises(httpx.ConnectError):
            httpx.get(server.url, trust_env=False)


def test_restart_forgets_queue_and_history_but_keeps_the_client_log() -> None:
    with ComfyUI() as server, connect_client(server) as plain:
        url, run = server.url, plain.run(flat_graph())
        server.restart()
        assert server.url == url
        assert (server.history, server.queue_state()) == ({}, (None, []))
        assert (len(server.prompts), server.sockets_opened) == (1, 1)
    assert plain.server.files.get("output", "lab", run.images[0]["filename"])


def test_restart_can_keep_the_queue() -> None:
    with ComfyUI(step_seconds=0.05) as server, connect_client(server) as plain:
        done = plain.run(flat_graph()).prompt_id
        waiting = plain.submit(sampled_graph())
        server.restart(empty=False)
        with connect_client(server) as again:
            assert again.wait_until_finished(waiting)["status"]["completed"]
        assert list(server.history) == [done, waiting]


def test_port_can_be_chosen() -> None:
    with ComfyUI() as first:
        port = int(first.url.rpartition(":")[2])
    with ComfyUI(port=port) as second, connect_client(second) as plain:
        assert plain.http.get("/prompt").status_code == 200


def test_module_prints_its_url_and_serves() -> None:
    command = [sys.executable, "-m", "imagen.testing.comfyui", "--port", "0", "--switch", "silent"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            answer = httpx.get(f"{url}/prompt", trust_env=False)
        finally:
            process.terminate()
    assert answer.json() == {"exec_info": {"queue_remaining": 0}}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("silent", ("silent", True)),
        ("silent=false", ("silent", False)),
        ("busy=3", ("busy", 3)),
        ("truncate_view", ("truncate_view", 1)),
        ("silent_load=0.5", ("silent_load", 0.5)),
        ("drop_at=progress", ("drop_at", "progress")),
    ],
)
def test_switch_is_parsed_from_the_command_line(text: str, found: tuple[str, object]) -> None:
    assert parse_switch(text) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("unknown", "unknown switch 'unknown'"),
        ("busy=many", "'many' is not a valid value for busy"),
        ("silent=perhaps", "'perhaps' is not a valid value for silent"),
        ("error=odd", "'odd' is not a valid value for error"),
    ],
)
def test_invalid_switch_is_refused(text: str, message: str) -> None:
    with pytest.raises(Exception, match=message):
        parse_switch(text)


def test_server_speaks_tls_over_http_and_websocket() -> None:
    trusted = ssl.create_default_context(cafile=str(_CERTIFICATE))
    secured = ComfyUI(tls=(str(_CERTIFICATE), str(_CERTIFICATE)))
    with secured as server, connect_client(server, verify=trusted) as plain:
        assert server.url.startswith("https://")
        with plain.socket(ssl=trusted) as websocket:
            plain.submit(flat_graph())
            assert summarize(receive_until(websocket)[-1]) == "executing null"


def test_stop_does_not_wait_for_a_running_prompt() -> None:
    with (
        ComfyUI(load_seconds=60) as server,
        connect_client(server) as plain,
        plain.socket() as websocket,
    ):
        plain.submit(sampled_graph())
        receive_until(websocket, "executing 4")
    assert threads() == []


def _connect(url: str) -> None:
    host, _, port = url.removeprefix("http://").partition(":")
    socket.create_connection((host, int(port.split("/")[0])), timeout=5).close()


def _listen(url: str) -> None:
    socket.create_server(("127.0.0.1", int(url.rpartition(":")[2]))).close()


def test_held_port_refuses_until_it_is_released() -> None:
    held = HeldPort()
    with pytest.raises(ConnectionRefusedError):
        _connect(held.url)
    with pytest.raises(OSError, match="in use"), socket.socket() as other:
        other.bind(("127.0.0.1", held.port))
    held.release()
    _listen(held.url)


@pytest.mark.parametrize("kind", [ComfyUI, Replicate, Supabase])
def test_stopped_server_holds_its_port_until_it_starts_again(
    kind: type[ComfyUI | Replicate | Supabase],
) -> None:
    with kind() as server:
        port = int(server.url.split(":")[2].split("/")[0])
        server.stop()
        with pytest.raises(ConnectionRefusedError):
            _connect(f"http://127.0.0.1:{port}")
        with pytest.raises(OSError, match="in use"), socket.socket() as other:
            other.bind(("127.0.0.1", port))
        server.start()
        _connect(f"http://127.0.0.1:{port}")


def test_port_of_a_deleted_server_is_free_again() -> None:
    def use() -> str:
        with ComfyUI() as server:
            return server.url

    _listen(use())
