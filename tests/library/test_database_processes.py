"""Several processes share a library, and a killed one leaves it intact."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine, inspect, text
from support.library_process import numbered_delivery, numbered_record, open_at, start_worker

from imagen.config import Settings
from imagen.errors import LibraryError
from imagen.library import Query, count_images, find_image, open_library, record_generation
from imagen.library.migrations import STEPS, lock_for_writing
from imagen.library.outbox import claim, list_unsent

if TYPE_CHECKING:
    from subprocess import Popen

    from imagen.library import Library

_TABLES = ("generations", "images", "prompts", "usage", "outbox")


def _counts(library: Library) -> dict[str, int]:
    with library.reading() as connection:
        return {
            name: connection.execute(text(f"SELECT count(*) FROM {name}")).scalar_one()
            for name in _TABLES
        }


def _finished(*processes: Popen[str]) -> list[int]:
    for process in processes:
        process.communicate(timeout=120)
    return [process.returncode for process in processes]


def test_four_processes_create_one_library_without_losses_or_duplicates(library_url: str) -> None:
    processes = [start_worker(library_url, first, first + 25) for first in (0, 25, 50, 75)]
    assert _finished(*processes) == [0, 0, 0, 0]
    with open_at(library_url) as library:
        assert _counts(library) == {
            "generations": 100,
            "images": 200,
            "prompts": 200,
            "usage": 100,
            "outbox": 100,
        }
        assert count_images(library, Query(text="hens")) == 200
        assert find_image(library, numbered_record(99).id).prompt == "a fox and 99 hens"


def test_a_process_waits_while_another_creates_the_library(postgres_url: str) -> None:
    engine = create_engine(postgres_url.replace("postgresql:", "postgresql+psycopg:", 1))
    with ThreadPoolExecutor(1) as pool, engine.connect() as first:
        lock_for_writing(first)
        first.execute(text("CREATE SCHEMA imagen_library"))
        second = pool.submit(opened_by_itself, postgres_url)
        with engine.connect() as watch:
            while not watch.execute(_WAITING).scalar():
                watch.rollback()
        first.commit()
        second.result().close()
    engine.dispose()


_WAITING = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")


def test_four_processes_record_the_same_generations_once(library_url: str) -> None:
    processes = [start_worker(library_url, 0, 25) for _ in range(4)]
    assert _finished(*processes) == [0, 0, 0, 0]
    with open_at(library_url) as library:
        assert _counts(library) == {
            "generations": 25,
            "images": 50,
            "prompts": 50,
            "usage": 25,
            "outbox": 25,
        }


def test_a_killed_process_leaves_no_partial_record(library_url: str) -> None:
    with start_worker(library_url, 0, 3, "end") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "within\n"
        process.kill()
    with open_at(library_url) as library:
        assert _counts(library)["generations"] == 3
        assert record_generation(library, numbered_record(3), (numbered_delivery(3),))
        assert _counts(library) == {
            "generations": 4,
            "images": 8,
            "prompts": 8,
            "usage": 4,
            "outbox": 4,
        }
        assert [waiting.delivery.payload["number"] for waiting in list_unsent(library)] == [
            0,
            1,
            2,
            3,
        ]


def test_a_sqlite_file_is_intact_after_its_writer_was_killed(sqlite_path: str) -> None:
    with start_worker(sqlite_path, 0, 3, "end") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "within\n"
        process.kill()
    with open_at(sqlite_path) as library, library.reading() as connection:
        assert connection.execute(text("PRAGMA integrity_check")).scalars().all() == ["ok"]
        assert connection.execute(text("PRAGMA foreign_key_check")).all() == []


def test_two_processes_claim_different_deliveries(library_url: str) -> None:
    assert _finished(start_worker(library_url, 0, 6)) == [0]
    with open_at(library_url) as one, open_at(library_url) as other:
        assert [w.delivery.payload["number"] for w in claim(one, limit=4)] == [0, 1, 2, 3]
        assert [w.delivery.payload["number"] for w in claim(other, limit=4)] == [4, 5]
        assert claim(one, limit=4) == []


def _of_the_future(url: str) -> None:
    """A library of a newer version, with a table that this version does not know."""
    steps = (*STEPS, lambda connection: connection.execute(text("CREATE TABLE dreams (x int)")))
    settings = Settings.model_validate({"library": {"url": url}})
    with open_library(settings, steps=steps) as library:
        record_generation(library, numbered_record(1))


def _files(path: str) -> dict[str, str]:
    """Every file of the library, by its hash."""
    files = Path(path).parent.glob("library.db*")
    return {file.name: sha256(file.read_bytes()).hexdigest() for file in files}


def _rows(url: str) -> dict[str, list[Any]]:
    """All that is in a library, table by table."""
    with opened_by_itself(url) as library, library.reading() as connection:
        names = sorted(inspect(connection).get_table_names())
        return {
            name: sorted(map(str, connection.execute(text(f"SELECT * FROM {name}")).all()))
            for name in names
        }


def opened_by_itself(url: str) -> Library:
    """Opened by the version that made it."""
    settings = Settings.model_validate({"library": {"url": url}})
    return open_library(settings, steps=(*STEPS, lambda _: None))


def test_a_newer_library_is_refused(library_url: str) -> None:
    _of_the_future(library_url)
    before = _rows(library_url)
    with pytest.raises(LibraryError, match="of a newer imagen"):
        open_at(library_url)
    assert _rows(library_url) == before
    assert "dreams" in before


def test_a_newer_library_is_not_changed(sqlite_path: str) -> None:
    _of_the_future(sqlite_path)
    before = _files(sqlite_path)
    with pytest.raises(LibraryError, match="of a newer imagen"):
        open_at(sqlite_path)
    assert _files(sqlite_path) == before
    assert list(before) == ["library.db"]


def test_a_newer_library_in_use_is_not_changed(sqlite_path: str) -> None:
    _of_the_future(sqlite_path)
    with opened_by_itself(sqlite_path) as newer:
        record_generation(newer, numbered_record(2))
        before = _files(sqlite_path)
        with pytest.raises(LibraryError, match="of a newer imagen"):
            open_at(sqlite_path)
        after = _files(sqlite_path)
    assert {name: before[name] == after[name] for name in ("library.db", "library.db-wal")} == {
        "library.db": True,
        "library.db-wal": True,
    }


def test_a_failed_migration_is_rolled_back(library_url: str) -> None:
    def broken(connection: Any) -> None:
        connection.execute(text("CREATE TABLE half (x int)"))
        connection.execute(text("CREATE TABLE half (x int)"))

    with open_at(library_url) as library:
        record_generation(library, numbered_record(1))
    settings = Settings.model_validate({"library": {"url": library_url}})
    with pytest.raises(LibraryError, match="half"):
        open_library(settings, steps=(*STEPS, broken))
    with open_at(library_url) as library, library.reading() as connection:
        assert "half" not in inspect(connection).get_table_names()
        assert count_images(library, Query()) == 2
