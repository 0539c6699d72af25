"""--no-cloud, also for generations that are recorded later."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from imagen.cli import run
from imagen.config import load_settings
from imagen.jobs import file_store
from imagen.testing.comfyui import ComfyUI

if TYPE_CHECKING:
    from support.sync_folder import SyncFolder

_DYING = """
import os
from imagen.cli import run
import imagen.pipeline.generate

def profile(frame, event, what):
    if event == "call" and frame.f_code.co_name == "save_outputs":
        os._exit(9)

import sys
sys.setprofile(profile)
run(["generate", "a fox", "--size", "64x64", "--quiet", *sys.argv[1:]])
"""


@pytest.mark.parametrize(
    ("flags", "waiting"), [(["--no-cloud"], ["mirror"]), ([], ["cloud", "mirror"])]
)
def test_a_late_recorded_generation_keeps_its_delivery_targets(
    lab: SyncFolder, flags: list[str], waiting: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("no-library").mkdir()
    lab.set(IMAGEN_LIBRARY="no-library")
    lab.make(*flags)
    assert len(file_store.pending(load_settings().state_dir)) == 1
    monkeypatch.delenv("IMAGEN_LIBRARY")
    assert [one.delivery.kind for one in lab.left()] == waiting
    assert len(lab.ids()) == 1


@pytest.mark.parametrize(
    ("then", "now", "waiting"),
    [
        pytest.param([], [], ["cloud", "mirror"], id="never said"),
        pytest.param(["--no-cloud"], [], ["mirror"], id="said then"),
        pytest.param([], ["--no-cloud"], ["mirror"], id="said now"),
    ],
)
def test_a_resumed_generation_keeps_its_delivery_targets(
    lab: SyncFolder, then: list[str], now: list[str], waiting: list[str]
) -> None:
    with ComfyUI() as server:
        block = {"type": "comfyui", "url": server.url, "workflow": "sd15"}
        lab.configure(default_backend="studio", backends={"studio": block})
        died = subprocess.run([sys.executable, "-c", _DYING, *then], check=False)
        assert died.returncode == 9
        assert run(["resume", "--quiet", *now]) == 0
    assert len(lab.ids()) == 1
    assert [one.delivery.kind for one in lab.left()] == waiting
