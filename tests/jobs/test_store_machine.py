"""Whatever workers and people do in whatever order, no job is lost, and none runs twice."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
)
from support.queued_jobs import (
    QUEUE,
    new_batch,
    new_job,
    planned,
    recorded,
    recorded_states,
    submitted,
)

from imagen.config import LibrarySettings, Settings
from imagen.errors import Failed, LetGo, RequestError
from imagen.jobs.embedded import EmbeddedQueue
from imagen.jobs.model import ENDED, PARENTS, NewJob, QueuedJob
from imagen.jobs.sql_store import SqlJobStore
from imagen.library import open_library

if TYPE_CHECKING:
    from collections.abc import Callable

_EXAMPLES = int(os.environ.get("IMAGEN_FUZZ_EXAMPLES", "0"))
"""Sequences of changes; by default a few that are the same every time."""
_WORST = ("lost", "failed", "cancelled", "done")


class StoreMachine(RuleBasedStateMachine):
    """Workers that take, end, forget and lose jobs, beside people who cancel and retry them.

    The model knows only who owns which attempt: all others must be refused.
    """

    attempts = Bundle("attempts")
    ids = Bundle("ids")

    def __init__(self) -> None:
        super().__init__()
        self._folder = TemporaryDirectory()
        path = str(Path(self._folder.name) / "library.db")
        self.settings = Settings(library=LibrarySettings(url=path))
        self.library = open_library(self.settings)
        self.number = 0
        self.owned: dict[str, QueuedJob] = {}
        self.finished: dict[str, int] = {}
        self.store = self.start_worker()

    def teardown(self) -> None:
        self.library.close()
        self._folder.cleanup()

    def start_worker(self) -> SqlJobStore:
        self.number += 1
        queue = EmbeddedQueue(self.library, f"w{self.number}", stall_seconds=3600)
        return SqlJobStore(self.library, queue, deaths=3)

    @rule(target=ids, priority=st.integers(-2, 2))
    def submit(self, priority: int) -> str:
        return self.store.submit([new_job(priority=priority)])[0]

    @rule(target=ids, size=st.integers(0, 3), is_chain=st.booleans(), has_sheet=st.booleans())
    def submit_batch(self, size: int, is_chain: bool, has_sheet: bool):  # type: ignore[no-untyped-def]
        parent = NewJob(kind="grid") if has_sheet else new_batch()
        kids: list[NewJob] = []
        for number in range(size):
            after = kids[-1].id if is_chain and kids else None
            kids.append(new_job(parent=parent.id, number=number, after=after))
        if has_sheet and kids:
            kids.append(NewJob(kind="sheet", spec=kids[0].spec, parent=parent.id, number=size))
        return multiple(*self.store.submit([parent, *kids]))

    @rule(target=attempts)
    def take(self):  # type: ignore[no-untyped-def]
        delivery = self.store.queue.fetch([[QUEUE, "sheet/"]])
        if delivery is None:
            return multiple()
        taken = self.store.take(delivery, worker=f"w{self.number}", backend="gpu")
        assert taken is not None
        assert taken.id not in self.owned
        self.owned[taken.id] = taken
        return taken

    def change(self, attempt: QueuedJob, change: Callable[[], object]) -> bool:
        """Whether the change had an effect, which it has only for the owner."""
        is_owner = self.owned.get(attempt.id) == attempt
        if is_owner:
            change()
            return True
        before = self.store.read(attempt.id)
        with pytest.raises(LetGo):
            change()
        assert self.store.read(attempt.id) == before
        return False

    @rule(attempt=attempts, is_submitted=st.booleans(), usd=st.sampled_from([None, 0.5]))
    def write(self, attempt: QueuedJob, is_submitted: bool, usd: float | None) -> None:
        job = submitted(attempt, usd) if is_submitted else planned(attempt, usd)
        self.change(attempt, lambda: self.store.write(attempt.fence, job, self.settings))

    @rule(attempt=attempts)
    def finish(self, attempt: QueuedJob) -> None:
        record = None if attempt.kind == "sheet" else recorded(attempt)
        if self.change(attempt, lambda: self.store.finish(attempt.fence, record, self.settings)):
            del self.owned[attempt.id]
            if record is not None:
                self.finished[record.id] = self.finished.get(record.id, 0) + 1

    @rule(attempt=attempts, state=st.sampled_from(["failed", "cancelled", "lost"]))
    def fail(self, attempt: QueuedJob, state: str) -> None:
        error = Failed("no")
        if self.change(attempt, lambda: self.store.fail(attempt.fence, error, state=state)):  # type: ignore[arg-type]
            del self.owned[attempt.id]

    @rule(attempt=attempts, keep_job=st.booleans())
    def again(self, attempt: QueuedJob, keep_job: bool) -> None:
        if self.change(attempt, lambda: self.store.again(attempt.fence, keep_job=keep_job)):
            del self.owned[attempt.id]

    @rule()
    def vanish(self) -> None:
        """The worker dies; another one finds its deliveries, some of them twice."""
        self.store.queue.close()
        self.store = self.start_worker()
        for stalled in self.store.queue.stalled():
            assert self.store.redeliver(stalled)
            assert not self.store.redeliver(stalled)
            self.owned.pop(stalled.job)

    @rule()
    def redeliver_missing(self) -> None:
        assert self.store.redeliver_missing() == 0

    @rule(id=ids)
    def cancel(self, id: str) -> None:
        self.store.cancel(id)

    @rule(id=ids)
    def retry(self, id: str) -> None:
        try:
            self.store.retry(id, is_confirmed=True)
        except RequestError:
            return

    @rule(id=ids, priority=st.integers(-5, 5))
    def move(self, id: str, priority: int) -> None:
        try:
            self.store.move(id, priority=priority)
        except RequestError:
            return

    @rule(id=consumes(ids))
    def look(self, id: str) -> None:
        assert self.store.resolve_id(id) == id

    @invariant()
    def rows_and_deliveries_agree(self) -> None:
        rows = self.rows()
        tokens = {row.token for row in rows if row.token is not None}
        assert tokens == self.store.queue.live()
        for row in rows:
            is_in_line = row.state in ("queued", "running", "cancelling")
            assert (row.token is not None) == (is_in_line and row.kind not in PARENTS)
            assert (row.ended is not None) == (row.state in ENDED)
            assert bool(row.owner) == (row.id in self.owned)
            if row.reserved_usd is not None:
                assert row.job is not None
                assert row.job.ticket.submitted

    @invariant()
    def parents_end_with_their_children(self) -> None:
        rows = self.rows()
        for parent in (row for row in rows if row.kind in PARENTS):
            states = [row.state for row in rows if row.parent == parent.id]
            if all(state in ENDED for state in states):
                worst = next((state for state in _WORST if state in states), "done")
                assert parent.state == worst
            else:
                assert parent.state in ("queued", "running")

    @invariant()
    def nothing_is_recorded_twice(self) -> None:
        assert set(self.finished.values()) <= {1}
        assert {id for id, state in recorded_states(self.store).items()} == set(self.finished)

    @invariant()
    def what_is_held_waits_for_something(self) -> None:
        rows = {row.id: row for row in self.rows()}
        for row in rows.values():
            if row.state == "held" and row.after is not None:
                assert rows[row.after].state not in ENDED
            elif row.state == "held":
                siblings = (one for one in rows.values() if one.parent == row.parent)
                assert any(one.state not in ENDED and one.id != row.id for one in siblings)

    def rows(self) -> list[QueuedJob]:
        top = self.store.list_jobs(limit=1000)
        kids = [self.store.list_jobs(parent=row.id, limit=1000) for row in top]
        return [*top, *(kid for some in kids for kid in some)]


StoreMachine.TestCase.settings = settings(
    max_examples=_EXAMPLES or 8,
    stateful_step_count=25,
    derandomize=not _EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestStoreMachine = StoreMachine.TestCase
