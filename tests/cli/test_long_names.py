"""Names of 100 kB are refused, and shortened in the error."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from imagen.cli import run

_LONG = "a" * 100_000
_CUT = "a" * 250 + "…" + "a" * 249
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows says it otherwise")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["-o", _LONG], 5, f"Images cannot be saved in {_CUT}: File name too long."),
        (["-o", f"out/{_LONG}/x.png"], 5, "File name too long."),
        (["--image", _LONG], 2, "File name too long."),
        (["--config", _LONG], 2, "File name too long."),
        (["--from-json", _LONG], 2, "File name too long."),
        (["--style", _LONG], 2, "Unknown style 'aaaaa"),
    ],
    ids=["output", "a folder of it", "image", "config", "from-json", "style"],
)
def test_an_overlong_name_is_refused(
    arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["generate", "a fox", "--size", "32x32", "--quiet", *arguments]) == code
    printed = capsys.readouterr()
    assert message in printed.err
    assert "imagen.yaml" not in printed.err
    assert len(printed.err) < 2000
    assert printed.out == ""


@pytest.mark.parametrize("key", ["workflow_dirs: [NAME]", "state_dir: NAME"])
def test_an_overlong_path_in_the_configuration_is_named(
    key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("imagen.yaml").write_text(key.replace("NAME", _LONG) + "\n")
    assert run(["workflows", "list"]) in (0, 2)
    assert run(["generate", "a fox", "--size", "32x32", "--quiet", "-o", "fox"]) in (0, 5)
    assert len(capsys.readouterr().err) < 3000


def test_an_overlong_library_path_keeps_the_image(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IMAGEN_LIBRARY", _LONG)
    assert run(["generate", "a fox", "--size", "32x32", "--quiet", "-o", "fox.png"]) == 0
    printed = capsys.readouterr()
    assert Path("fox.png").is_file()
    assert f"The library cannot be created in {_CUT}: File name too long." in printed.err
    assert run(["history"]) == 5


def test_an_overlong_config_folder_is_ignored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", f"/{_LONG}")
    assert run(["generate", "a fox", "--size", "32x32", "--quiet"]) == 0
