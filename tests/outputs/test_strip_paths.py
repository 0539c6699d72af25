"""Sentences without the folders of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagen.outputs.redact import strip_paths


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        pytest.param("/srv/a/b.png is gone.", "b.png is gone.", id="path"),
        pytest.param("'/srv/a/b.png' is gone.", "'b.png' is gone.", id="quoted"),
        pytest.param(r"C:\Users\fox\b.png is gone.", "b.png is gone.", id="Windows"),
        pytest.param("~/photos/b.png is gone.", "b.png is gone.", id="home"),
        pytest.param("'/mnt/my own/b.png' is gone.", "'b.png' is gone.", id="blanks"),
        pytest.param(r'"C:\my own\b.png" is gone.', '"b.png" is gone.', id="blanks on Windows"),
        pytest.param("'a' and /srv/c/d.png, 'e'", "'a' and d.png, 'e'", id="between quotes"),
        pytest.param("file:///srv/a/b.png is gone.", "b.png is gone.", id="address of a file"),
        pytest.param("See https://x.org/a/b now.", "See https://x.org/a/b now.", id="url"),
        pytest.param("2 and/or 3 of 1/2", "2 and/or 3 of 1/2", id="slashes"),
    ],
)
def test_strip_paths_keeps_file_names(sentence: str, expected: str) -> None:
    assert strip_paths(sentence) == expected


def test_strip_paths_removes_the_home_folder() -> None:
    assert str(Path.home()) not in strip_paths(f"{Path.home()}/b.png is gone.")


def test_strip_paths_removes_a_home_folder_with_spaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/Ann Fox")
    assert strip_paths("/home/Ann Fox/b.png is gone.") == "~/b.png is gone."


def test_strip_paths_accepts_the_root_as_home_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/")
    assert strip_paths("See https://x.org/a/b.") == "See https://x.org/a/b."
