"""One GPU: before another engine works, the last one is asked to free its memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagen.comparison import compare
from imagen.config import Settings
from imagen.request import Request
from imagen.testing.comfyui import ComfyUI

if TYPE_CHECKING:
    from pathlib import Path

_ASKED = Request(prompt="a fox", width=64, height=64, steps=1, seed=1)


def _settings(place: Path, **urls: str) -> Settings:
    blocks = {n: {"type": "comfyui", "workflow": "sd15", "url": url} for n, url in urls.items()}
    return Settings(backends=blocks, state_dir=place / "state")


def _freed(server: ComfyUI) -> int:
    return sum(request.path.endswith("/free") for request in server.requests)


def test_an_engine_frees_its_memory_before_another_works(tmp_path: Path) -> None:
    with ComfyUI() as first, ComfyUI() as second:
        settings = _settings(tmp_path, one=first.url, two=second.url)
        compare(_ASKED, ["one", "two"], settings, folder=tmp_path / "c")
        assert (_freed(first), _freed(second)) == (1, 0)


def test_two_backends_of_one_engine_keep_its_memory(tmp_path: Path) -> None:
    with ComfyUI() as server:
        settings = _settings(tmp_path, one=server.url, two=server.url)
        compare(_ASKED, ["one", "two"], settings, folder=tmp_path / "c")
        assert _freed(server) == 0


def test_an_engine_that_does_not_work_frees_nothing(tmp_path: Path) -> None:
    with ComfyUI() as first, ComfyUI() as second:
        settings = _settings(tmp_path, one=first.url, two=second.url)
        compare(_ASKED, ["one", "two"], settings, folder=tmp_path / "c")
        compare(_ASKED, ["one", "two"], settings, folder=tmp_path / "c")
        assert (_freed(first), _freed(second)) == (1, 0)
