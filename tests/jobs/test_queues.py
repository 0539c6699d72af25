"""The queues fulfil their contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from queue_contract import STALL_SECONDS, Line, QueueContract
from sqlalchemy import text

from imagen.config import LibrarySettings, Settings
from imagen.jobs.embedded import EmbeddedQueue
from imagen.jobs.queue import Put
from imagen.library import open_library

if TYPE_CHECKING:
    from collections.abc import Iterator


class TestEmbeddedQueue(QueueContract):
    @pytest.fixture
    def line(self, library_url: str) -> Iterator[Line]:
        with open_library(Settings(library=LibrarySettings(url=library_url))) as library:
            line = Line(library, lambda: EmbeddedQueue(library, stall_seconds=STALL_SECONDS))
            yield line
            line.close()


class TestFleetQueue(QueueContract):
    @pytest.fixture
    def line(self, postgres_url: str) -> Iterator[Line]:
        fleet = pytest.importorskip("imagen.jobs.fleet")
        with open_library(Settings(library=LibrarySettings(url=postgres_url))) as library:
            line = Line(library, lambda: fleet.FleetQueue(library, stall_seconds=STALL_SECONDS))
            yield line
            line.close()


def test_a_worker_that_was_forgotten_registers_again(postgres_url: str) -> None:
    """Procrastinate deletes the row of a worker that was silent for a day."""
    fleet = pytest.importorskip("imagen.jobs.fleet")
    with open_library(Settings(library=LibrarySettings(url=postgres_url))) as library:
        queue = fleet.FleetQueue(library)
        queue.beat([])
        with library.writing() as connection:
            connection.execute(text("DELETE FROM imagen_queue.procrastinate_workers"))
            queue.put_many(connection, [Put("a-job", "q/")])
        delivery = queue.fetch([["q/"]])
        assert delivery is not None
        assert queue.beat([delivery.token])[delivery.token] == (True, False)
        queue.close()
