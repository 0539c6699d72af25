"""imagen config init: what it prints, what it writes, and what it says about it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from imagen.cli import cli
from imagen.config import example, load_settings, sample
from imagen.errors import ConfigError, Unavailable
from imagen.graphs import list_workflows
from imagen.testing.comfyui import ComfyUI

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click.testing import Result

FILE = Path("imagen.yaml")
OWN = Path("../home/.config/imagen.yaml")
MODEL = "v1-5-pruned-emaonly-fp16.safetensors"


def run(*args: str) -> Result:
    return CliRunner().invoke(cli, ["config", "init", *args], catch_exceptions=False)


@pytest.fixture
def server() -> Iterator[ComfyUI]:
    """One that lacks the model of a single workflow."""
    with ComfyUI(missing_models=[MODEL]) as server:
        yield server


def test_the_sample_is_printed() -> None:
    assert run().stdout == sample()


def test_every_key_is_printed_with_full() -> None:
    assert run("--full").stdout == example()


@pytest.mark.parametrize("flags", [(), ("--full",)], ids=["sample", "full"])
def test_detected_backends_are_printed_and_nothing_is_written(
    server: ComfyUI, flags: tuple[str, ...]
) -> None:
    printed = run("--url", server.url, *flags).stdout
    assert list(Path().iterdir()) == []
    FILE.write_text(printed)
    assert load_settings().default_backend == "flux1-schnell"
    assert load_settings().backends["sdxl"] == {
        "type": "comfyui",
        "url": server.url,
        "workflow": "sdxl",
    }


def test_what_was_found_and_what_was_left_out_is_said_on_stderr(server: ComfyUI) -> None:
    lines = run("--url", server.url).stderr.splitlines()
    assert lines[0] == "Found:"
    assert lines[1].startswith(f"  comfyui, {server.url}: flux1-schnell, ")
    assert lines[2] == "Left out:"
    (line,) = lines[3:]
    assert line.startswith("  sd15: node 1 ")
    assert f"the server has no file {MODEL!r}" in line


def test_a_first_configuration_is_written_where_the_users_own_belongs(server: ComfyUI) -> None:
    result = run("--url", server.url, "--write")
    assert (result.exit_code, result.stdout) == (0, "")
    wrote = f"Wrote {OWN.resolve()}. The default backend is flux1-schnell.\n"
    assert result.stderr.endswith(wrote)
    assert load_settings().source == OWN.resolve()
    assert load_settings().default_backend == "flux1-schnell"


def test_write_takes_a_path(server: ComfyUI) -> None:
    result = run("--url", server.url, "--write", "imagen.yaml")
    assert result.stderr.endswith("Wrote imagen.yaml. The default backend is flux1-schnell.\n")
    assert "sdxl" in load_settings(FILE).backends


def test_write_without_a_path_may_come_before_other_flags(server: ComfyUI) -> None:
    run("--write", "--detect", "--url", server.url)
    assert OWN.is_file()


def test_write_takes_the_configuration_that_is_named_before_the_command(server: ComfyUI) -> None:
    args = ["--config", "studio.yaml", "config", "init", "--url", server.url, "--write"]
    assert CliRunner().invoke(cli, args, catch_exceptions=False).exit_code == 0
    assert "sdxl" in load_settings(Path("studio.yaml")).backends


def test_how_to_use_a_file_that_is_not_found_by_itself_is_said(server: ComfyUI) -> None:
    result = run("--url", server.url, "--write", "studio.yaml")
    assert result.stderr.endswith("To use it, add this to a command: --config studio.yaml\n")


def test_an_edited_file_keeps_its_text_and_gets_the_new_backends(server: ComfyUI) -> None:
    text = "# Mine.\nbackends:\n  studio: {type: mock}  # slow\n\n# Wide.\nlimits: {}\n"
    FILE.write_text(text)
    result = run("--url", server.url, "--write")
    before, _, after = text.partition("\n\n")
    written = FILE.read_text()
    assert written.startswith(f"{before}\n  flux1-schnell:\n    type: comfyui\n")
    assert written.endswith(f"\n\n{after}")
    assert load_settings().backends.keys() > {"studio", "flux1-schnell", "sdxl"}
    assert "\nAdded to imagen.yaml: flux1-schnell, " in result.stderr
    assert result.stderr.endswith(
        "The default backend is still the mock. To change it, write "
        "`default_backend: flux1-schnell` in imagen.yaml.\n"
    )


def test_a_second_run_changes_nothing(server: ComfyUI) -> None:
    run("--url", server.url, "--write", "imagen.yaml")
    text = FILE.read_text().replace("workflow: sdxl", "workflow: sd15")
    FILE.write_text(text)
    result = run("--url", server.url, "--write")
    assert FILE.read_text() == text
    assert "\nAlready in imagen.yaml: flux1-schnell, " in result.stderr
    assert "\nKept as imagen.yaml has them, with other values: sdxl" in result.stderr
    assert result.stderr.endswith("\nimagen.yaml is unchanged.\n")


def test_a_backend_that_the_file_has_under_another_name_is_not_added_again(
    server: ComfyUI,
) -> None:
    FILE.write_text(sample().replace("http://127.0.0.1:8188", server.url))
    result = run("--url", server.url, "--write")
    assert "flux1-schnell" not in load_settings().backends
    assert "sdxl" in load_settings().backends
    assert "\nAlready in imagen.yaml: flux1-schnell as flux-schnell-local\n" in result.stderr


def test_an_empty_file_gets_the_sample_with_the_new_backends(server: ComfyUI) -> None:
    FILE.write_text("\n")
    run("--url", server.url, "--write")
    assert "\n# Presets: " in FILE.read_text()
    assert load_settings().default_backend == "flux1-schnell"


def test_a_second_run_still_says_that_the_mock_is_the_default(server: ComfyUI) -> None:
    FILE.write_text("backends:\n  mine:\n    type: mock\n")
    run("--url", server.url, "--write")
    assert "write `default_backend: flux1-schnell` in" in run("--url", server.url, "--write").stderr


def test_full_is_written_too(server: ComfyUI) -> None:
    run("--url", server.url, "--write", "imagen.yaml", "--full")
    assert FILE.read_text().partition("\nstyles:")[2] == example().partition("\nstyles:")[2]


def test_the_sample_is_written_only_where_there_is_no_configuration() -> None:
    assert run("--write", "imagen.yaml").exit_code == 0
    assert FILE.read_text() == sample()
    with pytest.raises(ConfigError, match=r"^imagen\.yaml already has a configuration"):
        run("--write")
    assert FILE.read_text() == sample()


def test_where_no_engine_answers_nothing_is_written() -> None:
    with pytest.raises(Unavailable, match="so there is nothing to configure") as error:
        run("--url", "http://127.0.0.1:1", "--write", "imagen.yaml")
    assert "imagen config init --write" in error.value.remedy
    assert not FILE.exists()


def test_a_server_without_any_model_is_unavailable_and_each_workflow_says_why() -> None:
    files = [model.file for workflow in list_workflows() for model in workflow.manifest.models]
    with ComfyUI(missing_models=files) as server, pytest.raises(Unavailable) as error:
        run("--url", server.url, "--write")
    assert error.value.remedy.startswith("`imagen workflows show NAME` lists the files")
    assert not OWN.exists()


def test_what_is_not_an_address_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^--url: url must look like http://127\.0\.0\.1:8188"):
        run("--url", "my gpu")
