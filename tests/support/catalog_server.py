"""A ComfyUI that only serves its node catalog, and a configuration with it."""

from __future__ import annotations

import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Server(ThreadingHTTPServer):
    """Answers the requests of a check."""

    daemon_threads = True
    version = "0.9.2"
    object_info: Mapping[str, Any] = {}


class _Answer(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        """Answer a request of a check."""
        answer = {
            "/object_info": self.server.object_info,
            "/system_stats": {"system": {"comfyui_version": self.server.version}, "devices": []},
        }[self.path]
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


@contextmanager
def serving(object_info: Mapping[str, Any]) -> Iterator[Server]:
    """A server with this node catalog, until the block ends."""
    with Server(("127.0.0.1", 0), _Answer) as server:
        server.object_info = object_info
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def configured(**settings: Any) -> None:
    """Write this configuration into the working folder; JSON is YAML."""
    Path("imagen.yaml").write_text(json.dumps(settings), "utf-8")


def studio(server: Server, **block: Any) -> None:
    """Configure the server as the backend `studio`."""
    url = f"http://127.0.0.1:{server.server_port}"
    configured(backends={"studio": {"type": "comfyui", "url": url} | block})
