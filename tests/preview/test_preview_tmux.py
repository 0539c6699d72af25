"""Windows in tmux: arguments, failures, and a real tmux."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.terminals import write_program, write_recorder

from imagen.preview import PreviewPlan, show_images

if TYPE_CHECKING:
    from collections.abc import Iterator

_ODD = 'a b\'c "d" $HOME #{pid};'
_SERVER = f"imagen-tests-{os.getpid()}"
_LEAVE_OUT = "Turn it off with --no-preview, or output.preview: off."


@pytest.fixture
def bin_(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder of the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def _window(viewer: Path) -> PreviewPlan:
    return PreviewPlan(way="tmux", viewer=(str(viewer), "--hold"))


def _logged(log: Path) -> list[list[str]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_tmux_gets_the_words_of_the_viewer_unchanged(bin_: Path, tmp_path: Path) -> None:
    write_recorder(bin_, "tmux", tmp_path / "log")
    viewer = write_program(bin_, "viewer", "")
    assert show_images(_window(viewer), {Path("a b.png"): "a-fox#{pid}\n"}) == []
    path = str(Path("a b.png").absolute())
    assert _logged(tmp_path / "log") == [
        ["new-window", "-d", "-n", "img:a-fox{pid}", "--", str(viewer), "--hold", path]
    ]


def test_show_images_opens_at_most_four_windows(bin_: Path, tmp_path: Path) -> None:
    write_recorder(bin_, "tmux", tmp_path / "log")
    viewer = write_program(bin_, "viewer", "")
    images = {Path(f"{number}.png"): "x" for number in range(6)}
    assert show_images(_window(viewer), images) == ["The preview shows the first 4 of 6 images."]
    assert [Path(words[-1]).name for words in _logged(tmp_path / "log")] == [
        "0.png",
        "1.png",
        "2.png",
        "3.png",
    ]


def test_a_tmux_that_refuses_gives_one_warning(bin_: Path) -> None:
    write_program(bin_, "tmux", "sys.exit('no server\\x1b[2J running on /tmp/x')")
    told = show_images(_window(bin_ / "viewer"), {Path("a.png"): "x", Path("b.png"): "x"})
    assert told == [
        "The preview cannot be shown: tmux says: no server[2J running on /tmp/x. " + _LEAVE_OUT
    ]


@pytest.mark.usefixtures("bin_")
def test_a_missing_tmux_gives_a_warning() -> None:
    told = show_images(PreviewPlan(way="tmux", viewer=("viewer",)), {Path("a.png"): "x"})
    assert told == ["The preview cannot be shown: tmux is not on the PATH. " + _LEAVE_OUT]


def test_a_missing_viewer_gives_a_warning(bin_: Path, tmp_path: Path) -> None:
    write_recorder(bin_, "tmux", tmp_path / "log")
    told = show_images(PreviewPlan(way="tmux", viewer=("viewer",)), {Path("a.png"): "x"})
    assert told == [
        "The preview's viewer 'viewer' is not on the PATH, so its window may have closed "
        "immediately. "
        "Name another in output.preview_command. " + _LEAVE_OUT
    ]
    assert len(_logged(tmp_path / "log")) == 1


def _tmux(*words: str) -> str:
    command = ["tmux", "-L", _SERVER, *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def _inside_tmux(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The environment of a process in a window of this test's tmux server."""
    monkeypatch.delenv("TMUX", raising=False)
    monkeypatch.delenv("TMUX_PANE", raising=False)
    _tmux("-f", "/dev/null", "new-session", "-d", "-s", "imagen", "sleep 600")
    monkeypatch.setenv("TMUX", _tmux("display", "-p", "#{socket_path},#{pid},0"))
    monkeypatch.setenv("TMUX_PANE", _tmux("display", "-p", "#{pane_id}"))
    try:
        yield
    finally:
        _tmux("kill-server")


def _appears(path: Path) -> Path:
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.02)
    return path


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
@pytest.mark.usefixtures("_inside_tmux")
def test_tmux_passes_the_exact_path_to_the_viewer(tmp_path: Path) -> None:
    log = tmp_path / "log"
    whole = f"import os, time; open({str(log)!r} + '~', 'w').write(json.dumps(sys.argv[1:])); "
    viewer = write_program(
        tmp_path, "viewer", f"{whole}os.rename({str(log)!r} + '~', {str(log)!r})\ntime.sleep(600)"
    )
    assert show_images(_window(viewer), {tmp_path / _ODD: "rotes-füchslein"}) == []
    assert json.loads(_appears(log).read_text()) == ["--hold", str(tmp_path / _ODD)]
    windows = _tmux("list-windows", "-F", "#{window_active} #{window_name}").splitlines()
    assert windows[1] == "0 img:rotes-füchslein"
    assert windows[0].startswith("1 ")
