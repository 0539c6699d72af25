"""A server that gives prepared answers and records the requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Self

from imagen.testing.http_server import HttpAnswer, HttpServer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.testing.http_server import HttpRequest


class Received(NamedTuple):
    """One request; headers go by lower-case name."""

    method: str
    path: str
    """With its query."""
    headers: Mapping[str, str]
    body: bytes


class Receiver:
    """Give these answers in turn, each this many times, and then 204."""

    def __init__(self, *answers: HttpAnswer, times: int = 1) -> None:
        self.requests: list[Received] = []
        self._answers = [answer for answer in answers for _ in range(times)]
        self._server = HttpServer(self._answer)
        self.url = self._server.url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._held = self._server.stop()

    def _answer(self, request: HttpRequest) -> HttpAnswer:
        received = Received(request.method, request.target, request.headers, request.body)
        self.requests.append(received)
        return self._answers.pop(0) if self._answers else HttpAnswer(status=204)
