"""The sd-cli adapter keeps the contract of every backend."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.sdcpp_setup import SdCppSetup

from imagen.backends.sdcpp import adapter
from imagen.testing import BackendContract, Rig

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from imagen.backends import Backend
    from imagen.testing.contract import Scenario


class _SdCppRig:
    adapter = adapter

    def __init__(self, folder: Path) -> None:
        self._setup = SdCppSetup(folder)

    def block(self) -> Mapping[str, Any]:
        return self._setup.block()

    def open(self, scenario: Scenario) -> Backend:
        if scenario == "unreachable":
            return self._setup.open(binary=str(self._setup.folder / "gone"))
        return self._setup.open(scenario)

    def submissions(self) -> int:
        """Not countable: collecting a ticket again runs it again."""
        return 0

    def at_work(self) -> bool:
        return self._setup.is_running()


class TestSdCpp(BackendContract):
    goes_on_alone = False
    cannot = {  # noqa: RUF012 - as the contract declares it
        "unauthorized": "a program on this machine asks for no credential",
        "lost": "a program that ended is run again: nothing of it is left to be looked for",
    }

    @pytest.fixture
    def rig(self, tmp_path: Path) -> Rig:
        return _SdCppRig(tmp_path)
