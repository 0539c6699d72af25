"""The adapter of the Images API keeps the contract of every backend.

With a server like imagen's own, which takes a seed and knows a repeated Idempotency-Key. What
OpenAI's own API cannot do is in `test_openai_lost_answers`.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from simulators.openai import KEY, ImagesServer

from imagen.backends import open_backend
from imagen.backends.openai import adapter
from imagen.testing import BackendContract

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imagen.backends import Backend
    from imagen.testing.contract import Scenario

_SERVERS: dict[Scenario, dict[str, Any]] = {
    "ok": {},
    "slow": {"seconds": 30.0},
    "unreachable": {},
    "unauthorized": {"token": "another"},
    "rejected": {"way": "odd_size"},
    "failed": {"way": "failed"},
    "lost": {"way": "dropped"},
}


class _ImagesRig:
    adapter = adapter

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._server: ImagesServer | None = None

    def block(self) -> Mapping[str, Any]:
        return {"type": "openai", "server": "imagen", "api_key_env": "A_KEY"}

    def open(self, scenario: Scenario) -> Backend:
        server = ImagesServer(
            **{"idempotent": True, "is_imagen": True, "token": KEY, **_SERVERS[scenario]}
        )
        self._server = self._stack.enter_context(server)
        if scenario == "unreachable":
            server.stop()
        return open_backend("rigged", {"rigged": {**self.block(), "url": server.url}})

    def submissions(self) -> int:
        return self._server.submissions if self._server else 0

    def at_work(self) -> bool:
        return self._server is not None and self._server.is_at_work()


class TestOpenAI(BackendContract):
    @pytest.fixture
    def rig(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[_ImagesRig]:
        monkeypatch.setenv("A_KEY", KEY)
        with ExitStack() as stack:
            yield _ImagesRig(stack)
