"""The queue in the tables of the library."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.queue_contract import QueueContract

from imagen.jobs.embedded import EmbeddedQueue

if TYPE_CHECKING:
    from imagen.library import Library


class TestEmbeddedQueue(QueueContract):
    def open_queue(self, library: Library, worker_id: str) -> EmbeddedQueue:
        return EmbeddedQueue(library, worker_id, stall_seconds=self.STALL_SECONDS)
