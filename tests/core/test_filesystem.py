"""Files that appear whole or not at all, what killed writers leave, and who may read what."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from imagen.cli import run
from imagen.core.filesystem import (
    make_private_folder,
    part_in,
    read_at_most,
    remove_parts,
    tighten,
    write_whole,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_POSIX = pytest.mark.skipif(sys.platform == "win32", reason="there are no such rights and locks")
_WRITER = """
import sys, time
from pathlib import Path
from imagen.core.filesystem import part_in
with part_in(Path(sys.argv[1])) as part:
    part.write_bytes(b"half an ima")
    print("within", flush=True)
    time.sleep(600)
"""
_MAKE = ["generate", "a fox", "-b", "mock", "--size", "32x32", "-q"]


@contextmanager
def _writer(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that is in the middle of writing a file there."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-c", _WRITER, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "within\n"
        try:
            yield process
        finally:
            process.kill()


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _killed_in(folder: Path) -> None:
    with _writer(folder):
        pass
    assert [name[:8] for name in _names(folder) if name.endswith(".part")] == [".imagen-"]


@_POSIX
@pytest.mark.parametrize(
    "command",
    [
        [*_MAKE, "-o", "made/fox.png"],
        ["compare", "a fox", "-m", "mock", "--size", "32x32", "-o", "made", "-q"],
    ],
    ids=["generate", "compare"],
)
def test_next_run_removes_the_part_of_a_killed_writer(command: list[str]) -> None:
    _killed_in(Path("made"))
    assert run(command) == 0
    assert [name for name in _names(Path("made")) if name.startswith(".")] == []
    assert len(_names(Path("made"))) >= 2


@_POSIX
def test_part_of_a_running_writer_stays() -> None:
    with _writer(Path("made")):
        (part,) = _names(Path("made"))
        assert run([*_MAKE, "-o", "made/fox.png"]) == 0
        remove_parts(Path("made"))
        assert _names(Path("made")) == [part, "fox.png", "fox.png.json"]
    remove_parts(Path("made"))
    assert _names(Path("made")) == ["fox.png", "fox.png.json"]


@_POSIX
def test_remove_parts_keeps_other_files() -> None:
    ours = f".imagen-{'0' * 16}.part"
    Path(".imagen-notes.part").write_text("a user's")
    Path(f"{ours}.txt").write_text("a user's")
    Path("fox.png.part").write_text("a browser's")
    Path(ours).symlink_to("fox.png.part")
    Path(f".imagen-{'1' * 16}.part").mkdir()
    before = _names(Path())
    remove_parts(Path())
    assert _names(Path()) == before


def test_unmoved_part_is_removed() -> None:
    with part_in(Path()) as part:
        part.write_bytes(b"half")
    assert _names(Path()) == []


@_POSIX
def test_failed_removal_of_a_part_does_not_hide_an_error() -> None:
    """A file took the place of its folder."""
    folder = Path("made")
    folder.mkdir()

    def fail() -> None:
        with part_in(folder):
            folder.rename("moved")
            folder.write_text("in the way")
            raise OSError("the first error")

    with pytest.raises(OSError, match="the first error"):
        fail()


def test_write_whole_replaces_a_file() -> None:
    Path("note").write_text("an older and longer one")
    write_whole(Path("note"), b"new")
    assert (_names(Path()), Path("note").read_text()) == (["note"], "new")


@_POSIX
def test_killed_process_leaves_no_files_in_the_state_directory(tmp_path: Path) -> None:
    state = tmp_path / "home/.local/state/imagen"
    _killed_in_state(state / "cache/replicate")
    folder = state / "tickets"
    folder.mkdir(parents=True)
    id = "00000001-0000-4000-8000-000000000000"
    (folder / f"{id}.new").write_text("half a ti")
    (folder / f"{id}.lock").touch()
    assert run(_MAKE) == 0
    assert _names(folder) == []


def _killed_in_state(folder: Path) -> None:
    from imagen.backends.learned import write_learned

    folder.mkdir(parents=True)
    _killed_in(folder)
    write_learned(folder / "model.json", {"version": "1"})
    assert _names(folder) == ["model.json"]


@_POSIX
def test_next_run_removes_a_half_written_input(tmp_path: Path) -> None:
    assert run([*_MAKE, "-o", "fox.png"]) == 0
    again = ["generate", "snow", "-b", "mock", "--image", "fox.png", "-q", "-o", "snow.png"]
    assert run(again) == 0
    (place,) = (tmp_path / "home/.local/state/imagen/inputs").iterdir()
    _killed_in(place)
    assert run([*_MAKE, "-o", "other.png"]) == 0
    assert run([*again[:-1], "ice.png"]) == 0
    assert _names(place) == ["fox.png"]


def _modes(folder: Path) -> dict[str, str]:
    """The rights of all that is below the folder, and its own."""
    found = [folder, *folder.rglob("*")]
    return {path.name: f"{stat.S_IMODE(path.stat().st_mode):o}" for path in found}


@pytest.fixture
def _usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@_POSIX
@pytest.mark.usefixtures("_usual_umask")
def test_files_of_imagen_are_private(tmp_path: Path) -> None:
    assert run([*_MAKE, "-o", "fox.png"]) == 0
    assert run(["generate", "snow", "-b", "bad", "--image", "fox.png", "-q"]) == 2
    assert run(["generate", "snow", "-b", "mock", "--image", "fox.png", "-q", "-o", "s.png"]) == 0
    local = tmp_path / "home/.local"
    assert set(_modes(local / "share/imagen").values()) == {"700", "600"}
    assert set(_modes(local / "state/imagen").values()) == {"700", "600"}
    assert _modes(local / "share/imagen")["library.db"] == "600"
    assert (_modes(Path("fox.png"))["fox.png"], _modes(Path())["fox.png.json"]) == ("644", "644")


@_POSIX
@pytest.mark.usefixtures("_usual_umask")
def test_readable_files_are_made_private(tmp_path: Path) -> None:
    words = ["generate", "snow", "-b", "mock", "--image", "fox.png", "-q", "-o", "s.png"]
    assert run([*_MAKE, "-o", "fox.png"]) == 0
    assert run(words) == 0
    local = tmp_path / "home/.local"
    places = [local / "share/imagen", local / "state/imagen"]
    for path in [*places, *places[0].iterdir(), *places[1].iterdir()]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    assert run(words) == 0
    for folder in places:
        assert {_modes(path)[path.name] for path in [folder, *folder.iterdir()]} <= {"700", "600"}


@_POSIX
@pytest.mark.usefixtures("_usual_umask")
def test_shared_folder_keeps_its_permissions() -> None:
    Path("shared").mkdir()
    Path("imagen.yaml").write_text("state_dir: shared\nlibrary: {url: shared/library.db}")
    assert run([*_MAKE, "-o", "fox.png"]) == 0
    modes = _modes(Path("shared"))
    assert (modes["shared"], modes["tickets"], modes["library.db"]) == ("755", "700", "600")


@_POSIX
@pytest.mark.usefixtures("_usual_umask")
def test_tighten_only_removes_permissions() -> None:
    Path("secret").write_text("x")
    Path("secret").chmod(0o400)
    tighten(Path("secret"))
    make_private_folder(Path("a/b"))
    tighten(Path("missing"))
    assert (_modes(Path())["secret"], _modes(Path("a"))) == ("400", {"a": "700", "b": "700"})


def test_read_at_most_stops_at_the_limit() -> None:
    Path("fox").write_bytes(b"0123456789")
    assert [read_at_most(Path("fox"), most) for most in (4, 10, 11)] == [
        b"0123",
        b"0123456789",
        b"0123456789",
    ]


@_POSIX
def test_read_at_most_reads_a_pipe_to_its_end() -> None:
    os.mkfifo("pipe")
    words = "import os; os.write(os.open('pipe', os.O_WRONLY), b'x' * 3_000_000)"
    with subprocess.Popen([sys.executable, "-c", words]):
        assert len(read_at_most(Path("pipe"), 2**40)) == 3_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process's memory so")
def test_small_files_need_little_memory() -> None:
    assert run([*_MAKE, "-o", "album/fox.png"]) == 0
    Path("imagen.yaml").write_text("library: {url: other.db}")
    imagen = f"{sys.executable} -m imagen"
    commands = [
        f"{imagen} library add album --json",
        f"{imagen} show album/fox.png --json",
        f"{imagen} generate ice -b mock --image album/fox.png -q -o ice.png",
    ]
    for command in commands:
        ran = subprocess.run(
            ["sh", "-c", f"ulimit -v 400000; {command}"], capture_output=True, check=False
        )
        assert (ran.returncode, ran.stderr) == (0, b""), command
    assert Path("ice.png").is_file()
