"""The websocket is opened, kept alive and closed."""

from __future__ import annotations

import datetime
import os
import re
import signal
import ssl
import struct
import sys
import threading
import time
from base64 import b64encode
from contextlib import closing
from hashlib import sha1
from typing import TYPE_CHECKING

import pytest
import trustme
from support.comfyui_backends import open_comfyui
from support.raw_server import RawServer, answer, read_request

from imagen.backends.comfyui import websocket
from imagen.backends.comfyui.websocket import ComfyWebSocket
from imagen.testing.comfyui import ComfyUI

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from imagen.backends.comfyui import ComfyUIBackend as Backend


def _comfy_socket(backend: Backend) -> ComfyWebSocket:
    return ComfyWebSocket(backend.client(), 5)


def test_each_connection_has_its_own_client_id() -> None:
    with ComfyUI() as server, closing(open_comfyui(server.url)) as backend:
        comfy_socket = _comfy_socket(backend)
        comfy_socket.open()
        assert comfy_socket.next(5) == websocket.QueueChanged()
        comfy_socket.open()
        comfy_socket.close()
        first, second = server.client_ids
        assert first != second == comfy_socket.client_id


def test_a_ping_never_fails() -> None:
    with ComfyUI() as server, closing(open_comfyui(server.url)) as backend:
        comfy_socket = _comfy_socket(backend)
        comfy_socket.ping()
        comfy_socket.open()
        comfy_socket.ping()
        assert comfy_socket.next(5) == websocket.QueueChanged()
        assert comfy_socket.next(5) is None  # the server's own flags
        server.die()
        assert comfy_socket.next(5) is None
        comfy_socket.ping()
        assert (comfy_socket.is_open, comfy_socket.breaks) == (False, 1)
        assert comfy_socket.trouble.startswith("broke (")


def _announce(size: int) -> Callable[[socket.socket], None]:
    """Shakes hands, and begins a frame of so many bytes."""

    def behave(connection: socket.socket) -> None:
        head = read_request(connection).decode()
        key = re.search(r"(?i)sec-websocket-key: (\S+)", head)
        assert key is not None
        accept = sha1(f"{key[1]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
        connection.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + b64encode(accept) + b"\r\n\r\n"
        )
        connection.recv(65536)  # its greeting
        connection.sendall(b"\x82\x7f" + struct.pack(">Q", size))
        while connection.recv(65536):
            pass

    return behave


def test_a_frame_beyond_the_limit_breaks_the_connection_and_is_named() -> None:
    with (
        RawServer(_announce((256 << 20) + 1)) as server,
        closing(open_comfyui(server.url)) as backend,
    ):
        comfy_socket = _comfy_socket(backend)
        comfy_socket.open()
        assert comfy_socket.next(1) is None
        assert "exceeds limit of 268435456 bytes" in comfy_socket.trouble
        assert not comfy_socket.is_open


def test_a_connection_that_never_opened_is_retried_with_the_same_client_id() -> None:
    with ComfyUI(refuse_ws=True) as server, closing(open_comfyui(server.url)) as backend:
        comfy_socket = _comfy_socket(backend)
        comfy_socket.open("our-name")
        assert (comfy_socket.is_open, comfy_socket.trouble) == (
            False,
            "could not be opened (status 403)",
        )
        server.switches = ComfyUI().switches
        comfy_socket.reopen()
        assert (comfy_socket.is_open, comfy_socket.trouble) == (True, "")
        comfy_socket.close()
        assert server.client_ids == ["our-name"]


def test_a_connection_that_opens_after_close_is_closed() -> None:
    with ComfyUI() as server, closing(open_comfyui(server.url)) as backend:
        comfy_socket = _comfy_socket(backend)
        comfy_socket.close()
        comfy_socket.open()
        assert not comfy_socket.is_open


@pytest.mark.parametrize(
    "proxy",
    [
        pytest.param("foo://me:hunter2secret@studio", id="no such scheme"),
        pytest.param("socks5://me@studio:hunter2secret", id="no such port"),
        pytest.param("socks5://studio/?hunter2secret", id="a query"),
    ],
)
def test_the_password_of_a_proxy_is_not_shown(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("socks_proxy", proxy)
    with closing(open_comfyui("http://studio.invalid:8188")) as backend:
        comfy_socket = _comfy_socket(backend)
        comfy_socket.open()
        assert comfy_socket.trouble == "could not be opened (the proxy cannot be used)"


def test_an_expired_certificate_is_named(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    long_ago = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    authority.issue_cert("127.0.0.1", not_after=long_ago).configure_cert(context)
    with RawServer(answer(b"hello"), tls=context) as server:
        at = server.url.replace("http:", "https:")
        with closing(open_comfyui(at, ca_file=tmp_path / "ca.pem")) as backend:
            comfy_socket = _comfy_socket(backend)
            comfy_socket.open()
    assert comfy_socket.trouble == (
        "could not be opened (it cannot be trusted: its certificate has expired)"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGUSR1")
def test_a_slow_signal_handler_does_not_block_next_for_ever() -> None:
    """In Python 3.11 SimpleQueue.get, on which websockets waits, then has no timeout left."""
    previous = signal.signal(signal.SIGUSR1, lambda *_: time.sleep(0.4))
    with ComfyUI() as server, closing(open_comfyui(server.url)) as backend:
        comfy_socket = _comfy_socket(backend)
        comfy_socket.open()
        assert comfy_socket.next(5) == websocket.QueueChanged()
        assert comfy_socket.next(5) is None  # the server's own flags
        interrupt = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1))
        rescue = threading.Timer(10, server.die)
        try:
            interrupt.start()
            rescue.start()
            assert comfy_socket.next(0.3) is None
            assert comfy_socket.is_open
        finally:
            rescue.cancel()
            signal.signal(signal.SIGUSR1, previous)
            comfy_socket.close()
