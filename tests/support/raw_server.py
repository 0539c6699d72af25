"""A server of raw bytes: a function serves each connection as it likes."""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

OK = b"HTTP/1.1 200 OK\r\n"


class RawServer:
    """Listens on a port of its own; `behave` is called with each connection, in a thread."""

    def __init__(
        self, behave: Callable[[socket.socket], None], *, tls: ssl.SSLContext | None = None
    ) -> None:
        self._behave = behave
        self._tls = tls
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.port: int = self._socket.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self._socket, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while self._socket.fileno() >= 0:
                connection, _ = self._socket.accept()
                self.connections += 1
                self._open.append(connection)
                threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            if self._tls is None:
                self._behave(connection)
                return
            with self._tls.wrap_socket(connection, server_side=True) as wrapped:
                self._behave(wrapped)


def read_request(connection: socket.socket) -> bytes:
    """The head of a request."""
    head = b""
    while b"\r\n\r\n" not in head and (piece := connection.recv(65536)):
        head += piece
    return head


def answer(body: bytes, *headers: str, status: bytes = OK) -> Callable[[socket.socket], None]:
    """Answer every request with this body."""
    named = "".join(f"{header}\r\n" for header in (*headers, f"Content-Length: {len(body)}"))

    def behave(connection: socket.socket) -> None:
        while read_request(connection):
            connection.sendall(status + named.encode() + b"\r\n" + body)

    return behave


def drip(begin: bytes, drop: bytes = b"x") -> Callable[[socket.socket], None]:
    """Sends this beginning, then a drop every 20 ms until the client goes, at most a minute."""

    def behave(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(begin)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            connection.sendall(drop)
            time.sleep(0.02)

    return behave


def answer_or_drip(answers: Mapping[str, object]) -> Callable[[socket.socket], None]:
    """By the beginning of a request: answer with JSON, or drip."""

    def behave(connection: socket.socket) -> None:
        head = connection.recv(65536, socket.MSG_PEEK).decode("latin-1")
        known = [value for begin, value in answers.items() if head.startswith(begin)]
        body = json.dumps(known[0]).encode() if known else b""
        then = answer(body, "Connection: close") if known else drip(OK + b"X-Drop: ")
        then(connection)

    return behave
