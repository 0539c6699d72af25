"""The adapter of A1111's API keeps the contract of every backend, with each program."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from simulators.a1111 import A1111Server, A1111Switches

from imagen.backends import open_backend
from imagen.backends.a1111 import adapter
from imagen.testing import BackendContract

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from simulators.a1111.lists import Program

    from imagen.backends import Backend
    from imagen.testing.contract import Scenario

_SWITCHES: dict[Scenario, A1111Switches] = {
    "ok": A1111Switches(),
    "slow": A1111Switches(seconds=30),
    "unreachable": A1111Switches(),
    "unauthorized": A1111Switches(needs_credential=True),
    "rejected": A1111Switches(refusal=(422, {"detail": "Sampler not found"})),
    "failed": A1111Switches(refusal=(500, {"error": "RuntimeError", "errors": "no kernel"})),
    "lost": A1111Switches(answer="cut"),
}


class _A1111Rig:
    adapter = adapter

    def __init__(self, stack: ExitStack, program: Program) -> None:
        self._stack = stack
        self._program = program
        self._server: A1111Server | None = None

    def block(self) -> Mapping[str, Any]:
        return {"type": "a1111", "url": "http://127.0.0.1:7860"}

    def open(self, scenario: Scenario) -> Backend:
        server = A1111Server(self._program, _SWITCHES[scenario])
        self._server = self._stack.enter_context(server)
        if scenario == "unreachable":
            server.stop()
        more = {"url": server.url, "poll_seconds": 0.02, "lost_seconds": 0.2}
        # Forge reports jobs by their ids; SD.Next does not, and has no other user here.
        exclusive = {"exclusive": True} if self._program == "sdnext" else {}
        return open_backend("rigged", {"rigged": {**self.block(), **more, **exclusive}})

    def submissions(self) -> int:
        return self._server.submissions if self._server else 0

    def at_work(self) -> bool:
        return self._server is not None and self._server.is_at_work()


class _A1111Contract(BackendContract):
    goes_on_alone = False
    keeps_results = False


class TestForge(_A1111Contract):
    @pytest.fixture
    def rig(self) -> Iterator[_A1111Rig]:
        with ExitStack() as stack:
            yield _A1111Rig(stack, "forge")


class TestSdNext(_A1111Contract):
    @pytest.fixture
    def rig(self) -> Iterator[_A1111Rig]:
        with ExitStack() as stack:
            yield _A1111Rig(stack, "sdnext")
