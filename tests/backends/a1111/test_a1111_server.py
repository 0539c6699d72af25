"""What a server has, how it is found, and what keeps it from working."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from click.testing import CliRunner
from simulators.a1111 import CREDENTIAL, A1111Server, A1111Switches

from imagen.backends import validate_block
from imagen.backends.a1111 import A1111Config
from imagen.backends.a1111.adapter import detect
from imagen.cli import cli
from imagen.core.request import Request
from imagen.core.result import no_progress
from imagen.errors import BackendError, ConfigError, Unavailable

if TYPE_CHECKING:
    from pathlib import Path

    from support.a1111_backend import OpenA1111

    from imagen.core.request import Task

CLOSED = "http://127.0.0.1:9"


@pytest.mark.parametrize("program", ["a1111", "forge", "sdnext"])
def test_server_is_detected_and_named_by_its_program(program: Any) -> None:
    with A1111Server(program) as server:
        assert detect("", usual=(CLOSED, server.url)).blocks == {
            program: {"type": "a1111", "url": server.url}
        }


def test_server_of_stable_diffusion_cpp_is_left_to_its_own_adapter() -> None:
    with A1111Server("sd.cpp") as server:
        found = detect(server.url)
    assert found.blocks == {}
    assert "type: sdcpp" in found.left_out[0].why


def test_address_without_a_server_is_an_error() -> None:
    with pytest.raises(Unavailable):
        detect(CLOSED)


def test_config_init_writes_a_block() -> None:
    with A1111Server("forge") as server:
        result = CliRunner().invoke(
            cli, ["config", "init", "--url", server.url], catch_exceptions=False
        )
        written = yaml.safe_load(result.stdout)
        assert written["backends"]["forge"] == {"type": "a1111", "url": server.url}
        assert written["default_backend"] == "forge"


def test_models_are_listed_with_the_default(open_a1111: OpenA1111) -> None:
    models = open_a1111(A1111Server("forge"), model="sd_xl_base_1.0").models()
    by_kind: dict[str, list[str]] = {}
    for model in models:
        by_kind.setdefault(model.kind, []).append(model.name)
    assert by_kind.keys() == {
        *("checkpoint", "lora", "controlnet", "upscaler", "vae", "sampler", "scheduler")
    }
    assert by_kind["upscaler"] == ["Lanczos", "R-ESRGAN 4x+", "R-ESRGAN 4x+ Anime6B"]
    assert [m.name for m in models if m.is_default] == ["sd_xl_base_1.0.safetensors"]


@pytest.mark.parametrize(
    ("program", "more"),
    [
        ("a1111", {"variation", "upscale", "restore", "control", "preprocess"}),
        ("sdnext", {"variation", "upscale"}),
        ("sd.cpp", set[str]()),
    ],
)
def test_tasks_follow_from_what_the_server_has(
    open_a1111: OpenA1111, program: Any, more: set[str]
) -> None:
    backend = open_a1111(A1111Server(program))
    backend.check()
    tasks = {"text-to-image", "image-to-image", "inpaint", "outpaint"}
    assert set(backend.capabilities().tasks) == tasks | more


def test_lists_are_kept_for_when_the_server_is_off(open_a1111: OpenA1111, tmp_path: Path) -> None:
    server = A1111Server()
    assert open_a1111(server, cache_dir=str(tmp_path)).check().ok
    server.stop()
    task: Task = "control"
    later = open_a1111(server, cache_dir=str(tmp_path)).capabilities(task)
    assert later.controls == ("canny", "pose")


def test_check_names_the_program_and_what_is_missing(open_a1111: OpenA1111) -> None:
    health = open_a1111(A1111Server("sdnext")).check()
    assert health.ok
    assert dict(health.facts)["program"] == "SD.Next"
    assert [one.what for one in health.lacking] == ["control"]


def test_check_finds_an_unknown_checkpoint(open_a1111: OpenA1111) -> None:
    health = open_a1111(A1111Server(), model="dreamshapper").check()
    assert not health.ok
    assert "Did you mean 'dreamshaper_8'" in health.summary


def test_server_started_without_its_api_is_told_apart(open_a1111: OpenA1111) -> None:
    server = A1111Server()
    server.hide_api()
    health = open_a1111(server).check()
    assert "does not serve A1111's API" in health.summary
    assert "--api" in health.remedies[0]


def test_nothing_is_sent_to_a_login_page(open_a1111: OpenA1111) -> None:
    server = A1111Server(switches=A1111Switches(login_page=True))
    backend = open_a1111(server)
    ticket = backend.prepare(Request(prompt="a fox"))
    with pytest.raises(BackendError, match="does not answer like A1111"):
        backend.collect(ticket, no_progress)
    assert server.submissions == 0


def test_credential_comes_from_the_environment(
    open_a1111: OpenA1111, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDIO_LOGIN", CREDENTIAL)
    server = A1111Server(switches=A1111Switches(needs_credential=True))
    assert open_a1111(server, basic_env="STUDIO_LOGIN").check().ok
    health = open_a1111(server).check()
    assert "refused access" in health.summary
    assert "backends.studio.basic_env" in health.remedies[0]


def test_free_unloads_the_checkpoint(open_a1111: OpenA1111) -> None:
    server = A1111Server()
    open_a1111(server).free()
    assert ("POST /sdapi/v1/unload-checkpoint", None) in server.requests


@pytest.mark.parametrize(
    ("block", "says"),
    [
        ({"url": "http://ann:secret@studio:7860"}, "must not hold a user or password"),
        ({"url": "http://studio:7860/sdapi/v1"}, "must end before /sdapi"),
        ({"basic_env": "ann:secret"}, "the name of an environment variable"),
        ({"basic_env": "A", "bearer_env": "B"}, "exclude each other"),
    ],
)
def test_wrong_block_is_refused_with_a_sentence(block: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        validate_block("studio", block, A1111Config)
    assert "secret" not in caught.value.message


def test_unknown_default_parameter_is_refused(open_a1111: OpenA1111) -> None:
    backend = open_a1111(A1111Server(), parameters={"stepps": 3})
    with pytest.raises(
        ConfigError, match=r"backends\.studio\.parameters\.stepps: .*Did you mean 'steps'"
    ):
        backend.capabilities()
