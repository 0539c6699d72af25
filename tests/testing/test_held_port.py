"""A port that is held refuses connections, and nobody else gets it meanwhile."""

from __future__ import annotations

import socket

import pytest
from simulators.replicate import Replicate
from simulators.supabase import Supabase

from imagen.testing.comfyui import ComfyUI
from imagen.testing.http_server import HeldPort


def _connect(url: str) -> None:
    host, _, port = url.removeprefix("http://").partition(":")
    socket.create_connection((host, int(port.split("/")[0])), timeout=5).close()


def _listen(url: str) -> None:
    socket.create_server(("127.0.0.1", int(url.rpartition(":")[2]))).close()


def test_a_held_port_refuses_until_it_is_released() -> None:
    held = HeldPort()
    with pytest.raises(ConnectionRefusedError):
        _connect(held.url)
    with pytest.raises(OSError, match="in use"), socket.socket() as other:
        other.bind(("127.0.0.1", held.port))
    held.release()
    _listen(held.url)


@pytest.mark.parametrize("kind", [ComfyUI, Replicate, Supabase])
def test_the_port_of_a_stopped_server_is_held_until_it_starts_again(
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


def test_the_port_of_a_server_that_is_gone_is_free_again() -> None:
    def use() -> str:
        with ComfyUI() as server:
            return server.url

    _listen(use())
