"""imagen library add and check: what they print, and how they exit."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from support.other_tools_images import A1111, comfyui, png

from imagen.cli import run


@pytest.fixture
def album() -> None:
    """Three images, one of which is damaged."""
    png("album/cat.png", parameters=A1111)
    comfyui("album/fox.png")
    Path("album/zebra.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")


@pytest.mark.usefixtures("album")
def test_library_add_counts_added_images_by_tool(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["library", "add", "album"]) == 0
    assert capsys.readouterr().out == (
        "Added 2 images: 1 by A1111, 1 by ComfyUI.\n"
        "Not added: album/zebra.png cannot be read: the PNG is cut short at byte 10.\n"
    )
    assert run(["library", "add", "album"]) == 0
    assert capsys.readouterr().out.startswith(
        "Added 0 images.\n2 images are already in the library.\n"
    )


@pytest.mark.usefixtures("album")
def test_library_add_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["library", "add", "album", "--dry-run", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    first = printed["added"][0]
    assert first["path"] == str(Path("album/cat.png").absolute())
    assert (first["tool"], first["has_settings"]) == ("a1111", True)
    assert (len(printed["added"]), printed["known"], printed["moved"]) == (2, 0, [])
    assert printed["problems"][0]["path"] == "album/zebra.png"
    assert run(["library", "add", "album", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["added"]) == 2


def test_library_add_refuses_a_folder_that_does_not_exist(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["library", "add", "nowhere"]) == 2
    assert "Folder nowhere was not found." in capsys.readouterr().err


def test_library_add_fails_if_the_library_is_disabled(capsys: pytest.CaptureFixture[str]) -> None:
    Path("imagen.yaml").write_text("library: {enabled: false}")
    Path("album").mkdir()
    assert run(["library", "add", "album"]) == 2
    assert "The library is switched off" in capsys.readouterr().err


@pytest.mark.usefixtures("album")
def test_library_check_reports_a_moved_image_and_fixes_its_path(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["library", "add", "album"]) == 0
    capsys.readouterr()
    here, there = Path("album/cat.png").absolute(), Path("album/tom.png").absolute()
    here.rename(there)
    assert run(["library", "check"]) == 2
    assert capsys.readouterr().out == (
        "Checked 2 images.\n"
        f"moved: {here} is now {there}\n"
        "Fix what can be fixed with: imagen library check --fix\n"
    )
    assert run(["library", "check", "--fix"]) == 0
    assert f"moved: {here} is now {there} (fixed)\n" in capsys.readouterr().out
    assert run(["library", "check"]) == 0
    assert capsys.readouterr().out == "Checked 2 images.\nNo problems found.\n"


@pytest.mark.usefixtures("album")
def test_library_check_prints_missing_images_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["library", "add", "album"]) == 0
    capsys.readouterr()
    Path("album/cat.png").unlink()
    assert run(["library", "check", "--fix", "--json"]) == 2
    printed = json.loads(capsys.readouterr().out)
    missing = printed["missing"][0]
    assert (printed["ok"], printed["checked"]) == (False, 2)
    assert (missing["path"], missing["now"]) == (str(Path("album/cat.png").absolute()), None)


@pytest.mark.usefixtures("album")
def test_history_lists_missing_images_after_library_check(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["library", "add", "album"]) == 0
    capsys.readouterr()
    assert run(["history", "--missing"]) == 0
    assert capsys.readouterr() == (
        "",
        "No image is marked as missing. To look for missing files: imagen library check --fix\n",
    )
    Path("album/cat.png").unlink()
    assert run(["library", "check", "--fix"]) == 2
    capsys.readouterr()
    assert run(["history", "--missing", "--json"]) == 0
    (cat,) = json.loads(capsys.readouterr().out)["images"]
    assert (cat["path"], cat["is_missing"]) == (str(Path("album/cat.png").absolute()), True)


@pytest.fixture
def missing(capsys: pytest.CaptureFixture[str]) -> Path:
    """One of two images, whose file was deleted."""
    png("album/cat.png", parameters=A1111)
    png("album/tom.png", parameters=A1111, colour="red")
    assert run(["library", "add", "album"]) == 0
    capsys.readouterr()
    Path("album/cat.png").unlink()
    return Path("album/cat.png").absolute()


def test_forget_missing_removes_missing_images_from_the_library(
    missing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["library", "check", "--forget-missing", "--yes"]) == 0
    assert capsys.readouterr().out == (
        f"Checked 2 images.\nforgotten: {missing}\nNo problems found.\n"
    )
    assert run(["library", "check"]) == 0
    assert capsys.readouterr().out == "Checked 1 image.\nNo problems found.\n"


def test_forget_missing_prints_forgotten_images_as_json(
    missing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["library", "check", "--forget-missing", "--yes", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["ok"], printed["missing"]) == (True, [])
    assert [one["path"] for one in printed["forgotten"]] == [str(missing)]


def test_forget_missing_needs_yes_without_a_terminal(
    missing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["library", "check", "--forget-missing"]) == 2
    assert "add --yes" in capsys.readouterr().err
    assert run(["library", "check"]) == 2
    assert f"missing: {missing}\n" in capsys.readouterr().out


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.usefixtures("missing")
@pytest.mark.parametrize(("answer", "code", "left"), [("y\n", 0, 1), ("n\n", 130, 2)])
def test_forget_missing_asks_on_a_terminal(
    answer: str,
    code: int,
    left: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", _Terminal(answer))
    assert run(["library", "check", "--forget-missing"]) == code
    assert "Forget 1 missing image?" in capsys.readouterr().err
    assert run(["history", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["images"]) == left


def test_library_check_says_how_to_forget_missing_images(
    missing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["library", "check"]) == 2
    assert capsys.readouterr().out == (
        f"Checked 2 images.\nmissing: {missing}\n"
        "Remove missing images from the library with: imagen library check --forget-missing\n"
    )


def test_library_add_prints_at_most_twenty_problems(capsys: pytest.CaptureFixture[str]) -> None:
    _damaged(22)
    assert run(["library", "add", "album"]) == 0
    assert capsys.readouterr().out.endswith("… and 2 more; --json lists them all.\n")


def _damaged(number: int) -> None:
    Path("album").mkdir()
    for each in range(number):
        Path(f"album/{each:02}.png").write_bytes(b"\x89PNG\r\n\x1a\n")
