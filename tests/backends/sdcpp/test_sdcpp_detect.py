"""`config init --detect` finds a running server and complete models."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from click.testing import CliRunner
from support.fake_sd_server import FakeSdServer
from support.sdcpp_setup import FAKE_SD_CLI, LORA
from support.tiny_weights import sd15, write

from imagen.backends import configure
from imagen.backends.sdcpp import binary
from imagen.cli import cli
from imagen.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator


NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def server() -> Iterator[FakeSdServer]:
    with closing(FakeSdServer()) as server:
        yield server


def test_a_server_at_an_address_is_detected(server: FakeSdServer) -> None:
    block = {"type": "sdcpp", "url": server.url}
    assert binary.detect(server.url) == ({"sd-server": block}, ())


def test_an_address_without_a_server_is_an_error() -> None:
    with pytest.raises(Unavailable):
        binary.detect(NOBODY)


def test_config_init_writes_a_block_for_an_sd_server(server: FakeSdServer) -> None:
    result = CliRunner().invoke(
        cli, ["config", "init", "--url", server.url], catch_exceptions=False
    )
    written = yaml.safe_load(result.stdout)
    assert written["default_backend"] == "sd-server"
    assert written["backends"]["sd-server"] == {"type": "sdcpp", "url": server.url}


@pytest.mark.skipif(sys.platform == "win32", reason="a script that the system starts is written")
def test_each_complete_model_is_detected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "sd-cli"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{FAKE_SD_CLI}" ok "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    Path("models").mkdir()
    model = write(Path("models/dream.safetensors").absolute(), sd15())
    write(Path("models/ink.safetensors"), LORA)
    found = binary.detect("", usual=NOBODY)
    assert found.blocks == {
        "dream": {"type": "sdcpp", "binary": str(program), "model": str(model)},
    }
    assert configure("dream", found.blocks)[1].name == "dream"
    assert [lack.what for lack in found.left_out] == ["sd-server"]


def test_a_missing_server_and_program_are_left_out_with_a_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    blocks, left_out = binary.detect("", usual=NOBODY)
    assert blocks == {}
    assert [(lack.what, lack.why) for lack in left_out] == [
        ("sd-server", f"{NOBODY} does not answer."),
        ("sd-cli", "sd-cli not found on the PATH or in the usual places."),
    ]
