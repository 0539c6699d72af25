"""A way to a PostgreSQL that can be broken: connections refused, or open and silent."""

from __future__ import annotations

import select
import socket
import threading
from typing import Literal, Self
from urllib.parse import parse_qs, urlsplit

State = Literal["open", "refused", "silent"]
_LOOK_SECONDS = 0.05


class DatabaseProxy:
    """Passes the bytes of connections at `url` on to the server of another URL."""

    def __init__(self, url: str) -> None:
        self._folder = parse_qs(urlsplit(url).query).get("host", [""])[0]
        self._target = urlsplit(url)
        self.state: State = "open"
        self._closed = threading.Event()
        self._listener: socket.socket | None = socket.create_server(("127.0.0.1", 0))
        self._port = self._listener.getsockname()[1]
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        for thread in self._threads:
            thread.join(10)

    @property
    def url(self) -> str:
        """The URL of the same database, through the proxy."""
        return f"postgresql://postgres@127.0.0.1:{self._port}{self._target.path}"

    def cut(self, state: State = "open") -> None:
        """End every connection; new ones are as this state says."""
        self.state = state
        for pair in list(self._pairs):
            for one in pair:
                one.close()

    def _connect(self) -> socket.socket:
        if not self._folder:
            return socket.create_connection((self._target.hostname, self._target.port or 5432))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{self._folder}/.s.PGSQL.{self._target.port or 5432}")
        return server

    def _accept(self) -> None:
        assert self._listener is not None
        with self._listener as listener:
            while not self._closed.is_set():
                if not select.select([listener], [], [], _LOOK_SECONDS)[0]:
                    continue
                client, _ = listener.accept()
                if self.state == "refused":
                    client.close()
                    continue
                thread = threading.Thread(target=self._pass_on, args=(client,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _pass_on(self, client: socket.socket) -> None:
        try:
            server = self._connect()
        except OSError:
            client.close()
            return
        pair = client, server
        self._pairs.add(pair)
        try:
            while not self._closed.is_set():
                if self.state == "silent":
                    self._closed.wait(_LOOK_SECONDS)
                    continue
                for source in select.select(pair, [], [], _LOOK_SECONDS)[0]:
                    data = source.recv(65536)
                    if not data:
                        return
                    (server if source is client else client).sendall(data)
        except (OSError, ValueError):
            return
        finally:
            self._pairs.discard(pair)
            client.close()
            server.close()
