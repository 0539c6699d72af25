"""`last` instead of an ID, and imagen open."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from sqlalchemy import update

from imagen.cli import run
from imagen.config import load_settings
from imagen.core.ids import count_back, is_id
from imagen.errors import RequestError
from imagen.library import find_image, open_library
from imagen.library.schema import images

_POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows opens files without a program")


@pytest.fixture
def _three_images(capsys: pytest.CaptureFixture[str]) -> None:
    """Three images with the seeds 1, 2 and 3."""
    for seed in ("1", "2", "3"):
        assert run(["generate", "x", "-q", "--size", "32", "-S", seed, "-o", f"{seed}.png"]) == 0
    capsys.readouterr()


@pytest.mark.parametrize(
    ("word", "back"),
    [("last", 0), ("last~0", 0), ("last~2", 2), ("LAST~1", 1), (" last ", 0)]
    + [(word, None) for word in ("last~", "last~-1", "last2", "lastly", "5b6c8e5e", "")],
)
def test_last_counts_back_from_the_newest(word: str, back: int | None) -> None:
    assert count_back(word) == back


@pytest.mark.parametrize(
    ("word", "expected"),
    [("last", True), ("last~3", True), ("5b6c8e5e.2", True), ("5B6C", True), ("fox.png", False)],
)
def test_ids_are_recognised_by_their_form(word: str, expected: bool) -> None:
    assert is_id(word) == expected


def _seed(word: str) -> int | None:
    with open_library(load_settings()) as library:
        return find_image(library, word).seed


@pytest.mark.usefixtures("_three_images")
@pytest.mark.parametrize(("word", "seed"), [("last", 3), ("last~1", 2), ("last~2", 1)])
def test_last_is_the_newest_image_of_the_library(word: str, seed: int) -> None:
    assert _seed(word) == seed


@pytest.mark.usefixtures("_three_images")
def test_last_of_a_batch_is_listed_first_by_history(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["generate", "x", "-q", "--size", "32", "--count", "2"]) == 0
    capsys.readouterr()
    assert run(["history", "--json", "--limit", "1"]) == 0
    (first,) = json.loads(capsys.readouterr().out)["images"]
    assert run(["show", "last", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["library"]["id"] == first["id"]


@pytest.mark.usefixtures("_three_images")
def test_last_skips_the_trash() -> None:
    assert run(["rm", "last"]) == 0
    assert _seed("last") == 2


@pytest.mark.usefixtures("_three_images")
def test_last_beyond_the_first_image_is_refused() -> None:
    with pytest.raises(RequestError, match=r"There is no last~3: the library holds fewer images\."):
        _seed("last~3")


def test_last_of_an_empty_library_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["show", "last"]) == 2
    sentence = capsys.readouterr().err
    assert sentence == "imagen: There is no last image: the library is empty.\n"


@pytest.mark.usefixtures("_three_images")
def test_a_file_named_last_takes_precedence(capsys: pytest.CaptureFixture[str]) -> None:
    Path("last").write_bytes(Path("1.png").read_bytes())
    assert run(["show", "last", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["resolved"]["seed"] == 1


@pytest.mark.usefixtures("_three_images")
@pytest.mark.parametrize(
    "arguments",
    [
        ["show", "last~1"],
        ["again", "last~1", "--dry-run"],
        ["rate", "last", "last~1", "5"],
        ["tag", "last~1", "--add", "fox"],
        ["rm", "last~1"],
        ["history", "--after", "last~1"],
    ],
    ids=lambda arguments: str(arguments[0]),
)
def test_every_command_accepts_last(arguments: list[str]) -> None:
    assert run(arguments) == 0


@pytest.mark.usefixtures("_three_images")
def test_url_accepts_last(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["url", "last"]) == 2
    assert "is not in the cloud" in capsys.readouterr().err


def _failing(message: str) -> None:
    Path("imagen.yaml").write_text("backends: {bad: {type: mock, fail: failed}}")
    assert run(["generate", message, "-b", "bad", "-q"]) == 4


def test_history_failed_continues_after_last(capsys: pytest.CaptureFixture[str]) -> None:
    _failing("first")
    _failing("second")
    capsys.readouterr()
    assert run(["history", "--failed", "--after", "last", "--json"]) == 0
    (failure,) = json.loads(capsys.readouterr().out)["failures"]
    assert failure["prompt"] == "first"


@pytest.mark.usefixtures("viewer")
@pytest.mark.usefixtures("_three_images")
@_POSIX
def test_open_shows_the_last_image(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["open"]) == 0
    shown = str(Path("3.png").absolute())
    assert capsys.readouterr().out == f"{shown}\n"
    assert Path("opened").read_text() == f"{shown}\n"


@pytest.mark.usefixtures("viewer")
@pytest.mark.usefixtures("_three_images")
@_POSIX
def test_open_shows_the_image_of_an_id(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["open", "last~1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"path": str(Path("2.png").absolute())}


@pytest.mark.usefixtures("viewer")
@_POSIX
def test_open_does_not_pass_names_to_a_shell() -> None:
    name = Path("a; touch hacked & $(touch hacked).png")
    name.write_bytes(b"x")
    assert run(["open", str(name)]) == 0
    assert Path("opened").read_text() == f"{name.absolute()}\n"
    assert not Path("hacked").exists()


@pytest.mark.usefixtures("viewer", "_three_images")
@pytest.mark.parametrize("name", ["setup.exe", "run.command", "last"])
@_POSIX
def test_open_refuses_files_that_are_not_images(name: str) -> None:
    Path(name).write_bytes(b"#!/bin/sh\n")
    assert run(["open", name]) == 2
    assert not Path("opened").exists()


@pytest.fixture
def viewer(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A viewer that records what it is asked to open."""
    folder = tmp_path_factory.mktemp("bin")
    for name in ("xdg-open", "open"):
        program = folder / name
        program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$1" > "{Path("opened").absolute()}"\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    monkeypatch.setenv("DISPLAY", ":0")
    return folder


@pytest.mark.usefixtures("_three_images")
def test_open_reports_a_missing_file(capsys: pytest.CaptureFixture[str]) -> None:
    Path("3.png").unlink()
    assert run(["open"]) == 5
    sentence = capsys.readouterr().err
    assert f"no longer exists: {Path('3.png').absolute()}\nIf it was moved, add" in sentence


@pytest.mark.usefixtures("_three_images")
def test_open_names_the_machine_of_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    with open_library(load_settings()) as library, library.writing() as connection:
        connection.execute(update(images).values(host="attic"))
    Path("3.png").unlink()
    assert run(["open"]) == 5
    assert "is on another machine, attic: " in capsys.readouterr().err


@pytest.mark.skipif("sys.platform != 'linux'", reason="other systems always have a display")
def test_open_reports_a_missing_display(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    Path("fox.png").write_bytes(b"x")
    assert run(["open", "fox.png"]) == 1
    assert capsys.readouterr().err == (
        "imagen: Cannot open the image: this session has no display.\n"
        f"Its file is {Path('fox.png').absolute()}\n"
    )


@_POSIX
def test_open_reports_a_missing_viewer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setenv("PATH", str(Path.cwd()))
    Path("fox.png").write_bytes(b"x")
    assert run(["open", "fox.png"]) == 1
    assert "open is not installed." in capsys.readouterr().err


@_POSIX
def test_open_reports_that_no_program_opens_the_file(
    viewer: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for program in viewer.iterdir():
        program.write_text("#!/bin/sh\nexit 3\n")
    Path("fox.png").write_bytes(b"x")
    assert run(["open", "fox.png"]) == 1
    assert "open found no program for it." in capsys.readouterr().err
