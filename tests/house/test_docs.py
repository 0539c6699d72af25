"""The documentation matches the code: examples run, commands and links exist."""

from __future__ import annotations

import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click
import pytest
import yaml
from support.openai_server import openai_server, png
from support.pages import PAGES, ROOT, Block, anchors, blocks, commands, links, messages, section

from imagen.backends import BUILT_IN, configure, load_adapter
from imagen.cli import COMMANDS, cli
from imagen.config import check
from imagen.graphs import Manifest
from imagen.testing.comfyui import ComfyUI

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.live_server import LiveServer

_PYTHON = [block for block in blocks("python") if not block.file]
_FILES = [block for language in ("python", "toml") for block in blocks(language) if block.file]
_MANIFESTS = [block for block in blocks("yaml") if block.about == "manifest"]
_CONFIGS = [block for block in blocks("yaml") if block.about != "manifest"]
_BUILT_IN_BLOCKS = [
    pytest.param(name, config, id=f"{block.id} {name}")
    for block in _CONFIGS
    for name, config in (yaml.safe_load(block.text).get("backends") or {}).items()
    if config.get("type", name) in BUILT_IN
]
_FIELDS = [
    pytest.param(kind, name, id=f"{kind}.{name}")
    for kind in BUILT_IN
    for name, field in load_adapter(kind).config.model_fields.items()
    if not field.exclude
]
_SERVER = "http://127.0.0.1:8080"
_CURL = [
    pytest.param(line, id=f"{block.id} {line[:60]}")
    for block in blocks("sh")
    for line in block.text.splitlines()
    if line.startswith("curl ") and _SERVER in line
]
_SOURCE = "\n".join(
    path.read_text(encoding="utf-8") for path in sorted((ROOT / "imagen").rglob("*.py"))
)


def _id(value: Any) -> str | None:
    return value.id if isinstance(value, Block) else None


@pytest.fixture(scope="module")
def simulated() -> Iterator[ComfyUI]:
    with ComfyUI() as server:
        yield server


def test_generated_blocks_are_up_to_date() -> None:
    ran = subprocess.run(
        [sys.executable, str(ROOT / "scripts/docs.py"), "--check"], capture_output=True, text=True
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_a_section(name: str) -> None:
    assert f"<!-- generated: help {name} -->" in section("docs/reference/cli.md", f"imagen {name}")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_of_commands_has_the_summary_of_each_command(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert inspect.cleandoc(command.help or "").split("\n")[0] == COMMANDS[name][1]


@pytest.mark.parametrize(("kind", "name"), _FIELDS)
def test_each_key_of_a_backend_is_documented(kind: str, name: str) -> None:
    assert f"| `{name}` |" in section("docs/backends.md", f"`{kind}`")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with openai_server(tmp_path_factory.mktemp("served"), {"mock": {"type": "mock"}}) as server:
        request = {"prompt": "a fox", "width": 64, "height": 48}  # `last` of the examples
        server.client.post("/api/v1/generations?wait=20", json={"request": request})
        yield server


@pytest.mark.parametrize("block", _PYTHON, ids=_id)
def test_each_python_example_runs(
    block: Block, simulated: ComfyUI, request: pytest.FixtureRequest
) -> None:
    program = block.text.replace("http://127.0.0.1:8188", simulated.url)
    if _SERVER in program:
        program = program.replace(_SERVER, request.getfixturevalue("served").url)
    exec(compile(program, block.id, "exec"), {"__name__": "__main__"})


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
@pytest.mark.parametrize("line", _CURL)
def test_each_curl_line_is_answered(line: str, served: LiveServer, tmp_path: Path) -> None:
    (tmp_path / "fox.png").write_bytes(png(size=(512, 512)))
    words = shlex.split(line.replace(_SERVER, served.url))
    ran = subprocess.run(
        [*words, "--fail-with-body", "--silent", "--max-time", "60"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_documented_plug_in_passes_the_contract(tmp_path: Path) -> None:
    plug_in = _installed(tmp_path)
    arguments = ["-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "--rootdir", "."]
    ran = _python(plug_in, *arguments, "test_imagen_easel.py")
    assert ran.returncode == 0, ran.stdout
    assert " failed" not in ran.stdout
    assert " passed" in ran.stdout


def test_the_documented_plug_in_is_listed(tmp_path: Path) -> None:
    ran = _python(_installed(tmp_path), "-m", "imagen", "backends")
    assert "  easel      Paints on an Easel server.\n" in ran.stdout


@pytest.mark.parametrize("block", _CONFIGS, ids=_id)
def test_each_configuration_is_valid(block: Block, tmp_path: Path) -> None:
    path = tmp_path / "imagen.yaml"
    path.write_text(block.text, encoding="utf-8")
    assert check(path).problems == ()


@pytest.mark.parametrize(("name", "block"), _BUILT_IN_BLOCKS)
def test_each_backend_block_is_valid(name: str, block: dict[str, Any]) -> None:
    _, config = configure(name, {name: block})
    assert config.name == name


@pytest.mark.parametrize("block", _MANIFESTS, ids=_id)
def test_each_manifest_is_valid(block: Block) -> None:
    manifest = Manifest.model_validate(yaml.safe_load(block.text))
    defaults = {k: p.default for k, p in manifest.parameters.items() if p.default is not None}
    assert {k: manifest.parameters[k].fit(k, v) for k, v in defaults.items()} == defaults


@pytest.mark.parametrize("words", [pytest.param(words, id=place) for place, words in commands()])
def test_each_command_line_is_accepted(words: list[str]) -> None:
    command, rest = _command(words)
    # click keeps a command's help option from the first context: it must be the real one.
    parent = click.Context(cli, help_option_names=["-h", "--help"])
    with suppress(click.exceptions.Exit):
        command.make_context(words[0], rest, parent=parent)


@pytest.mark.parametrize(
    ("target", "anchor"),
    [pytest.param(target, anchor, id=place) for place, target, anchor in links()],
)
def test_each_link_has_a_target(target: Path, anchor: str) -> None:
    assert target.exists()
    assert anchor in {"", *(anchors(target) if target.suffix == ".md" else ())}


@pytest.mark.parametrize("message", messages())
def test_each_quoted_message_is_in_the_source(message: str) -> None:
    assert message in _SOURCE


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "site/reference/cli/index.html").is_file()


@pytest.mark.parametrize("script", ["demo", "test", "check", "setup", "docs"])
def test_each_script_is_executable(script: str) -> None:
    assert os.access(ROOT / "scripts" / script, os.X_OK)


def test_each_page_that_the_package_names_exists() -> None:
    named = set(re.findall(r"docs/[\w/-]+\.(?:md|sql)", _SOURCE))
    assert named
    assert [page for page in sorted(named) if not (ROOT / page).is_file()] == []


def test_no_file_installs_the_other_project_named_imagen() -> None:
    """The distribution is `imagen-backends`; `imagen` in the package index is another project."""
    folders = ("docs", "imagen", "scripts", "tests", "workflows")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    foreign = re.compile(rb"(pip|pipx|uv)[a-z ]* install [\"']?imagen[\"'\[ \n]|[\"']imagen\[")
    asked = [path for path in (*files, *ROOT.glob("[!.]*.*")) if foreign.search(path.read_bytes())]
    assert asked == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_has_placeholders(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert [word for word in ("TODO", "TBD", "@@") if word in text] == []


def _command(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that the words select, and its own arguments."""
    command: click.Command = cli
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, f"no command {words[0]}"
        command, words = found, words[1:]
    return command, words


def _installed(folder: Path) -> Path:
    """Write the files of the plug-in page as an installed distribution."""
    for block in _FILES:
        (folder / block.file).write_text(block.text, encoding="utf-8")
    about = folder / "imagen_easel-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: imagen-easel\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[imagen.backends]\neasel = imagen_easel:adapter\n")
    return folder


def _python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
    )
