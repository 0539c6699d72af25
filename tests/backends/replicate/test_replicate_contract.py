"""The Replicate adapter keeps the contract of every backend."""

from __future__ import annotations

from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

import pytest
from simulators.replicate import COMMUNITY, Replicate
from support.replicate_backend import open_replicate

from imagen.backends.replicate import adapter
from imagen.testing import BackendContract

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imagen.backends import Backend
    from imagen.testing.contract import Scenario

pytestmark = pytest.mark.usefixtures("replicate_token")

_CLOUDS: dict[Scenario, dict[str, Any]] = {
    "ok": {},
    "slow": {"seconds": 30.0},
    "unreachable": {},
    "unauthorized": {"token": "another"},
    "rejected": {"refused_input": "prompt"},
    "failed": {"end": "failed"},
    "lost": {"removed": True},
}


class _ReplicateRig:
    adapter = adapter

    def __init__(self, stack: ExitStack, model: str) -> None:
        self._stack = stack
        self._model = model
        self._cloud: Replicate | None = None

    def block(self) -> Mapping[str, Any]:
        return {"model": self._model}

    def open(self, scenario: Scenario) -> Backend:
        cloud = self._cloud = self._stack.enter_context(Replicate(**_CLOUDS[scenario]))
        self._cache_schema(cloud)
        if scenario == "unreachable":
            cloud.stop()
        return open_replicate(cloud.url, name="rigged", model=self._model)

    def submissions(self) -> int:
        return self._cloud.submissions if self._cloud else 0

    def at_work(self) -> bool:
        return self._cloud is not None and self._cloud.at_work()

    def _cache_schema(self, cloud: Replicate) -> None:
        """The model was used before: its input schema is cached."""
        port = int(cloud.url.split(":")[2].partition("/")[0])
        cloud.stop()
        with (
            Replicate(port=port) as before,
            closing(open_replicate(before.url, model=self._model)) as one,
        ):
            one.capabilities()
        cloud.start()


class TestReplicate(BackendContract):
    @pytest.fixture
    def rig(self) -> Iterator[_ReplicateRig]:
        with ExitStack() as stack:
            yield _ReplicateRig(stack, COMMUNITY)
