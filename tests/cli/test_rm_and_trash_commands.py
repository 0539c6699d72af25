"""imagen rm and trash."""

from __future__ import annotations

import io
import json
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update
from support.library_samples import make_image, make_record, record_all

from imagen.cli import run
from imagen.config import load_settings
from imagen.library import open_library
from imagen.library.schema import images

if TYPE_CHECKING:
    from collections.abc import Callable

_FOX, _OWL = "00000001", "00000002"


class _Terminal(io.StringIO):
    """Input that is typed on a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _album(library_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fox and an owl, with their files."""
    monkeypatch.setenv("IMAGEN_LIBRARY", library_url)
    Path("fox.png").write_bytes(b"fox")
    Path("owl.png").write_bytes(b"owl")
    names = ("fox.png", "owl.png")
    files = [make_image(number, 0, Path(name).absolute()) for number, name in enumerate(names, 1)]
    with open_library(load_settings()) as library:
        record_all(library, [make_record(n, images=(file,)) for n, file in enumerate(files, 1)])


@pytest.fixture
def listed(capsys: pytest.CaptureFixture[str]) -> Callable[..., list[str]]:
    """The IDs that `imagen history` lists."""

    def ids(*arguments: str) -> list[str]:
        capsys.readouterr()
        assert run(["history", "--json", *arguments]) == 0
        return sorted(image["id"] for image in json.loads(capsys.readouterr().out)["images"])

    return ids


def _json(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    printed: dict[str, Any] = json.loads(capsys.readouterr().out)
    return printed


def test_rm_moves_an_image_to_the_trash_and_undo_puts_it_back(
    listed: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    fox = Path("fox.png").absolute()
    assert run(["rm", _FOX]) == 0
    assert capsys.readouterr() == (
        f"00000001  {fox}\n",
        "Moved to the trash: 1 image. Undo with: imagen rm --undo 00000001\n",
    )
    assert (listed(), listed("--trash"), fox.exists()) == ([_OWL], [_FOX], False)
    assert run(["rm", "--undo", _FOX]) == 0
    assert capsys.readouterr() == (f"00000001  {fox}\n", "Put back: 1 image.\n")
    assert (listed(), listed("--trash"), fox.read_bytes()) == ([_FOX, _OWL], [], b"fox")


def test_rm_prints_where_the_files_are_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rm", _FOX, "--json"]) == 0
    (image,) = _json(capsys)["images"]
    assert image["trashed_from"] == str(Path("fox.png").absolute())
    assert Path(image["path"]).read_bytes() == b"fox"
    assert (image["is_trashed"], image["trashed"] is None) == (True, False)


def test_rm_moves_a_file_that_was_moved_before(listed: Callable[..., list[str]]) -> None:
    Path("fox.png").rename("reynard.png")
    assert run(["rm", "reynard.png"]) == 0
    assert (listed("--trash"), Path("reynard.png").exists()) == ([_FOX], False)
    assert run(["rm", "--undo", _FOX]) == 0
    assert Path("reynard.png").read_bytes() == b"fox"


def test_rm_leaves_a_copy_alone(capsys: pytest.CaptureFixture[str]) -> None:
    Path("copy.png").write_bytes(b"fox")
    assert run(["rm", "copy.png"]) == 0
    assert capsys.readouterr().out == f"00000001  {Path('fox.png').absolute()}\n"
    assert (Path("fox.png").exists(), Path("copy.png").exists()) == (False, True)


def test_rm_says_which_file_it_did_not_move(capsys: pytest.CaptureFixture[str]) -> None:
    Path("fox.png").write_bytes(b"another program's")
    Path("owl.png").unlink()
    assert run(["rm", _FOX, _OWL]) == 0
    fox, owl = Path("fox.png").absolute(), Path("owl.png").absolute()
    assert capsys.readouterr().err.splitlines()[:2] == [
        f"{fox} was not moved: it was changed, or another image has it too.",
        f"{owl} was not moved: no such file.",
    ]


def test_undo_accepts_the_path_of_a_trashed_image() -> None:
    assert run(["rm", "fox.png"]) == 0
    assert run(["rm", "--undo", "fox.png"]) == 0
    assert Path("fox.png").read_bytes() == b"fox"


def test_undo_refuses_an_image_that_is_not_in_the_trash(
    listed: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["rm", _FOX]) == 0
    assert run(["rm", "--undo", _FOX, "last"]) == 2
    assert f"{_OWL} is not in the trash.\n" in capsys.readouterr().err
    assert (listed(), listed("--trash")) == ([_OWL], [_FOX])


def test_undo_never_overwrites_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rm", _FOX]) == 0
    Path("fox.png").write_bytes(b"new")
    assert run(["rm", "--undo", _FOX]) == 5
    assert "cannot be put back: there is another file" in capsys.readouterr().err
    assert Path("fox.png").read_bytes() == b"new"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param([], "Missing argument 'ID|FILE...'.", id="nothing"),
        pytest.param(["0000000f"], "Image '0000000f' was not found", id="unknown"),
        pytest.param([_FOX, "0000000f"], "Image '0000000f' was not found", id="one unknown"),
    ],
)
def test_rm_refuses_unknown_images_and_moves_nothing(
    arguments: list[str],
    message: str,
    listed: Callable[..., list[str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["rm", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert listed() == [_FOX, _OWL]


def test_trash_list_shows_when_and_from_where_images_were_moved(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["trash", "list"]) == 0
    assert capsys.readouterr() == ("", "The trash is empty.\n")
    assert run(["rm", _FOX]) == 0
    capsys.readouterr()
    assert run(["trash", "list"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert re.fullmatch(rf"{_FOX}  \d{{4}}-\d\d-\d\d \d\d:\d\d  .*fox\.png", line)
    assert run(["trash", "list", "--json"]) == 0
    (image,) = _json(capsys)["images"]
    assert (image["id"], image["trashed_from"]) == (_FOX, str(Path("fox.png").absolute()))


def test_trash_empty_deletes_everything_in_the_trash(
    listed: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["rm", _OWL]) == 0
    capsys.readouterr()
    assert run(["trash", "empty", "--yes", "--json"]) == 0
    printed = _json(capsys)
    assert ([image["id"] for image in printed["images"]], printed["left"]) == ([_OWL], [])
    assert (listed(), listed("--trash"), Path("fox.png").exists()) == ([_FOX], [], True)
    assert run(["trash", "empty", "--yes"]) == 0
    assert capsys.readouterr().err == "Deleted for good: 0 images.\n"


def test_trash_empty_deletes_only_named_images(
    listed: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["rm", _FOX, _OWL]) == 0
    capsys.readouterr()
    assert run(["trash", "empty", _FOX, "--yes"]) == 0
    assert capsys.readouterr().err == "Deleted for good: 1 image, 1 KB.\n"
    assert listed("--trash") == [_OWL]


def test_trash_empty_refuses_an_image_that_is_not_in_the_trash(
    listed: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["rm", _OWL]) == 0
    assert run(["trash", "empty", _OWL, _FOX, "--yes"]) == 2
    assert "00000001 is not in the trash." in capsys.readouterr().err
    assert (listed(), listed("--trash")) == ([_FOX], [_OWL])


def test_trash_empty_older_than_keeps_newer_images(listed: Callable[..., list[str]]) -> None:
    assert run(["rm", _FOX, _OWL]) == 0
    month_ago = round((time.time() - 31 * 86400) * 1000)
    with open_library(load_settings()) as library, library.writing() as connection:
        old = update(images).where(images.c.trashed_from.endswith("owl.png"))
        connection.execute(old.values(trashed_ms=month_ago))
    assert run(["trash", "empty", "--older-than", "30d", "--yes"]) == 0
    assert listed("--trash") == [_FOX]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["--older-than", "soon"], "'soon' is not a valid age", id="age"),
        pytest.param(["--older-than", "30d", _FOX], "cannot be combined with IDs", id="both"),
        pytest.param([], "add --yes", id="no terminal"),
    ],
)
def test_trash_empty_refuses_wrong_usage(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["rm", _FOX]) == 0
    assert run(["trash", "empty", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert run(["rm", "--undo", _FOX]) == 0
    assert Path("fox.png").read_bytes() == b"fox"


def test_trash_empty_leaves_images_on_other_machines(
    listed: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["rm", _FOX, _OWL]) == 0
    with open_library(load_settings()) as library, library.writing() as connection:
        theirs = {"host": "attic", "path": "/home/eve/owl.png"}
        connection.execute(update(images).where(images.c.path.endswith("owl.png")).values(theirs))
    capsys.readouterr()
    assert run(["trash", "empty", "--yes"]) == 0
    assert capsys.readouterr().err.splitlines() == [
        "Left in the trash: 1 image on other machines.",
        "Deleted for good: 1 image, 1 KB.",
    ]
    assert listed("--trash") == [_OWL]


def test_trash_empty_leaves_a_file_that_was_changed(capsys: pytest.CaptureFixture[str]) -> None:
    Path("fox.png").write_bytes(b"another program's")
    assert run(["rm", _FOX]) == 0
    capsys.readouterr()
    assert run(["trash", "empty", "--yes", "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["left"] == [str(Path("fox.png").absolute())]
    assert "fox.png stays: it was changed" in printed.err
    assert Path("fox.png").read_bytes() == b"another program's"


def test_trash_empty_asks_on_a_terminal(
    listed: Callable[..., list[str]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert run(["rm", _FOX]) == 0
    monkeypatch.setattr(sys, "stdin", _Terminal("y\n"))
    assert run(["trash", "empty"]) == 0
    assert "Delete 1 image, 1 KB, for good? [y/N]: " in capsys.readouterr().err
    assert (listed(), listed("--trash")) == ([_OWL], [])


@pytest.mark.parametrize("answer", ["n\n", "\n", ""], ids=["no", "return", "end of input"])
def test_trash_empty_deletes_nothing_without_a_yes(
    answer: str,
    listed: Callable[..., list[str]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert run(["rm", _FOX]) == 0
    monkeypatch.setattr(sys, "stdin", _Terminal(answer))
    assert run(["trash", "empty"]) == 130
    assert "Nothing was deleted." in capsys.readouterr().err
    assert listed("--trash") == [_FOX]
