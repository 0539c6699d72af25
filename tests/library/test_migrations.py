"""A library of an earlier version is migrated, keeps what it holds, and can be searched."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import inspect, select
from support.library_samples import make_record, settings_at
from support.old_library import make_old_library, use_loras_in_old_library

from imagen.library import (
    LibraryImage,
    Query,
    find_failure,
    find_image,
    load_detail,
    load_record,
    open_library,
    record_generation,
    search_images,
    sum_usage,
)
from imagen.library.migrations import STEPS, version_of
from imagen.library.outbox import list_unsent
from imagen.library.schema import images, loras, stored_url
from imagen.library.trash import move_back

if TYPE_CHECKING:
    from imagen.library import Library

_FOX, _TRASHED, _OWL = "b5e85051", "7f30cb93", "69cd845f"


@pytest.fixture
def old_library(library_url: str) -> Library:
    """The library of version 1, opened and so migrated."""
    make_old_library(library_url)
    return open_library(settings_at(library_url))


def _ids(found: tuple[LibraryImage, ...]) -> list[str]:
    return [image.id for image in found]


def test_a_library_of_version_1_is_migrated(old_library: Library) -> None:
    with old_library, old_library.reading() as connection:
        assert version_of(connection) == len(STEPS)
        columns = {column["name"] for column in inspect(connection).get_columns("generations")}
        assert {"created_ms", "request"} <= columns
        assert columns.isdisjoint({"began_ms", "asked"})


def test_a_migrated_library_has_the_tables_of_a_new_one(old_library: Library) -> None:
    def describe(library: Library) -> dict[str, set[str]]:
        with library.reading() as connection:
            inspector = inspect(connection)
            return {
                name: {column["name"] for column in inspector.get_columns(name)}
                for name in inspector.get_table_names()
                if not name.startswith("prompts_")
            }

    with old_library, open_library(settings_at("new.db")) as new:
        assert describe(old_library) | {"prompts": set()} == describe(new) | {"prompts": set()}


def test_a_migrated_library_is_searched(old_library: Library) -> None:
    with old_library:
        assert _ids(search_images(old_library, Query()).images) == [f"{_OWL}.2", _OWL, _FOX]
        assert _ids(search_images(old_library, Query(text='"red fox"')).images) == [_FOX]
        assert _ids(search_images(old_library, Query(tags=("snow",), rating=4)).images) == [_FOX]
        assert _ids(search_images(old_library, Query(in_trash=True)).images) == [_TRASHED]


def test_a_migrated_image_keeps_how_it_was_made(old_library: Library) -> None:
    with old_library:
        fox = find_image(old_library, _FOX)
        record, detail = load_record(old_library, fox), load_detail(old_library, fox)
    assert fox.created == datetime.fromisoformat("2026-11-30T18:46:56.520+00:00")
    assert (record.request["seed"], record.resolved["steps"]) == (1, 8)
    assert detail.ledger_row is not None
    assert (detail.source, detail.ledger_row.images) == ("imagen", 1)


def test_a_migrated_library_keeps_its_ledger_and_failures(old_library: Library) -> None:
    with old_library:
        assert [(total.generations, total.images) for total in sum_usage(old_library)] == [(3, 4)]
        failure = find_failure(old_library, "last")
    assert (failure.id, failure.code, failure.prompt) == ("928a0831", "failed", "a lost owl")


def test_migration_hashes_the_urls_of_webhooks(old_library: Library) -> None:
    with old_library:
        unsent = list_unsent(old_library)
    assert {one.delivery.destination for one in unsent} == {stored_url("https://example.org/hook")}
    assert len(unsent) == 4


def test_an_image_trashed_by_version_1_is_restored(old_library: Library) -> None:
    with old_library:
        trashed = find_image(old_library, _TRASHED)
        move_back(old_library, trashed)
        back = find_image(old_library, _TRASHED)
    assert (trashed.is_trashed, trashed.trashed_from, back.is_trashed) == (True, None, False)


def test_a_migrated_library_records_new_generations(old_library: Library) -> None:
    with old_library:
        assert record_generation(old_library, make_record()) is True
        assert len(search_images(old_library, Query()).images) == 4


def test_migration_notes_the_loras_and_the_cost_of_images(library_url: str) -> None:
    make_old_library(library_url)
    use_loras_in_old_library(library_url, _FOX, ["flux/ink.safetensors", "/models/fog.safetensors"])
    with open_library(settings_at(library_url)) as library, library.reading() as connection:
        rows = connection.execute(select(loras.c.lora, loras.c.image).order_by(loras.c.lora)).all()
        costs = connection.execute(select(images.c.id, images.c.cost)).all()
        fox = find_image(library, _FOX)
    assert [tuple(row) for row in rows] == [
        ("flux/ink.safetensors", fox.key),
        ("fog.safetensors", fox.key),
    ]
    assert {cost for _, cost in costs} == {0.0}


def test_a_migration_that_fails_changes_nothing(sqlite_path: str) -> None:
    make_old_library(sqlite_path)

    def fail(_: object) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        open_library(settings_at(sqlite_path), steps=(*STEPS, fail))
    with sqlite3.connect(sqlite_path) as connection:
        assert connection.execute("SELECT version FROM library_version").fetchall() == [(1,)]
        assert connection.execute("SELECT count(asked) FROM generations").fetchall() == [(4,)]
