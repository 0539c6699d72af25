"""The simulator starts, dies, comes back, and leaves nothing behind."""

from __future__ import annotations

import ssl
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest
from support.plain_comfyui_client import client, flat, line, listen, sampled
from websockets.exceptions import ConnectionClosedError

from imagen.testing.comfyui import ComfyUI
from imagen.testing.comfyui.__main__ import parse_switch

# Of 127.0.0.1, made for this test, valid until 2126; its key guards nothing.
_CERTIFICATE = Path(__file__).parent / "loopback.pem"


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("comfyui")]


def test_nothing_is_left_after_the_end() -> None:
    with ComfyUI(step_seconds=30) as server, client(server) as plain, plain.socket():
        plain.submit(sampled())
        assert "comfyui-worker" in threads()
        server.stop()
        assert threads() == []


def test_stopping_twice_and_starting_again_is_fine() -> None:
    server = ComfyUI()
    server.stop()
    server.start()
    server.start()
    server.stop()
    server.stop()
    assert threads() == []


def test_after_death_nobody_answers() -> None:
    with ComfyUI() as server, client(server) as plain, plain.socket() as ours:
        server.die()
        with pytest.raises(ConnectionClosedError):
            ours.recv(timeout=5)
        with pytest.raises(httpx.ConnectError):
            httpx.get(server.url, trust_env=False)


def test_a_restart_forgets_all_but_what_clients_did() -> None:
    with ComfyUI() as server, client(server) as plain:
        url, heard = server.url, plain.run(flat())
        server.restart()
        assert server.url == url
        assert (server.history, server.queue_state()) == ({}, (None, []))
        assert (len(server.prompts), server.sockets_opened) == (1, 1)
    assert plain.server.files.get("output", "lab", heard.images[0]["filename"])


def test_a_restart_can_keep_what_there_was() -> None:
    with ComfyUI(step_seconds=0.05) as server, client(server) as plain:
        done = plain.run(flat()).prompt_id
        waiting = plain.submit(sampled())
        server.restart(empty=False)
        with client(server) as again:
            assert again.ended(waiting)["status"]["completed"]
        assert list(server.history) == [done, waiting]


def test_the_port_can_be_chosen() -> None:
    with ComfyUI() as first:
        port = int(first.url.rpartition(":")[2])
    with ComfyUI(port=port) as second, client(second) as plain:
        assert plain.http.get("/prompt").status_code == 200


def test_the_command_prints_its_address_and_serves() -> None:
    command = [sys.executable, "-m", "imagen.testing.comfyui", "--port", "0", "--switch", "silent"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        answer = httpx.get(f"{url}/prompt", trust_env=False)
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
def test_a_switch_is_read_from_the_command_line(text: str, found: tuple[str, object]) -> None:
    assert parse_switch(text) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nasty", "unknown switch 'nasty'"),
        ("busy=many", "'many' is not a valid value for busy"),
        ("silent=perhaps", "'perhaps' is not a valid value for silent"),
        ("error=odd", "'odd' is not a valid value for error"),
    ],
)
def test_a_bad_switch_is_told(text: str, message: str) -> None:
    with pytest.raises(Exception, match=message):
        parse_switch(text)


def test_it_speaks_tls_on_both_channels() -> None:
    trusted = ssl.create_default_context(cafile=str(_CERTIFICATE))
    secured = ComfyUI(tls=(str(_CERTIFICATE), str(_CERTIFICATE)))
    with secured as server, client(server, verify=trusted) as plain:
        assert server.url.startswith("https://")
        with plain.socket(ssl=trusted) as websocket:
            plain.submit(flat())
            assert line(listen(websocket)[-1]) == "executing null"


def test_two_servers_live_side_by_side() -> None:
    with ComfyUI() as one, ComfyUI() as other, client(one) as first, client(other) as second:
        assert one.url != other.url
        first.run(flat())
        second.run(flat())
        assert (len(one.prompts), len(other.prompts)) == (1, 1)


def test_a_graph_that_waits_does_not_keep_the_server_from_ending() -> None:
    with ComfyUI(load_seconds=60) as server, client(server) as plain, plain.socket() as ours:
        plain.submit(sampled())
        listen(ours, "executing 4")
    assert threads() == []
