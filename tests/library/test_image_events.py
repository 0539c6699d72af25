"""Every change of an image writes an event, from whichever command it comes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from sqlalchemy import select
from support.library_samples import make_image, make_record, settings_at, uuid_of

from imagen.library import (
    add_files,
    check_consistency,
    find_image,
    forget_missing,
    open_library,
    record_generation,
)
from imagen.library.schema import events
from imagen.library.tags import change_tags, set_rating
from imagen.library.trash import delete_for_good, move_back, move_to_trash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from imagen.library import Library, LibraryImage

UID = f"{uuid_of(1)}.1"


@pytest.fixture
def one_image(sqlite_path: str) -> Iterator[Library]:
    """A library with one image, whose file exists."""
    path = Path("fox.png").absolute()
    Image.new("RGB", (64, 48), "red").save(path)
    with open_library(settings_at(sqlite_path, state_dir=Path("state").absolute())) as library:
        record_generation(library, make_record(images=(make_image(path=path),)))
        yield library


def list_events(library: Library) -> list[tuple[str, list[str]]]:
    """The kind and the images of each event, in order."""
    with library.reading() as connection:
        rows = connection.execute(select(events).order_by(events.c.seq)).all()
    return [(row.kind, row.data["images"]) for row in rows]


def _delete(library: Library, image: LibraryImage) -> None:
    move_to_trash(library, image)
    delete_for_good(library, find_image(library, image.uid))


def _undo(library: Library, image: LibraryImage) -> None:
    move_to_trash(library, image)
    move_back(library, find_image(library, image.uid))


def _lose(library: Library, image: LibraryImage) -> None:
    image.path.unlink()
    check_consistency(library, fix=True)
    check_consistency(library, fix=True)  # noted already


def _forget(library: Library, image: LibraryImage) -> None:
    image.path.unlink()
    forget_missing(library, check_consistency(library))


def _move(library: Library, image: LibraryImage) -> None:
    image.path.rename(image.path.with_name("moved.png"))
    add_files(library, [image.path.parent])


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        (lambda library, image: change_tags(library, [image], add=["cat"]), ["images_changed"]),
        (lambda library, image: change_tags(library, [image]), []),
        (lambda library, image: set_rating(library, [image], 3), ["images_changed"]),
        (move_to_trash, ["images_changed"]),
        (_undo, ["images_changed", "images_changed"]),
        (_delete, ["images_changed", "images_removed"]),
        (_lose, ["images_changed"]),
        (_forget, ["images_removed"]),
        (_move, ["images_changed"]),
    ],
)
def test_a_change_of_an_image_is_an_event(
    one_image: Library, change: Callable[[Library, LibraryImage], object], kinds: list[str]
) -> None:
    assert list_events(one_image) == [("images_added", [UID])]
    change(one_image, find_image(one_image, UID))
    assert list_events(one_image)[1:] == [(kind, [UID]) for kind in kinds]


def test_an_image_added_from_a_file_is_removed_as_its_generation_is_recorded(
    sqlite_path: str,
) -> None:
    Image.new("RGB", (64, 48), "red").save("fox.png")
    with open_library(settings_at(sqlite_path)) as library:
        add_files(library, [Path()])
        ((_, imported),) = list_events(library)
        record_generation(library, make_record(images=(make_image(path=Path("fox.png")),)))
        assert list_events(library)[1:] == [("images_removed", imported), ("images_added", [UID])]
