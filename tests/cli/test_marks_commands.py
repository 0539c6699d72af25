"""imagen tag, rate and rm: what people do with pictures."""

from __future__ import annotations

import io
import json
import sys
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
    """Somebody who types this, and no more."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _album(library_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fox and an owl, whose files are there."""
    monkeypatch.setenv("IMAGEN_LIBRARY", library_url)
    Path("fox.png").write_bytes(b"fox")
    Path("owl.png").write_bytes(b"owl")
    both = {number: make_image(number, 0, Path(name).absolute())
            for number, name in ((1, "fox.png"), (2, "owl.png"))}  # fmt: skip
    with open_library(load_settings()) as library:
        record_all(
            library, [make_record(number, images=(picture,)) for number, picture in both.items()]
        )


@pytest.fixture
def listed(capsys: pytest.CaptureFixture[str]) -> Callable[..., list[str]]:
    """The IDs that `imagen history` lists."""

    def ids(*arguments: str) -> list[str]:
        capsys.readouterr()
        assert run(["history", "--json", *arguments]) == 0
        return sorted(picture["id"] for picture in json.loads(capsys.readouterr().out)["images"])

    return ids


def _json(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_tags_are_added_removed_and_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tag", _FOX, _OWL, "--add", "Good", "--add", "to  print"]) == 0
    assert capsys.readouterr() == ("00000001  good, to print\n00000002  good, to print\n", "")
    assert run(["tag", "fox.png", "--remove", "good", "-a", "fox"]) == 0
    assert capsys.readouterr().out == "00000001  fox, to print\n"
    assert run(["tag", _OWL]) == 0
    assert capsys.readouterr().out == "00000002  good, to print\n"


def test_an_image_named_twice_is_tagged_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tag", _FOX, "fox.png", "--add", "good"]) == 0
    assert capsys.readouterr().out == "00000001  good\n"


def test_tag_json_has_the_images(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tag", _FOX, "--add", "good", "--json"]) == 0
    (picture,) = _json(capsys)["images"]
    assert (picture["id"], picture["tags"]) == (_FOX, ["good"])


def test_no_image_is_tagged_if_one_is_unknown(
    listed: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["tag", _FOX, "0000000f", "--add", "good"]) == 2
    assert "The library has no picture '0000000f'" in capsys.readouterr().err
    assert listed("--tag", "good") == []


def test_ratings_are_set_and_removed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rate", _FOX, "owl.png", "4"]) == 0
    assert capsys.readouterr() == ("00000001  ★★★★\n00000002  ★★★★\n", "")
    assert run(["rate", _FOX, "none", "--json"]) == 0
    assert [picture["rating"] for picture in _json(capsys)["images"]] == [None]
    assert run(["rate", _FOX, "none"]) == 0
    assert capsys.readouterr().out == "00000001  not rated\n"


@pytest.mark.parametrize("stars", ["0", "6", "many"])
def test_an_invalid_rating_is_refused(stars: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rate", _FOX, stars]) == 2
    assert f"'{stars}' is not one of '1', '2', '3', '4', '5', 'none'" in capsys.readouterr().err


def test_rm_puts_into_the_trash_and_takes_out_of_it(
    listed: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["rm", _FOX]) == 0
    assert capsys.readouterr() == (
        f"00000001  {Path('fox.png').absolute()}\n",
        "Into the trash: 1 picture. Back with: imagen rm --restore 00000001\n",
    )
    assert (listed(), listed("--trash"), Path("fox.png").exists()) == ([_OWL], [_FOX], True)
    assert run(["rm", "--restore", _FOX]) == 0
    assert capsys.readouterr().err == "Out of the trash: 1 picture.\n"
    assert (listed(), listed("--trash")) == ([_FOX, _OWL], [])


def test_purge_deletes_files_and_what_the_library_has(
    listed: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["rm", _FOX, _OWL, "--purge", "--yes"]) == 0
    assert capsys.readouterr().err == "Deleted for good: 2 pictures, 1 KB.\n"
    assert (listed(), listed("--trash"), list(Path().glob("*.png"))) == ([], [], [])


def test_all_that_is_in_the_trash_may_be_purged(
    listed: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    run(["rm", _OWL])
    capsys.readouterr()
    assert run(["rm", "--purge", "--all-trashed", "--yes", "--json"]) == 0
    told = _json(capsys)
    assert ([picture["id"] for picture in told["images"]], told["left"]) == ([_OWL], [])
    assert (listed(), listed("--trash")) == ([_FOX], [])
    assert run(["rm", "--purge", "--all-trashed"]) == 0
    assert capsys.readouterr().err == "Deleted for good: 0 pictures.\n"


def test_what_lies_on_other_machines_stays_in_the_trash(
    listed: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    run(["rm", _FOX, _OWL])
    with open_library(load_settings()) as library, library.writing() as connection:
        theirs = {"host": "attic", "path": "/home/eve/owl.png"}
        connection.execute(update(images).where(images.c.path.endswith("owl.png")).values(theirs))
    capsys.readouterr()
    assert run(["rm", "--purge", "--all-trashed", "--yes"]) == 0
    assert capsys.readouterr().err.splitlines() == [
        "Left in the trash, as they lie on other machines: 1 picture.",
        "Deleted for good: 1 picture, 1 KB.",
    ]
    assert listed("--trash") == [_OWL]


def test_a_file_that_is_something_else_by_now_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    Path("fox.png").write_bytes(b"somebody's own")
    assert run(["rm", _FOX, "--purge", "--yes", "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["left"] == [str(Path("fox.png").absolute())]
    assert "fox.png was left: it holds something else by now" in told.err
    assert Path("fox.png").read_bytes() == b"somebody's own"


def test_purge_asks_on_a_terminal(
    listed: Callable[..., list[str]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", _Terminal("y\n"))
    assert run(["rm", _FOX, "--purge"]) == 0
    assert "Delete 1 picture, 1 KB, for good? [y/N]: " in capsys.readouterr().err
    assert (listed(), Path("fox.png").exists()) == ([_OWL], False)


@pytest.mark.parametrize("answer", ["n\n", "\n", ""], ids=["no", "return", "end of input"])
def test_what_is_not_confirmed_is_not_deleted(
    answer: str,
    listed: Callable[..., list[str]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", _Terminal(answer))
    assert run(["rm", _FOX, "--purge"]) == 130
    assert "Nothing was deleted." in capsys.readouterr().err
    assert (listed(), Path("fox.png").exists()) == ([_FOX, _OWL], True)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        pytest.param([], "Missing argument 'ID|FILE...'.", id="nothing"),
        pytest.param(["--all-trashed"], "--all-trashed goes with --purge", id="all alone"),
        pytest.param(
            ["--all-trashed", "--purge", _FOX], "and without any ID", id="all and one of them"
        ),
        pytest.param([_FOX, "--restore", "--purge"], "can't go together", id="both ways"),
        pytest.param([_FOX, "--purge"], "it needs --yes", id="nobody to ask"),
        pytest.param(["0000000f"], "The library has no picture '0000000f'", id="unknown"),
    ],
)
def test_rm_of_nothing_that_makes_sense_is_refused(
    arguments: list[str],
    told: str,
    listed: Callable[..., list[str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["rm", *arguments]) == 2
    assert told in capsys.readouterr().err
    assert listed() == [_FOX, _OWL]
