"""The cache of prepared images."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from imagen.errors import OutputError
from imagen.inputs.cache import cache_image, prune_cache

_HASH = "9834876dcfb05cb167a5c24953eba58c4ac89b1adf57f28f2f9d09af107ee8f0"
"""The SHA-256 of `aaa`."""
_FOLDER = Path("cache")
_DAY = 24 * 3600


def test_cached_images_are_stored_by_hash_and_name() -> None:
    path = cache_image(b"aaa", "my fox.png", _FOLDER)
    assert path == _FOLDER.absolute() / _HASH / "my fox.png"
    assert path.read_bytes() == b"aaa"


def test_caching_again_writes_nothing_and_renews_the_age() -> None:
    path = cache_image(b"aaa", "fox.png", _FOLDER)
    os.utime(path, (1000, 1000))
    os.utime(path.parent, (1000, 1000))
    assert cache_image(b"aaa", "fox.png", _FOLDER) == path
    assert path.stat().st_mtime == 1000
    assert path.parent.stat().st_mtime > 1000


def test_a_truncated_cached_image_is_written_again() -> None:
    path = cache_image(b"aaa", "fox.png", _FOLDER)
    path.write_bytes(b"a")
    cache_image(b"aaa", "fox.png", _FOLDER)
    assert path.read_bytes() == b"aaa"
    assert os.listdir(path.parent) == ["fox.png"]


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../x.png", "_x.png"),
        ("a:b?.png", "a_b_.png"),
        ("Füchse & Hasen.jpeg", "Füchse & Hasen.jpeg"),
        (".png", "image.png"),
        ("x" * 300 + ".webp", "x" * 100 + ".webp"),
        ("half \ud800.png", "half _.png"),
    ],
    ids=["a path", "for Windows", "umlauts", "no stem", "long", "half a character"],
)
def test_cached_names_are_safe_on_every_system(name: str, kept: str) -> None:
    assert cache_image(b"aaa", name, _FOLDER).name == kept


def test_an_unwritable_cache_folder_is_an_error() -> None:
    _FOLDER.write_text("a file in the way")
    with pytest.raises(OutputError, match=r"image fox\.png cannot be written to cache: "):
        cache_image(b"aaa", "fox.png", _FOLDER)


def test_images_unused_for_seven_days_are_pruned() -> None:
    path = cache_image(b"aaa", "fox.png", _FOLDER)
    there = path.parent.stat().st_mtime
    prune_cache(_FOLDER, now=there + 6.9 * _DAY)
    assert path.is_file()
    prune_cache(_FOLDER, now=there + 7.1 * _DAY)
    assert not path.parent.exists()


def test_pruning_keeps_files_that_are_not_cached_images() -> None:
    mine = _FOLDER / "notes"
    mine.mkdir(parents=True)
    prune_cache(_FOLDER, now=mine.stat().st_mtime + 100 * _DAY)
    assert mine.is_dir()


def test_pruning_a_missing_folder_does_nothing() -> None:
    prune_cache(_FOLDER)
    assert not _FOLDER.exists()
