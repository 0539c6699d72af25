"""Processes that add the same images at the same moment: each image is one row."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from shutil import copyfile
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event, text
from support.import_process import release_all, start_importer
from support.library_process import open_at
from support.other_tools_images import A1111, png

from imagen.cli import run
from imagen.library import Query, add_files, search_images
from imagen.library.migrations import lock_for_writing

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagen.library import Library

_MANY = 12


def _names(url: str) -> Counter[str]:
    with open_at(url) as library:
        return Counter(one.path.name for one in search_images(library, Query(), limit=500).images)


def _each_once() -> Counter[str]:
    return Counter({path.name: 1 for path in Path("album").glob("*.png")})


def _draw() -> None:
    for number in range(_MANY):
        png(f"album/{number}.png", parameters=A1111, number=str(number))


def test_two_processes_add_each_image_of_a_folder_once(library_url: str) -> None:
    _draw()
    assert release_all(*(start_importer(library_url, "1", "album") for _ in range(2))) == [0, 0]
    assert _names(library_url) == _each_once()


@pytest.mark.parametrize("is_all", [True, False], ids=["the whole run", "one image of it"])
def test_two_processes_add_a_batch_as_one_generation(library_url: str, is_all: bool) -> None:
    command = ["generate", "a fox", "-b", "mock", "--size", "64x48", "-q", "--count", "3"]
    assert run([*command, "--seed", "1", "-o", "album/fox.png"]) == 0
    Path("first").mkdir()
    copyfile("album/fox.png", "first/fox.png")
    with open_at(library_url) as library, open_at(library_url) as other:
        _after_looks(library, 3, lambda: add_files(other, [Path("album" if is_all else "first")]))
        added = add_files(library, [Path("album")])
        images = search_images(library, Query()).images
    assert (len(added.added), added.known) == ((0, 3) if is_all else (2, 1))
    assert Counter(one.path.name for one in images) == _each_once()


def _after_looks(library: Library, looks: int, act: Callable[[], object]) -> None:
    """Act once `library` has looked each image up, and before anything is written."""
    left = iter(range(looks, -1, -1))

    def count(*_: object) -> None:
        if next(left, None) == 0:
            act()

    event.listen(library.engine, "checkout", count)


def test_an_image_added_while_it_is_recorded_has_one_row(library_url: str) -> None:
    _draw()
    processes = [
        start_importer(library_url, "generate", "album"),
        start_importer(library_url, "3", "album"),
    ]
    assert release_all(*processes) == [0, 0]
    assert _names(library_url) == _each_once()
    with open_at(library_url) as library:
        sources = {one.backend for one in search_images(library, Query(), limit=500).images}
    assert sources == {"studio"}  # what `generate` records is more than what an image says


def test_a_postgresql_writer_times_out_on_a_held_lock(postgres_url: str) -> None:
    with open_at(postgres_url) as library, library.writing() as connection:
        lock_for_writing(connection)
        assert connection.execute(text("SHOW lock_timeout")).scalar() == "30s"
