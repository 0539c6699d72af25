"""Commands whose output is a limited, full or closed stream."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image

from imagen.cli import run
from imagen.testing.comfyui import ComfyUI

_IMAGEN = [sys.executable, "-m", "imagen"]


def _unread(arguments: list[str]) -> tuple[int, str]:
    """The exit code and stderr of a command that writes to a closed pipe."""
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
def test_a_closed_pipe_is_not_an_error(arguments: list[str]) -> None:
    assert _unread(arguments) == (0, "")


def test_an_error_keeps_its_exit_code_with_a_closed_pipe() -> None:
    assert _unread(["generate", "x", "--steps", "-1", "--json"]) == (2, "")


def test_an_image_is_generated_with_a_closed_stderr() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    arguments = ["generate", "x", "--size", "32x32", "-o", "fox.png"]
    with os.fdopen(writer, "wb") as pipe:
        ran = subprocess.run(
            [*_IMAGEN, *arguments], stdout=subprocess.PIPE, stderr=pipe, text=True, check=False
        )
    assert (ran.returncode, ran.stdout) == (0, "fox.png\n")


def test_letters_outside_the_encoding_of_a_pipe_are_escaped() -> None:
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


def test_errors_outside_the_encoding_of_a_pipe_are_escaped() -> None:
    environ = os.environ | {"PYTHONIOENCODING": "cp1252"}
    ran = subprocess.run(
        [*_IMAGEN, "generate", "@猫"], env=environ, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, "\\u732b" in ran.stderr) == (2, True)


_POSIX = pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell closes the streams")
_FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
_LISTINGS = (
    ["--help"],
    ["config", "init"],
    ["backends"],
    ["models", "-b", "mock", "--json"],
    ["doctor", "--json"],
    ["history"],
    ["usage", "--json"],
    ["resume", "--list", "--json"],
)
_MAKE = ["generate", "a fox", "-b", "mock", "--size", "32x32", "-o", "fox.png"]


def _with(redirections: str, *arguments: str) -> tuple[int, str, str]:
    """The exit code, stdout and stderr of a command with redirected streams."""
    shell = ["sh", "-c", f'exec "$@" {redirections}', "sh", *_IMAGEN, *arguments]
    ran = subprocess.run(shell, capture_output=True, text=True, check=False, timeout=60)
    return ran.returncode, ran.stdout, ran.stderr


def _lost_output(reason: str) -> str:
    return (
        f"imagen: Cannot write to stdout: {reason}.\n"
        "The command finished; only its output is missing.\n"
    )


_NO_SPACE = _lost_output("No space left on device")
_CLOSED = _lost_output("Bad file descriptor")


def _image_is_whole() -> bool:
    with Image.open("fox.png") as image:
        image.load()
        return image.size == (32, 32) and Path("fox.png.json").is_file()


@_FULL
@pytest.mark.parametrize("arguments", _LISTINGS, ids=" ".join)
def test_output_that_cannot_be_written_exits_with_5(arguments: list[str]) -> None:
    assert run([*_MAKE, "-q"]) == 0
    code, _, complaint = _with(">/dev/full", *arguments)
    assert (code, complaint.endswith(_NO_SPACE), "Traceback" in complaint) == (5, True, False)


@_POSIX
@pytest.mark.parametrize("arguments", _LISTINGS[::2], ids=" ".join)
def test_output_without_stdout_exits_with_5(arguments: list[str]) -> None:
    assert run([*_MAKE, "-q"]) == 0
    code, _, complaint = _with(">&-", *arguments)
    assert (code, complaint.endswith(_CLOSED), "Traceback" in complaint) == (5, True, False)


@_FULL
@pytest.mark.parametrize("more", [[], ["--json"], ["--dry-run"]], ids=" ".join)
def test_an_image_is_kept_if_its_path_cannot_be_printed(more: list[str]) -> None:
    code, _, complaint = _with(">/dev/full", *_MAKE, "-q", *more)
    assert (code, complaint) == (5, _NO_SPACE)
    assert "--dry-run" in more or _image_is_whole()


@_POSIX
@pytest.mark.parametrize(
    ("redirections", "code", "stdout"),
    [
        (">&-", 5, ""),
        ("2>&-", 0, "fox.png\n"),
        pytest.param("2>/dev/full", 0, "fox.png\n", marks=_FULL),
        pytest.param(">/dev/full 2>&1", 5, "", marks=_FULL),
        (">&- 2>&-", 5, ""),
        ("<&- >&- 2>&-", 5, ""),
        ("<&- 2>&-", 0, "fox.png\n"),
    ],
)
def test_an_image_is_generated_without_standard_streams(
    redirections: str, code: int, stdout: str
) -> None:
    assert _with(redirections, *_MAKE, "--cfg", "3")[:2] == (code, stdout)
    assert _image_is_whole()
    listed = _with("", "history", "--json")
    assert len(json.loads(listed[1])["images"]) == 1


@_FULL
def test_a_full_stderr_does_not_interrupt_a_job() -> None:
    with ComfyUI() as server:
        block = {"type": "comfyui", "url": server.url, "workflow": "sdxl"}
        Path("imagen.yaml").write_text(json.dumps({"backends": {"sdxl": block}}))
        arguments = ["generate", "a fox", "-b", "sdxl", "--size", "64x64", "-o", "fox.png"]
        assert _with("2>/dev/full", *arguments) == (0, "fox.png\n", "")
        assert _with("2>&-", *arguments, "--count", "2")[0] == 0
    assert len(list(Path().glob("fox*.png"))) == 3


@_FULL
def test_compare_and_library_add_finish_without_output() -> None:
    blocks = {name: {"type": "mock"} for name in ("one", "two")}
    Path("imagen.yaml").write_text(json.dumps({"backends": blocks}))
    arguments = ["compare", "a fox", "-m", "one,two", "--size", "32x32", "-o", "compared"]
    assert _with(">/dev/full 2>/dev/full", *arguments)[0] == 5
    assert len(list(Path("compared").glob("*.png"))) == 3
    assert _with(">/dev/full 2>/dev/full", "library", "add", "compared")[0] == 5


@_FULL
@pytest.mark.parametrize("redirections", ["2>/dev/full", "2>&-", ">/dev/full 2>&1"])
@pytest.mark.parametrize("more", [[], ["--json"]], ids=" ".join)
def test_an_error_keeps_its_exit_code_without_streams(redirections: str, more: list[str]) -> None:
    assert _with(redirections, "generate", "x", "--steps", "-1", *more)[0] == 2
    assert _with(redirections, "generate", "x", "-b", "none", *more)[0] == 2


@_POSIX
def test_a_question_without_stdin_is_a_usage_error() -> None:
    assert _with("", *_MAKE)[0] == 0
    code, _, complaint = _with("<&-", "trash", "empty")
    assert (code, "add --yes" in complaint) == (2, True)


@_POSIX
def test_a_nonblocking_pipe_gets_the_whole_output() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    filled = 0
    with suppress(BlockingIOError):
        while True:
            filled += os.write(writer, b" " * 1024)
    with os.fdopen(writer, "wb") as pipe:
        ran = subprocess.Popen([*_IMAGEN, "config", "show", "--json"], stdout=pipe)
    time.sleep(0.5)  # it has something to say, and no room for it
    with os.fdopen(reader, "rb") as output:
        text = output.read()
    assert (ran.wait(), "output" in json.loads(text[filled:])) == (0, True)


def test_a_closed_pipe_does_not_stop_the_work() -> None:
    assert _unread([*_MAKE, "--count", "2", "-q"]) == (0, "")
    assert _image_is_whole()
