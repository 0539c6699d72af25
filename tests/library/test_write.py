"""Recording generations: once, completely or not at all, whatever they contain."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import count as count_from
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from sqlalchemy import func, select, text, update
from support.library_samples import (
    NOON,
    delete_images,
    make_delivery,
    make_failure,
    make_image,
    make_record,
    record_all,
    settings_at,
    trash_images,
    uuid_of,
)

from imagen.errors import LibraryError
from imagen.library import (
    Query,
    count_images,
    images_of,
    open_library,
    record_generation,
    search_images,
    sum_usage,
)
from imagen.library.outbox import claim, list_unsent, mark_sent
from imagen.library.schema import first_key, generations, image_key, images, thumbnails

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from imagen.library import GenerationRecord, Library


def _row(library: Library) -> Mapping[str, Any]:
    with library.reading() as connection:
        return dict(connection.execute(select(generations)).one()._mapping)


def _ledger(library: Library) -> int:
    return sum(total.generations for total in sum_usage(library))


def test_a_recorded_generation_is_found(library: Library) -> None:
    assert record_generation(library, make_record(1, "a red fox")) is True
    (image,) = search_images(library, Query()).images
    assert (image.id, image.prompt, image.backend) == ("00000001", "a red fox", "studio")
    assert (image.model, image.width, image.height) == ("dream.safetensors", 64, 48)
    assert (image.created, image.seed, image.size_bytes) == (NOON, 7, 3)
    assert image.path == Path("/images/1-0.png").absolute()


def test_a_generation_is_recorded_once(library: Library) -> None:
    assert record_generation(library, make_record(), [make_delivery()]) is True
    assert record_generation(library, make_record(), [make_delivery()]) is False
    assert (count_images(library, Query()), _ledger(library), len(list_unsent(library))) == (
        1,
        1,
        1,
    )


def test_concurrent_writers_record_a_generation_once(library: Library) -> None:
    with ThreadPoolExecutor(6) as pool:
        taken = list(
            pool.map(
                lambda _: record_generation(library, make_record(), [make_delivery()]), range(6)
            )
        )
    assert sorted(taken) == [False, False, False, False, False, True]
    assert (count_images(library, Query()), _ledger(library), len(list_unsent(library))) == (
        1,
        1,
        1,
    )


def test_concurrent_writers_record_different_generations(library: Library) -> None:
    with ThreadPoolExecutor(4) as pool:
        taken = list(
            pool.map(lambda number: record_generation(library, make_record(number)), range(40))
        )
    assert (all(taken), count_images(library, Query())) == (True, 40)


def test_a_generation_is_recorded_completely_or_not_at_all(library: Library) -> None:
    same = make_delivery(1)
    with library.writing() as connection:
        connection.execute(text("DROP TABLE outbox"))
    with pytest.raises(LibraryError, match="outbox"):
        record_generation(library, make_record(1), [same])
    assert (count_images(library, Query()), _ledger(library)) == (0, 0)


def test_a_failed_generation_has_no_image_and_no_cost(library: Library) -> None:
    assert record_generation(library, make_failure()) is True
    assert record_generation(library, make_failure()) is False
    assert (count_images(library, Query()), _ledger(library)) == (0, 0)
    assert (_row(library)["state"], _row(library)["error"]) == (
        "failed",
        {"code": "failed", "message": "Out of memory."},
    )


def test_a_failed_generation_can_be_recorded_as_done_later(library: Library) -> None:
    record_generation(library, make_failure())
    assert record_generation(library, make_record()) is True
    assert (_row(library)["state"], count_images(library, Query()), _ledger(library)) == (
        "done",
        1,
        1,
    )


def test_a_failure_does_not_replace_a_done_generation(library: Library) -> None:
    record_generation(library, make_record())
    assert record_generation(library, make_failure()) is False
    assert (_row(library)["state"], count_images(library, Query())) == ("done", 1)


def test_a_record_replaces_an_import_of_the_same_files(
    library: Library,
) -> None:
    record_generation(library, make_record(source="import", caller="", estimated_usd=0.5))
    assert record_generation(library, make_record(estimated_usd=0.5), [make_delivery()]) is True
    assert (count_images(library, Query()), _ledger(library), len(list_unsent(library))) == (
        1,
        1,
        1,
    )
    assert (_row(library)["source"], _row(library)["caller"]) == ("imagen", "ada")
    assert record_generation(library, make_record(source="import")) is False
    assert _row(library)["source"] == "imagen"


def test_a_deleted_generation_recorded_again_has_one_ledger_row(library: Library) -> None:
    record_generation(library, make_record())
    trash_images(library, images_of(library, uuid_of(1)))
    delete_images(library, images_of(library, uuid_of(1)))
    assert record_generation(library, make_record()) is True
    assert (count_images(library, Query()), _ledger(library)) == (1, 1)


def test_images_of_a_failed_generation_are_replaced_by_success(library: Library) -> None:
    half = make_record(1, state="failed", images=(make_image(1, 0),))
    record_generation(library, half)
    assert (
        record_generation(library, make_record(1, images=(make_image(1, 0), make_image(1, 1))))
        is True
    )
    assert [image.id for image in search_images(library, Query()).images] == [
        "00000001.2",
        "00000001",
    ]


def test_a_success_is_delivered_after_its_failure(library: Library) -> None:
    record_generation(library, make_failure(), [make_delivery(event="failed")])
    (told,) = claim(library)
    mark_sent(library, told, {})
    assert record_generation(library, make_record(), [make_delivery(event="finished")]) is True
    assert [waiting.delivery.payload for waiting in list_unsent(library)] == [{"event": "finished"}]


def test_generations_of_the_same_moment_get_different_keys(library: Library) -> None:
    record_all(library, map(make_record, range(120)))  # in 1024 places: many of them collide
    assert count_images(library, Query()) == 120


def test_thousands_of_images_with_one_date_get_keys() -> None:
    taken: set[int] = set()  # of one millisecond, which has 1024 places
    salts = [_drawn(uuid_of(number), taken) for number in range(5000)]
    assert (len(taken), max(salts) < 12) == (5000, True)
    assert max(taken) - min(taken) < first_key(NOON.replace(second=1)) - first_key(NOON)


def _drawn(generation: str, taken: set[int]) -> int:
    """Which attempt found a free number, which is taken now."""
    keys = (image_key(generation, NOON, 0, salt) for salt in count_from(0))
    salt, key = next((salt, key) for salt, key in enumerate(keys) if key not in taken)
    taken.add(key)
    return salt


def test_images_with_the_same_index_are_all_recorded(library: Library) -> None:
    Image.new("RGB", (8, 8), "red").save("red.png")
    Image.new("RGB", (8, 8), "blue").save("blue.png")
    both = (make_image(1, 0, Path("red.png")), make_image(1, 0, Path("blue.png")))
    record_generation(library, make_record(1, images=both))
    assert [p.path.name for p in images_of(library, uuid_of(1))] == ["red.png", "blue.png"]
    with library.reading() as connection:
        small = connection.execute(select(thumbnails.c.webp)).scalars().all()
    assert len(set(small)) == 2


def test_the_largest_seed_is_stored_exactly(library: Library) -> None:
    image = make_image().model_copy(update={"seed": 2**64 - 1})
    record_generation(library, make_record(seed=2**64 - 1, images=(image,)))
    (found,) = search_images(library, Query()).images
    assert found.seed == 18446744073709551615
    assert _row(library)["ticket"]["request"]["seed"] == 18446744073709551615


def test_a_prompt_with_nul_is_stored(library: Library) -> None:
    record_generation(library, make_record(1, "a\0fox"))
    (found,) = search_images(library, Query(text="fox")).images
    assert found.prompt == "afox"
    assert _row(library)["request"]["prompt"] == "a\0fox"


def test_lone_surrogates_are_stored_as_replacement_characters(library: Library) -> None:
    odd = make_record(
        facts={"model": "dr\ud800m", "engine": {"n\udfffte": ["\ud83d"]}},
        warnings=("w\ud800",),
        caller="\udcff",
    )
    record_generation(library, odd)
    row = _row(library)
    assert (row["model"], row["caller"], row["warnings"]) == ("dr\ufffdm", "\ufffd", ["w\ufffd"])
    assert row["facts"]["engine"] == {"n\ufffdte": ["\ufffd"]}


def test_nan_and_infinity_are_stored_as_null(library: Library) -> None:
    facts = {"model": "m", "latency_seconds": float("nan"), "engine": {"x": [float("inf"), 1.5]}}
    record_generation(library, make_record(facts=facts), [make_delivery(seconds=float("-inf"))])
    assert _row(library)["facts"] == {
        "model": "m",
        "latency_seconds": None,
        "engine": {"x": [None, 1.5]},
    }
    assert [waiting.delivery.payload for waiting in list_unsent(library)] == [{"seconds": None}]
    assert sum_usage(library)[0].latency_seconds == 0.0


def test_a_file_name_that_is_not_unicode_is_stored_exactly(library: Library) -> None:
    path = Path("/images/f\udcffx.png")
    record_generation(
        library, make_record(images=(make_image().model_copy(update={"path": path}),))
    )
    (found,) = search_images(library, Query()).images
    assert found.path == path


@pytest.mark.parametrize(
    ("year", "is_last"),
    [pytest.param(1931, False, id="long ago"), pytest.param(9999, True, id="far ahead")],
)
def test_any_time_can_be_stored(library: Library, year: int, is_last: bool) -> None:
    record_generation(library, make_record(1))
    record_generation(library, make_record(2, began=NOON.replace(year=year), ended_at=NOON))
    found = [image.id for image in search_images(library, Query()).images]
    assert (found[0] == "00000002") is is_last
    assert len(found) == 2


def test_a_record_survives_json() -> None:
    whole: GenerationRecord = make_record(1, facts={"model": "m", "latency_seconds": float("nan")})
    assert type(whole).model_validate_json(whole.model_dump_json()) == whole


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="timezone"):
        make_record(began=NOON.replace(tzinfo=None))


def test_an_unreadable_image_has_no_thumbnail(library: Library) -> None:
    Path("torn.png").write_bytes(b"\x89PNG\r\n\x1a\n torn")
    record_generation(library, make_record(images=(make_image(1, 0, Path("torn.png")),)))
    with library.reading() as connection:
        assert connection.execute(select(func.count()).select_from(thumbnails)).scalar() == 0
    assert count_images(library, Query()) == 1


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "CMYK", "I;16", "F"])
def test_images_of_every_mode_have_thumbnails(sqlite_path: str, mode: str) -> None:
    Image.new(mode, (640, 400)).save("image.tif")
    with open_library(settings_at(sqlite_path)) as library:
        record_generation(library, make_record(images=(make_image(1, 0, Path("image.tif")),)))
        with library.reading() as connection:
            webp = connection.execute(select(thumbnails.c.webp)).scalar_one()
    Path("small.webp").write_bytes(webp)
    with Image.open("small.webp") as small:
        assert small.size == (320, 200)


def test_a_generation_without_a_free_key_is_not_recorded(
    library: Library,
) -> None:
    taken = [image_key(uuid_of(2), NOON, 0, salt) for salt in range(16)]
    record_generation(
        library, make_record(1, images=tuple(make_image(1, index) for index in range(16)))
    )
    with library.writing() as connection:
        connection.execute(text("DELETE FROM prompts"))
        for number, key in enumerate(taken):
            same = images.c.number == number
            connection.execute(update(images).where(same).values(id=key))
    with pytest.raises(LibraryError):
        record_generation(library, make_record(2), [make_delivery(2)])
    assert (images_of(library, uuid_of(2)), list_unsent(library)) == ((), [])
