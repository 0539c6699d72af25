"""sd-cli is found, and probed once."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest
from support.sdcpp_setup import FAKE_SD_CLI

from imagen.backends.sdcpp.binary import (
    find_commands,
    find_sd_cli,
    is_batch_file,
    list_gpus,
    probe_sd_cli,
)
from imagen.errors import Unavailable

if TYPE_CHECKING:
    from pathlib import Path


def _command(way: str) -> tuple[str, ...]:
    return (sys.executable, str(FAKE_SD_CLI), way)


def _executable(folder: Path, name: str, way: str) -> Path:
    """An executable of this name that runs the fake."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "{FAKE_SD_CLI}" {way} "$@"\n')
    path.chmod(0o755)
    return path


_POSIX = pytest.mark.skipif(sys.platform == "win32", reason="Windows starts no scripts")


def _environ(folder: Path) -> dict[str, str]:
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "HOME": str(folder)}


def test_version_flags_and_choices_are_read_from_the_help() -> None:
    program = probe_sd_cli(_command("ok"))
    assert program.version == "master-471-7010bb4"
    assert program.flags >= {"-m", "--model", "--clip_l", "-r", "--ref-image", "--vae-tiling"}
    assert program.samplers[-3:] == ("dpm++2mv2", "lcm", "ddim_trailing")
    assert program.schedulers == ("discrete", "karras", "exponential", "ays", "simple")
    assert program.modes == ("img_gen", "vid_gen", "upscale", "convert", "metadata")


def test_graphics_cards_are_listed() -> None:
    assert [gpu.name for gpu in list_gpus(probe_sd_cli(_command("cards")))] == [
        "NVIDIA GeForce RTX 4090"
    ]


def test_a_version_without_list_devices_is_not_asked() -> None:
    assert list_gpus(probe_sd_cli(_command("ok"))) == ()


def test_a_word_in_a_description_is_not_a_flag() -> None:
    assert "--mistral" not in probe_sd_cli(_command("ok")).flags


@pytest.mark.parametrize(
    ("way", "message"),
    [
        pytest.param("foreign", r"is not sd-cli: its --help does not list", id="another sd"),
        pytest.param("old", r"is too old: it has no mode img_gen", id="old"),
    ],
)
def test_an_unusable_program_is_an_error(way: str, message: str) -> None:
    with pytest.raises(Unavailable, match=message):
        probe_sd_cli(_command(way))


@_POSIX
def test_sd_cli_takes_precedence_over_sd(tmp_path: Path) -> None:
    bin = tmp_path / "bin"
    first = _executable(bin, "sd-cli", "ok")
    second = _executable(bin, "sd", "ok")
    found = [command[0] for command in find_commands("", {"PATH": str(bin), "HOME": str(tmp_path)})]
    assert found[:2] == [str(first), str(second)]


@_POSIX
def test_another_program_called_sd_is_skipped(tmp_path: Path) -> None:
    _executable(tmp_path / "bin", "sd-cli", "foreign")
    ours = _executable(tmp_path / "bin", "sd", "ok")
    program = find_sd_cli("", None, _environ(tmp_path / "bin"))
    assert program.command == (str(ours),)


@_POSIX
def test_if_every_program_is_unusable_the_error_says_why(tmp_path: Path) -> None:
    _executable(tmp_path / "bin", "sd-cli", "old")
    with pytest.raises(Unavailable, match="too old"):
        find_sd_cli("", None, {"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path)})


def test_without_a_program_the_error_has_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"sd-cli not found on the PATH") as caught:
        find_sd_cli("", None, {"PATH": str(tmp_path), "HOME": str(tmp_path)})
    assert "Install stable-diffusion.cpp" in caught.value.remedy


def test_a_missing_configured_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="/nowhere/sd-cli not found"):
        find_sd_cli("/nowhere/sd-cli", tmp_path)


@_POSIX
def test_the_probe_is_cached_until_the_file_changes(tmp_path: Path) -> None:
    cache, bin = tmp_path / "cache", tmp_path / "bin"
    path = _executable(bin, "sd-cli", "ok")
    first = find_sd_cli(str(path), cache)
    (note,) = (cache / "sdcpp").iterdir()
    note.write_text(note.read_text().replace("karras", "noted"))
    assert "noted" in find_sd_cli(str(path), cache).schedulers
    _executable(bin, "sd-cli", "bare")
    assert "--clip-skip" in first.flags
    assert "--clip-skip" not in find_sd_cli(str(path), cache).flags


@pytest.mark.parametrize("name", ["sd-cli.cmd", "C:/tools/sd.BAT"])
def test_a_batch_file_is_refused(name: str) -> None:
    assert is_batch_file(name)
    assert not is_batch_file("C:/tools/sd-cli.exe")


@pytest.mark.parametrize("content", ["", "[]", '{"flags": 1}', "{"], ids=repr)
def test_a_damaged_probe_cache_is_rewritten(content: str, tmp_path: Path) -> None:
    command = _command("ok")
    find_sd_cli(command, tmp_path / "cache")
    (note,) = (tmp_path / "cache" / "sdcpp").iterdir()
    note.write_text(content)
    assert "--vae" in find_sd_cli(command, tmp_path / "cache").flags
