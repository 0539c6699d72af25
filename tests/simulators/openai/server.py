"""The simulated Images API: plain and streamed answers, and the ways in which they fail."""

from __future__ import annotations

import email
import json
import select
import socket
import time
from base64 import b64encode
from dataclasses import dataclass
from email.policy import HTTP
from typing import TYPE_CHECKING, Any, Literal, Self

from support.fake_sd_cli import png

from imagen.testing.http_server import CUT, HttpAnswer, HttpServer, json_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from imagen.testing.http_server import HttpConnection, HttpRequest

KEY = "sk-stand-in-key"
Way = Literal[
    "ok",
    "dropped",
    "dropped_once",
    "reset",
    "page",
    "garbled",
    "no_data",
    "empty",
    "cut_image",
    "failed",
    "gateway",
    "unavailable",
    "moderated",
    "throttled_once",
    "no_credit",
    "odd_size",
    "own_url",
    "private_url",
    "no_stream",
    "stream_error",
    "stream_ends",
    "echo",
]
_LONGEST_SECONDS = 60.0
_LOOK_SECONDS = 0.01
_JOB = "0123abcd-0000-4000-8000-000000000000"
_LAST_EVENT = b"event: image_generation.completed"
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
_USAGE = {
    "input_tokens": 60,
    "input_tokens_details": {"image_tokens": 50, "text_tokens": 10},
    "output_tokens": 1000,
    "total_tokens": 1060,
}


@dataclass(frozen=True, slots=True)
class ReceivedImage:
    """One input image as it was sent."""

    field: str
    name: str
    media_type: str
    data: bytes


class ImagesServer:
    """A server that answers in one way; a request takes `seconds`.

    An `idempotent` one answers a repeated Idempotency-Key with the first result; imagen's own also
    names its job, which can be cancelled.
    """

    def __init__(
        self,
        way: Way = "ok",
        *,
        token: str = "",
        seconds: float = 0.0,
        idempotent: bool = False,
        models: tuple[Mapping[str, str], ...] = ({"id": "sim", "owned_by": "sim"},),
        is_imagen: bool = False,
    ) -> None:
        self.way = way
        self.seconds = seconds
        self.bodies: list[dict[str, Any]] = []
        """The parameters of each request that was taken."""
        self.images: list[list[ReceivedImage]] = []
        self.keys: list[str] = []
        """The Idempotency-Key of each POST."""
        self.authorizations: list[str | None] = []
        self.submissions = 0
        self._token = token
        self._models = models
        self._is_imagen = is_imagen
        self._results: dict[str, HttpAnswer] | None = {} if idempotent else None
        self._at_work: set[int] = set()
        self._is_cancelled = False
        self._server = HttpServer(self._answer, name="images")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"{self._server.url}/v1"

    def stop(self) -> None:
        self._server.stop(abruptly=True)

    def is_at_work(self) -> bool:
        """Whether a request goes on, once the server has had time to see that its client left."""
        until = time.monotonic() + 0.2
        while self._at_work and time.monotonic() < until:
            time.sleep(_LOOK_SECONDS)
        return bool(self._at_work)

    def _answer(self, request: HttpRequest) -> HttpAnswer | Callable[[HttpConnection], None]:
        self.authorizations.append(request.headers.get("authorization"))
        if request.path.startswith("/v1/files/"):
            return HttpAnswer(body=png(16, 16, 1), headers={"Content-Type": "image/png"})
        if request.path == "/health":
            health = {"is_engine_ready": True} if self._is_imagen else {}
            return json_answer(health)
        if self._token and request.headers.get("authorization") != f"Bearer {self._token}":
            return _error(401, "invalid_api_key", "Incorrect API key provided")
        if request.path == "/v1/models":
            return json_answer({"object": "list", "data": list(self._models)})
        if request.path.startswith("/api/v1/jobs/"):
            self._is_cancelled |= request.path.endswith("/cancel")
            state = "running" if self._at_work and not self._is_cancelled else "cancelled"
            return json_answer({"id": _JOB, "state": state})
        if request.method == "GET":
            status = 405 if request.path == "/v1/images/generations" else 404
            return HttpAnswer(status=status)
        return self._generate(request)

    def _generate(self, request: HttpRequest) -> HttpAnswer | Callable[[HttpConnection], None]:
        key = request.headers.get("idempotency-key", "")
        self.keys.append(key)
        if self._results is not None and key in self._results:
            return self._results[key]
        if refusal := self._refusal(request):
            return refusal
        body, images = _read_body(request)
        self.bodies.append(body)
        self.images.append(images)
        self.submissions += 1
        answer = self._make(body, is_edit=request.path.endswith("/edits"))
        if self._results is not None and not answer.is_cut:
            self._results[key] = answer
        if self.way == "dropped_once":
            self.way = "ok"
            return CUT
        return self._work(answer) if self.seconds else answer

    def _refusal(self, request: HttpRequest) -> HttpAnswer | None:
        if self.way == "throttled_once":
            self.way = "ok"
            return _error(429, "rate_limit_exceeded", "Too many requests", Retry_After="0")
        refusals: dict[str, HttpAnswer] = {
            "moderated": _error(400, "moderation_blocked", "Rejected by the safety system"),
            "no_credit": _error(429, "insufficient_quota", "You exceeded your current quota"),
            "unavailable": _error(503, "server_error", "Overloaded"),
            "failed": _error(500, "server_error", "The server had an error"),
            "gateway": HttpAnswer(status=502, body=b"<html>Bad gateway</html>"),
            "odd_size": _error(400, "invalid_value", "Invalid size", param="size"),
            "echo": _error(400, "invalid_value", f"bad header {request.headers}"),
        }
        return refusals.get(self.way)

    def _make(self, body: Mapping[str, Any], *, is_edit: bool) -> HttpAnswer:
        if self.way in ("dropped", "reset"):
            return HttpAnswer(is_cut=self.way == "dropped", is_reset=self.way == "reset")
        if self.way == "page":
            return HttpAnswer(body=b"<html>Log in</html>", headers={"Content-Type": "text/html"})
        if self.way == "garbled":
            return HttpAnswer(body=b'{"data": [{"b64', headers={"Content-Type": "application/json"})
        if self.way == "no_data":
            return json_answer({"object": "chat.completion", "choices": []})
        entries = [self._entry(body, number) for number in range(int(body.get("n", 1)))]
        if str(body.get("stream", "")).lower() == "true" and self.way != "no_stream":
            return self._stream(body, "image_edit" if is_edit else "image_generation", entries)
        data = [] if self.way == "empty" else entries
        return json_answer({"created": 1, "data": data, "size": body["size"], "usage": _USAGE})

    def _entry(self, body: Mapping[str, Any], number: int) -> dict[str, str]:
        if self.way == "own_url":
            return {"url": f"{self._server.url}/v1/files/{number}.png"}
        if self.way == "private_url":
            return {"url": "http://127.0.0.1:9/secret.png"}
        width, height = map(int, str(body["size"]).split("x"))
        data = png(width, height, int(body.get("seed", 0)) + number)
        data = data[:-20] if self.way == "cut_image" else data
        return {"b64_json": b64encode(data).decode()}

    def _stream(
        self, body: Mapping[str, Any], prefix: str, entries: list[dict[str, str]]
    ) -> HttpAnswer:
        lines = [": a comment\n\n"]

        def add(type: str, **values: object) -> None:
            lines.append(f"event: {type}\ndata: {json.dumps({'type': type, **values})}\n\n")

        for number in range(int(body.get("partial_images", 0))):
            add(f"{prefix}.partial_image", partial_image_index=number, **entries[0])
        if self.way == "stream_error":
            error = {"code": "moderation_blocked", "message": "The image was blocked", "type": "x"}
            lines.append(f"event: error\ndata: {json.dumps({'error': error})}\n\n")
        elif self.way != "stream_ends":
            for entry in entries:
                add(f"{prefix}.completed", usage=_USAGE, **entry)
        lines.append("data: [DONE]\n\n")
        data = "".join(lines).encode()
        return HttpAnswer(body=data, headers={"Content-Type": "text/event-stream"})

    def _work(self, answer: HttpAnswer) -> Callable[[HttpConnection], None]:
        """Answer after some time, unless the client leaves before.

        Of a stream, all but the end is sent at once.
        """
        begin, found, end = answer.body.partition(_LAST_EVENT)

        def serve(connection: HttpConnection) -> None:
            until = time.monotonic() + min(self.seconds, _LONGEST_SECONDS)
            self._at_work.add(id(connection))
            try:
                if found:
                    length = f"Content-Length: {len(answer.body)}\r\n\r\n".encode()
                    job = f"Imagen-Job: {_JOB}\r\n".encode() if self._is_imagen else b""
                    connection.connection.sendall(_STREAM_HEAD + job + length + begin)
                while (left := until - time.monotonic()) > 0:
                    if self._is_cancelled or _has_left(
                        connection.connection, min(left, _LOOK_SECONDS)
                    ):
                        return
                if found:
                    connection.connection.sendall(found + end)
                else:
                    connection._send(answer)
            finally:
                self._at_work.discard(id(connection))

        return serve


def _has_left(connection: socket.socket, seconds: float) -> bool:
    readable, _, _ = select.select([connection], [], [], seconds)
    return bool(readable) and not connection.recv(1, socket.MSG_PEEK)


def _error(status: int, code: str, message: str, param: str = "", **headers: str) -> HttpAnswer:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return json_answer({"error": error}, status, **headers)


def _read_body(request: HttpRequest) -> tuple[dict[str, Any], list[ReceivedImage]]:
    if request.headers.get("content-type", "").startswith("application/json"):
        return request.json(), []
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    form = email.message_from_bytes(head + request.body, policy=HTTP)
    body: dict[str, Any] = {}
    images: list[ReceivedImage] = []
    for part in form.iter_parts():
        field = str(part.get_param("name", header="content-disposition"))
        data = part.get_payload(decode=True)
        assert isinstance(data, bytes)
        if name := part.get_filename():
            images.append(ReceivedImage(field, name, part.get_content_type(), data))
        else:
            body[field] = data.decode()
    return body, images
