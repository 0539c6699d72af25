"""Imports run one way."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

_PACKAGE = Path(__file__).parents[2] / "imagen"
_LAYERS = (
    ("errors", "core"),
    ("net", "config", "model_files"),
    ("graphs", "inputs", "preview"),
    ("backends", "outputs"),
    ("library",),
    ("delivery",),
    ("jobs.model", "jobs.queue", "jobs.blobs", "jobs.outage"),
    ("jobs.choice", "jobs.image_files", "jobs.resources"),
    ("jobs.file_store",),
    ("pipeline.record",),
    ("jobs.store",),
    ("pipeline",),
    ("jobs.clock",),
    ("jobs.embedded", "jobs.job_rows", "jobs.worker_rows", "jobs.schedules"),
    ("jobs.fleet",),
    ("jobs.open_queue",),
    ("jobs.transitions",),
    ("jobs.submission", "jobs.user_changes"),
    ("jobs.sql_store",),
    ("jobs.row_store", "jobs.prepare_queued"),
    ("jobs.submit", "jobs.forecast"),
    ("jobs.overview", "jobs.supabase_intake"),
    ("jobs.recover",),
    ("batch",),
    ("jobs.cron",),
    ("comparison", "reproduce", "doctor", "testing"),
    ("arena",),
    ("views",),
    ("engines",),
    ("jobs.lanes",),
    ("jobs.worker",),
    ("jobs.metrics", "jobs.worker_log"),
    ("runtime",),
    ("mcp",),
    ("server",),
    ("cli",),
    ("__main__",),
)
"""From the bottom up: a folder imports itself and the layers below. errors and core are one."""
_ADAPTERS = {"a1111", "comfyui", "diffusers", "mock", "openai", "replicate", "sdcpp"}


def _imports(path: Path) -> set[str]:
    """The dotted names of imagen that a module imports, also those only for types."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("imagen"):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("imagen")}
    return {name.removeprefix("imagen.") for name in found} - {"__version__"}


def _modules(folder: str) -> list[Path]:
    path = _PACKAGE.joinpath(*folder.split("."))
    return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


def _is_in(name: str, folder: str) -> bool:
    return name == folder or name.startswith(f"{folder}.")


def test_every_module_is_in_a_layer() -> None:
    listed = {path for layer in _LAYERS for folder in layer for path in _modules(folder)}
    package_files = {_PACKAGE / "__init__.py", _PACKAGE / "jobs" / "__init__.py"}
    assert set(_PACKAGE.rglob("*.py")) - listed == package_files


@pytest.mark.parametrize(
    ("height", "folder"),
    [(height, folder) for height, layer in enumerate(_LAYERS) for folder in layer],
)
def test_a_folder_imports_only_itself_and_the_layers_below(height: int, folder: str) -> None:
    allowed = [folder, *(below for layer in _LAYERS[: max(height, 1)] for below in layer)]
    used: set[str] = set().union(*map(_imports, _modules(folder)))
    assert {name for name in used if not any(_is_in(name, below) for below in allowed)} == set()


@pytest.mark.parametrize("adapter", sorted(_ADAPTERS))
def test_adapters_do_not_know_each_other(adapter: str) -> None:
    others = {f"backends.{other}" for other in _ADAPTERS - {adapter}}
    used: set[str] = set().union(*map(_imports, _modules(f"backends/{adapter}")))
    assert {name for name in used if any(name.startswith(other) for other in others)} == set()


_BARE_HTTPX = re.compile(
    r"\bhttpx\.(Client|AsyncClient|HTTPTransport|request|stream|get|post|put|patch|delete|head)\b"
)


def test_only_the_bounded_client_makes_requests() -> None:
    paths = _PACKAGE.rglob("*.py")
    users = [path for path in paths if _BARE_HTTPX.search(path.read_text(encoding="utf-8"))]
    assert users == [_PACKAGE / "net" / "http.py"]
