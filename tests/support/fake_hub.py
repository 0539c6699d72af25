"""A Hugging Face Hub on this machine that refuses everybody; import it before diffusers."""

from __future__ import annotations

import os
import tempfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

REQUESTED_PATHS: list[str] = []
"""The path of each question."""
_FOLDER = tempfile.TemporaryDirectory(prefix="imagen-hub-")


class _Gate(BaseHTTPRequestHandler):
    """Says of every model that its owners must allow it first; of `broken/…` that it fails."""

    def do_GET(self) -> None:
        REQUESTED_PATHS.append(self.path)
        if "broken/" in self.path:
            self._answer(500, {})
        elif "secret/" in self.path:
            self._answer(401, {"X-Error-Code": "RepoNotFound"})
        else:
            self._answer(403, {"X-Error-Code": "GatedRepo"})

    do_HEAD = do_GET

    def _answer(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on the terminal."""


_SERVER = ThreadingHTTPServer(("127.0.0.1", 0), _Gate)
Thread(target=_SERVER.serve_forever, daemon=True).start()
os.environ["HF_ENDPOINT"] = f"http://127.0.0.1:{_SERVER.server_port}"
os.environ["HF_HOME"] = _FOLDER.name
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
