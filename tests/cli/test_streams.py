"""What becomes of a run whose output goes to a poor or a closed pipe."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from imagen.cli import run

_IMAGEN = [sys.executable, "-m", "imagen"]


def _unread(arguments: list[str]) -> tuple[int, str]:
    """The exit code and the complaints of a run that writes to a pipe whose reader is gone."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as pipe:
        ran = subprocess.run(
            [*_IMAGEN, *arguments], stdout=pipe, stderr=subprocess.PIPE, text=True, check=False
        )
    return ran.returncode, ran.stderr


@pytest.mark.parametrize(
    "arguments",
    [["workflows", "list"], ["version"], ["--help"], ["generate", "--help"]],
    ids=" ".join,
)
def test_a_reader_may_leave(arguments: list[str]) -> None:
    assert _unread(arguments) == (0, "")


def test_an_error_that_nobody_reads_keeps_its_code() -> None:
    assert _unread(["generate", "x", "--steps", "0", "--json"]) == (2, "")


def test_a_picture_is_made_though_nobody_follows_its_progress() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    arguments = ["generate", "x", "--size", "32x32", "-o", "fox.png"]
    with os.fdopen(writer, "wb") as pipe:
        ran = subprocess.run(
            [*_IMAGEN, *arguments], stdout=subprocess.PIPE, stderr=pipe, text=True, check=False
        )
    assert (ran.returncode, ran.stdout) == (0, "fox.png\n")


def test_a_pipe_that_lacks_a_script_gets_its_letters_escaped() -> None:
    environ = os.environ | {"PYTHONIOENCODING": "cp1252"}
    arguments = ["generate", "猫", "--size", "32x32", "--seed", "1", "--cfg", "3", "-o", "猫.png"]
    ran = subprocess.run(
        [*_IMAGEN, *arguments, "-q"], env=environ, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (
        0,
        "\\u732b.png\n",
        "cfg: 3.0 was dropped (the mock paints without a model)\n",
    )
    assert Path("猫.png").is_file()


def test_an_error_in_another_script_is_told_to_a_poor_pipe() -> None:
    environ = os.environ | {"PYTHONIOENCODING": "cp1252"}
    ran = subprocess.run(
        [*_IMAGEN, "generate", "@猫"], env=environ, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, "file \\u732b can't be read" in ran.stderr) == (2, True)


class _Full(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, f"No space left on device for {len(text)} characters")


def test_a_full_device_gets_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", _Full())
    assert run(["version"]) == 5
    assert "What there is to say can't be written: no space." in capsys.readouterr().err
