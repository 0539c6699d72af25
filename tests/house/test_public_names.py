"""The public names of `imagen` exist and are documented."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import imagen


@pytest.mark.parametrize("name", imagen.__all__)
def test_each_public_name_exists_and_is_documented(name: str) -> None:
    value = getattr(imagen, name)
    assert not isinstance(value, type(imagen))
    assert name == "Receipt" or value.__doc__


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(imagen.__file__).read_text(encoding="utf-8"))
    seen = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("imagen.")
        for alias in node.names
    }
    assert sorted(seen) == imagen.__all__


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'imagen' has no attribute 'Nope'"):
        imagen.Nope  # type: ignore[attr-defined]  # noqa: B018
