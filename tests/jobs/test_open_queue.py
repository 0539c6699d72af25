"""Which queue carries the jobs of a library."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import insert, select, text

from imagen.config import JobSettings, LibrarySettings, Settings
from imagen.core.request import Request
from imagen.errors import ConfigError, LibraryError, MissingDependency
from imagen.jobs.embedded import EmbeddedQueue
from imagen.jobs.fleet import FleetQueue, short_queue
from imagen.jobs.model import JobSpec, NewJob
from imagen.jobs.open_queue import open_queue
from imagen.jobs.sql_store import SqlJobStore
from imagen.library import open_library
from imagen.library.schema import deliveries, queue_facts, workers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagen.library import Library


def _settings(queue: str = "auto") -> Settings:
    return Settings(jobs=JobSettings.model_validate({"queue": queue}))


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[Library]:
    with open_library(Settings(library=LibrarySettings(url=postgres_url))) as library:
        yield library


@pytest.fixture
def sqlite(sqlite_path: str) -> Iterator[Library]:
    with open_library(Settings(library=LibrarySettings(url=sqlite_path))) as library:
        yield library


def _open(library: Library, queue: str = "auto") -> str:
    opened = open_queue(library, _settings(queue))
    opened.close()
    return type(opened).__name__


def test_a_file_carries_its_own_jobs(sqlite: Library) -> None:
    assert _open(sqlite) == EmbeddedQueue.__name__
    with pytest.raises(ConfigError, match="the library is not in PostgreSQL"):
        _open(sqlite, "procrastinate")


def test_postgresql_has_procrastinate_where_it_is_installed(postgres: Library) -> None:
    assert _open(postgres) == FleetQueue.__name__
    with postgres.reading() as connection:
        assert connection.execute(select(queue_facts)).all() == [("queue", "procrastinate")]
    assert _open(postgres) == FleetQueue.__name__


def test_the_first_choice_stays(postgres: Library) -> None:
    assert _open(postgres, "embedded") == EmbeddedQueue.__name__
    assert _open(postgres) == EmbeddedQueue.__name__


def test_a_machine_without_procrastinate_is_told_the_extra(
    postgres: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    _open(postgres)
    monkeypatch.setattr("imagen.jobs.open_queue.find_spec", lambda _: None)
    with pytest.raises(MissingDependency, match="procrastinate") as caught:
        _open(postgres)
    assert caught.value.extra == "fleet"


def test_without_procrastinate_postgresql_carries_its_own_jobs(
    postgres: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagen.jobs.open_queue.find_spec", lambda _: None)
    assert _open(postgres) == EmbeddedQueue.__name__


def test_the_queue_is_changed_while_nobody_uses_it(postgres: Library) -> None:
    _open(postgres)
    assert _open(postgres, "embedded") == EmbeddedQueue.__name__
    assert _open(postgres, "procrastinate") == FleetQueue.__name__


@pytest.mark.parametrize("what", ["jobs", "workers"])
def test_the_queue_is_not_changed_while_somebody_uses_it(postgres: Library, what: str) -> None:
    _open(postgres, "embedded")
    if what == "jobs":
        spec = JobSpec(request=Request(prompt="a fox"), backend="mock")
        SqlJobStore(postgres, EmbeddedQueue(postgres)).submit([NewJob(spec=spec)])
    else:
        now = round(time.time() * 1000)
        row = {"id": "w", "host": "h", "pid": 1, "started_ms": now, "seen_ms": now}
        with postgres.writing() as connection:
            connection.execute(insert(workers).values(backends=[], facts={}, **row))
    with pytest.raises(ConfigError, match="jobs that have not ended or workers"):
        _open(postgres, "procrastinate")
    assert _open(postgres) == EmbeddedQueue.__name__
    with postgres.reading() as connection:
        assert len(connection.execute(select(deliveries)).all()) == (what == "jobs")


def test_the_tables_of_procrastinate_are_beside_those_of_the_library(postgres: Library) -> None:
    _open(postgres)
    with postgres.reading() as connection:
        schemas = connection.execute(
            text(
                "SELECT DISTINCT table_schema FROM information_schema.tables WHERE table_name"
                " LIKE 'procrastinate%'"
            )
        )
        assert schemas.scalars().all() == ["imagen_queue"]
    assert _open(postgres) == FleetQueue.__name__  # nothing is applied twice


def test_tables_of_a_newer_procrastinate_are_refused(postgres: Library) -> None:
    _open(postgres)
    with postgres.writing() as connection:
        connection.execute(
            text("INSERT INTO imagen_queue.imagen_scripts VALUES ('99.00.00_01_pre_new.sql')")
        )
    with pytest.raises(LibraryError, match=r"newer Procrastinate, which knows 99\.00") as caught:
        _open(postgres)
    assert "Update procrastinate" in caught.value.remedy


def test_names_of_queues_fit_into_a_channel() -> None:
    names = ["sd15/", "pool/" + "é" * 60, "pool/" + "é" * 60 + "2", "x" * 40, "x" * 41]
    short = [short_queue(name) for name in names]
    assert all(len(name.encode()) <= 40 for name in short)
    assert len(set(short)) == len(names)
    assert short[0] == names[0]
    assert short[3] == names[3]
