"""imagen convert: files of one format into another, with their metadata."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from imagen.cli import run
from imagen.outputs.read import read_record


@pytest.fixture
def fox() -> Path:
    """An image of imagen's own."""
    words = "generate fox --size 32x24 --seed 7 --quiet --no-sidecar -o fox.png"
    assert run(words.split()) == 0
    return Path("fox.png")


def _format(name: str) -> str | None:
    with Image.open(name) as image:
        return image.format


def _json(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize("ending", ["jpg", "webp", "avif"])
def test_the_new_file_is_beside_the_old_one_with_its_metadata(ending: str, fox: Path) -> None:
    assert run(["convert", "fox.png", "--to", ending]) == 0
    assert _format(f"fox.{ending}") == {"jpg": "JPEG"}.get(ending, ending.upper())
    assert read_record(Path(f"fox.{ending}")) == read_record(fox)


@pytest.mark.usefixtures("fox")
def test_convert_prints_the_path_of_each_file(capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run(["convert", "fox.png", "--to", "webp"]) == 0
    assert capsys.readouterr() == ("fox.webp\n", "")


@pytest.mark.usefixtures("fox")
def test_convert_never_overwrites_another_file() -> None:
    Path("fox.webp").write_bytes(b"mine")
    assert run(["convert", "fox.png", "--to", "webp"]) == 0
    assert Path("fox.webp").read_bytes() == b"mine"
    assert _format("fox-2.webp") == "WEBP"


@pytest.mark.usefixtures("fox")
def test_converting_twice_writes_one_file(capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run(["convert", "fox.png", "--to", "webp"]) == 0
    assert run(["convert", "fox.png", "--to", "webp"]) == 0
    assert capsys.readouterr().out == "fox.webp\nfox.webp\n"
    assert not Path("fox-2.webp").exists()


@pytest.mark.usefixtures("fox")
def test_output_is_a_folder_or_a_file_with_the_format() -> None:
    assert run(["convert", "fox.png", "--to", "webp", "-o", "small"]) == 0
    assert run(["convert", "fox.png", "-o", "small/red.jpeg"]) == 0
    assert sorted(path.name for path in Path("small").iterdir()) == ["fox.webp", "red.jpeg"]


def test_no_metadata_strips_a_file_of_the_same_format(fox: Path) -> None:
    assert run(["convert", "fox.png", "--no-metadata", "-o", "bare.png"]) == 0
    with Image.open(fox) as before, Image.open("bare.png") as after:
        assert after.tobytes() == before.tobytes()
        assert after.info == {}


@pytest.mark.usefixtures("fox")
def test_quality_changes_the_size() -> None:
    assert run(["convert", "fox.png", "--quality", "5", "-o", "low.webp"]) == 0
    assert run(["convert", "fox.png", "--quality", "100", "-o", "whole.webp"]) == 0
    with Image.open("fox.png") as before, Image.open("whole.webp") as after:
        assert after.tobytes() == before.tobytes()
    assert Path("low.webp").stat().st_size < Path("whole.webp").stat().st_size


@pytest.mark.usefixtures("fox")
def test_a_failed_file_does_not_stop_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    Path("odd.png").write_bytes(b"no image")
    capsys.readouterr()
    assert run(["convert", "odd.png", "fox.png", "gone.png", "--to", "webp"]) == 5
    out, err = capsys.readouterr()
    assert out == "fox.webp\n"
    assert err == (
        "imagen: Cannot convert odd.png. It is not an image that imagen can read.\n"
        "imagen: There is no file gone.png.\n"
    )


@pytest.mark.usefixtures("fox")
def test_convert_json_has_images_and_errors(capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run(["convert", "fox.png", "gone.png", "--to", "webp", "--json"]) == 5
    found = _json(capsys)
    assert found["images"] == [
        {
            "source": "fox.png",
            "path": "fox.webp",
            "media_type": "image/webp",
            "width": 32,
            "height": 24,
            "size_bytes": Path("fox.webp").stat().st_size,
            "quality": 90,
            "warnings": [],
        }
    ]
    assert [(one["source"], one["code"]) for one in found["errors"]] == [("gone.png", "output")]


def test_the_error_of_a_single_file_is_that_of_the_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["convert", "gone.png", "--to", "webp", "--json"]) == 5
    assert _json(capsys)["error"]["message"] == "There is no file gone.png."


def test_convert_warns_about_what_a_jpeg_cannot_hold(capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGBA", (8, 8)).save("clear.png")
    assert run(["convert", "clear.png", "--to", "jpg"]) == 0
    assert capsys.readouterr() == (
        "clear.jpg\n",
        "clear.jpg: Transparent areas became white, since JPEG has no transparency.\n",
    )


@pytest.mark.usefixtures("fox")
def test_a_converted_image_can_go_to_standard_output(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    capfdbinary.readouterr()
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False)
    assert run(["convert", "fox.png", "--to", "webp", "-o", "-"]) == 0
    out, err = capfdbinary.readouterr()
    assert (out[:4], out[8:12], err) == (b"RIFF", b"WEBP", b"")
    assert not Path("fox.webp").exists()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        pytest.param("a.png", "Choose a format with --to: png, jpg, jpeg, webp, avif.", id="none"),
        pytest.param("a.png --to jpg -o a.webp", "--to is jpg, but --output", id="two"),
        pytest.param(
            "a.png b.png -o a.webp", "--output names one file, but there are 2", id="files"
        ),
        pytest.param("a.png b.png --to webp -o -", "--output names one file", id="streams"),
        pytest.param("a.gif --to png --quality 9", "--quality does not apply to PNG", id="quality"),
        pytest.param(
            "a.png --to webp -o - --json", "--json both write to standard output", id="json"
        ),
        pytest.param("a.png -o a.gif", "Images can be saved as .png, .jpg", id="ending"),
    ],
)
def test_contradicting_options_are_refused(
    words: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["convert", *words.split()]) == 2
    assert why in "".join(capsys.readouterr())
