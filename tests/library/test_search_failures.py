"""Failed generations: in pages, newest first, and only those that match."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from support.library_samples import NOON, make_failure, make_record, record_all, uuid_of

from imagen.errors import RequestError
from imagen.library import Query, find_failure, search_failures

if TYPE_CHECKING:
    from imagen.library import Library

_FACTS = {"models": ["dream.safetensors"]}


@pytest.fixture
def mishaps(library: Library) -> Library:
    """A fox, an owl and a cat that failed, an hour after each other; and a dog that did
    not."""
    record_all(
        library,
        [
            _later(0, 1, "a red fox in snow", facts=_FACTS),
            _later(1, 2, "Ein grauer Käuz", backend="cloud"),
            make_record(3, "a dog", began=NOON + timedelta(hours=2)),
            _later(3, 4, "a grey cat", facts=_FACTS),
        ],
    )
    return library


def _later(hours: int, number: int, prompt: str, **values: Any) -> Any:
    values = {"facts": {}, **values}
    return make_failure(number, prompt=prompt, began=NOON + timedelta(hours=hours), **values)


def test_a_failed_generation_has_its_error_and_request(mishaps: Library) -> None:
    newest = search_failures(mishaps, Query()).failures[0]
    assert (newest.id, newest.generation, newest.created) == (
        "00000004",
        uuid_of(4),
        NOON + timedelta(hours=3),
    )
    assert (newest.backend, newest.model, newest.prompt) == (
        "studio",
        "dream.safetensors",
        "a grey cat",
    )
    assert (newest.code, newest.message, newest.caller) == ("failed", "Out of memory.", "ada")


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        pytest.param(Query(), [4, 2, 1], id="all"),
        pytest.param(Query(backend="cloud"), [2], id="backend"),
        pytest.param(Query(models=("dream.safetensors",)), [4, 1], id="model"),
        pytest.param(Query(since=NOON + timedelta(hours=1)), [4, 2], id="since"),
        pytest.param(Query(until=NOON + timedelta(hours=1)), [1], id="until"),
        pytest.param(Query(text="fox"), [1], id="a word"),
        pytest.param(Query(text="fo"), [], id="half a word"),
        pytest.param(Query(text="fo*"), [1], id="a beginning"),
        pytest.param(Query(text='"in snow"'), [1], id="a phrase"),
        pytest.param(Query(text='"snow in"'), [], id="another phrase"),
        pytest.param(Query(text="a -fox"), [4], id="without another"),
        pytest.param(Query(text="kauz"), [2], id="without its accent"),
    ],
)
def test_search_failures_applies_the_query(
    mishaps: Library, query: Query, numbers: list[int]
) -> None:
    found = search_failures(mishaps, query).failures
    assert [one.generation for one in found] == [uuid_of(number) for number in numbers]


def test_pages_of_failures_follow_each_other(mishaps: Library) -> None:
    first = search_failures(mishaps, Query(), limit=2)
    second = search_failures(mishaps, Query(), first.after, limit=2)
    assert [one.id for one in (*first.failures, *second.failures)] == [
        "00000004",
        "00000002",
        "00000001",
    ]
    assert (first.after is None, second.after) == (False, None)


def test_a_full_last_page_of_failures_has_no_next(mishaps: Library) -> None:
    assert search_failures(mishaps, Query(), limit=3).after is None


def test_failures_of_the_same_moment_are_paged_completely(library: Library) -> None:
    record_all(library, [make_failure(number) for number in range(1, 6)])
    first = search_failures(library, Query(), limit=2)
    second = search_failures(library, Query(), first.after, limit=2)
    third = search_failures(library, Query(), second.after, limit=2)
    whole = [*first.failures, *second.failures, *third.failures]
    assert [one.generation for one in whole] == [uuid_of(number) for number in (5, 4, 3, 2, 1)]


def test_a_rare_word_is_found_in_old_failures(library: Library) -> None:
    record_all(library, [make_failure(1, prompt="a fox")])
    record_all(
        library,
        [make_failure(n, began=NOON + timedelta(hours=n), prompt="a dog") for n in range(2, 9)],
    )
    assert [one.id for one in search_failures(library, Query(text="fox"), limit=1).failures] == [
        "00000001"
    ]


def test_find_failure_accepts_the_beginning_of_an_id(mishaps: Library) -> None:
    assert find_failure(mishaps, "00000002").generation == uuid_of(2)
    assert find_failure(mishaps, uuid_of(1)).generation == uuid_of(1)
    with pytest.raises(RequestError, match="Failed generation '00000003' was not found"):
        find_failure(mishaps, "00000003")
    with pytest.raises(RequestError, match="matches several"):
        find_failure(mishaps, "0000000")
