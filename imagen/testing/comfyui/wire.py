"""HTTP/1.1 on a socket: one request in, one answer out, in a single send."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

_CHUNK = 1 << 16
_LONGEST_HEAD = 1 << 16
_JSON = "application/json; charset=utf-8"
_TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Request:
    """One request, read whole."""

    method: str
    target: str
    headers: Mapping[str, str]
    """By lower-case name."""
    head: bytes
    body: bytes

    @property
    def path(self) -> str:
        return unquote(urlsplit(self.target).path)

    @property
    def query(self) -> dict[str, str]:
        """The first value of each parameter; one without a value is kept."""
        parts = parse_qs(urlsplit(self.target).query, keep_blank_values=True)
        return {name: values[0] for name, values in parts.items()}

    @property
    def keeps_alive(self) -> bool:
        return self.headers.get("connection", "").lower() != "close"

    @property
    def is_websocket(self) -> bool:
        return "websocket" in self.headers.get("upgrade", "").lower()

    def json(self) -> Any:
        """The body as JSON; raises ValueError."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer; `missing` bytes at its end are announced but not sent."""

    status: int = 200
    body: bytes = b""
    content_type: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    missing: int = 0
    cut: bool = False
    """The connection is cut instead of answering."""

    @property
    def is_last(self) -> bool:
        """Whether the connection ends with it."""
        return self.cut or self.missing > 0 or self.headers.get("Connection") == "close"


CUT = Answer(cut=True)
EMPTY = Answer()


def as_json(value: Any, status: int = 200) -> Answer:
    return Answer(status=status, body=json.dumps(value).encode(), content_type=_JSON)


def as_text(words: str, status: int) -> Answer:
    return Answer(status=status, body=words.encode(), content_type=_TEXT)


def broken() -> Answer:
    """What ComfyUI answers where it broke: not JSON; it closes the connection, and says so."""
    words = "500 Internal Server Error\n\nServer got itself in trouble"
    return replace(as_text(words, 500), headers={"Connection": "close"})


class Stream:
    """The bytes of one connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._held = b""

    def request(self) -> Request | None:
        """The next request; None where the client is done or sends no HTTP."""
        head = self._until(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        words = lines[0].split(" ")
        if len(words) != 3:
            return None
        pairs = (line.partition(":") for line in lines[1:] if line)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        return Request(words[0], words[1], headers, head, self._body(headers))

    def read(self) -> bytes:
        """Whatever comes next; empty at the end."""
        held, self._held = self._held, b""
        return held or self._connection.recv(_CHUNK)

    def send(self, answer: Answer, *, head_only: bool) -> None:
        body = answer.body[: len(answer.body) - answer.missing]
        self._connection.sendall(_head(answer) + (b"" if head_only else body))

    def _body(self, headers: Mapping[str, str]) -> bytes:
        if headers.get("expect", "").lower() == "100-continue":
            self._connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "chunked" in headers.get("transfer-encoding", "").lower():
            return self._chunks()
        return self._exactly(int(headers.get("content-length", "0")))

    def _chunks(self) -> bytes:
        parts: list[bytes] = []
        while size := int(self._until(b"\r\n").partition(b";")[0], 16):
            parts.append(self._exactly(size))
            self._until(b"\r\n")
        self._until(b"\r\n")
        return b"".join(parts)

    def _until(self, mark: bytes) -> bytes:
        """Everything up to a mark, and the mark; empty where it doesn't come."""
        while mark not in self._held:
            more = self._connection.recv(_CHUNK)
            if not more or len(self._held) > _LONGEST_HEAD:
                return b""
            self._held += more
        found, _, self._held = self._held.partition(mark)
        return found + mark

    def _exactly(self, size: int) -> bytes:
        parts = [self._held[:size]]
        self._held, left = self._held[size:], size - len(parts[0])
        while left:
            more = self._connection.recv(min(left, _CHUNK))
            if not more:
                return b""
            parts.append(more)
            left -= len(more)
        return b"".join(parts)


def _head(answer: Answer) -> bytes:
    lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"]
    if answer.content_type:
        lines.append(f"Content-Type: {answer.content_type}")
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    lines.append(f"Content-Length: {len(answer.body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")
