"""One GPU: before another engine works, the last one is asked to free its memory."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from imagen import tickets
from imagen.comparison import compare
from imagen.config import Settings
from imagen.request import Request
from imagen.testing.comfyui import ComfyUI

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imagen.result import OnProgress, Progress

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


def test_what_a_killed_comparison_left_at_its_engine_is_not_made_again(tmp_path: Path) -> None:
    with ComfyUI() as server:
        settings = _settings(tmp_path, one=server.url)
        with pytest.raises(_Killed):
            compare(_ASKED, ["one"], settings, folder=tmp_path / "c", watch=_killing)
        posted = len(server.prompts)
        made = compare(_ASKED, ["one"], settings, folder=tmp_path / "c")
        assert (posted, len(server.prompts), made.failed) == (1, 1, ())
    assert tickets.left(tmp_path / "state") == []


def test_what_its_engine_no_longer_knows_is_made_again(tmp_path: Path) -> None:
    with ComfyUI() as server:
        settings = _settings(tmp_path, one=server.url)
        with pytest.raises(_Killed):
            compare(_ASKED, ["one"], settings, folder=tmp_path / "c", watch=_killing)
        server.restart(empty=True)
        made = compare(_ASKED, ["one"], settings, folder=tmp_path / "c")
        assert (len(server.prompts), made.failed) == (2, ())
    assert tickets.left(tmp_path / "state") == []


class _Killed(BaseException):
    """The process ended here, as far as the files on disk can tell."""


@contextmanager
def _killing(label: str) -> Iterator[OnProgress]:
    """Dies once the job has been fetched, before it is saved."""
    assert label == "one"

    def tell(progress: Progress) -> None:
        if progress.stage == "done":
            raise _Killed

    yield tell
