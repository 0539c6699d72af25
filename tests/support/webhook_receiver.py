"""A server that gives prepared answers, and remembers what it was sent."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple, Self

from imagen.testing.answer import Answer
from imagen.testing.listener import Server

if TYPE_CHECKING:
    from collections.abc import Mapping


class Received(NamedTuple):
    """One request; headers go by lower-case name."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Receiver:
    """Answers with these in turn, each so many times, and with 204 after them."""

    def __init__(self, *answers: Answer, times: int = 1) -> None:
        self.requests: list[Received] = []
        self._answers = [answer for answer in answers for _ in range(times)]
        self._server = Server(0, self)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._held = self._server.end()

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        self.requests.append(Received(method, path, headers, body))
        return self._answers.pop(0) if self._answers else Answer(status=204)
