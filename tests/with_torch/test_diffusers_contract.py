"""The diffusers backend keeps the contract, with a tiny model that really runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.tiny_models import tiny_model

from imagen.backends import open_backend
from imagen.backends.diffusers import adapter
from imagen.backends.diffusers.run import LOADED_PIPELINE
from imagen.testing import BackendContract, Rig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.backends import Backend
    from imagen.testing.contract import Scenario

_NOWHERE = "missing/stable-diffusion-v1-nowhere"


def _block(scenario: Scenario) -> dict[str, Any]:
    if scenario == "unreachable":
        return {"model": _NOWHERE, "offline": True}
    if scenario == "unauthorized":
        return {"model": "gated/stable-diffusion-v1-gated"}
    return {"model": str(tiny_model("broken" if scenario == "failed" else "sd1"))}


class _Rig:
    adapter = adapter

    def block(self) -> Mapping[str, Any]:
        return {"type": "diffusers", "model": "owner/name"}

    def open(self, scenario: Scenario) -> Backend:
        block = {"type": "diffusers", "device": "cpu", **_block(scenario)}
        return open_backend("rigged", {"rigged": block})

    def submissions(self) -> int:
        """No engine counts: collecting again generates again."""
        return 0

    def at_work(self) -> bool:
        return LOADED_PIPELINE.is_in_use


class TestDiffusers(BackendContract):
    goes_on_alone = False
    cannot = {  # noqa: RUF012 - as the contract declares it
        "rejected": "unsupported requests are refused before the model is loaded",
        "lost": "it runs in this process, so no engine can lose a job",
    }

    @pytest.fixture
    def rig(self) -> Rig:
        return _Rig()
