"""Commands import only what they need, so that they start fast."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_HEAVY = {
    *("pydantic", "httpx", "PIL", "yaml", "websockets", "tenacity", "asyncio", "fastapi"),
    "sqlalchemy",
}


def _imported(code: str) -> set[str]:
    """The top-level packages loaded after running `code` in a fresh interpreter."""
    program = f"{code}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(ran.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("argument", ["--help", "version"])
def test_help_and_version_import_nothing_heavy(argument: str) -> None:
    loaded = _imported(f"from imagen.cli import run; run([{argument!r}])")
    assert loaded & _HEAVY == set()


def _completing(words: str) -> set[str]:
    """The packages that completing this line in Bash imports."""
    line = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
    environment = {"_IMAGEN_COMPLETE": "bash_complete"} | line
    return _imported(f"import os; os.environ |= {environment}; from imagen.cli import run; run([])")


@pytest.mark.parametrize("words", ["imagen ", "imagen gen", "imagen generate --st"])
def test_completing_commands_and_options_imports_nothing_heavy(words: str) -> None:
    assert _completing(words) & _HEAVY == set()


@pytest.mark.parametrize("words", ["imagen show ", "imagen generate -b "])
def test_completing_values_contacts_neither_library_nor_server(words: str) -> None:
    assert _completing(words) & {"sqlalchemy", "httpx", "PIL", "asyncio"} == set()


def test_importing_imagen_imports_no_dependency() -> None:
    assert _imported("import imagen") & (_HEAVY | {"click"}) == set()


def test_generating_with_the_mock_needs_no_network_library() -> None:
    code = "from imagen.cli import run; run(['generate', 'x', '-b', 'mock', '-q'])"
    assert _imported(code) & {"httpx", "websockets", "tenacity"} == set()


def test_a_disabled_library_is_not_imported() -> None:
    Path("imagen.yaml").write_text("library: {enabled: false}")
    code = "from imagen.cli import run; run(['generate', 'x', '-b', 'mock', '-q'])"
    assert _imported(code) & {"sqlalchemy", "asyncio", "sqlite3"} == set()
