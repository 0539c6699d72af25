"""Tags and ratings of images, and where an image is in the cloud."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.library_samples import make_delivery, make_image, make_record, record_all, uuid_of

from imagen.errors import RequestError
from imagen.library import Query, find_image, record_generation, search_images
from imagen.library.outbox import claim, mark_sent
from imagen.library.tags import change_tags, parse_tag, set_rating

if TYPE_CHECKING:
    from imagen.library import Library, LibraryImage


@pytest.fixture
def fox(library: Library) -> LibraryImage:
    """An image whose file does not exist."""
    record_generation(library, make_record(1))
    return find_image(library, "00000001")


def _tags(library: Library) -> tuple[str, ...]:
    return find_image(library, "00000001").tags


def test_change_tags_adds_and_removes_tags(library: Library, fox: LibraryImage) -> None:
    change_tags(library, [fox], add=["good", "fox"])
    assert _tags(library) == ("fox", "good")
    change_tags(library, [fox], add=["print"], remove=["fox", "never given"])
    assert _tags(library) == ("good", "print")


def test_adding_a_tag_twice_stores_it_once(library: Library, fox: LibraryImage) -> None:
    change_tags(library, [fox, fox], add=["good", "Good"])
    change_tags(library, [fox], add=["good"])
    assert _tags(library) == ("good",)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Good", "good"),
        ("  to   print ", "to print"),
        ("CAFE\u0301", "café"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("🦊", "🦊"),
        ("-draft", "-draft"),
        ("x" * 100, "x" * 100),
    ],
)
def test_parse_tag_normalizes_case_spaces_and_accents(text: str, name: str) -> None:
    assert parse_tag(text) == name


@pytest.mark.parametrize("text", ["", "  ", "a,b", "a\x1b[31m", "a\0", "\u202eevil", "x" * 101])
def test_an_invalid_tag_is_refused_and_no_tag_is_added(
    library: Library, fox: LibraryImage, text: str
) -> None:
    with pytest.raises(RequestError) as caught:
        change_tags(library, [fox], add=["good", text])
    assert caught.value.message.startswith(
        f"{text!r} is not a valid tag: expected one or more words"
    )
    assert _tags(library) == ()


def test_set_rating_rates_and_removes_the_rating(library: Library, fox: LibraryImage) -> None:
    set_rating(library, [fox], 4)
    assert find_image(library, "00000001").rating == 4
    set_rating(library, [fox], None)
    assert find_image(library, "00000001").rating is None


@pytest.mark.parametrize("stars", [0, 6, -1])
def test_a_rating_outside_1_to_5_is_refused(
    library: Library, fox: LibraryImage, stars: int
) -> None:
    with pytest.raises(RequestError) as caught:
        set_rating(library, [fox], stars)
    assert caught.value.message == f"A rating is 1 to 5, not {stars}."


def test_two_thousand_images_are_rated_and_tagged_in_one_call(library: Library) -> None:
    images = tuple(make_image(1, index) for index in range(1020))
    record_all(library, [make_record(number, images=images) for number in range(2)])
    found = search_images(library, Query(), limit=5000).images
    set_rating(library, found, 2)
    change_tags(library, found, add=["good"])
    marked = search_images(library, Query(tags=("good",), rating=2), limit=5000).images
    assert len(marked) == 2040


def test_an_image_has_its_bucket_and_path_in_the_cloud_once_it_is_sent(library: Library) -> None:
    record_generation(
        library,
        make_record(1, images=(make_image(1, 0), make_image(1, 1))),
        [make_delivery(1, "cloud", 1)],
    )
    (waiting,) = claim(library)
    mark_sent(library, waiting, {"bucket": "b", "path": "2026-11-27/fox.png"})
    assert find_image(library, "00000001.2").cloud == {
        "bucket": "b",
        "path": "2026-11-27/fox.png",
    }
    assert find_image(library, "00000001").cloud == {}
    assert find_image(library, uuid_of(1)).cloud == {}
