"""The queue, the history and the cache of one life of the server."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SENSITIVE = ("auth_token_comfy_org", "api_key_comfy_org")


@dataclass(slots=True, eq=False)
class Job:
    """One prompt in the queue."""

    number: float
    prompt_id: str
    graph: dict[str, dict[str, Any]]
    extra_data: dict[str, Any]
    outputs: list[str]
    seconds: float = 0.0
    """How long the job of a stranger takes."""
    is_foreign: bool = False
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def client_id(self) -> str | None:
        sid = self.extra_data.get("client_id")
        return None if sid is None else str(sid)

    def row(self, *, whole: bool = True) -> list[Any]:
        """As `/queue` shows it, or without its secrets as the history does."""
        extra = {k: v for k, v in self.extra_data.items() if whole or k not in SENSITIVE}
        return [self.number, self.prompt_id, self.graph, extra, self.outputs]


class Jobs:
    """What waits, what runs and what has ended; safe to use from any thread."""

    def __init__(self) -> None:
        self.running: Job | None = None
        self.history: dict[str, Any] = {}
        self.cache: dict[str, Any] = {}
        """What each output node gave, by signature; None for nodes that give nothing away."""
        self._pending: list[Job] = []
        self._held: list[Job] = []
        self._count = 0
        self._changed = threading.Condition()
        self._closed = False

    def number(self) -> int:
        """The next number of the counter."""
        with self._changed:
            self._count += 1
            return self._count - 1

    def put(self, job: Job, tell: Callable[[], None]) -> None:
        """Queue a job, and tell so before it can begin."""
        with self._changed:
            self._pending.append(job)
            tell()
            self._changed.notify()

    def hold(self, job: Job, questions: int) -> None:
        """Keep a job back until its history was asked for so many times."""
        self._held = [job] * questions

    def release(self, tell: Callable[[], None]) -> None:
        """Queue the job that is held, if this is the last question that it waits for."""
        job = self._held.pop() if self._held else None
        if job is not None and not self._held:
            self.put(job, tell)

    def take(self) -> Job | None:
        """Wait for the next job and make it the running one; None once all is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._pending or self._closed)
            if self._closed:
                return None
            self.running = min(self._pending, key=lambda job: (job.number, job.prompt_id))
            self._pending.remove(self.running)
            return self.running

    def end(self, job: Job, entry: dict[str, Any]) -> None:
        """Write the history of the job that ran."""
        with self._changed:
            self.history[job.prompt_id] = entry
            self.running = None

    def delete(self, prompt_ids: Iterable[str]) -> bool:
        """Take waiting jobs out, one for each id; whether there were any."""
        with self._changed:
            found = [self._waiting(prompt_id) for prompt_id in prompt_ids]
            for job in found:
                if job in self._pending:
                    self._pending.remove(job)
            return any(found)

    def clear(self) -> None:
        with self._changed:
            self._pending.clear()

    def remaining(self) -> int:
        with self._changed:
            return len(self._pending) + (self.running is not None)

    def queue(self) -> dict[str, list[Any]]:
        """As `/queue` shows it: what waits is in no order."""
        with self._changed:
            running = [] if self.running is None else [self.running.row()]
            pending = [job.row() for job in reversed(self._pending)]
            return {"queue_running": running, "queue_pending": pending}

    def close(self) -> None:
        """Let `take` return, and nobody wait for a job any longer."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            for job in (*self._pending, *([self.running] if self.running else [])):
                job.done.set()

    def reopen(self) -> None:
        """Go on after a restart that lost nothing; what ran then, runs again."""
        with self._changed:
            self._closed = False
            if self.running is not None:
                self._pending.append(self.running)
            self.running = None

    def _waiting(self, prompt_id: str) -> Job | None:
        return next((job for job in self._pending if job.prompt_id == prompt_id), None)
