"""imagen tag and rate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.library_samples import make_image, make_record, record_all

from imagen.cli import run
from imagen.config import load_settings
from imagen.library import open_library

if TYPE_CHECKING:
    from collections.abc import Callable

_FOX, _OWL = "00000001", "00000002"


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


def test_tag_adds_removes_and_lists_tags(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tag", _FOX, _OWL, "--add", "Good", "--add", "to  print"]) == 0
    assert capsys.readouterr() == ("00000001  good, to print\n00000002  good, to print\n", "")
    assert run(["tag", "fox.png", "--remove", "good", "-a", "fox"]) == 0
    assert capsys.readouterr().out == "00000001  fox, to print\n"
    assert run(["tag", _OWL]) == 0
    assert capsys.readouterr().out == "00000002  good, to print\n"


def test_an_image_named_twice_is_tagged_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tag", _FOX, "fox.png", "--add", "good"]) == 0
    assert capsys.readouterr().out == "00000001  good\n"


def test_tag_prints_images_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tag", _FOX, "--add", "good", "--json"]) == 0
    (image,) = _json(capsys)["images"]
    assert (image["id"], image["tags"]) == (_FOX, ["good"])


def test_no_image_is_tagged_if_one_is_unknown(
    listed: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["tag", _FOX, "0000000f", "--add", "good"]) == 2
    assert "Image '0000000f' was not found" in capsys.readouterr().err
    assert listed("--tag", "good") == []


def test_rate_rates_and_removes_ratings(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rate", _FOX, "owl.png", "4"]) == 0
    assert capsys.readouterr() == ("00000001  ★★★★\n00000002  ★★★★\n", "")
    assert run(["rate", _FOX, "none", "--json"]) == 0
    assert [image["rating"] for image in _json(capsys)["images"]] == [None]
    assert run(["rate", _FOX, "none"]) == 0
    assert capsys.readouterr().out == "00000001  not rated\n"


@pytest.mark.parametrize("stars", ["0", "6", "many"])
def test_an_invalid_rating_is_refused(stars: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rate", _FOX, stars]) == 2
    assert f"'{stars}' is not one of '1', '2', '3', '4', '5', 'none'" in capsys.readouterr().err
