"""imagen config: output and exit codes."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from click.testing import CliRunner

from imagen.backends import kinds
from imagen.cli import cli
from imagen.config import example
from imagen.doctor import check_config as examine
from imagen.errors import ConfigError

if TYPE_CHECKING:
    from click.testing import Result

FILE = Path("imagen.yaml")


def run(*args: str) -> Result:
    return CliRunner().invoke(cli, ["config", *args], catch_exceptions=False)


def report(text: str) -> dict[str, Any]:
    FILE.write_text(text)
    printed: dict[str, Any] = json.loads(run("validate", "--json").stdout)
    return printed


def test_validate_accepts_a_valid_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLICATE_API_TOKEN", "set")
    FILE.write_text(example())
    result = run("validate")
    assert (result.exit_code, result.stdout) == (0, "imagen.yaml: ok\n")


def test_validate_accepts_a_missing_file() -> None:
    result = run("validate")
    assert (result.exit_code, result.stdout) == (0, "Default settings: ok\n")


@pytest.mark.parametrize("args", [("other.yaml",), ("--config", "other.yaml")])
def test_validate_checks_another_file(args: tuple[str, ...]) -> None:
    Path("other.yaml").write_text("limits: {max_width: 3}\n")
    result = run("validate", *args)
    assert result.exit_code == 2
    assert result.stdout == (
        "error: line 1: limits.max_width: must be at least 16, not 3\n"
        "    Pixels. The default is 4096.\n"
        "other.yaml: 1 problem\n"
    )


def test_validate_reports_all_problems_by_line() -> None:
    found = report(
        "default_backend: mok\n"
        "limits: {max_widht: 64}\n"
        "backends:\n"
        "  a: {type: comfiui}\n"
        "  b: {type: comfyui, workflow: flux1-schnel}\n"
        "  c:\n"
        "    type: comfyui\n"
        "    workflow: flux1-schnell\n"
        "    parameters: {stps: 4}\n"
        "  e: {type: mock, lok: x}\n"
        "  f: {type: comfyui, workflow: ./mine.json}\n"
        "  g: {api_key: Zx81Qw92Er73Ty64Ui}\n"
        "  h: {name: other, type: mock}\n"
    )
    assert [(p["key"], p["line"]) for p in found["problems"]] == [
        ("default_backend", 1),
        ("limits.max_widht", 2),
        ("backends.a.type", 4),
        ("backends.b.workflow", 5),
        ("backends.c.parameters.stps", 9),
        ("backends.e.lok", 10),
        ("backends.f.workflow", 11),
        ("backends.g.api_key", 12),
        ("backends.h", 13),
    ]


@pytest.mark.parametrize(
    ("text", "what", "remedy"),
    [
        pytest.param(
            "backends: {a: {type: comfiui}}",
            "Unknown kind of backend 'comfiui'. Did you mean 'comfyui'?",
            f"Known: {', '.join(kinds())}.",
            id="kind",
        ),
        pytest.param(
            "default_backend: fast\nbackends: {fats: {type: mock}}",
            "Unknown backend 'fast'. Did you mean 'fats'?",
            "Known: fats, mock.",
            id="default-backend",
        ),
        pytest.param(
            "backends: {a: {type: mock, lok: x}}",
            "unknown key. Did you mean 'look'?",
            "Known here: title, hint, resource, at_once, rate, look, step_seconds, fail.",
            id="key-of-a-block",
        ),
        pytest.param(
            "backends: {a: {type: mock, step_seconds: -1}}",
            "must be at least 0, not -1 (0 to 60)",
            "Duration of each step. The default is 0.0.",
            id="value-of-a-block",
        ),
    ],
)
def test_validate_prints_remedies(text: str, what: str, remedy: str) -> None:
    (problem,) = report(text)["problems"]
    assert (problem["what"], problem["remedy"]) == (what, remedy)


def test_validate_names_the_variable_that_chose_the_backend(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("IMAGEN_BACKEND", "mok")
    (problem,) = report("")["problems"]
    assert problem["what"].endswith("Did you mean 'mock'? IMAGEN_BACKEND says so.")


def test_an_invalid_default_backend_is_reported_once() -> None:
    assert [p["key"] for p in report("default_backend: a\nbackends: {a: 3}\n")["problems"]] == [
        "backends.a"
    ]


def test_a_name_template_outside_the_folder_is_a_problem() -> None:
    (problem,) = report("output:\n  name: ../../{seed}\n")["problems"]
    assert (problem["key"], problem["line"]) == ("output.name", 2)


def test_a_default_backend_without_its_block_is_a_problem() -> None:
    (problem,) = report("default_backend: comfyui\n")["problems"]
    assert problem["key"] == "default_backend"
    assert problem["what"] == "Unknown backend 'comfyui'."


def test_problems_do_not_show_secrets() -> None:
    FILE.write_text("backends: {a: {type: comfyui, url: hf_AbCdEfGhIjKlMnOpQr}}\n")
    result = run("validate")
    assert result.exit_code == 2
    assert "hf_" not in result.output
    assert "bearer_env" not in result.output


def test_unset_variables_are_warnings() -> None:
    text = "backends:\n  a:\n    type: comfyui\n    workflow: sdxl\n    bearer_env: MY_TOKEN\n"
    FILE.write_text(text)
    result = run("validate")
    assert (result.exit_code, result.stdout) == (0, "imagen.yaml: ok\n")
    assert result.stderr == (
        "warning: line 5: backends.a.bearer_env: "
        "the environment variable MY_TOKEN named here is not set\n"
        "    Set it before a is used.\n"
    )


def test_validate_warns_about_an_empty_file() -> None:
    FILE.touch()
    result = run("validate")
    assert (result.exit_code, result.stdout) == (0, "imagen.yaml: ok\n")
    assert result.stderr.startswith(
        "warning: the file is empty, so the defaults apply\n    `imagen"
    )


def test_api_key_env_is_another_name_of_api_token_env(monkeypatch: pytest.MonkeyPatch) -> None:
    FILE.write_text("backends: {a: {type: replicate, model: me/model, api_key_env: MY_KEY}}\n")
    (warning,) = json.loads(run("validate", "--json").stdout)["warnings"]
    assert warning["what"] == "the environment variable MY_KEY named here is not set"
    assert warning["key"] == "backends.a.api_key_env"
    monkeypatch.setenv("MY_KEY", "x")
    shown = json.loads(run("show", "--json").stdout)
    assert shown["backends"]["a"]["api_token_env"] == "MY_KEY"
    assert shown["environment"]["MY_KEY"] == "set"


def test_both_names_of_the_token_are_a_problem() -> None:
    block = "{type: replicate, model: me/model, api_key_env: ONE, api_token_env: TWO}"
    (problem,) = report(f"backends: {{a: {block}}}\n")["problems"]
    assert problem["what"] == "api_token_env and api_key_env mean the same; keep one"


def test_problems_use_the_name_api_key_env_if_it_was_written() -> None:
    block = "{type: replicate, model: me/model, api_key_env: ''}"
    (problem,) = report(f"backends: {{a: {block}}}\n")["problems"]
    assert problem["what"] == (
        "api_key_env takes the name of an environment variable, not its value"
    )


def test_a_comfyui_block_needs_no_workflow() -> None:
    FILE.write_text("backends: {a: {type: comfyui}}\n")
    assert run("validate").stdout == "imagen.yaml: ok\n"
    shown = json.loads(run("show", "--json").stdout)
    assert shown["backends"]["a"]["workflow"] == "flux1-schnell"


@pytest.mark.parametrize(
    ("switch", "environ"),
    [
        pytest.param("auto", {"SUPABASE_URL": "x", "SUPABASE_SERVICE_KEY": "x"}, id="auto"),
        pytest.param("on", {}, id="on"),
    ],
)
def test_a_cloud_without_an_owner_is_a_warning(switch: str, environ: dict[str, str]) -> None:
    FILE.write_text(f"output: {{cloud_sync: {switch}}}\n")
    (warning,) = examine(environ=os.environ | environ).warnings
    assert warning.sentence == (
        f"owner_user_id: is not set, so no image is uploaded although output.cloud_sync is {switch}"
    )


@pytest.mark.parametrize(
    ("text", "environ"),
    [
        pytest.param("{}\n", {}, id="auto-without-credentials"),
        pytest.param("{}\n", {"SUPABASE_URL": "x"}, id="auto-with-half-of-them"),
        pytest.param("output: {cloud_sync: off}\n", {"SUPABASE_URL": "x"}, id="off"),
        pytest.param(
            "owner_user_id: me\n", {"SUPABASE_URL": "x", "SUPABASE_SERVICE_KEY": "x"}, id="owner"
        ),
    ],
)
def test_an_unused_cloud_or_one_with_an_owner_is_not_a_warning(
    text: str, environ: dict[str, str]
) -> None:
    FILE.write_text(text)
    assert examine(environ=os.environ | environ).warnings == ()


def test_a_set_variable_is_not_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "x")
    text = "backends: {a: {type: comfyui, workflow: sdxl, bearer_env: MY_TOKEN}}\n"
    assert report(text) == {"ok": True, "file": "imagen.yaml", "problems": [], "warnings": []}


def test_validate_does_not_show_secrets_written_as_variable_names() -> None:
    text = "backends: {a: {type: comfyui, workflow: sdxl, bearer_env: hunter2}}\n"
    (warning,) = report(text)["warnings"]
    assert warning["what"] == "the environment variable named here is not set"
    assert "hunter2" not in run("validate").output


@pytest.mark.parametrize("flags", [(), ("--json",)], ids=["text", "json"])
def test_show_does_not_show_secrets_written_as_variable_names(flags: tuple[str, ...]) -> None:
    block = "{type: comfyui, workflow: sdxl, bearer_env: f86d081884c7d659}"
    FILE.write_text(f"backends: {{a: {block}}}\n")
    output = run("show", *flags).output
    assert "***" in output
    assert "f86d081884c7d659" not in output


@pytest.mark.parametrize("flags", [(), ("--json",)], ids=["text", "json"])
def test_show_does_not_show_the_path_of_a_webhook(flags: tuple[str, ...]) -> None:
    urls = ["https://hooks.example:8443/T0/s3cr3t?key=s3cr3t", "https://plain.example/"]
    FILE.write_text(json.dumps({"webhooks": [{"url": url} for url in urls]}))
    output = run("show", *flags).output
    shown = json.loads(output) if flags else yaml.safe_load(output)
    kept = [hook["url"] for hook in shown["webhooks"]]
    assert kept == ["https://hooks.example:8443/…", "https://plain.example"]
    assert "s3cr3t" not in output


def test_invalid_yaml_is_a_problem_with_a_line() -> None:
    FILE.write_text("a: b: c\n")
    result = run("validate")
    assert (result.exit_code, result.stdout) == (
        2,
        "error: line 1: column 5: mapping values are not allowed in this context\n"
        "imagen.yaml: 1 problem\n",
    )


def test_validate_refuses_a_missing_file() -> None:
    with pytest.raises(ConfigError, match="not found"):
        run("validate", "missing.yaml")


def test_path_prints_the_configuration_in_use() -> None:
    FILE.touch()
    assert run("path").stdout == f"{FILE.absolute()}\n"


def test_path_prints_only_a_note_without_a_configuration() -> None:
    result = run("path")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "the defaults apply. Searched: imagen.yaml, " in result.stderr
    assert result.stderr.endswith("\nTo set up your engines: imagen config init --detect --write\n")


def test_show_prints_yaml_with_defaults() -> None:
    FILE.write_text("backends: {a: {type: mock, look: x}}\n")
    result = run("show")
    assert result.stdout.startswith("# file: imagen.yaml\ndefault_backend: mock\n")
    values = yaml.safe_load(result.stdout)
    assert values["limits"] == {"max_width": 4096, "max_height": 4096, "max_compute": None}
    assert values["backends"] == {
        "a": {
            "type": "mock",
            "title": "",
            "hint": "",
            "resource": "",
            "at_once": None,
            "rate": "",
            "look": "x",
            "step_seconds": 0.0,
            "fail": None,
        }
    }


def test_the_output_of_show_is_a_valid_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLICATE_API_TOKEN", "set")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    FILE.write_text(example())
    FILE.write_text(run("show").stdout)
    assert run("validate").stdout == "imagen.yaml: ok\n"


def test_show_lists_variables_without_their_values(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ONE", "first-secret")
    monkeypatch.setenv("IMAGEN_OUTPUT", "images")
    block = "{type: comfyui, workflow: sdxl, headers_env: {X: ONE, Y: TWO}}"
    FILE.write_text(f"backends: {{a: {block}}}\n")
    result = run("show", "--json")
    values = json.loads(result.stdout)
    assert values["environment"] == {"IMAGEN_OUTPUT": "set", "ONE": "set", "TWO": "unset"}
    assert values["output"]["directory"] == "images"
    assert "# ONE is set\n# TWO is unset\n" in run("show").stdout
    assert "first-secret" not in result.output


def test_show_masks_possible_secrets() -> None:
    block = "{type: acme, api_key: short, password_hint: ''}"
    FILE.write_text(f"backends: {{a: {block}}}\n")
    shown = json.loads(run("show", "--json").stdout)["backends"]["a"]
    assert shown == {"type": "acme", "api_key": "***", "password_hint": ""}


def test_show_reports_an_invalid_block() -> None:
    FILE.write_text("backends: {a: {type: mock, lok: x}}\n")
    assert "# backends.a.lok: unknown key. Did you mean 'look'?\n" in run("show").stdout


@pytest.mark.parametrize("command", ["init", "path", "show", "validate"])
def test_every_command_has_help(command: str) -> None:
    assert run(command, "--help").exit_code == 0


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_validate_fits_a_narrow_terminal() -> None:
    from support.terminal_runs import run_on_terminal

    FILE.write_text(example().replace("max_width: 4096", "max_width: 3"))
    lines = run_on_terminal(60, "config", "validate").splitlines()
    assert max(map(len, lines)) <= 60


_MOCKS = "backends: {a: {type: mock}, b: {type: mock}}\n"


def test_a_pool_may_be_the_default_backend() -> None:
    found = report(f"{_MOCKS}pools: {{both: [a, b]}}\ndefault_backend: both\n")
    assert (found["problems"], found["warnings"]) == ([], [])


def test_a_default_backend_may_be_a_misspelled_pool() -> None:
    (problem,) = report(f"{_MOCKS}pools: {{both: [a, b]}}\ndefault_backend: bothe\n")["problems"]
    assert "Unknown backend or pool 'bothe'. Did you mean 'both'?" in problem["what"]


def test_a_backend_of_another_machine_in_a_pool_is_a_warning() -> None:
    (warning,) = report(f"{_MOCKS}pools: {{all: [a, gpu7]}}\n")["warnings"]
    assert (warning["key"], warning["line"]) == ("pools.all[1]", 2)
    assert "not configured here, 'gpu7'" in warning["what"]


def test_a_pool_with_a_backend_for_another_task_is_a_warning() -> None:
    blocks = (
        "backends: {draw: {type: comfyui, workflow: sd15}, edit: {type: comfyui, workflow: "
        "restore-faces}}\n"
    )
    found = report(f"{blocks}pools: {{both: [draw, edit]}}\ndefault_backend: both\n")
    assert [(one["key"], one["what"]) for one in found["warnings"]] == [
        ("pools.both", "edit cannot do text-to-image, as draw does")
    ]
