"""The outbox: each delivery is claimed by one sender, and kept until it is sent."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update
from support.library_samples import make_delivery, make_image, make_record, settings_at, uuid_of

from imagen.library import Query, open_library, record_generation, search_images
from imagen.library.outbox import (
    advance_destination,
    claim,
    hold_destination,
    list_unsent,
    mark_failed,
    mark_sent,
    next_due,
    postpone,
    retry,
)
from imagen.library.schema import images
from imagen.library.schema import outbox as rows

if TYPE_CHECKING:
    from imagen.library import Library
    from imagen.library.outbox import PendingDelivery

_MINUTE_MS = 60_000


def _now_ms() -> int:
    return round(time.time() * 1000)


def _post(library: Library, many: int) -> None:
    record_generation(
        library, make_record(1), [make_delivery(1, part=part) for part in range(many)]
    )


def _parts(found: list[PendingDelivery]) -> list[int]:
    return [waiting.delivery.part for waiting in found]


def test_an_empty_outbox_has_nothing_to_claim(library: Library) -> None:
    assert (claim(library), list_unsent(library), next_due(library), retry(library)) == (
        [],
        [],
        None,
        0,
    )


def test_only_a_sent_image_gets_its_place_in_the_cloud(
    library: Library,
) -> None:
    images = tuple(make_image(1, number) for number in range(3))
    record_generation(library, make_record(1, images=images), [make_delivery(1, "cloud", 1)])
    record_generation(library, make_record(2, images=(make_image(2, 0), make_image(2, 1))))
    (waiting,) = claim(library)
    mark_sent(library, waiting, {"bucket": "art", "path": "fox.png"})
    found = {
        (one.generation, one.number): one.cloud for one in search_images(library, Query()).images
    }
    there = {key: cloud for key, cloud in found.items() if cloud}
    assert there == {(uuid_of(1), 1): {"bucket": "art", "path": "fox.png"}}
    assert len(found) == 5


def test_a_machine_does_not_claim_images_of_others(postgres_url: str) -> None:
    with open_library(settings_at(postgres_url)) as library:
        posted = [make_delivery(1, kind) for kind in ("cloud", "mirror", "webhook")]
        record_generation(library, make_record(1), posted)
        record_generation(library, make_record(2), [make_delivery(2, "cloud")])
        with library.writing() as connection:
            theirs = update(images).where(images.c.generation == uuid_of(1))
            connection.execute(theirs.values(host="elsewhere"))
        found = {(one.delivery.kind, one.delivery.generation) for one in claim(library)}
    assert found == {("mirror", uuid_of(1)), ("webhook", uuid_of(1)), ("cloud", uuid_of(2))}


def test_a_queued_delivery_is_claimed_unchanged(library: Library) -> None:
    posted = make_delivery(1, "cloud", 2, path="fox.png", note="\0\ud800")
    record_generation(
        library, make_record(1), [posted.model_copy(update={"destination": "https://example"})]
    )
    (waiting,) = claim(library)
    assert (waiting.state, waiting.attempts, waiting.last_error) == ("waiting", 0, "")
    assert (waiting.delivery.kind, waiting.delivery.part) == ("cloud", 2)
    assert waiting.delivery.destination == "https://example"
    assert waiting.delivery.payload == {"path": "fox.png", "note": "\0\ufffd"}


def test_a_claimed_delivery_is_not_claimed_again(library: Library) -> None:
    _post(library, 5)
    assert _parts(claim(library, limit=2)) == [0, 1]
    assert _parts(claim(library, limit=2)) == [2, 3]
    assert _parts(claim(library)) == [4]
    assert claim(library) == []


def test_concurrent_senders_claim_different_deliveries(library: Library) -> None:
    _post(library, 40)
    with ThreadPoolExecutor(4) as pool:
        claimed = list(pool.map(lambda _: _parts(claim(library, limit=5)), range(8)))
    assert sorted(part for parts in claimed for part in parts) == list(range(40))


def test_a_claim_expires_after_ten_minutes(library: Library) -> None:
    _post(library, 1)
    claim(library)
    assert claim(library, now_ms=_now_ms() + 9 * _MINUTE_MS) == []
    assert _parts(claim(library, now_ms=_now_ms() + 11 * _MINUTE_MS)) == [0]


def test_a_sent_delivery_is_not_claimed(library: Library) -> None:
    _post(library, 1)
    (waiting,) = claim(library)
    mark_sent(library, waiting, {})
    assert (list_unsent(library), next_due(library)) == ([], None)
    assert claim(library, now_ms=_now_ms() + 60 * _MINUTE_MS) == []


def test_a_failed_delivery_waits_until_it_is_due(library: Library) -> None:
    _post(library, 1)
    (waiting,) = claim(library)
    mark_failed(library, waiting, "No answer\0.", again_in_seconds=120)
    (left,) = list_unsent(library)
    assert (left.state, left.attempts, left.last_error) == ("waiting", 1, "No answer.")
    assert 110 < (left.due - datetime.now(UTC)).total_seconds() < 121
    assert next_due(library) == left.due
    assert claim(library) == []
    assert _parts(claim(library, now_ms=_now_ms() + 3 * _MINUTE_MS)) == [0]


def test_a_delivery_without_another_attempt_is_stuck(library: Library) -> None:
    _post(library, 1)
    (waiting,) = claim(library)
    mark_failed(library, waiting, "Refused.", again_in_seconds=None)
    assert [(left.state, left.last_error) for left in list_unsent(library)] == [
        ("stuck", "Refused.")
    ]
    assert next_due(library) is None
    assert claim(library, now_ms=_now_ms() + 60 * _MINUTE_MS) == []


@pytest.mark.parametrize("again_in_seconds", [None, 3600.0], ids=["stuck", "waiting"])
def test_retry_makes_a_delivery_due_now(library: Library, again_in_seconds: float | None) -> None:
    _post(library, 2)
    first, _ = claim(library)
    mark_failed(library, first, "Refused.", again_in_seconds=again_in_seconds)
    assert retry(library, [first.id]) == 1
    assert [(w.delivery.part, w.attempts) for w in claim(library)] == [(0, 1)]


def test_retry_drops_a_claim_of_a_wrong_clock(library: Library) -> None:
    _post(library, 1)
    claim(library, now_ms=_now_ms() + 10**9 * _MINUTE_MS)
    assert claim(library) == []
    assert retry(library) == 1
    assert _parts(claim(library)) == [0]


def test_retry_keeps_the_claims_of_others(library: Library) -> None:
    _post(library, 1)
    claim(library)
    assert retry(library) == 1
    assert claim(library) == []


def test_retry_without_ids_makes_everything_due(library: Library) -> None:
    _post(library, 3)
    first, second, third = claim(library)
    mark_failed(library, first, "Refused.", again_in_seconds=None)
    mark_failed(library, second, "No answer.", again_in_seconds=60)
    mark_sent(library, third, {})
    assert retry(library) == 2
    assert _parts(claim(library)) == [0, 1]


def test_an_expired_sender_does_not_undo_a_success(library: Library) -> None:
    _post(library, 1)
    (slow,) = claim(library)
    (quick,) = claim(library, now_ms=_now_ms() + 11 * _MINUTE_MS)
    mark_sent(library, quick, {})
    mark_failed(library, slow, "Timed out.", again_in_seconds=1)
    assert list_unsent(library) == []


def _due_in(library: Library) -> list[int]:
    now = datetime.now(UTC)
    return [round((waiting.due - now).total_seconds()) for waiting in list_unsent(library)]


def test_advance_destination_skips_postponed_deliveries(library: Library) -> None:
    _post(library, 3)
    failing, off, arriving = claim(library)
    mark_failed(library, failing, "No answer.", again_in_seconds=3600)
    postpone(library, off, "It is on another machine.", seconds=3600)
    mark_sent(library, arriving, {})
    assert advance_destination(library, arriving.delivery, seconds=3600) == 1
    assert _due_in(library) == [0, 3600]


def test_the_last_pause_repeats(library: Library) -> None:
    _post(library, 3)
    failing, *_ = claim(library, limit=1)
    with library.writing() as connection:
        connection.execute(update(rows).where(rows.c.part == 1).values(attempts=2))
        connection.execute(update(rows).where(rows.c.part == 2).values(attempts=9))
    assert hold_destination(library, failing, "It is down.", pauses=(30, 60, 3600)) == 2
    assert _due_in(library)[1:] == [3600, 3600]
