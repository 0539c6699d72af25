"""Imports run one way."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

_PACKAGE = Path(__file__).parents[2] / "imagen"
_WORDS = {
    *("request", "result", "errors", "text", "capabilities", "ticket", "invalid", "pictures"),
    *("checkpoints", "filesystem", "gguf", "ids", "json_values", "locks", "loras", "prompt_syntax"),
    *("field_names", "samplers", "upscalers", "weights", "yaml_values"),
}
_MAY: dict[str, set[str]] = {
    "config": _WORDS,
    "graphs": _WORDS,
    "painting": set(),
    "backends": _WORDS | {"graphs", "painting"},
    "outputs": _WORDS | {"config"},
    "preview": _WORDS | {"config"},
    "origin": _WORDS | {"graphs", "outputs"},
    "library": _WORDS | {"config", "outputs", "origin"},
    "sinks": _WORDS | {"config", "outputs", "library", "backends"},
    "inputs": _WORDS,
    "interpolation": _WORDS | {"inputs"},
    "resolve": _WORDS | {"config"},
    "callers": _WORDS | {"config"},
    "tickets": _WORDS | {"config", "library"},
    "keeping": _WORDS | {"config", "outputs", "origin", "library", "sinks", "tickets"},
    "budgets": _WORDS | {"config", "library", "keeping", "tickets"},
    "preparing": _WORDS | {"config", "backends", "inputs", "outputs", "resolve"},
    "sync_failure": _WORDS | {"config"},
    "syncing": _WORDS | {"config", "library", "sinks", "sync_failure"},
    "spine": _WORDS
    | {"config", "backends", "outputs", "tickets", "inputs", "interpolation", "preparing"}
    | {"library", "resolve", "budgets", "callers", "keeping", "sinks"},
    "resuming": _WORDS
    | {"config", "outputs", "library", "tickets", "budgets", "keeping", "preparing", "spine"},
    "comparison": _WORDS
    | {"config", "backends", "outputs", "resolve", "tickets", "budgets", "keeping", "spine"}
    | {"library", "sinks"},
    "again": _WORDS | {"config", "graphs", "keeping", "library", "origin", "outputs"},
    "testing": _WORDS | {"config", "backends", "graphs", "painting", "outputs", "spine"},
    "cli": _WORDS
    | {"config", "backends", "graphs", "outputs", "tickets", "spine", "comparison", "testing"}
    | {"inputs", "interpolation", "preparing", "preview", "doctor", "library", "again"}
    | {"resuming", "keeping", "sinks", "budgets", "syncing", "sync_failure", "origin"},
    "doctor": _WORDS | {"config", "backends", "outputs", "library", "sinks", "tickets", "preview"},
    "__main__": {"cli"},
}
_ADAPTERS = {"comfyui", "diffusers", "mock", "replicate", "sdcpp"}


def _imports(path: Path) -> set[str]:
    """The dotted names of ours that a module imports, also where only for types."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("imagen"):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("imagen")}
    return {name.removeprefix("imagen.") for name in found}


def _rooms(path: Path) -> set[str]:
    return {name.split(".")[0] for name in _imports(path)} - {"__version__"}


def _modules(room: str) -> list[Path]:
    folder = _PACKAGE / room
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [_PACKAGE / f"{room}.py"]


def test_every_room_has_its_place() -> None:
    there = {path.stem for path in _PACKAGE.iterdir() if path.suffix == ".py" or _is_room(path)}
    assert there == _WORDS | set(_MAY) | {"__init__"}


def _is_room(path: Path) -> bool:
    return (path / "__init__.py").is_file()


@pytest.mark.parametrize("word", sorted(_WORDS))
def test_the_words_import_only_each_other(word: str) -> None:
    assert _rooms(_PACKAGE / f"{word}.py") - _WORDS == set()


@pytest.mark.parametrize("room", sorted(_MAY))
def test_a_room_imports_only_what_is_below_it(room: str) -> None:
    used: set[str] = set().union(*map(_rooms, _modules(room)))
    assert used - _MAY[room] - {room} == set()


@pytest.mark.parametrize("adapter", sorted(_ADAPTERS))
def test_adapters_do_not_know_each_other(adapter: str) -> None:
    others = {f"backends.{other}" for other in _ADAPTERS - {adapter}}
    used: set[str] = set().union(*map(_imports, _modules(f"backends/{adapter}")))
    assert {name for name in used if any(name.startswith(other) for other in others)} == set()


@pytest.mark.parametrize(
    "path",
    [*_PACKAGE.rglob("*.py"), *(_PACKAGE.parent / "tests").rglob("*.py")],
    ids=lambda path: str(path.relative_to(_PACKAGE.parent)),
)
def test_no_module_is_longer_than_700_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 700


_BARE_HTTPX = re.compile(
    r"\bhttpx\.(Client|AsyncClient|HTTPTransport|request|stream|get|post|put|patch|delete|head)\b"
)


@pytest.mark.parametrize("path", [*_PACKAGE.rglob("*.py")], ids=lambda path: path.name)
def test_only_the_bounded_client_makes_requests(path: Path) -> None:
    is_it = path == _PACKAGE / "backends" / "http.py"
    assert is_it == bool(_BARE_HTTPX.search(path.read_text(encoding="utf-8")))
