"""`imagen watch`: run a command for each image that appears in a folder."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from imagen.cli import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PATIENCE_SECONDS = 60.0


@pytest.fixture(autouse=True)
def _folder() -> None:
    Path("in").mkdir()


def _save(name: str, colour: int) -> None:
    """An image that appears at once, complete."""
    Image.new("RGB", (64, 48), (colour, 0, 0)).save("new.png")
    os.replace("new.png", f"in/{name}")


@contextmanager
def _watching(*words: str) -> Iterator[subprocess.Popen[str]]:
    """`imagen watch` with these words, in a process of its own; it ends in an orderly way."""
    flags = 0
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP
    process = subprocess.Popen(
        [sys.executable, "-m", "imagen", "watch", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        creationflags=flags,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def _stop(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Press Ctrl-C; the exit code and what was printed."""
    if sys.platform == "win32":
        process.send_signal(signal.CTRL_BREAK_EVENT)
    else:
        process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=_PATIENCE_SECONDS)
    return process.returncode, out, err


def _wait_for(is_reached: Callable[[], object]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not is_reached():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _made() -> set[str]:
    return {path.name for path in Path("outputs").glob("*.png")}


def test_what_is_there_and_what_appears_is_made_once(capsys: pytest.CaptureFixture[str]) -> None:
    _save("a.png", 1)
    words = ("in", "--", "upscale", "--factor", "2")
    with _watching(*words) as process:
        _wait_for(lambda: _made() == {"a-2x.png"})
        _save("b.png", 2)
        _wait_for(lambda: _made() == {"a-2x.png", "b-2x.png"})
        code, out, err = _stop(process)
    assert code == 0
    assert sorted(Path(line).name for line in out.splitlines()) == ["a-2x.png", "b-2x.png"]
    assert "Watching in. The images go to outputs." in err
    with _watching(*words) as process:  # after a restart, also under another name
        shutil.copy("in/a.png", "in/copy.png")
        _save("c.png", 3)
        _wait_for(lambda: "c-2x.png" in _made())
        _stop(process)
    assert _made() == {"a-2x.png", "b-2x.png", "c-2x.png"}
    assert run(["jobs", "list", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["jobs"]) == 3


def test_another_command_is_another_wish() -> None:
    _save("a.png", 1)
    for factor in ("2", "3"):
        with _watching("in", "--", "upscale", "--factor", factor) as process:
            _wait_for(Path(f"outputs/a-{factor}x.png").exists)
            _stop(process)


def test_detached_jobs_are_left_to_workers(capsys: pytest.CaptureFixture[str]) -> None:
    _save("a.png", 1)

    def jobs() -> list[dict[str, object]]:
        capsys.readouterr()
        assert run(["jobs", "list", "--json"]) == 0
        found: list[dict[str, object]] = json.loads(capsys.readouterr().out)["jobs"]
        return found

    arguments = (
        "in",
        "--detach",
        "--priority",
        "5",
        "--",
        "generate",
        "a fox",
        "--strength",
        "0.5",
    )
    with _watching(*arguments) as process:
        _wait_for(jobs)
        code, _, err = _stop(process)
    assert code == 0
    assert "No worker is running." in err
    (job,) = jobs()
    assert (job["state"], job["priority"]) == ("queued", 5)
    assert run(["worker", "--drain"]) == 0
    assert len(_made()) == 1


def test_only_new_images_are_taken_on_demand() -> None:
    _save("a.png", 1)
    with _watching("in", "--no-existing", "--poll", "--", "upscale") as process:
        assert process.stderr is not None
        assert "Watching" in process.stderr.readline()
        _save("b.png", 2)
        _wait_for(_made)
        _stop(process)
    assert _made() == {"b-2x.png"}


def test_an_output_folder_below_is_no_input() -> None:
    Path("in/sub").mkdir()
    _save("sub/a.png", 1)
    with _watching("in", "--recursive", "--", "upscale", "-o", "in/out") as process:
        _wait_for(lambda: list(Path("in/out").glob("*-2x.png")))
        _save("b.png", 2)
        _wait_for(lambda: len(list(Path("in/out").glob("*-2x.png"))) == 2)
        _stop(process)
    assert {path.name for path in Path("in/out").glob("*.png")} == {"a-2x.png", "b-2x.png"}


def test_the_end_of_the_folder_is_the_end() -> None:
    with _watching("in", "--", "upscale") as process:
        assert process.stderr is not None
        process.stderr.readline()
        Path("in").rmdir()
        _, err = process.communicate(timeout=_PATIENCE_SECONDS)
    assert process.returncode == 5
    assert "in was removed." in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none", "--", "upscale"], "There is no folder none."),
        (["in"], "The command is missing."),
        (["in", "upscale", "--factor", "2"], "Put -- before the command"),
        (["in", "--", "upsclae"], "Did you mean 'upscale'?"),
        (["in", "--", "history"], "'history' cannot be run for each image."),
        (["in", "--", "upscale", "--factr", "2"], "Did you mean '--factor'?"),
        (["in", "--", "upscale", "--factor", "99"], "must be at most 16"),
        (["in", "--", "generate", "x", "-b", "nope"], "Unknown backend"),
        (["in", "--", "upscale", "-o", "in"], "be inputs again"),
        (["in", "--", "upscale", "-o", "fox.png"], "with the name of an image"),
        (["in", "--", "upscale", "--detach"], "--detach cannot be used after --."),
        (["in", "--", "upscale", "--dry-run"], "--dry-run cannot be used after --."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_wrong_use_is_explained_at_the_start(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert run(["watch", *words]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
