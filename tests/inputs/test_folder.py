"""The images of a folder or a pattern."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from imagen.errors import RequestError
from imagen.inputs import folder
from imagen.inputs.folder import find_folder_images

if TYPE_CHECKING:
    from pathlib import Path


def _touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def _found(source: str | Path) -> list[str]:
    return [path.name for path in find_folder_images(str(source)) or ()]


def test_a_folder_stands_for_its_images_in_natural_order(tmp_path: Path) -> None:
    _touch(tmp_path, "10.png", "9.PNG", "b2.jpg", "B10.webp", "a.jpeg")
    assert _found(tmp_path) == ["9.PNG", "10.png", "a.jpeg", "b2.jpg", "B10.webp"]


def test_other_files_are_left_out(tmp_path: Path) -> None:
    _touch(tmp_path, "fox.png", "fox.png.json", ".hidden.png", "notes.txt", "below/owl.png")
    _touch(tmp_path, ".imagen-0123456789abcdef.part", "png")
    (tmp_path / "folder.png").mkdir()
    assert _found(tmp_path) == ["fox.png"]


@pytest.mark.skipif(sys.platform == "win32", reason="no named pipes")
def test_a_pipe_is_left_out(tmp_path: Path) -> None:
    _touch(tmp_path, "fox.png")
    os.mkfifo(tmp_path / "pipe.png")
    assert _found(tmp_path) == ["fox.png"]


def test_a_pattern_stands_for_what_matches(tmp_path: Path) -> None:
    _touch(tmp_path, "a1.png", "a2.jpg", "b1.png", "below/a3.png", ".hidden/a4.png", "a5.txt")
    assert _found(tmp_path / "a*") == ["a1.png", "a2.jpg"]
    assert _found(tmp_path / "**" / "a*") == ["a1.png", "a2.jpg", "a3.png"]
    assert _found(tmp_path / "*" / "*.png") == ["a3.png"]


def test_a_relative_pattern_and_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _touch(tmp_path, "a1.png", "b/a2.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert _found("*.png") == ["a1.png"]
    assert _found("b") == ["a2.png"]
    assert _found("~/b/*") == ["a2.png"]


def test_one_file_is_no_folder(tmp_path: Path) -> None:
    _touch(tmp_path, "fox.png", "fox[1].png")
    assert find_folder_images(str(tmp_path / "fox.png")) is None
    assert find_folder_images(str(tmp_path / "fox[1].png")) is None
    assert find_folder_images(str(tmp_path / "missing.png")) is None
    assert find_folder_images("https://example.org/*.png") is None


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    _touch(tmp_path, "a.png", "b/c.png")
    for name in ("one", "two"):
        try:
            (tmp_path / "b" / name).symlink_to(tmp_path, target_is_directory=True)
        except OSError:
            pytest.skip("no symbolic links")
    assert _found(tmp_path / "**" / "*.png") == ["a.png", "c.png"]


@pytest.mark.parametrize(
    ("source", "message"),
    [(".", "has no images"), ("*.png", "No image matches"), ("a/[", "No image matches")],
)
def test_no_images_are_an_error(
    tmp_path: Path, source: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _touch(tmp_path, "notes.txt")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RequestError, match=message) as caught:
        find_folder_images(source)
    assert "photos/**/*" in caught.value.remedy


def test_too_many_images_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _touch(tmp_path, "a1.png", "a2.png", "a3.png")
    monkeypatch.setattr(folder, "MOST_IMAGES", 2)
    with pytest.raises(RequestError, match="more than 2 images") as caught:
        find_folder_images(str(tmp_path))
    assert "a*.png" in caught.value.remedy
