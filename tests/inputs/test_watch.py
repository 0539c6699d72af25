"""Which files of a watched folder are new and complete."""

from __future__ import annotations

import os
import shutil
import threading
import time
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from imagen.inputs.watch import CompleteImage, FolderWatch, UnreadableImage, watch_changes

if TYPE_CHECKING:
    from pathlib import Path


class _Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


def _save(path: Path, colour: int = 7) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 16), (colour, 0, 0)).save(path)
    return path


def _names(watch: FolderWatch, clock: _Clock, seconds: float = 1.0) -> list[str]:
    """What is handed out after so long; unreadable ones with a mark."""
    list(watch.check())
    clock.now += seconds
    return [
        one.path.name if isinstance(one, CompleteImage) else f"{one.path.name}?"
        for one in watch.check()
    ]


def test_an_image_is_handed_out_once(tmp_path: Path, clock: _Clock) -> None:
    watch = FolderWatch(tmp_path, clock=clock)
    _save(tmp_path / "fox.png")
    watch.scan()
    assert list(watch.check()) == []
    assert _names(watch, clock, 0.9) == []
    assert _names(watch, clock) == ["fox.png"]
    watch.scan()
    watch.notice(tmp_path / "fox.png")
    assert not watch.is_waiting


def test_an_image_that_is_replaced_is_handed_out_again(tmp_path: Path, clock: _Clock) -> None:
    watch = FolderWatch(tmp_path, clock=clock)
    path = _save(tmp_path / "fox.png")
    watch.scan()
    assert _names(watch, clock) == ["fox.png"]
    _save(path, 9)
    os.utime(path, ns=(1, 1))
    watch.notice(path)
    assert _names(watch, clock) == ["fox.png"]


def test_a_file_that_grows_is_left_alone_until_it_is_complete(
    tmp_path: Path, clock: _Clock
) -> None:
    whole = _save(tmp_path / "source" / "fox.png").read_bytes()
    folder = tmp_path / "in"
    folder.mkdir()
    watch = FolderWatch(folder, clock=clock)
    path = folder / "fox.png"
    for end in (0, 20, len(whole) - 3):
        path.write_bytes(whole[:end])
        watch.notice(path)
        assert _names(watch, clock, 5.0) == []
    path.write_bytes(whole)
    watch.notice(path)
    assert _names(watch, clock) == ["fox.png"]


def test_a_file_that_is_no_image_is_reported_once(tmp_path: Path, clock: _Clock) -> None:
    watch = FolderWatch(tmp_path, clock=clock)
    path = tmp_path / "fox.png"
    path.write_bytes(b"not an image")
    watch.scan()
    assert _names(watch, clock, 14) == []
    clock.now += 20
    (problem,) = watch.check()
    assert isinstance(problem, UnreadableImage)
    assert "is not an image" in problem.error.message
    watch.scan()
    assert not watch.is_waiting
    _save(path)
    watch.scan()
    assert _names(watch, clock) == ["fox.png"]


def test_a_file_that_vanishes_is_forgotten(tmp_path: Path, clock: _Clock) -> None:
    watch = FolderWatch(tmp_path, clock=clock)
    path = _save(tmp_path / "fox.png")
    watch.scan()
    path.unlink()
    assert _names(watch, clock) == []
    assert not watch.is_waiting


def test_what_is_there_can_be_skipped(tmp_path: Path, clock: _Clock) -> None:
    watch = FolderWatch(tmp_path, clock=clock)
    _save(tmp_path / "old.png")
    watch.scan(is_skipped=True)
    _save(tmp_path / "new.png")
    watch.scan()
    assert _names(watch, clock) == ["new.png"]


def test_other_files_and_folders_below_are_left_out(tmp_path: Path, clock: _Clock) -> None:
    watch = FolderWatch(tmp_path, clock=clock)
    for name in (".hidden.png", "below/owl.png"):
        watch.notice(_save(tmp_path / name))
    (tmp_path / "fox.png.json").write_text("{}")
    (tmp_path / "folder.png").mkdir()
    watch.notice(tmp_path / "folder.png")
    watch.notice(_save(tmp_path.parent / "outside.png"))
    watch.scan()
    assert not watch.is_waiting


def test_folders_below_are_watched_on_demand(tmp_path: Path, clock: _Clock) -> None:
    watch = FolderWatch(tmp_path, is_recursive=True, excluded=[tmp_path / "out"], clock=clock)
    for name in ("a/fox.png", ".hidden/owl.png", "out/x/done.png", "outside/elk.png"):
        watch.notice(_save(tmp_path / name))
    assert _names(watch, clock) == ["fox.png", "elk.png"]
    watch = FolderWatch(tmp_path, is_recursive=True, excluded=[tmp_path / "out"], clock=clock)
    watch.scan()
    assert _names(watch, clock) == ["fox.png", "elk.png"]


@pytest.mark.parametrize("is_polled", [False, True])
def test_changes_of_a_folder_are_told(tmp_path: Path, is_polled: bool) -> None:
    source = _save(tmp_path / "source" / "fox.png")
    folder = tmp_path / "in"
    folder.mkdir()
    stop = threading.Event()
    deadline = time.monotonic() + 20
    told: set[str] = set()
    for paths in watch_changes(folder, stop, is_recursive=False, is_polled=is_polled):
        shutil.copy(source, folder / "fox.png")
        told |= {path.name for path in paths}
        if "fox.png" in told or time.monotonic() > deadline:
            stop.set()
    assert "fox.png" in told


def test_a_file_that_was_put_back_is_handed_out_later(tmp_path: Path, clock: _Clock) -> None:
    watch = FolderWatch(tmp_path, clock=clock)
    path = _save(tmp_path / "fox.png")
    watch.scan()
    assert _names(watch, clock) == ["fox.png"]
    watch.put_back(path)
    assert list(watch.update([path])) == []
    clock.now += 5
    assert [one.path for one in watch.update([])] == [path]
