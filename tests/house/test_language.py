"""Code, tests, documentation and help are in plain English, with the field's words."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.measures import PACKAGE, ROOT, phrases

_SELF = {ROOT / "tests/support/measures.py", Path(__file__)}


def _files(folder: Path, pattern: str) -> list[Path]:
    return sorted(set(folder.rglob(pattern)) - _SELF)


@pytest.mark.parametrize("folder", sorted(path.name for path in PACKAGE.iterdir() if path.is_dir()))
def test_the_package_is_in_plain_english(folder: str) -> None:
    assert list(phrases(_files(PACKAGE / folder, "*.py"))) == []


@pytest.mark.parametrize(
    "folder", sorted(path.name for path in (ROOT / "tests").iterdir() if path.is_dir())
)
def test_the_tests_are_in_plain_english(folder: str) -> None:
    assert list(phrases(_files(ROOT / "tests" / folder, "*.py"))) == []


def test_the_documentation_is_in_plain_english() -> None:
    pages = [ROOT / "README.md", ROOT / "imagen.example.yaml", *_files(ROOT / "docs", "*.md")]
    assert list(phrases([*pages, *_files(ROOT / "workflows", "*.yaml")])) == []


def test_the_scripts_are_in_plain_english() -> None:
    scripts = [path for path in (ROOT / "scripts").iterdir() if path.is_file()]
    assert list(phrases([*scripts, *_files(ROOT / "benchmarks", "*.py")])) == []
