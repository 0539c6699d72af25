"""What leaves this machine can be kept by a database."""

from __future__ import annotations

from typing import Any

import pytest

from imagen.core.json_values import json_safe


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("a\0b", "ab", id="NUL"),
        pytest.param("\ud83d", "\ufffd", id="half a character"),
        pytest.param({"a\0": [1.5, float("inf")]}, {"a": [1.5, None]}, id="NaN"),
        pytest.param((True, None, 2**64 - 1), [True, None, 2**64 - 1], id="as it is"),
    ],
)
def test_json_safe_removes_what_databases_refuse(value: Any, expected: Any) -> None:
    assert json_safe(value, keep_nul=False) == expected
