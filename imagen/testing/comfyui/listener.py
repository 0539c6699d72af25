"""A port of this machine, and a thread for each connection to it."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from imagen.testing.comfyui import sockets

if TYPE_CHECKING:
    from collections.abc import Callable

HOST = "127.0.0.1"
_JOIN_SECONDS = 5.0


class Listener:
    """Accepts connections from its making until `close`."""

    def __init__(
        self, port: int, serve: Callable[[socket.socket], None], tls: tuple[str, str] | None
    ) -> None:
        self._serve = serve
        self._tls = _context(tls) if tls else None
        self._open: dict[threading.Thread, socket.socket] = {}
        self._lock = threading.Lock()
        self._ending = False
        self._socket = socket.create_server((HOST, port), backlog=128)
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, name="comfyui-accept", daemon=True)
        self._thread.start()

    def close(self, *, abruptly: bool) -> None:
        """Stop accepting, end every connection, and wait for their threads."""
        self._ending = True
        with suppress(OSError):
            socket.create_connection((HOST, self.port), timeout=1).close()
        self._thread.join(_JOIN_SECONDS)
        self._socket.close()
        with self._lock:
            left = dict(self._open)
        for connection in left.values():
            (sockets.reset if abruptly else sockets.wake)(connection)
        for thread in left:
            if thread is not threading.current_thread():
                thread.join(_JOIN_SECONDS)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            if self._ending:
                connection.close()
                return
            self._start(connection)

    def _start(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        thread = threading.Thread(
            target=self._attend, args=(connection,), name="comfyui-connection", daemon=True
        )
        with self._lock:
            self._open[thread] = connection
        thread.start()

    def _attend(self, connection: socket.socket) -> None:
        try:
            with self._secured(connection) as secured:
                self._serve(secured)
        except (OSError, ValueError):
            pass  # the client has gone, or speaks something else
        finally:
            connection.close()
            with self._lock:
                self._open.pop(threading.current_thread(), None)

    def _secured(self, connection: socket.socket) -> socket.socket:
        if self._tls is None:
            return connection
        secured = self._tls.wrap_socket(connection, server_side=True)
        with self._lock:
            self._open[threading.current_thread()] = secured
        return secured


def _context(tls: tuple[str, str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # TLS 1.3 has the server speak once more after the handshake, and Python can't read and write
    # one connection from two threads at that moment: which is what a websocket's client does.
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(*tls)
    return context
