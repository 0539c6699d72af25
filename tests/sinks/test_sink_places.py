"""What leaves this machine does not tell where files lie on it, and can be kept elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imagen.sinks.places import storable, without_folders


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        pytest.param("/srv/a/b.png is gone.", "b.png is gone.", id="path"),
        pytest.param("'/srv/a/b.png' is gone.", "'b.png' is gone.", id="quoted"),
        pytest.param(r"C:\Users\fox\b.png is gone.", "b.png is gone.", id="Windows"),
        pytest.param("~/pictures/b.png is gone.", "b.png is gone.", id="home"),
        pytest.param("See https://x.org/a/b now.", "See https://x.org/a/b now.", id="url"),
        pytest.param("2 and/or 3 of 1/2", "2 and/or 3 of 1/2", id="slashes"),
    ],
)
def test_a_sentence_keeps_the_names_of_files_alone(sentence: str, expected: str) -> None:
    assert without_folders(sentence) == expected


def test_the_users_own_folder_is_not_told() -> None:
    assert str(Path.home()) not in without_folders(f"{Path.home()}/b.png is gone.")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("a\0b", "ab", id="NUL"),
        pytest.param("\ud83d", "?", id="half a character"),
        pytest.param({"a\0": [1.5, float("inf")]}, {"a": [1.5, None]}, id="NaN"),
        pytest.param((True, None, 2**64 - 1), [True, None, 2**64 - 1], id="as it is"),
    ],
)
def test_what_no_database_keeps_is_left_out(value: Any, expected: Any) -> None:
    assert storable(value) == expected
