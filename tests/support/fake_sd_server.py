"""A fake sd-server: its own API with a queue of jobs, as a local HTTP server."""

from __future__ import annotations

import json
import threading
import time
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from support.fake_sd_cli import png

_SLOW_SECONDS = 1.5


class GatewayAnswer(NamedTuple):
    """A gateway that answers requests that begin so: `times` times, after the first `after`."""

    begins: str
    status: int
    body: str = ""
    times: int = 99
    after: int = 0
    reaches: bool = False
    """Whether the request also reaches the server."""


class FakeJob:
    """A job that is queued, works, and ends by the clock."""

    def __init__(self, body: dict[str, Any], seconds: float, waits: bool) -> None:
        self.body = body
        self.ends = time.monotonic() + seconds
        self.waits = waits
        self.is_cancelled = False

    @property
    def status(self) -> str:
        if self.is_cancelled:
            return "cancelled"
        if self.waits:
            return "queued"
        return "generating" if time.monotonic() < self.ends else "completed"


class FakeSdServer:
    """A server on a port of its own; `way` is how it behaves."""

    def __init__(self, way: str = "ok") -> None:
        self.way = way
        self.jobs: dict[str, FakeJob] = {}
        self.asked: list[str] = []
        self.gateway: GatewayAnswer | None = None
        self.authorization: list[str | None] = []
        handler = type("Handler", (_Handler,), {"owner": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def is_at_work(self) -> bool:
        return any(job.status in ("queued", "generating") for job in self.jobs.values())

    def between(self, line: str) -> GatewayAnswer | None:
        """The answer of the gateway to this request, if it answers."""
        gateway = self.gateway
        if gateway is None or not line.startswith(gateway.begins):
            return None
        seen = sum(asked.startswith(gateway.begins) for asked in self.asked) - 1
        is_hit = gateway.after <= seen < gateway.after + gateway.times
        return gateway if is_hit else None

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        """The status and JSON of an answer."""
        if self.way == "unauthorized":
            return 401, {"error": "a token, please"}
        if path == "/sdcpp/v1/capabilities":
            return 200, CAPABILITIES
        if path == "/sdcpp/v1/img_gen":
            return self._submit(body)
        id = path.removeprefix("/sdcpp/v1/jobs/").removesuffix("/cancel")
        job = self.jobs.get(id)
        if job is None or self.way == "lost":
            return 404, {"error": "job not found"}
        if self.way == "expired":
            return 410, {"error": "job expired"}
        return self._cancel(id, job) if method == "POST" else (200, self._job(id, job))

    def _submit(self, body: dict[str, Any]) -> tuple[int, Any]:
        if self.way == "rejected" or not body.get("prompt"):
            return 400, {"error": "invalid generation parameters"}
        if self.way in ("full", "busy"):
            return 429, {"error": "job queue is full"}
        if self.way == "trouble":
            return 500, {"error": "server_error", "message": "bad allocation"}
        id = f"job_6920_{len(self.jobs):08}"
        seconds = {"slow": _SLOW_SECONDS, "endless": 600.0}.get(self.way, 0.0)
        self.jobs[id] = FakeJob(body, seconds, self.way == "waits")
        if self.way == "breaks":
            return 0, None
        if self.way == "odd-id":
            id = "../../other"
        return 202, {"id": id, "kind": "img_gen", "status": "queued", "poll_url": f"/x/{id}"}

    def _cancel(self, id: str, job: FakeJob) -> tuple[int, Any]:
        if job.status == "generating":
            error = "job is currently generating and cannot be interrupted yet"
            return 409, {"error": error}
        job.is_cancelled = job.is_cancelled or job.status == "queued"
        return 200, self._job(id, job)

    def _job(self, id: str, job: FakeJob) -> dict[str, Any]:
        said = {"id": id, "kind": "img_gen", "status": job.status, "queue_position": 0}
        said |= {"created": 100, "started": 102, "completed": 105, "result": None, "error": None}
        if job.status == "queued":
            return said | {"queue_position": 3, "started": None}
        if self.way == "failed":
            error = {"code": "generation_failed", "message": "generate_image returned no results"}
            return said | {"status": "failed", "error": error}
        if job.status != "completed":
            return said
        return said | {"result": {"output_format": "png", "images": list(self._images(job))}}

    def _images(self, job: FakeJob) -> list[dict[str, Any]]:
        body = job.body
        count = 0 if self.way == "empty" else int(body.get("batch_count", 1))
        return [{"index": i, "b64_json": self._image(body, i)} for i in reversed(range(count))]

    def _image(self, body: dict[str, Any], index: int) -> str:
        data = png(body["width"], body["height"], body["seed"] + index)
        if self.way == "half":
            data = data[:-20]
        if self.way == "page":
            data = b"<html>Log in</html>"
        return "?!" if self.way == "garbled" else b64encode(data).decode()


class _Handler(BaseHTTPRequestHandler):
    owner: FakeSdServer

    def do_GET(self) -> None:
        self._reply("GET")

    def do_POST(self) -> None:
        self._reply("POST")

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def _reply(self, method: str) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or b"{}")
        self.owner.asked.append(f"{method} {self.path}")
        self.owner.authorization.append(self.headers.get("Authorization"))
        between = self.owner.between(f"{method} {self.path}")
        status, said = 0, None
        if between is None or between.reaches:
            status, said = self.owner.answer(method, self.path, body)
        data = b"<html>" if self.owner.way == "no-json" else json.dumps(said).encode()
        if between is not None:
            status, data = between.status, between.body.encode()
        if not status:
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        if self.owner.way == "busy":
            self.send_header("Retry-After", "30")
        self.end_headers()
        self.wfile.write(data)


CAPABILITIES = {
    "model": {"name": "sd15.safetensors", "stem": "sd15", "path": "/srv/sd15.safetensors"},
    "samplers": ["euler", "euler_a", "dpm++2m"],
    "schedulers": ["discrete", "karras"],
    "loras": [{"name": "ink", "path": "style/ink.safetensors"}],
    "limits": {"min_width": 64, "max_width": 2048, "max_batch_count": 4, "max_queue_size": 64},
    "features": {"cancel_queued": True, "cancel_generating": False},
}
