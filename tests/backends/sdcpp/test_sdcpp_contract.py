"""The program of stable-diffusion.cpp keeps the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.sdcpp_rig import Bench

from imagen.backends.sdcpp import adapter
from imagen.testing import BackendContract, Rig

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from imagen.backends import Backend
    from imagen.testing.contract import Scenario


class _Rig:
    adapter = adapter

    def __init__(self, folder: Path) -> None:
        self._bench = Bench(folder)

    def block(self) -> Mapping[str, Any]:
        return self._bench.block()

    def open(self, scenario: Scenario) -> Backend:
        if scenario == "unreachable":
            return self._bench.open(binary=str(self._bench.folder / "gone"))
        return self._bench.open(scenario)

    def submissions(self) -> int:
        """There is no engine that could count: collecting again makes again."""
        return 0

    def at_work(self) -> bool:
        return self._bench.is_at_work()


class TestSdCpp(BackendContract):
    cannot = {  # noqa: RUF012 - as the contract declares it
        "unauthorized": "a program on this machine asks for no credential",
        "lost": "a program that ended is run again: nothing of it is left to be looked for",
    }

    @pytest.fixture
    def rig(self, tmp_path: Path) -> Rig:
        return _Rig(tmp_path)
