"""A library of version 3 gets the tables of the queue, and keeps what it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import inspect, text
from support.library_samples import make_record, settings_at
from support.old_library import make_old_library
from support.queued_jobs import new_job

from imagen.jobs.embedded import EmbeddedQueue
from imagen.jobs.sql_store import SqlJobStore
from imagen.library import Query, open_library, record_generation, search_images
from imagen.library.migrations import STEPS, version_of
from imagen.library.schema import JOB_INDEXES, JOB_TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagen.library import Library

_JOB_TABLES = {table.name for table in JOB_TABLES}


@pytest.fixture
def library_3(library_url: str) -> Iterator[Library]:
    """A library of version 3, opened by this version."""
    make_old_library(library_url)
    settings = settings_at(library_url)
    with open_library(settings, steps=STEPS[:3]) as old, old.reading() as connection:
        assert version_of(connection) == 3
        assert _JOB_TABLES.isdisjoint(inspect(connection).get_table_names())
    with open_library(settings) as library:
        yield library


def test_the_tables_and_indexes_of_the_queue_are_created(library_3: Library) -> None:
    with library_3.reading() as connection:
        inspector = inspect(connection)
        assert version_of(connection) == len(STEPS)
        assert set(inspector.get_table_names()) >= _JOB_TABLES
        indexes = {
            str(index["name"]) for name in _JOB_TABLES for index in inspector.get_indexes(name)
        }
        assert indexes >= {statement.split()[2] for statement in JOB_INDEXES}


def test_generations_stay_and_jobs_can_be_submitted(library_3: Library) -> None:
    assert len(search_images(library_3, Query()).images) == 3
    record_generation(library_3, make_record(9, "a green heron"))
    assert len(search_images(library_3, Query()).images) == 4
    assert len(search_images(library_3, Query(text="heron")).images) == 1
    store = SqlJobStore(library_3, EmbeddedQueue(library_3, "w1"))
    (id,) = store.submit([new_job()])
    assert store.read(id).state == "queued"


def test_the_events_of_version_4_stay(library_url: str) -> None:
    settings = settings_at(library_url)
    with open_library(settings, steps=STEPS[:4]) as old, old.writing() as connection:
        for statement in (
            "DROP TABLE tokens",
            "ALTER TABLE events RENAME TO job_events",
            "DROP INDEX ix_events_job",
            "CREATE INDEX ix_job_events_job ON job_events (job)",
            "INSERT INTO job_events (job, at_ms, kind, data) VALUES ('a', 1, 'state', '{}')",
        ):
            connection.execute(text(statement))
    with open_library(settings) as library:
        store = SqlJobStore(library, EmbeddedQueue(library, "w1"))
        assert [event.job for event in store.events_after(0)] == ["a"]
        with library.reading() as connection:
            names = inspect(connection).get_table_names()
        assert {"tokens", "events"} <= {*names}
        assert "job_events" not in names


def test_a_migration_that_is_interrupted_is_done_again(library_url: str) -> None:
    make_old_library(library_url)
    settings = settings_at(library_url)

    def fail_after_the_tables(connection):  # type: ignore[no-untyped-def]
        STEPS[3](connection)
        connection.execute(text("SELECT * FROM nowhere"))

    with pytest.raises(Exception, match="nowhere"):
        open_library(settings, steps=(*STEPS[:3], fail_after_the_tables))
    with open_library(settings) as library, library.reading() as connection:
        assert version_of(connection) == len(STEPS)
        assert set(inspect(connection).get_table_names()) >= _JOB_TABLES
