"""What is here already can be written into a configuration."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from click.testing import CliRunner
from support.sd_server import SdServer
from support.sdcpp_rig import LORA, STAND_IN
from support.tiny_weights import sd15, write

from imagen.backends import configure
from imagen.backends.sdcpp import binary
from imagen.cli.commands.config import config
from imagen.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator


NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def server() -> Iterator[SdServer]:
    with closing(SdServer()) as server:
        yield server


def test_a_server_at_an_address_is_found(server: SdServer) -> None:
    block = {"type": "sdcpp", "url": server.url}
    assert binary.detect(server.url) == ({"sd-server": block}, ())


def test_where_no_server_answers_it_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        binary.detect(NOBODY)


def test_a_server_that_is_not_comfyui_makes_a_configuration(server: SdServer) -> None:
    result = CliRunner().invoke(config, ["init", "--url", server.url], catch_exceptions=False)
    written = yaml.safe_load(result.stdout)
    assert written["default_backend"] == "sd-server"
    assert written["backends"]["sd-server"] == {"type": "sdcpp", "url": server.url}


@pytest.mark.skipif(sys.platform == "win32", reason="a script that the system starts is written")
def test_each_whole_model_that_the_program_could_run_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "sd-cli"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{STAND_IN}" ok "$@"\n')
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


def test_a_server_and_a_program_that_are_missing_are_left_out_with_a_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    blocks, left_out = binary.detect("", usual=NOBODY)
    assert blocks == {}
    assert [(lack.what, lack.why) for lack in left_out] == [
        ("sd-server", f"{NOBODY} does not answer."),
        ("sd-cli", "sd-cli not found on the PATH or in the usual places."),
    ]
