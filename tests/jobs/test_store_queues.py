"""The store with each queue that may carry its jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from store_contract import StoreContract

from imagen.jobs.embedded import EmbeddedQueue

if TYPE_CHECKING:
    from imagen.jobs.queue import JobQueue
    from imagen.library import Library


class TestStoreWithEmbeddedQueue(StoreContract):
    def open_queue(self, library: Library, worker_id: str) -> JobQueue:
        return EmbeddedQueue(library, worker_id, stall_seconds=self.STALL_SECONDS)


class TestStoreWithFleetQueue(StoreContract):
    @pytest.fixture
    def library_url(self, postgres_url: str) -> str:
        return postgres_url

    def open_queue(self, library: Library, worker_id: str) -> JobQueue:  # noqa: ARG002
        fleet = pytest.importorskip("imagen.jobs.fleet")
        queue: JobQueue = fleet.FleetQueue(library, stall_seconds=self.STALL_SECONDS)
        return queue
