"""Atomic writes that never overwrite."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from imagen.errors import OutputError
from imagen.outputs.save import (
    find_written,
    make_folder_within,
    refuse_unwritable,
    sidecar_path,
    write_new,
    write_numbered,
)

if TYPE_CHECKING:
    from pathlib import Path

_WRITER = """
import sys
from pathlib import Path
from imagen.outputs.save import write_numbered
for n in range(40):
    write_numbered(sys.argv[2].encode() + str(n).encode(), Path(sys.argv[1]), "fox.png")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder."""
    found = tmp_path / "folder"
    found.mkdir()
    return found


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_write_numbered_writes_the_whole_file(folder: Path) -> None:
    assert write_numbered(b"fox", folder, "fox.png") == folder / "fox.png"
    assert (folder / "fox.png").read_bytes() == b"fox"
    assert _names(folder) == ["fox.png"]


def test_write_numbered_adds_a_number_to_a_taken_name(folder: Path) -> None:
    (folder / "fox.png").write_bytes(b"old")
    (folder / "fox-2.png").write_bytes(b"old")
    assert write_numbered(b"new", folder, "fox.png") == folder / "fox-3.png"
    assert (folder / "fox.png").read_bytes() == b"old"


def test_write_numbered_respects_existing_sidecars(folder: Path) -> None:
    (folder / "fox.png.json").write_text("{}")
    assert write_numbered(b"new", folder, "fox.png") == folder / "fox-2.png"


def test_write_numbered_releases_a_name_after_a_failure(folder: Path) -> None:
    def lose(part: Path, _: Path) -> None:
        part.unlink()
        raise PermissionError(1, "Operation not permitted")

    with pytest.raises(FileNotFoundError):
        write_numbered(b"new", folder, "fox.png", link=lose)
    assert _names(folder) == []


def test_write_numbered_syncs_before_it_takes_the_name(folder: Path) -> None:
    done: list[str] = []

    def note(_: object, event: str, what: Any) -> None:
        if event == "c_call" and what in (os.fsync, os.link):
            done.append(what.__name__)

    sys.setprofile(note)
    write_numbered(b"new", folder, "fox.png")
    sys.setprofile(None)
    assert done == ["fsync", "link"]


def test_write_numbered_respects_a_dangling_link(folder: Path) -> None:
    (folder / "fox.png").symlink_to(folder / "elsewhere.png")
    assert write_numbered(b"new", folder, "fox.png") == folder / "fox-2.png"
    assert not (folder / "elsewhere.png").exists()


@pytest.mark.parametrize(
    "code",
    [errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV],
    ids=["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK", "EXDEV"],
)
def test_write_numbered_works_without_hard_links(folder: Path, code: int) -> None:
    def refuse(_part: Path, _path: Path) -> None:
        raise OSError(code, os.strerror(code))

    (folder / "fox.png").write_bytes(b"old")
    assert write_numbered(b"new", folder, "fox.png", link=refuse) == folder / "fox-2.png"
    assert (folder / "fox-2.png").read_bytes() == b"new"
    assert _names(folder) == ["fox-2.png", "fox.png"]


def test_write_numbered_fails_if_every_number_is_taken(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagen.outputs.save._MOST_NUMBERS", 3)
    for name in ("fox.png", "fox-2.png", "fox-3.png"):
        (folder / name).write_bytes(b"old")
    with pytest.raises(FileExistsError, match=r"there are 3 files named fox\.png already"):
        write_numbered(b"new", folder, "fox.png")
    assert find_written(b"new", folder, "fox.png", is_ours=bool) is None
    assert _names(folder) == ["fox-2.png", "fox-3.png", "fox.png"]


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0, reason="whoever may write anywhere is not refused"
)
def test_refuse_unwritable_reports_missing_permission(
    folder: Path,
) -> None:
    folder.chmod(0o500)
    with pytest.raises(OutputError, match=rf"The folder {folder} is not writable\."):
        refuse_unwritable(folder / "new")


def test_write_numbered_leaves_nothing_after_a_failure(folder: Path) -> None:
    def half(path: Path, data: bytes) -> None:
        path.write_bytes(data[:1])
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_numbered(b"fox", folder, "fox.png", write=half)
    assert _names(folder) == []


def test_write_new_never_overwrites(folder: Path) -> None:
    write_new(b"old", folder / "fox.png.json")
    with pytest.raises(FileExistsError):
        write_new(b"new", folder / "fox.png.json")
    assert (folder / "fox.png.json").read_bytes() == b"old"
    assert _names(folder) == ["fox.png.json"]


def test_sidecar_path_appends_json_to_the_whole_name(folder: Path) -> None:
    assert sidecar_path(folder / "fox.png") == folder / "fox.png.json"


def test_make_folder_within_creates_folders(folder: Path) -> None:
    assert make_folder_within(folder / "outputs", ("a", "b")).is_dir()


def test_make_folder_within_refuses_an_escaping_link(folder: Path) -> None:
    outside = folder / "outside"
    outside.mkdir()
    (folder / "outputs").mkdir()
    (folder / "outputs" / "flux").symlink_to(outside, target_is_directory=True)
    with pytest.raises(OutputError, match="leads out of the output directory"):
        make_folder_within(folder / "outputs", ("flux", "new"))
    assert _names(outside) == []


def test_make_folder_within_follows_an_inner_link(folder: Path) -> None:
    (folder / "real").mkdir()
    (folder / "flux").symlink_to(folder / "real", target_is_directory=True)
    assert make_folder_within(folder, ("flux", "new")).is_dir()


def test_make_folder_within_accepts_a_link_as_output_directory(folder: Path) -> None:
    (folder / "disk").mkdir()
    (folder / "outputs").symlink_to(folder / "disk", target_is_directory=True)
    assert make_folder_within(folder / "outputs", ("flux",)) == folder / "outputs" / "flux"
    assert _names(folder / "disk") == ["flux"]


def test_two_processes_never_use_the_same_name(folder: Path) -> None:
    command = [sys.executable, "-c", _WRITER, str(folder)]
    writers = [subprocess.Popen([*command, name]) for name in ("a", "b")]
    try:
        assert [writer.wait(60) for writer in writers] == [0, 0]
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
    assert len(_names(folder)) == 80
    assert len({path.read_bytes() for path in folder.iterdir()}) == 80
