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
    """Three pictures, one of which is damaged."""
    png("album/cat.png", parameters=A1111)
    comfyui("album/fox.png")
    Path("album/zebra.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")


@pytest.mark.usefixtures("album")
def test_add_tells_what_it_took_in(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["library", "add", "album"]) == 0
    assert capsys.readouterr().out == (
        "Took in 2 pictures: 1 of A1111, 1 of ComfyUI.\n"
        "Not taken in: album/zebra.png cannot be read: the PNG is cut short at byte 10.\n"
    )
    assert run(["library", "add", "album"]) == 0
    assert capsys.readouterr().out.startswith("Took in 0 pictures.\n2 pictures known already.\n")


@pytest.mark.usefixtures("album")
def test_add_tells_it_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["library", "add", "album", "--dry-run", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    first = told["taken"][0]
    assert first["path"] == str(Path("album/cat.png").absolute())
    assert (first["tool"], first["has_settings"]) == ("a1111", True)
    assert (len(told["taken"]), told["known"], told["moved"]) == (2, 0, [])
    assert told["troubles"][0]["path"] == "album/zebra.png"
    assert run(["library", "add", "album", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["taken"]) == 2


def test_a_folder_that_is_not_there_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["library", "add", "nowhere"]) == 2
    assert "There is no folder nowhere." in capsys.readouterr().err


def test_a_library_that_is_switched_off_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    Path("imagen.yaml").write_text("library: {enabled: false}")
    Path("album").mkdir()
    assert run(["library", "add", "album"]) == 2
    assert "The library is switched off" in capsys.readouterr().err


@pytest.mark.usefixtures("album")
def test_check_tells_what_moved_and_mends_it(capsys: pytest.CaptureFixture[str]) -> None:
    run(["library", "add", "album"])
    capsys.readouterr()
    here, there = Path("album/cat.png").absolute(), Path("album/tom.png").absolute()
    here.rename(there)
    assert run(["library", "check"]) == 2
    assert capsys.readouterr().out == (
        "2 pictures looked at.\n"
        f"moved: {here} is now {there}\n"
        "Note new places and rewrite sidecars with: imagen library check --mend\n"
    )
    assert run(["library", "check", "--mend"]) == 0
    assert f"moved: {here} is now {there} (mended)\n" in capsys.readouterr().out
    assert run(["library", "check"]) == 0
    assert capsys.readouterr().out == "2 pictures looked at.\nAll is as it should be.\n"


@pytest.mark.usefixtures("album")
def test_check_tells_what_is_missing_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    run(["library", "add", "album"])
    capsys.readouterr()
    Path("album/cat.png").unlink()
    assert run(["library", "check", "--mend", "--json"]) == 2
    told = json.loads(capsys.readouterr().out)
    missing = told["missing"][0]
    assert (told["ok"], told["checked"]) == (False, 2)
    assert (missing["path"], missing["now"]) == (str(Path("album/cat.png").absolute()), None)


@pytest.mark.usefixtures("album")
def test_what_is_missing_can_be_listed(capsys: pytest.CaptureFixture[str]) -> None:
    run(["library", "add", "album"])
    capsys.readouterr()
    assert run(["history", "--missing"]) == 0
    assert capsys.readouterr() == (
        "",
        "No image is marked as missing. To look for missing files: imagen library check --fix\n",
    )
    Path("album/cat.png").unlink()
    run(["library", "check", "--mend"])
    capsys.readouterr()
    assert run(["history", "--missing", "--json"]) == 0
    (cat,) = json.loads(capsys.readouterr().out)["images"]
    assert (cat["path"], cat["is_missing"]) == (str(Path("album/cat.png").absolute()), True)


@pytest.fixture
def missing(capsys: pytest.CaptureFixture[str]) -> Path:
    """A picture of two that is not there any more."""
    png("album/cat.png", parameters=A1111)
    png("album/tom.png", parameters=A1111, colour="red")
    run(["library", "add", "album"])
    capsys.readouterr()
    Path("album/cat.png").unlink()
    return Path("album/cat.png").absolute()


def test_what_is_missing_is_forgotten_with_yes(
    missing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["library", "check", "--forget-missing", "--yes"]) == 0
    assert capsys.readouterr().out == (
        f"2 pictures looked at.\nforgotten: {missing}\nAll is as it should be.\n"
    )
    assert run(["library", "check"]) == 0
    assert capsys.readouterr().out == "1 picture looked at.\nAll is as it should be.\n"


def test_what_was_forgotten_is_told_as_json(
    missing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["library", "check", "--forget-missing", "--yes", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["missing"]) == (True, [])
    assert [one["path"] for one in told["forgotten"]] == [str(missing)]


def test_where_nobody_can_be_asked_nothing_is_forgotten(
    missing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["library", "check", "--forget-missing"]) == 2
    assert "it needs --yes" in capsys.readouterr().err
    assert run(["library", "check"]) == 2
    assert f"missing: {missing}\n" in capsys.readouterr().out


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.usefixtures("missing")
@pytest.mark.parametrize(("answer", "code", "left"), [("y\n", 0, 1), ("n\n", 130, 2)])
def test_forgetting_asks_on_a_terminal(
    answer: str,
    code: int,
    left: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", _Terminal(answer))
    assert run(["library", "check", "--forget-missing"]) == code
    assert "Forget 1 picture that is not there?" in capsys.readouterr().err
    run(["history", "--json"])
    assert len(json.loads(capsys.readouterr().out)["images"]) == left


def test_what_is_missing_says_how_to_be_rid_of_it(
    missing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["library", "check"]) == 2
    assert capsys.readouterr().out == (
        f"2 pictures looked at.\nmissing: {missing}\n"
        "Be rid of what is missing with: imagen library check --forget-missing\n"
    )


def test_a_long_list_is_cut_short(capsys: pytest.CaptureFixture[str]) -> None:
    _damaged(22)
    assert run(["library", "add", "album"]) == 0
    assert capsys.readouterr().out.endswith("… and 2 more; --json lists them all.\n")


def _damaged(number: int) -> None:
    Path("album").mkdir()
    for each in range(number):
        Path(f"album/{each:02}.png").write_bytes(b"\x89PNG\r\n\x1a\n")
