"""imagen config init: what it prints, writes and reports."""

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
    """A server without the model of one workflow."""
    with ComfyUI(missing_models=[MODEL]) as server:
        yield server


def test_init_prints_the_sample() -> None:
    assert run().stdout == sample()


def test_init_full_prints_every_key() -> None:
    assert run("--full").stdout == example()


@pytest.mark.parametrize("flags", [(), ("--full",)], ids=["sample", "full"])
def test_init_detect_prints_backends_and_writes_nothing(
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


def test_init_detect_reports_found_and_skipped_engines_on_stderr(server: ComfyUI) -> None:
    lines = run("--url", server.url).stderr.splitlines()
    assert lines[0] == "Found:"
    assert lines[1].startswith(f"  comfyui, {server.url}: flux1-schnell, ")
    assert lines[2] == "Not added:"
    (line,) = lines[3:]
    assert line.startswith("  sd15: node 1 ")
    assert f"the server has no file {MODEL!r}" in line


def test_init_write_creates_the_users_configuration(server: ComfyUI) -> None:
    result = run("--url", server.url, "--write")
    assert (result.exit_code, result.stdout) == (0, "")
    wrote = f"Wrote {OWN.resolve()}. The default backend is flux1-schnell.\n"
    assert result.stderr.endswith(wrote)
    assert load_settings().source == OWN.resolve()
    assert load_settings().default_backend == "flux1-schnell"


def test_init_write_takes_a_path(server: ComfyUI) -> None:
    result = run("--url", server.url, "--write", "imagen.yaml")
    assert result.stderr.endswith("Wrote imagen.yaml. The default backend is flux1-schnell.\n")
    assert "sdxl" in load_settings(FILE).backends


def test_init_write_without_a_path_may_precede_other_options(server: ComfyUI) -> None:
    run("--write", "--detect", "--url", server.url)
    assert OWN.is_file()


def test_init_write_uses_the_configuration_named_before_the_command(server: ComfyUI) -> None:
    args = ["--config", "studio.yaml", "config", "init", "--url", server.url, "--write"]
    assert CliRunner().invoke(cli, args, catch_exceptions=False).exit_code == 0
    assert "sdxl" in load_settings(Path("studio.yaml")).backends


def test_init_write_explains_how_to_use_a_file_elsewhere(server: ComfyUI) -> None:
    result = run("--url", server.url, "--write", "studio.yaml")
    assert result.stderr.endswith("To use it, add this to a command: --config studio.yaml\n")


def test_init_write_adds_backends_to_an_edited_file(server: ComfyUI) -> None:
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


def test_a_second_init_write_changes_nothing(server: ComfyUI) -> None:
    run("--url", server.url, "--write", "imagen.yaml")
    text = FILE.read_text().replace("workflow: sdxl", "workflow: sd15")
    FILE.write_text(text)
    result = run("--url", server.url, "--write")
    assert FILE.read_text() == text
    assert "\nAlready in imagen.yaml: flux1-schnell, " in result.stderr
    assert "\nKept as they are in imagen.yaml, with other values: sdxl" in result.stderr
    assert result.stderr.endswith("\nimagen.yaml is unchanged.\n")


def test_a_backend_under_another_name_is_not_added_again(
    server: ComfyUI,
) -> None:
    FILE.write_text(sample().replace("http://127.0.0.1:8188", server.url))
    result = run("--url", server.url, "--write")
    assert "flux1-schnell" not in load_settings().backends
    assert "sdxl" in load_settings().backends
    assert "\nAlready in imagen.yaml: flux1-schnell as flux-schnell-local\n" in result.stderr


def test_an_empty_file_gets_the_sample_and_the_backends(server: ComfyUI) -> None:
    FILE.write_text("\n")
    run("--url", server.url, "--write")
    assert "\n# Presets: " in FILE.read_text()
    assert load_settings().default_backend == "flux1-schnell"


def test_a_second_init_write_still_says_that_the_mock_is_the_default(server: ComfyUI) -> None:
    FILE.write_text("backends:\n  mine:\n    type: mock\n")
    run("--url", server.url, "--write")
    assert "write `default_backend: flux1-schnell` in" in run("--url", server.url, "--write").stderr


def test_init_full_can_be_written(server: ComfyUI) -> None:
    run("--url", server.url, "--write", "imagen.yaml", "--full")
    assert FILE.read_text().partition("\nstyles:")[2] == example().partition("\nstyles:")[2]


def test_the_sample_does_not_replace_a_configuration() -> None:
    assert run("--write", "imagen.yaml").exit_code == 0
    assert FILE.read_text() == sample()
    with pytest.raises(ConfigError, match=r"^imagen\.yaml already has a configuration"):
        run("--write")
    assert FILE.read_text() == sample()


def test_nothing_is_written_if_no_engine_answers() -> None:
    with pytest.raises(Unavailable, match="so there is nothing to configure") as error:
        run("--url", "http://127.0.0.1:1", "--write", "imagen.yaml")
    assert "imagen config init --write" in error.value.remedy
    assert not FILE.exists()


def test_a_server_without_models_is_unavailable_with_reasons() -> None:
    files = [model.file for workflow in list_workflows() for model in workflow.manifest.models]
    with ComfyUI(missing_models=files) as server, pytest.raises(Unavailable) as error:
        run("--url", server.url, "--write")
    assert error.value.remedy.startswith("`imagen workflows show NAME` lists the files")
    assert not OWN.exists()


def test_an_invalid_url_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^--url: url must look like http://127\.0\.0\.1:8188"):
        run("--url", "my gpu")
