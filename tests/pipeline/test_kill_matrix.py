"""Killed before any step, a image is neither lost, nor made twice, nor forgotten."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from simulators.replicate import COMMUNITY, TOKEN, Replicate
from support.kill_matrix import Matrix, Outcome

from imagen.testing.comfyui import ComfyUI

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")


_ONCE = Outcome(generations=1, in_library=1, on_disk=1, accounted=1, left=0)
_ONE = "generate RUN --size 64x64 --steps 2 --seed 7 --quiet"


def _others(found: dict[str, Outcome], wanted: Outcome) -> dict[str, Outcome]:
    return {step: outcome for step, outcome in found.items() if outcome != wanted}


def _backend(**block: Any) -> dict[str, Any]:
    return {"default_backend": "studio", "backends": {"studio": block}}


@pytest.fixture
def comfyui() -> Iterator[ComfyUI]:
    with ComfyUI() as server:
        yield server


def _at(server: ComfyUI) -> Callable[[str], int]:
    return lambda words: sum(words in json.dumps(body) for body in server.prompts)


def test_comfyui_job_runs_once_after_a_kill_at_any_step(tmp_path: Path, comfyui: ComfyUI) -> None:
    studio = _backend(type="comfyui", url=comfyui.url, workflow="sd15")
    matrix = Matrix(tmp_path, studio, f"{_ONE} --count 2", _at(comfyui))
    found = matrix.outcomes()
    assert {"connect", "send", "progress", "flock", "link", "fsync", "execute", "commit"} <= {
        *matrix.steps
    }
    assert (
        _others(found, Outcome(generations=2, in_library=2, on_disk=2, accounted=2, left=0)) == {}
    )


def test_converted_image_exists_once_after_a_kill_at_any_step(
    tmp_path: Path, comfyui: ComfyUI
) -> None:
    studio = _backend(type="comfyui", url=comfyui.url, workflow="sd15")
    settings = studio | {"output": {"format": "webp"}}
    found = Matrix(tmp_path, settings, _ONE, _at(comfyui), since="link").outcomes()
    assert _others(found, _ONCE) == {}
    assert [path for path in tmp_path.glob("*/outputs/*") if path.suffix == ".png"] == []


def test_replicate_prediction_is_paid_once_after_a_kill_at_any_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPLICATE_API_TOKEN", TOKEN)
    with Replicate() as cloud:
        block = {"base_url": cloud.url, "poll_seconds": 0.05, "model": COMMUNITY}
        settings = _backend(type="replicate", wait_seconds=0, **block)

        def made(words: str) -> int:
            return sum(words in json.dumps(job.input) for job in cloud.jobs.newest_first())

        found = Matrix(tmp_path, settings, _ONE, made).outcomes()
    assert _others(found, _ONCE) == {}


def test_comparison_continues_after_a_kill_at_any_step(tmp_path: Path, comfyui: ComfyUI) -> None:
    block = {"type": "comfyui", "url": comfyui.url}
    backends = {name: block | {"workflow": name} for name in ("sd15", "sdxl")}
    line = "compare RUN --models sd15,sdxl --size 64x64 --steps 2 --seed 7 --quiet -o cells"
    settings = {"backends": backends}
    found = Matrix(tmp_path, settings, line, _at(comfyui), recover=line, every=12).outcomes()
    assert (
        _others(found, Outcome(generations=2, in_library=2, on_disk=2, accounted=2, left=0)) == {}
    )
