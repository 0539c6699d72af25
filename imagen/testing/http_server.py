"""A small HTTP server for simulators: requests in, answers out, and connections cut on purpose."""

from __future__ import annotations

import json
import os
import socket
import socketserver
import ssl
import struct
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

HOST = "127.0.0.1"
_JOIN_SECONDS = 5.0
_POLL_SECONDS = 0.02
_CHUNK = 1 << 16
_RESET_ON_CLOSE = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request, read completely."""

    method: str
    target: str
    """The path with its query, as it was sent."""
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes

    @property
    def path(self) -> str:
        return unquote(urlsplit(self.target).path)

    @property
    def query(self) -> dict[str, str]:
        """The first value of each parameter, also if it is empty."""
        parts = parse_qs(urlsplit(self.target).query, keep_blank_values=True)
        return {name: values[0] for name, values in parts.items()}

    def json(self) -> Any:
        """The body as JSON; raises ValueError."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """One answer."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    missing: int = 0
    """Bytes at the end of the body that are announced and not sent."""
    is_cut: bool = False
    """Whether the connection is closed instead."""
    is_reset: bool = False
    """Whether the connection is reset instead, as by a process that was killed."""


CUT = HttpAnswer(is_cut=True)
RESET = HttpAnswer(is_reset=True)


def json_answer(value: object, status: int = 200, **headers: str) -> HttpAnswer:
    """JSON; the names of `headers` are written with underscores."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return HttpAnswer(
        status=status,
        body=json.dumps(value).encode(),
        headers={"Content-Type": "application/json; charset=utf-8"} | named,
    )


class HeldPort:
    """A port that refuses connections and that no other program can get meanwhile.

    A port that was merely closed may be another server's a moment later. It is held until
    `release`, or until nothing refers to it any more.
    """

    def __init__(self, port: int = 0) -> None:
        bound = socket.socket()
        self.release = weakref.finalize(self, bound.close)
        if os.name == "posix":  # elsewhere it would let others bind the port
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((HOST, port))
        self.port: int = bound.getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"


class HttpConnection(BaseHTTPRequestHandler):
    """One connection: answers its requests, or hands it over to a websocket."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: HttpServer

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = HttpRequest(self.command, self.path, headers, self._read_body(headers))
        answer = self.server.answer(request)
        if not isinstance(answer, HttpAnswer):
            self.close_connection = True
            answer(self)
        elif answer.is_reset:
            self.close_connection = True
            reset(self.connection)
        elif answer.is_cut:
            self.close_connection = True
        else:
            self._send(answer)

    do_POST = do_PUT = do_DELETE = do_HEAD = do_GET

    def read(self) -> bytes:
        """Whatever the client sends next; empty at the end."""
        return self.rfile.read1(_CHUNK)

    def head(self) -> bytes:
        """The request line and the headers."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        return f"{self.requestline}\r\n{lines}\r\n".encode("latin-1")

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""

    def _send(self, answer: HttpAnswer) -> None:
        """Head and body in a single send."""
        self.close_connection |= answer.missing > 0 or answer.headers.get("Connection") == "close"
        headers = {**answer.headers, "Content-Length": str(len(answer.body))}
        head = f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        body = answer.body[: len(answer.body) - answer.missing]
        sent = b"" if self.command == "HEAD" else body
        self.connection.sendall(f"{head}\r\n".encode("latin-1", "replace") + sent)

    def _read_body(self, headers: Mapping[str, str]) -> bytes:
        if "chunked" not in headers.get("transfer-encoding", "").lower():
            return self.rfile.read(int(headers.get("content-length") or 0))
        body = b""
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body


AnswerRequest = Callable[[HttpRequest], "HttpAnswer | Callable[[HttpConnection], None]"]
"""Answers a request, or takes the connection over, which is closed when the callable returns."""


class HttpServer(socketserver.TCPServer):
    """Serves a port of this machine, each connection in a thread, from its making until `stop`.

    `tls` are a certificate and a key file; the threads are named after `name`.
    """

    allow_reuse_address = os.name == "posix"
    request_queue_size = 128
    server_address: tuple[str, int]

    def __init__(
        self,
        answer: AnswerRequest,
        *,
        port: int = 0,
        tls: tuple[str, str] | None = None,
        name: str = "http",
    ) -> None:
        self.answer = answer
        self._name = name
        self._tls = _tls_context(tls) if tls else None
        self._connections: dict[threading.Thread, socket.socket] = {}
        super().__init__((HOST, port), HttpConnection)
        self.port = self.server_address[1]
        self._accepting = threading.Thread(
            target=self.serve_forever, args=(_POLL_SECONDS,), name=f"{name}-accept", daemon=True
        )
        self._accepting.start()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{HOST}:{self.port}"

    def stop(self, *, abruptly: bool = False) -> HeldPort:
        """End every connection and wait for their threads; from now on the port refuses."""
        self.shutdown()
        self.server_close()
        self._accepting.join(_JOIN_SECONDS)
        for thread, connection in list(self._connections.items()):
            (reset if abruptly else close_gently)(connection)
            if thread is not threading.current_thread():
                thread.join(_JOIN_SECONDS)
        return HeldPort(self.port)

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(
            target=self._serve,
            args=(request, client_address),
            name=f"{self._name}-connection",
            daemon=True,
        )
        self._connections[thread] = request
        thread.start()

    def _serve(self, connection: socket.socket, address: object) -> None:
        try:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
                self._connections[threading.current_thread()] = connection
            self.finish_request(connection, address)
        except (OSError, ValueError):
            pass  # the client has gone, or does not speak HTTP
        finally:
            connection.close()
            self._connections.pop(threading.current_thread(), None)


def close_gently(connection: socket.socket) -> None:
    """End both directions; a thread that reads from the connection continues at once."""
    with suppress(OSError):
        # Not the method of a TLS socket, which would drop the encryption under its reader.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def reset(connection: socket.socket) -> None:
    """Let the connection be reset when it is closed, as if the process had been killed."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    with suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RD)


def _tls_context(tls: tuple[str, str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # TLS 1.3 has the server send once more after the handshake, and Python cannot read and write
    # one connection from two threads at that moment, which is what a websocket's client does.
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(*tls)
    return context
