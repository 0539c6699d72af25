"""Values learned from an engine are cached as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imagen.backends.learned import read_learned, write_learned

if TYPE_CHECKING:
    from pathlib import Path


def test_learned_values_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "note.json"
    write_learned(path, {"samplers": ["euler"]})
    write_learned(path, {"samplers": ["heun"]})
    assert read_learned(path) == {"samplers": ["heun"]}
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("text", ["", "no JSON", "[]", "7", "[" * 100_000, "\udcff"])
def test_a_damaged_cache_file_is_read_as_empty(text: str, tmp_path: Path) -> None:
    (tmp_path / "note.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert read_learned(tmp_path / "note.json") == {}


def test_a_missing_cache_file_is_read_as_empty(tmp_path: Path) -> None:
    assert (read_learned(tmp_path / "note.json"), read_learned(None)) == ({}, {})


def test_a_failed_write_leaves_no_file(tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    (folder / "note.json").mkdir(parents=True)
    write_learned(folder / "note.json", {"a": 1})
    assert [path.name for path in folder.iterdir()] == ["note.json"]
