"""The ComfyUI adapter passes the contract of every backend."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from support.comfyui_backends import open_comfyui

from imagen.backends.comfyui import adapter
from imagen.backends.comfyui.config import DEFAULT_URL
from imagen.testing import BackendContract
from imagen.testing.comfyui import ComfyUI, NodeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imagen.backends import Backend
    from imagen.testing.contract import Scenario

_SERVERS: dict[Scenario, dict[str, Any]] = {
    "ok": {},
    "slow": {"step_seconds": 2.0},
    "unreachable": {},
    "unauthorized": {"credential": "Bearer right"},
    "rejected": {
        "missing_models": ["v1-5-pruned-emaonly-fp16.safetensors", "flux-2-klein-4b.safetensors"]
    },
    "failed": {"error": NodeError()},
    "lost": {"restart_empty": True},
}


class _ComfyUIRig:
    adapter = adapter

    def __init__(self, stack: ExitStack, workflow: str = "") -> None:
        self._stack = stack
        self._workflow = workflow
        self._server: ComfyUI | None = None

    def block(self) -> Mapping[str, Any]:
        return {"url": DEFAULT_URL, "workflow": "sd15"}

    def open(self, scenario: Scenario) -> Backend:
        server = ComfyUI(**_SERVERS[scenario])
        self._server = self._stack.enter_context(server)
        if scenario == "unreachable":
            server.stop()
        if self._workflow:
            return open_comfyui(server.url, name="rigged", workflow=self._workflow)
        return open_comfyui(server.url, name="rigged")

    def submissions(self) -> int:
        return len(self._server.prompts) if self._server else 0

    def at_work(self) -> bool:
        return self._server is not None and self._server.queue_state() != (None, [])


class TestComfyUI(BackendContract):
    @pytest.fixture
    def rig(self) -> Iterator[_ComfyUIRig]:
        with ExitStack() as stack:
            yield _ComfyUIRig(stack)


class TestAFamily(BackendContract):
    """A bundled base with its siblings, which do every task but editing."""

    @pytest.fixture
    def rig(self) -> Iterator[_ComfyUIRig]:
        with ExitStack() as stack:
            yield _ComfyUIRig(stack, "sd15")


class TestAFamilyThatEdits(BackendContract):
    """One that has no checkpoint, so another file is missing where a job is refused."""

    @pytest.fixture
    def rig(self) -> Iterator[_ComfyUIRig]:
        with ExitStack() as stack:
            yield _ComfyUIRig(stack, "flux2-klein")
