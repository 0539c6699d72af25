"""imagen backends: the list of backends and what they are missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click import UsageError
from click.testing import CliRunner

from imagen.backends import kinds
from imagen.cli import cli
from imagen.errors import ConfigError
from imagen.testing.comfyui import ComfyUI

if TYPE_CHECKING:
    from click.testing import Result

FILE = Path("imagen.yaml")


def run(*args: str) -> Result:
    return CliRunner().invoke(cli, ["backends", *args], catch_exceptions=False)


def rows(*args: str) -> dict[str, Any]:
    listed = json.loads(run("--json", *args).stdout)["backends"]
    return {row.pop("name"): row for row in listed}


def test_backends_lists_the_mock_without_a_configuration() -> None:
    result = run()
    assert result.exit_code == 0
    assert result.stdout.startswith("mock (default)  mock  configured\n")


def test_backends_lists_the_installed_types() -> None:
    listed = json.loads(run("--json").stdout)["kinds"]
    assert listed["mock"] == "Paints images without an engine."
    assert list(listed) == kinds()


def test_backends_json_has_name_kind_title_and_default() -> None:
    FILE.write_text("default_backend: a\nbackends: {a: {type: mock, title: My own}}\n")
    listed = rows()
    engines = {name: row.pop("engine") for name, row in listed.items()}
    assert engines["a"] == engines["mock"] != ""
    assert listed == {
        "a": {
            "kind": "mock",
            "label": "Mock",
            "title": "My own",
            "default": True,
            "is_configured": True,
            "ok": None,
            "summary": "configured",
            "remedies": [],
            "facts": {},
            "gpus": [],
            "lacking": [],
            "tasks": [],
            "takes": [],
            "price": None,
        },
        "mock": {
            "kind": "mock",
            "label": "Mock",
            "title": "",
            "default": False,
            "is_configured": False,
            "ok": None,
            "summary": "configured",
            "remedies": [],
            "facts": {},
            "gpus": [],
            "lacking": [],
            "tasks": [],
            "takes": [],
            "price": None,
        },
    }


def test_backends_check_lists_the_tasks_of_a_ready_backend() -> None:
    FILE.write_text("backends: {gone: {type: mock, fail: unavailable}}\n")
    checked = rows("--check")
    assert checked["mock"]["tasks"][:2] == ["text-to-image", "image-to-image"]
    assert checked["gone"]["tasks"] == []


def test_backends_prints_a_table() -> None:
    FILE.write_text("backends: {studio: {type: mock, title: My own, fail: lost}}\n")
    assert run("--check").stdout.splitlines()[:3] == [
        "studio          mock  ok",
        "                      My own",
        "mock (default)  mock  ok",
    ]


def test_backends_reports_an_invalid_block_and_lists_the_others() -> None:
    FILE.write_text(
        "backends:\n"
        "  a: {type: comfiui}\n"
        "  b: {type: mock, lok: x}\n"
        "  c: {type: comfyui, workflow: sdxll}\n"
        "  d: {type: comfyui, workflow: sdxl, bearer_env: MY_TOKEN}\n"
    )
    listed = rows()
    assert {name: row["ok"] for name, row in listed.items()} == {
        "a": False,
        "b": False,
        "c": False,
        "d": False,
        "mock": None,
    }
    assert listed["a"]["remedies"] == [f"Known: {', '.join(kinds())}."]
    assert listed["b"]["summary"] == "lok: unknown key. Did you mean 'look'?"
    assert listed["c"]["summary"].startswith(
        "workflow: Workflow 'sdxll' not found. Did you mean 'sdxl'?"
    )
    assert listed["d"]["summary"] == (
        "bearer_env: the environment variable MY_TOKEN named here is not set"
    )
    assert listed["d"]["remedies"] == ["Set it before d is used."]


def test_backends_reports_a_missing_credential_named_by_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("REPLICATE_API_TOKEN", raising=False)
    FILE.write_text("backends: {cloud: {type: replicate, model: a/b}}\n")
    assert rows()["cloud"]["summary"] == (
        "api_token_env: the environment variable REPLICATE_API_TOKEN named here is not set"
    )


def test_backends_does_not_ask_a_service_for_schemas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLICATE_API_TOKEN", "secret")
    FILE.write_text(
        "backends: {cloud: {type: replicate, model: a/b, base_url: 'http://127.0.0.1:1'}}\n"
    )
    assert rows()["cloud"]["summary"] == "configured"


def test_backends_exits_with_0_if_a_backend_is_not_configured() -> None:
    FILE.write_text("backends: {a: {type: mock, lok: x}}\n")
    assert run().exit_code == 0


def test_backends_asks_no_engine_without_check() -> None:
    FILE.write_text("backends: {a: {type: mock, fail: unavailable}}\n")
    assert rows()["a"]["ok"] is None


def test_backends_check_asks_every_engine() -> None:
    FILE.write_text("backends: {a: {type: mock, fail: unavailable}}\n")
    listed = rows("--check")
    assert (listed["a"]["ok"], listed["mock"]["ok"]) == (False, True)
    assert listed["a"]["summary"] == "The mock fails as configured (`fail: unavailable`)."
    assert listed["a"]["remedies"] == ["Remove `fail` from its block."]


def test_backends_check_exits_with_4_if_a_backend_is_not_ready() -> None:
    FILE.write_text("backends: {a: {type: mock, fail: unavailable}}\n")
    assert run("--check").exit_code == 4


def test_backends_check_exits_with_0_if_all_backends_are_ready() -> None:
    assert run("--check").exit_code == 0


def test_backends_check_lists_an_unreachable_server() -> None:
    FILE.write_text("backends: {a: {type: comfyui, workflow: sdxl, url: 'http://127.0.0.1:1'}}\n")
    listed = rows("--check")
    assert "http://127.0.0.1:1 cannot be reached" in listed["a"]["summary"]
    assert listed["mock"]["ok"] is True


def test_missing_optional_features_are_one_line_of_the_list() -> None:
    with ComfyUI(missing_models=["RealESRGAN_x4plus.safetensors"]) as server:
        block = {"type": "comfyui", "workflow": "sd-turbo", "url": server.url}
        FILE.write_text(json.dumps({"backends": {"a": block}}))
        listed, table = rows("--check")["a"], run("--check").stdout
    assert [lack["what"] for lack in listed["lacking"]] == ["upscale"]
    assert "not available: upscale (why: imagen backends show a --check)\n" in table


def test_backends_show_check_prints_missing_features_with_remedies() -> None:
    with ComfyUI(missing_models=["RealESRGAN_x4plus.safetensors"]) as server:
        block = {"type": "comfyui", "workflow": "sd-turbo", "url": server.url}
        FILE.write_text(json.dumps({"backends": {"a": block}}))
        page = run("show", "a", "--check").stdout
    now, lacking = page.split("\nState\n")[1].split("\nNot available\n")
    assert now == "  ok\n"
    assert lacking.startswith("  upscale\n      node 2 (UpscaleModelLoader 'Load upscaler')")
    assert "into models/upscale_models/.\n" in lacking


def test_backends_show_check_exits_with_4_if_the_backend_is_not_ready() -> None:
    FILE.write_text("backends: {a: {type: mock, fail: unavailable}}\n")
    shown = run("show", "a", "--check")
    assert shown.exit_code == 4
    assert (
        "State\n"
        "  The mock fails as configured (`fail: unavailable`).\n"
        "      Remove `fail` from its block.\n"
    ) in shown.stdout


def test_options_of_the_list_are_refused_before_show() -> None:
    with pytest.raises(UsageError, match="Put the options after show"):
        CliRunner().invoke(
            cli,
            ["backends", "--json", "show", "mock"],
            catch_exceptions=False,
            standalone_mode=False,
        )


def test_backends_refuses_an_invalid_configuration() -> None:
    FILE.write_text("limits: 3\n")
    with pytest.raises(ConfigError, match=r"imagen\.yaml, line 1: limits: must be"):
        run()


_POOL = "backends: {a: {type: mock}, b: {type: mock}}\npools: {both: [a, b]}\n"


def test_backends_lists_the_pools() -> None:
    FILE.write_text(_POOL + "default_backend: both\n")
    assert json.loads(run("--json").stdout)["pools"] == [
        {"name": "both", "backends": ["a", "b"], "default": True}
    ]
    assert "\nPools\n  both (default)  a, b\n" in run().stdout


def test_show_of_a_pool_shows_its_first_backend() -> None:
    FILE.write_text(_POOL)
    assert run("show", "both").stdout.startswith("a\n")
