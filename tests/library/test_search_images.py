"""Pages of images: newest first, each image once, and only those that match."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import TYPE_CHECKING

import pytest
from support.library_samples import (
    NOON,
    make_failure,
    make_image,
    make_record,
    record_all,
    trash_images,
    uuid_of,
)

from imagen.library import (
    Query,
    count_images,
    find_image,
    images_of,
    list_values,
    record_generation,
    search_images,
)
from imagen.library.tags import change_tags, set_rating
from imagen.library.trash import move_back

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from imagen.library import GenerationRecord, Library, LibraryImage

_FOX, _CAT, _OWL, _OLD = "00000001", "00000002", "00000003", "00000004"


def _ids(library: Library, query: Query | None = None, limit: int = 50) -> list[str]:
    return [image.id for image in search_images(library, query or Query(), limit=limit).images]


def _hours(number: int, **values: Any) -> GenerationRecord:
    """The generation of this number, this many hours after noon."""
    return make_record(number, began=NOON + timedelta(hours=number), **values)


def _walked(library: Library, limit: int, between: Callable[[], None] = lambda: None) -> list[str]:
    """The IDs of all pages; `between` is done before each."""

    def pages() -> Iterator[LibraryImage]:
        found, after = search_images(library, Query(), limit=limit)
        yield from found
        while after is not None:
            between()
            found, after = search_images(library, Query(), after, limit)
            yield from found

    return [image.id for image in pages()]


@pytest.fixture
def four(library: Library) -> Library:
    """A fox, a cat and an owl, hour by hour, and something old; by two backends and two models."""
    grey = {"facts": {"model": "grey"}}
    record_all(
        library,
        [
            make_record(4, "an old fox", began=NOON - timedelta(days=40), backend="cloud"),
            _hours(1, prompt="a red fox"),
            _hours(2, prompt="a red cat", backend="cloud", **grey),
            _hours(3, prompt="a grey owl", **grey),
        ],
    )
    found = {image.id: image for image in search_images(library, Query()).images}
    change_tags(library, [found[_FOX], found[_CAT]], add=["good"])
    change_tags(library, [found[_CAT], found[_OLD]], add=["print"])
    set_rating(library, [found[_FOX]], 3)
    set_rating(library, [found[_OLD]], 5)
    return library


def test_an_empty_library_has_an_empty_page(library: Library) -> None:
    assert search_images(library, Query()) == ((), None)


def test_images_are_sorted_newest_first(four: Library) -> None:
    assert _ids(four) == [_OWL, _CAT, _FOX, _OLD]


def test_images_of_a_batch_are_adjacent(library: Library) -> None:
    batch = tuple(make_image(1, index) for index in range(3))
    record_all(library, [_hours(2), _hours(1, images=batch), _hours(0)])
    assert _ids(library) == ["00000002", "00000001.3", "00000001.2", "00000001", "00000000"]


def test_pages_have_each_image_once(library: Library) -> None:
    record_all(library, map(_hours, range(23)))
    assert _walked(library, 5) == [uuid_of(number)[:8] for number in reversed(range(23))]


def test_pages_are_complete_while_images_are_added(library: Library) -> None:
    record_all(library, map(_hours, range(10)))
    newer = iter(range(100, 200))
    found = _walked(library, 3, lambda: record_all(library, [_hours(next(newer))]))
    assert found == [uuid_of(number)[:8] for number in reversed(range(10))]


def test_pages_are_complete_while_images_are_trashed(library: Library) -> None:
    record_all(library, map(_hours, range(9)))
    found = _walked(
        library, 3, lambda: trash_images(library, search_images(library, Query(), limit=1).images)
    )
    assert found == [uuid_of(number)[:8] for number in reversed(range(9))]


@pytest.mark.parametrize(
    ("many", "limit", "is_last"),
    [(3, 3, True), (3, 4, True), (3, 2, False)],
    ids=["just so many", "fewer", "more"],
)
def test_the_last_page_has_no_next(library: Library, many: int, limit: int, is_last: bool) -> None:
    record_all(library, map(_hours, range(many)))
    assert (search_images(library, Query(), limit=limit).after is None) is is_last


def test_a_page_can_be_larger_than_a_statement(library: Library) -> None:
    thousands = tuple(make_image(1, index) for index in range(1020))
    record_all(library, [make_record(number, images=thousands) for number in range(2)])
    found = search_images(library, Query(), limit=100_000).images
    change_tags(library, found, add=["many"])
    assert {
        (len(found), p.tags) for p in search_images(library, Query(), limit=100_000).images
    } == {(2040, ("many",))}


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        pytest.param(Query(backend="cloud"), [_CAT, _OLD], id="backend"),
        pytest.param(Query(backend="clou"), [], id="no backend"),
        pytest.param(Query(models=("grey",)), [_OWL, _CAT], id="model"),
        pytest.param(Query(text="red"), [_CAT, _FOX], id="text"),
        pytest.param(Query(tags=("good",)), [_CAT, _FOX], id="tag"),
        pytest.param(Query(tags=("good", "print")), [_CAT], id="two tags"),
        pytest.param(Query(tags=("good", "good")), [_CAT, _FOX], id="the same tag twice"),
        pytest.param(Query(tags=("bad",)), [], id="no tag"),
        pytest.param(Query(rating=1), [_FOX, _OLD], id="any rating"),
        pytest.param(Query(rating=4), [_OLD], id="rating"),
        pytest.param(Query(since=NOON), [_OWL, _CAT, _FOX], id="since"),
        pytest.param(Query(until=NOON), [_OLD], id="until"),
        pytest.param(Query(until=datetime(9999, 12, 31, tzinfo=UTC)), [_OWL, _CAT, _FOX, _OLD],
                     id="until ever"),
        pytest.param(Query(since=datetime(1, 1, 2, tzinfo=UTC)), [_OWL, _CAT, _FOX, _OLD],
                     id="since ever"),
        pytest.param(Query(in_trash=True), [], id="trash"),
    ],
)  # fmt: skip
def test_search_images_applies_each_condition(four: Library, query: Query, ids: list[str]) -> None:
    assert _ids(four, query) == ids
    assert count_images(four, query) == len(ids)


def test_since_is_inclusive_and_until_exclusive(four: Library) -> None:
    at_two = NOON + timedelta(hours=2)
    assert _ids(four, Query(since=at_two)) == [_OWL, _CAT]
    assert _ids(four, Query(until=at_two)) == [_FOX, _OLD]


_CHOICES: dict[str, tuple[Any, set[str]]] = {
    "text": ("red", {_CAT, _FOX}),
    "backend": ("studio", {_FOX, _OWL}),
    "models": (("dream.safetensors",), {_FOX, _OLD}),
    "tags": (("good",), {_FOX, _CAT}),
    "rating": (2, {_FOX, _OLD}),
    "since": (NOON, {_FOX, _CAT, _OWL}),
    "until": (NOON + timedelta(hours=3), {_FOX, _CAT, _OLD}),
}


def _combinations() -> Iterator[tuple[Query, list[str]]]:
    """Every choice of filters, and what is left by all of them."""
    for taken in product([False, True], repeat=len(_CHOICES)):
        chosen = {
            name: choice
            for (name, choice), is_in in zip(_CHOICES.items(), taken, strict=True)
            if is_in
        }
        ids = {_FOX, _CAT, _OWL, _OLD}.intersection(
            *(make_image for _, make_image in chosen.values())
        )
        newest = [id for id in (_OWL, _CAT, _FOX, _OLD) if id in ids]
        yield Query(**{name: value for name, (value, _) in chosen.items()}), newest


def test_all_conditions_are_combined(four: Library) -> None:
    both = [(query, ids, _ids(four, query)) for query, ids in _combinations()]
    assert len(both) == 128
    assert [found for found in both if found[1] != found[2]] == []


def test_conditions_apply_to_every_page(four: Library) -> None:
    first = search_images(four, Query(text="red"), limit=1)
    assert [image.id for image in first.images] == [_CAT]
    second = search_images(four, Query(text="red"), first.after, 1)
    assert ([image.id for image in second.images], second.after) == ([_FOX], None)


def test_images_in_the_trash_are_listed_only_there(four: Library) -> None:
    owl = search_images(four, Query(), limit=1).images
    trash_images(four, owl)
    assert (_ids(four), _ids(four, Query(in_trash=True))) == ([_CAT, _FOX, _OLD], [_OWL])
    assert (count_images(four, Query()), count_images(four, Query(in_trash=True))) == (3, 1)
    assert search_images(four, Query(in_trash=True)).images[0].is_trashed is True
    move_back(four, find_image(four, _OWL))
    assert _ids(four) == [_OWL, _CAT, _FOX, _OLD]


def test_list_values_lists_backends_models_and_tags(four: Library) -> None:
    assert list_values(four, "backend") == ["cloud", "studio"]
    assert list_values(four, "model") == ["dream.safetensors", "grey"]
    assert list_values(four, "tag") == ["good", "print"]


def test_list_values_of_an_empty_library_is_empty(library: Library) -> None:
    assert [list_values(library, "backend"), list_values(library, "tag")] == [[], []]


def test_images_of_a_generation_are_in_order(library: Library) -> None:
    record_generation(library, make_record(1, images=(make_image(1, 0), make_image(1, 1))))
    assert [image.id for image in images_of(library, uuid_of(1))] == [
        "00000001",
        "00000001.2",
    ]
    assert images_of(library, uuid_of(2)) == ()


def test_a_failed_generation_is_not_on_a_page_of_images(library: Library) -> None:
    record_all(library, [make_failure(1)])
    assert _ids(library) == []
