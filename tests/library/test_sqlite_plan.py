"""SQLite finds the same images whichever condition the fewest of them meet."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from support.library_samples import NOON, make_image, make_record, record_all, trash_images

from imagen.library import Query, count_images, images_of, search_images
from imagen.library.tags import change_tags, set_rating

if TYPE_CHECKING:
    from typing import Any

    from imagen.library import GenerationRecord, Library

_SOON = NOON + timedelta(hours=2)
_WANTED = {
    "everything": Query(),
    "words": Query(text="red"),
    "words that few have": Query(text="snow"),
    "words and more": Query(text="red fox", backend="studio"),
    "words, and a backend that few have": Query(text="red", backend="cloud"),
    "words that few have, and a backend": Query(text="cat", backend="cloud", rating=5),
    "a phrase in what few have": Query(text='"red fox"', model="grey", rating=1),
    "no phrase in what few have": Query(text='"fox red"', model="grey"),
    "a beginning in what few have": Query(text="re* sno*", model="grey"),
    "what is not said in what few have": Query(text="fox -snow", rating=1, in_trash=True),
    "what is said though it must not be": Query(text="red -snow", model="grey"),
    "a common tag and a rare one": Query(tags=("good", "print")),
    "a rare tag and a common one": Query(tags=("print", "good")),
    "a rare tag and words": Query(text="red", tags=("print",)),
    "a tag, a backend and a model": Query(tags=("good",), backend="cloud", model="grey"),
    "stars and a backend": Query(rating=3, backend="cloud"),
    "stars, a backend and a tag": Query(rating=5, backend="cloud", tags=("print",)),
    "the trash": Query(in_trash=True),
    "the trash and stars": Query(in_trash=True, rating=4),
    "the trash, words and a model": Query(in_trash=True, text="owl", model="grey"),
    "a time": Query(since=_SOON),
    "a time, words and a backend": Query(since=_SOON, text="red", backend="cloud"),
    "the time before, a tag and a backend": Query(until=_SOON, tags=("good",), backend="studio"),
    "what none has, and words": Query(text="red", backend="nowhere"),
}
_FOX, _CAT, _SNOW, _OWL = "a red fox", "a red cat", "a red fox in snow", "a foxy fox of an owl"
_FOUND: dict[str, dict[str, int]] = {
    "everything": {_FOX: 450, _CAT: 120, _SNOW: 3},
    "words": {_FOX: 450, _CAT: 120, _SNOW: 3},
    "words that few have": {_SNOW: 3},
    "words and more": {_FOX: 450},
    "words, and a backend that few have": {_CAT: 120, _SNOW: 3},
    "words that few have, and a backend": {_CAT: 120},
    "a phrase in what few have": {_SNOW: 3},
    "no phrase in what few have": {},
    "a beginning in what few have": {_SNOW: 3},
    "what is not said in what few have": {_OWL: 130},
    "what is said though it must not be": {},
    "a common tag and a rare one": {_SNOW: 3},
    "a rare tag and a common one": {_SNOW: 3},
    "a rare tag and words": {_CAT: 120, _SNOW: 3},
    "a tag, a backend and a model": {_SNOW: 3},
    "stars and a backend": {_CAT: 120, _SNOW: 3},
    "stars, a backend and a tag": {_CAT: 120},
    "the trash": {_OWL: 130},
    "the trash and stars": {_OWL: 130},
    "the trash, words and a model": {_OWL: 130},
    "a time": {_CAT: 120, _SNOW: 3},
    "a time, words and a backend": {_CAT: 120, _SNOW: 3},
    "the time before, a tag and a backend": {_FOX: 450},
    "what none has, and words": {},
}


def _batch(number: int, prompt: str, many: int, model: str, **values: Any) -> GenerationRecord:
    """A generation with this many images, this many hours after noon."""
    images = tuple(make_image(number, index) for index in range(many))
    began = NOON + timedelta(hours=number)
    facts = {"model": model}
    return make_record(number, prompt, began=began, images=images, facts=facts, **values)


@pytest.fixture
def many(library: Library) -> Library:
    """Four large batches and small ones: more than is looked at to learn which list is short."""
    batches = [
        _batch(1, _FOX, 450, "dream", backend="studio"),
        _batch(2, _CAT, 120, "dream", backend="cloud"),
        _batch(3, _SNOW, 3, "grey", backend="cloud"),
        _batch(0, _OWL, 130, "grey", backend="studio"),
    ]
    record_all(library, batches)
    fox, cat, snow, owl = (images_of(library, batch.id) for batch in batches)
    change_tags(library, [*fox, *snow], add=["good"])
    change_tags(library, [*cat, *snow], add=["print"])
    set_rating(library, cat, 5)
    set_rating(library, snow, 3)
    set_rating(library, owl, 4)
    trash_images(library, owl)
    return library


def _prompts(library: Library, query: Query) -> dict[str, int]:
    """The number of images found, by prompt."""
    return Counter(image.prompt for image in search_images(library, query, limit=1000).images)


def test_every_order_of_key_lists_finds_the_same_images(many: Library) -> None:
    assert {what: _prompts(many, query) for what, query in _WANTED.items()} == _FOUND


def test_count_images_agrees_with_search_images(many: Library) -> None:
    counted = {what: count_images(many, query) for what, query in _WANTED.items()}
    assert counted == {what: sum(found.values()) for what, found in _FOUND.items()}


def test_pages_of_combined_conditions_follow_each_other(many: Library) -> None:
    query = Query(text="red", rating=5)
    first, after = search_images(many, query, limit=100)
    rest, end = search_images(many, query, after, limit=100)
    assert [image.number for image in (*first, *rest)] == [*range(119, -1, -1)]
    assert end is None
