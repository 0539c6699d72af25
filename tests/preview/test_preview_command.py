"""Previews of commands that run as processes, on terminals and in pipes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from base64 import b64decode
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from support.sixel_decoder import decode_sixels
from support.terminals import QUESTION, Terminal, write_program, write_recorder

_FOX = ["generate", "A red fox!", "--size", "64x48", "--seed", "1", "--output", "fox.png"]
_OURS = ("TERM", "TMUX", "KITTY_", "LC_TERMINAL", "STY", "ZELLIJ")
_LOG = Path("log")
_CONTROLLED = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from imagen.cli import main
main(sys.argv[1:])
"""


@pytest.fixture(autouse=True)
def _plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown terminal."""
    for name in [name for name in os.environ if name.startswith(_OURS)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.fixture
def _in_tmux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fake tmux that logs its arguments, and the default viewer."""
    folder = tmp_path / "bin"
    folder.mkdir()
    write_recorder(folder, "tmux", _LOG.absolute())
    write_program(folder, "tmux-img", "")
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("TMUX", "/tmp/tmux,1,0")


def _piped(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "imagen", *words]
    return subprocess.run(command, env=os.environ | environ, capture_output=True, text=True)


def _on(terminal: Terminal, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run on a terminal; stderr is captured."""
    return subprocess.run(
        [sys.executable, "-c", _CONTROLLED, *words],
        env=os.environ | environ,
        stdin=terminal.slave,
        stdout=terminal.slave,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _windows() -> list[list[str]]:
    """The arguments of tmux, without the folder of the viewer."""
    told = [json.loads(line) for line in _LOG.read_text().splitlines()]
    return [[Path(word).name if "tmux-img" in word else word for word in each] for each in told]


def _window(path: str, slug: str) -> list[str]:
    head = ["new-window", "-d", "-n", f"img:{slug}", "--", "tmux-img", "--hold"]
    return [*head, str(Path(path).absolute())]


@pytest.mark.usefixtures("_in_tmux")
def test_generate_in_tmux_shows_the_image_in_a_window() -> None:
    with Terminal() as terminal:
        ran = _on(terminal, *_FOX, "-q")
        heard = terminal.hang_up()
    assert (ran.returncode, ran.stderr, heard[:9]) == (0, "", b"fox.png\r\n")
    assert _windows() == [_window("fox.png", "a-red-fox")]


@pytest.mark.usefixtures("_in_tmux")
@pytest.mark.parametrize(
    ("flags", "environ"),
    [
        pytest.param([], {}, id="in a pipe"),
        pytest.param(["--json"], {}, id="with --json"),
        pytest.param(["--no-preview"], {"IMAGEN_PREVIEW": "on"}, id="with --no-preview"),
        pytest.param(["--preview", "--dry-run"], {}, id="with --dry-run"),
    ],
)
def test_generate_shows_no_preview_where_none_is_wanted(
    flags: list[str], environ: dict[str, str]
) -> None:
    ran = _piped(*_FOX, "-q", *flags, **environ)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert not _LOG.exists()


@pytest.mark.usefixtures("_in_tmux")
@pytest.mark.parametrize(
    ("flags", "environ"),
    [
        pytest.param(["--preview"], {"IMAGEN_PREVIEW": "off"}, id="by the flag"),
        pytest.param([], {"IMAGEN_PREVIEW": "on"}, id="by the environment"),
        pytest.param(["--preview", "--json"], {}, id="by the flag, with --json"),
    ],
)
def test_generate_in_a_pipe_opens_a_window_with_preview_flag(
    flags: list[str], environ: dict[str, str]
) -> None:
    assert _piped(*_FOX, "-q", *flags, **environ).returncode == 0
    assert _windows() == [_window("fox.png", "a-red-fox")]


@pytest.mark.usefixtures("_in_tmux")
def test_the_preview_flag_overrides_environment_and_file() -> None:
    Path("imagen.yaml").write_text("output: {preview: on, preview_command: 'tmux-img -x'}\n")
    assert _piped(*_FOX, "-q", IMAGEN_PREVIEW="off").returncode == 0
    assert not _LOG.exists()
    assert _piped(*_FOX, "-q").returncode == 0
    assert _windows()[0][5:7] == ["tmux-img", "-x"]


@pytest.mark.usefixtures("_in_tmux")
def test_compare_shows_its_contact_sheet() -> None:
    words = ["compare", "A red fox!", "-m", "mock", "--size", "32x32", "-o", "both"]
    assert _piped(*words, "--preview", "-q").returncode == 0
    assert _windows() == [_window("both/contact-sheet.png", "a-red-fox")]


@pytest.mark.usefixtures("_in_tmux")
def test_upscale_shows_the_image_under_its_name() -> None:
    Image.new("RGB", (8, 8)).save("Rotes Tier.png")
    ran = _piped("upscale", "Rotes Tier.png", "--factor", "2", "--preview", "-o", "x.png", "-q")
    assert ran.returncode == 0, ran.stderr
    assert _windows() == [_window("x.png", "rotes-tier")]


@pytest.mark.parametrize(
    "command",
    [_FOX, ["compare", *_FOX[1:-2], "-m", "mock", "-o", "both"]],
    ids=["generate", "compare"],
)
def test_generate_refuses_an_impossible_preview_beforehand(command: list[str]) -> None:
    ran = _piped(*command, "--preview")
    assert ran.returncode == 2
    assert ran.stderr.startswith("imagen: A preview is required, but stdout is not a terminal.\n")
    assert list(Path().iterdir()) == []


def test_generate_refuses_a_preview_on_a_terminal_without_images() -> None:
    with Terminal(b"\x1b[?62c") as terminal:
        ran = _on(terminal, *_FOX, "-q", "--preview")
    assert (ran.returncode, ran.stderr.splitlines()[0]) == (
        2,
        "imagen: A preview is required, but this terminal cannot show images.",
    )
    assert not Path("fox.png").exists()


def test_a_failing_tmux_does_not_fail_generate(tmp_path: Path) -> None:
    write_program(tmp_path, "tmux", "sys.exit('error connecting to /tmp/tmux')")
    ran = _piped(*_FOX, "-q", "--preview", TMUX="/tmp/tmux,1,0", PATH=str(tmp_path))
    assert (ran.returncode, ran.stdout) == (0, "fox.png\n")
    assert ran.stderr == (
        "The preview cannot be shown: tmux says: error connecting to /tmp/tmux. "
        "Turn it off with --no-preview, or output.preview: off.\n"
    )


def test_generate_draws_sixels() -> None:
    with Terminal(b"\x1b[?62;4c") as terminal:
        assert _on(terminal, *_FOX).returncode == 0
        heard = terminal.hang_up()
    question, path, image = re.split(rb"(fox\.png\r\n.* s\S*\r\n)", heard)
    assert (question, path[:9]) == (QUESTION, b"fox.png\r\n")
    with Image.open("fox.png") as fox:
        assert decode_sixels(image.removesuffix(b"\r\n")).size == fox.size == (64, 48)


def test_generate_draws_in_kitty() -> None:
    with Terminal() as terminal:
        assert _on(terminal, *_FOX, TERM="xterm-kitty").returncode == 0
        heard = terminal.hang_up()
    (data,) = re.findall(rb"\x1b_Ga=T,f=100,q=2,m=0;([^\x1b]*)\x1b\\", heard)
    with Image.open("fox.png") as fox, Image.open(BytesIO(b64decode(data))) as shown:
        assert shown.tobytes() == fox.convert("RGB").tobytes()


def test_quiet_and_json_draw_nothing_in_kitty() -> None:
    with Terminal() as terminal:
        assert _on(terminal, *_FOX, "-q", TERM="xterm-kitty").returncode == 0
        assert _on(terminal, *_FOX, "--json", TERM="xterm-kitty").returncode == 0
        assert b"\x1b_G" not in terminal.hang_up()


def test_a_pipe_does_not_import_the_preview() -> None:
    code = "import sys; from imagen.cli import run; run(sys.argv[1:]); print(*sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", code, *_FOX, "-q"], capture_output=True, text=True, check=True
    )
    assert "imagen.preview" not in ran.stdout.split()


_DYING = """
import os
from imagen.config import load_settings
from imagen.core.request import Request
from imagen.pipeline.generate import generate

def die(progress):
    os._exit(9)

generate(Request(prompt="A red fox!", width=32, height=32), load_settings(), on_progress=die)
"""


@pytest.mark.usefixtures("_in_tmux")
def test_resume_shows_recovered_images() -> None:
    assert subprocess.run([sys.executable, "-c", _DYING]).returncode == 9
    ran = _piped("resume", "--preview", "-q")
    assert ran.returncode == 0, ran.stderr
    assert _windows() == [_window(ran.stdout.strip(), "a-red-fox")]


@pytest.mark.usefixtures("_in_tmux")
def test_again_shows_the_image() -> None:
    assert _piped(*_FOX, "-q").returncode == 0
    ran = _piped("again", "fox.png", "--preview", "-q", "-o", "again.png")
    assert ran.returncode == 0, ran.stderr
    assert _windows() == [_window("again.png", "a-red-fox")]
