"""Albums and saved views, in both databases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select
from support.library_samples import delete_images, make_image, make_record, record_all, trash_images

from imagen.errors import NotFound, RequestError
from imagen.library import Query, images_of, search_images
from imagen.library.albums import (
    change_album,
    create_album,
    delete_album,
    delete_view,
    find_album,
    list_albums,
    list_saved_views,
    rename_album,
    rename_view,
    save_view,
)
from imagen.library.schema import events

if TYPE_CHECKING:
    from imagen.library import Library, LibraryImage


@pytest.fixture
def three(library: Library) -> tuple[LibraryImage, ...]:
    """Three images, from the first to the last."""
    images = tuple(make_image(1, index) for index in range(3))
    record_all(library, [make_record(1, images=images)])
    return images_of(library, make_record(1).id)


def _kinds(library: Library) -> list[str]:
    with library.reading() as connection:
        return list(connection.scalars(select(events.c.kind).order_by(events.c.seq)))


def test_an_album_has_its_images_their_number_and_a_cover(
    library: Library, three: tuple[LibraryImage, ...]
) -> None:
    album = create_album(library, "  Red   foxes ")
    assert (album.name, album.images, album.cover) == ("Red foxes", 0, None)
    album = change_album(library, album.id, add=three[:2])
    album = change_album(library, album.id, add=[three[2], three[0]], remove=[three[1]])
    assert (album.images, album.cover) == (2, three[2])
    found = search_images(library, Query(album=album.id)).images
    assert found == (three[2], three[0])
    trash_images(library, [three[2]])
    assert [(one.images, one.cover) for one in list_albums(library)] == [(1, three[0])]
    delete_images(library, search_images(library, Query(in_trash=True)).images)
    assert [one.images for one in list_albums(library)] == [1]


def test_albums_are_found_by_name_renamed_and_deleted_without_their_images(
    library: Library, three: tuple[LibraryImage, ...]
) -> None:
    foxes, owls = create_album(library, "foxes"), create_album(library, "Owls")
    change_album(library, foxes.id, add=three)
    assert [album.name for album in list_albums(library)] == ["foxes", "Owls"]
    assert find_album(library, "Owls") == find_album(library, owls.id) == owls
    assert rename_album(library, foxes.id, "cats").name == "cats"
    with pytest.raises(NotFound, match="There is no album 'foxes'"):
        find_album(library, "foxes")
    delete_album(library, foxes.id)
    assert list_albums(library) == (owls,)
    assert len(search_images(library, Query()).images) == 3
    assert search_images(library, Query(album=foxes.id)).images == ()


@pytest.mark.parametrize("name", ["", "  ", "a\x07b", "x" * 101])
def test_an_invalid_name_is_refused(library: Library, name: str) -> None:
    with pytest.raises(RequestError, match="is not a valid name"):
        create_album(library, name)


def test_a_name_that_is_taken_is_refused(library: Library) -> None:
    create_album(library, "foxes")
    owls = create_album(library, "owls")
    with pytest.raises(RequestError, match="There is an album 'foxes' already"):
        rename_album(library, owls.id, "foxes")
    assert rename_album(library, owls.id, "owls").name == "owls"


def test_an_unknown_album_is_not_found(library: Library, three: tuple[LibraryImage, ...]) -> None:
    for change in (
        lambda: delete_album(library, "nope"),
        lambda: rename_album(library, "nope", "x"),
        lambda: change_album(library, "nope", add=three),
    ):
        with pytest.raises(NotFound, match="There is no album"):
            change()


def test_changes_of_albums_are_events(library: Library, three: tuple[LibraryImage, ...]) -> None:
    before = len(_kinds(library))
    album = create_album(library, "foxes")
    change_album(library, album.id, add=three)
    delete_album(library, album.id)
    save_view(library, "red", {"q": "red"})
    assert _kinds(library)[before:] == [
        "albums_changed",
        "albums_changed",
        "images_changed",
        "albums_changed",
        "images_changed",
        "views_changed",
    ]


def test_views_are_saved_replaced_renamed_and_deleted(library: Library) -> None:
    save_view(library, "red", {"q": "red"})
    red = save_view(library, "red", {"q": "red fox", "star": "1"})
    save_view(library, "Blue", {"q": "blue"})
    views = list_saved_views(library)
    assert [(view.name, dict(view.filters)) for view in views] == [
        ("Blue", {"q": "blue"}),
        ("red", {"q": "red fox", "star": "1"}),
    ]
    assert rename_view(library, red.id, "crimson").name == "crimson"
    delete_view(library, red.id)
    assert [view.name for view in list_saved_views(library)] == ["Blue"]
    with pytest.raises(NotFound, match="There is no saved view"):
        delete_view(library, red.id)


def test_filters_that_are_too_long_are_not_saved(library: Library) -> None:
    with pytest.raises(RequestError, match="too long"):
        save_view(library, "long", {"q": "x" * 10_001})
