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

_LORAS = ("ink.safetensors", "fog.safetensors")
_SOON = NOON + timedelta(hours=2)
_WANTED = {
    "everything": Query(),
    "words": Query(text="red"),
    "words that few have": Query(text="snow"),
    "words and more": Query(text="red fox", backend="studio"),
    "words, and a backend that few have": Query(text="red", backend="cloud"),
    "words that few have, and a backend": Query(text="cat", backend="cloud", rating=5),
    "a phrase in what few have": Query(text='"red fox"', models=("grey",), rating=1),
    "no phrase in what few have": Query(text='"fox red"', models=("grey",)),
    "a beginning in what few have": Query(text="re* sno*", models=("grey",)),
    "what is not said in what few have": Query(text="fox -snow", rating=1, in_trash=True),
    "what is said though it must not be": Query(text="red -snow", models=("grey",)),
    "a common tag and a rare one": Query(tags=("good", "print")),
    "a rare tag and a common one": Query(tags=("print", "good")),
    "a rare tag and words": Query(text="red", tags=("print",)),
    "a tag, a backend and a model": Query(tags=("good",), backend="cloud", models=("grey",)),
    "stars and a backend": Query(rating=3, backend="cloud"),
    "stars, a backend and a tag": Query(rating=5, backend="cloud", tags=("print",)),
    "the trash": Query(in_trash=True),
    "the trash and stars": Query(in_trash=True, rating=4),
    "the trash, words and a model": Query(in_trash=True, text="owl", models=("grey",)),
    "a time": Query(since=_SOON),
    "a time, words and a backend": Query(since=_SOON, text="red", backend="cloud"),
    "the time before, a tag and a backend": Query(until=_SOON, tags=("good",), backend="studio"),
    "what none has, and words": Query(text="red", backend="nowhere"),
    "two models": Query(models=("grey", "dream")),
    "a model twice": Query(models=("dream", "dream")),
    "two models, a backend and a time": Query(
        models=("dream", "grey"), backend="cloud", until=_SOON + timedelta(hours=2)
    ),
    "two models and stars": Query(models=("dream", "grey"), rating=5),
    "a shape": Query(shape="portrait"),
    "a shape and words": Query(shape="landscape", text="cat"),
    "no such shape": Query(shape="square"),
    "a size": Query(size=(48, 64)),
    "a LoRA": Query(loras=("ink.safetensors",)),
    "two LoRAs": Query(loras=("ink.safetensors", "fog.safetensors")),
    "a LoRA and a tag": Query(loras=("ink.safetensors",), tags=("print",)),
    "free": Query(cost="free"),
    "paid": Query(cost="paid"),
    "paid, a model": Query(cost="paid", models=("grey",)),
    "unknown cost": Query(cost="unknown"),
    "at most a cent": Query(max_cost=0.01),
    "at most a cent, a shape": Query(max_cost=0.01, shape="landscape"),
    "at most a dollar, a backend": Query(max_cost=1, backend="cloud"),
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
    "two models": {_FOX: 450, _CAT: 120, _SNOW: 3},
    "a model twice": {_FOX: 450, _CAT: 120},
    "two models, a backend and a time": {_CAT: 120, _SNOW: 3},
    "two models and stars": {_CAT: 120},
    "a shape": {_SNOW: 3},
    "a shape and words": {_CAT: 120},
    "no such shape": {},
    "a size": {_SNOW: 3},
    "a LoRA": {_CAT: 120, _SNOW: 3},
    "two LoRAs": {_SNOW: 3},
    "a LoRA and a tag": {_CAT: 120, _SNOW: 3},
    "free": {_FOX: 450},
    "paid": {_CAT: 120, _SNOW: 3},
    "paid, a model": {_SNOW: 3},
    "unknown cost": {},
    "at most a cent": {_FOX: 450, _CAT: 120},
    "at most a cent, a shape": {_FOX: 450, _CAT: 120},
    "at most a dollar, a backend": {_CAT: 120, _SNOW: 3},
}


def _batch(
    number: int, prompt: str, many: int, model: str, side: int = 48, **values: Any
) -> GenerationRecord:
    """A generation with this many images, this many hours after noon."""
    images = tuple(
        make_image(number, index).model_copy(update={"width": 112 - side, "height": side})
        for index in range(many)
    )
    began = NOON + timedelta(hours=number)
    facts = {"model": model}
    return make_record(number, prompt, began=began, images=images, facts=facts, **values)


@pytest.fixture
def many(library: Library) -> Library:
    """Four large batches and small ones: more than is looked at to learn which list is short."""
    batches = [
        _batch(1, _FOX, 450, "dream", backend="studio"),
        _batch(2, _CAT, 120, "dream", backend="cloud", loras=_LORAS[:1], estimated_usd=0.6),
        _batch(3, _SNOW, 3, "grey", 64, backend="cloud", loras=_LORAS, estimated_usd=0.6),
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
