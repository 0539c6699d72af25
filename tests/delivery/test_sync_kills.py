"""A sync that is killed at any step."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from support.sync_kills import Kills, Outcome

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")

_ALL = Outcome(objects=2, rows=2, accounted=1, messages=1, recorded=2, left=0)


def test_a_killed_sync_delivers_everything_once_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kills = Kills(tmp_path / "place", monkeypatch)
    found = kills.outcomes()
    assert {"flock", "execute", "commit", "connect", "send"} <= {*kills.steps}
    assert {step: one for step, one in found.items() if one != _ALL} == {}
