"""A job of the pipeline in its row of the queue, and its money."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from support.database_proxy import DatabaseProxy
from support.library_samples import make_record
from support.queued_jobs import (
    new_job,
    planned,
    recorded_states,
    states_of,
    submitted,
    take_next,
    wait_until,
)

from imagen.config import Budget, LibrarySettings, OutputSettings, Settings, UsageSettings
from imagen.core.request import Request
from imagen.core.ticket import Estimate
from imagen.errors import Failed, LetGo, Lost, OverBudget
from imagen.jobs import file_store
from imagen.jobs.embedded import EmbeddedQueue
from imagen.jobs.model import JobSpec
from imagen.jobs.row_store import RowJobStore
from imagen.jobs.sql_store import SqlJobStore
from imagen.library import open_library, record_generation
from imagen.pipeline import budgets
from imagen.pipeline.generate import create_jobs, open_named, prepare, run_job
from imagen.pipeline.record import build_failure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imagen.core.result import Progress
    from imagen.jobs.model import QueuedJob


@pytest.fixture
def settings(library_url: str, tmp_path: Path) -> Settings:
    return Settings(
        state_dir=tmp_path / "state",
        output=OutputSettings(directory=tmp_path / "outputs"),
        library=LibrarySettings(url=library_url),
    )


@pytest.fixture
def store(settings: Settings) -> Iterator[SqlJobStore]:
    with open_library(settings) as library:
        queue = EmbeddedQueue(library, "w1", stall_seconds=20)
        yield SqlJobStore(library, queue)
        queue.close()


def _take(store: SqlJobStore) -> QueuedJob:
    store.submit([new_job()])
    return take_next(store)


def test_the_pipeline_runs_a_job_in_its_row(store: SqlJobStore, settings: Settings) -> None:
    taken = _take(store)
    engine = open_named("mock", settings)
    (ticket,) = prepare(engine, Request(prompt="a fox", width=64, height=64), settings)
    ticket = ticket.model_copy(update={"id": taken.ticket_id})
    (job,) = create_jobs([ticket], ticket.request, settings)
    seen: list[str] = []

    def report(progress: Progress) -> None:
        row = store.read(taken.id)
        assert row.job is not None
        seen.append(row.job.state)
        store.report(taken.fence, progress)

    rows = RowJobStore(store, taken.fence, settings)
    generation = run_job(engine, job, settings, report, store=rows)
    assert generation.saved[0].path.is_file()
    assert seen[-1] == "submitted"
    assert store.read(taken.id).state == "done"
    assert recorded_states(store) == {taken.ticket_id: "done"}
    assert file_store.pending(settings.state_dir) == []


def test_a_final_failure_ends_the_row(store: SqlJobStore, settings: Settings) -> None:
    taken = _take(store)
    error = Failed("Out of memory.")
    rows = RowJobStore(store, taken.fence, settings)
    with rows.keep(planned(taken)) as row:
        job = submitted(taken)
        row.record(job.with_record(build_failure(job, error)), settings, error=error)
    assert states_of(store, taken.id) == ["failed"]
    assert recorded_states(store) == {taken.ticket_id: "failed"}


@pytest.mark.parametrize(("usd", "state"), [(None, "running"), (0.1, "lost")])
def test_a_lost_job_is_left_to_the_worker_unless_it_costs_money(
    store: SqlJobStore, settings: Settings, usd: float | None, state: str
) -> None:
    taken = _take(store)
    job = submitted(taken, usd)
    error = Lost("The server was restarted.")
    with RowJobStore(store, taken.fence, settings).keep(job) as row:
        row.record(job.with_record(build_failure(job, error)), settings, error=error)
    assert states_of(store, taken.id) == [state]


def test_a_job_that_another_worker_has_is_let_go(store: SqlJobStore, settings: Settings) -> None:
    taken = _take(store)
    rows = RowJobStore(store, taken.fence, settings)
    with rows.keep(planned(taken)) as row:
        store.again(taken.fence)
        with pytest.raises(LetGo):
            row.write(submitted(taken))
    assert states_of(store, taken.id) == ["queued"]


def test_an_error_leaves_the_row_to_the_worker(store: SqlJobStore, settings: Settings) -> None:
    taken = _take(store)
    rows = RowJobStore(store, taken.fence, settings)
    with pytest.raises(Failed), rows.keep(planned(taken)):
        raise Failed("Out of memory.")
    assert states_of(store, taken.id) == ["running"]


def test_a_write_that_took_long_is_repeated(store: SqlJobStore, settings: Settings) -> None:
    """The process may have been frozen in it, and the job may be another worker's."""

    class SlowStore(SqlJobStore):
        """Another worker gets the job after the first write."""

        writes = 0

        def write(self, fence, job, settings):  # type: ignore[no-untyped-def]
            warnings = super().write(fence, job, settings)
            self.writes += 1
            end = time.monotonic() + 0.2
            wait_until(lambda: time.monotonic() > end)
            store.again(fence)
            return warnings

    slow = SlowStore(store.library, store.queue, lease_seconds=0.3)
    taken = _take(store)
    with pytest.raises(LetGo):
        RowJobStore(slow, taken.fence, settings).write(submitted(taken))
    assert slow.writes == 1


def test_writes_wait_for_the_database(postgres_url: str, settings: Settings) -> None:
    with DatabaseProxy(postgres_url) as proxy:
        away = settings.model_copy(update={"library": LibrarySettings(url=proxy.url)})
        with open_library(away) as library:
            store = SqlJobStore(library, EmbeddedQueue(library, "w1"))
            taken = _take(store)
            proxy.cut("refused")
            stop = threading.Event()
            rows = RowJobStore(store, taken.fence, away, stop=stop)
            with ThreadPoolExecutor(2) as pool:
                waiting = pool.submit(rows.write, submitted(taken))
                stopped = pool.submit(
                    RowJobStore(store, taken.fence, away, stop=_set_event()).write,
                    submitted(taken),
                )
                with pytest.raises(LetGo, match="stops"):
                    stopped.result(30)
                assert not waiting.done()
                proxy.cut("open")
                waiting.result(30)
            row = store.read(taken.id)
            assert row.job is not None
            assert row.job.state == "submitted"


def _set_event() -> threading.Event:
    event = threading.Event()
    event.set()
    return event


# Money


def _with_budget(settings: Settings, amount: float, **values: object) -> Settings:
    budget = Budget.model_validate({"amount": amount, "per": "day", **values})
    return settings.model_copy(update={"budgets": (budget,)})


def test_money_is_reserved_before_the_submission(store: SqlJobStore, settings: Settings) -> None:
    limited = _with_budget(settings, 1.0)
    first, second = _take(store), _take(store)
    assert store.write(first.fence, planned(first, 0.6), limited) == []
    assert store.read(first.id).reserved_usd is None
    store.write(first.fence, submitted(first, 0.6), limited)
    assert store.read(first.id).reserved_usd == 0.6
    store.write(first.fence, submitted(first, 0.6), limited)  # what the engine adds to the ticket
    assert store.read(first.id).reserved_usd == 0.6
    with pytest.raises(OverBudget, match="would exceed"):
        store.write(second.fence, submitted(second, 0.6), limited)
    assert store.read(second.id).job is None
    warnings = store.write(second.fence, submitted(second, 0.3), limited)
    assert "nearly uses up" in warnings[0]


def test_reserved_money_is_free_once_the_job_is_over(
    store: SqlJobStore, settings: Settings
) -> None:
    limited = _with_budget(settings, 1.0)
    for end in ("failed", "again", "spent"):
        taken = _take(store)
        job = submitted(taken, 0.6)
        store.write(taken.fence, job, limited)
        if end == "failed":
            store.fail(taken.fence, Failed("no"))
        elif end == "again":
            store.again(taken.fence, keep_job=False)
            store.cancel(taken.id)
        else:
            now = datetime.now(UTC)
            record = make_record(id=job.id, ticket=job.ticket, created_at=now, ended_at=now)
            paid = record.model_copy(update={"facts": {"cost_usd": 0.5}, "images": ()})
            store.finish(taken.fence, paid, limited)
        assert store.read(taken.id).reserved_usd is None
    taken = _take(store)
    with pytest.raises(OverBudget, match=r"\$0.50 was spent today"):
        store.write(taken.fence, submitted(taken, 0.6), limited)


def test_a_job_that_is_adopted_keeps_its_reservation(
    store: SqlJobStore, settings: Settings
) -> None:
    limited = _with_budget(settings, 1.0)
    taken = _take(store)
    job = submitted(taken, 0.8)
    store.write(taken.fence, job, limited)
    store.again(taken.fence, is_failure=False)
    assert store.read(taken.id).reserved_usd == 0.8
    adopted = take_next(store)
    store.write(adopted.fence, job, limited)
    assert store.read(taken.id).reserved_usd == 0.8


def test_a_submitted_job_goes_on_though_the_budget_is_used_up(
    store: SqlJobStore, settings: Settings
) -> None:
    limited = _with_budget(settings, 1.0)
    taken = _take(store)
    job = submitted(taken, 0.6)
    store.write(taken.fence, job, limited)
    now = datetime.now(UTC)
    spent = make_record(1, estimated_usd=0.9, began=now, ended_at=now, images=())
    record_generation(store.library, spent)
    store.write(taken.fence, job.with_ticket(job.ticket.sent(prompt_id="1")), limited)
    assert store.read(taken.id).reserved_usd == 0.6


def test_many_workers_do_not_spend_the_same_money(store: SqlJobStore, settings: Settings) -> None:
    limited = _with_budget(settings, 1.0)
    taken = [_take(store) for _ in range(8)]

    def submit(one: QueuedJob) -> bool:
        try:
            store.write(one.fence, submitted(one, 0.3), limited)
        except OverBudget:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(submit, taken)) == 3


def test_jobs_of_plain_commands_and_of_the_queue_share_a_budget(
    store: SqlJobStore, settings: Settings
) -> None:
    limited = _with_budget(settings, 1.0)
    in_row, plain = _take(store), _take(store)
    with budgets.plan_within_budgets([submitted(plain, 0.6)], limited):
        with pytest.raises(OverBudget, match=r"\$0.60 was spent"):
            store.write(in_row.fence, submitted(in_row, 0.6), limited)
        store.write(in_row.fence, submitted(in_row, 0.3), limited)
        estimate = Estimate(usd=0.2, basis="a price")
        third = submitted(_take(store)).ticket.model_copy(update={"estimate": estimate})
        with pytest.raises(OverBudget, match=r"\$0.90 was spent"):
            budgets.refuse_over_budget([third], limited)


def test_a_budget_of_one_backend_counts_its_own_jobs(
    store: SqlJobStore, settings: Settings
) -> None:
    limited = _with_budget(settings, 1.0, backend="cloud")
    taken = _take(store)
    store.write(taken.fence, submitted(taken, 5.0), limited)  # with the backend gpu
    other = _take(store)
    with pytest.raises(OverBudget, match="with cloud"):
        store.write(other.fence, submitted(other, 1.5, backend="cloud"), limited)


def test_unknown_costs_are_warned_of(store: SqlJobStore, settings: Settings) -> None:
    limited = _with_budget(settings, 1.0)
    taken, other = _take(store), _take(store)
    job = submitted(taken)
    unknown = job.with_ticket(
        job.ticket.model_copy(update={"estimate": Estimate(usd=None, basis="unknown")})
    )
    (warning,) = store.write(taken.fence, unknown, limited)
    assert "cost of this is unknown" in warning
    (warning,) = store.write(other.fence, submitted(other, 0.1), limited)
    assert "cost of 1 generation today is unknown" in warning


def test_a_job_over_budget_is_submitted_if_asked(store: SqlJobStore, settings: Settings) -> None:
    limited = _with_budget(settings, 1.0)
    spec = JobSpec(request=Request(prompt="a fox"), backend="gpu", is_over_budget=True)
    store.submit([new_job(spec=spec)])
    taken = take_next(store)
    assert store.write(taken.fence, submitted(taken, 3.0), limited) == []
    other = _take(store)
    with pytest.raises(OverBudget, match=r"\$3.00 was spent"):
        store.write(other.fence, submitted(other, 0.1), limited)


def test_days_begin_in_the_zone_of_the_settings(store: SqlJobStore, settings: Settings) -> None:
    """What was spent a minute before midnight there was spent on another day."""
    zone = UsageSettings(timezone="Pacific/Kiritimati")
    limited = _with_budget(settings, 1.0).model_copy(update={"usage": zone})
    assert zone.zone is not None
    midnight = datetime.now(zone.zone).replace(hour=0, minute=0, second=0, microsecond=0)
    for number, seconds in ((1, -60), (2, 1)):
        when = datetime.fromtimestamp(midnight.timestamp() + seconds, UTC)
        spent = make_record(number, estimated_usd=0.6, began=when, ended_at=when, images=())
        record_generation(store.library, spent)
    taken = _take(store)
    with pytest.raises(OverBudget, match=r"\$0.60 was spent today"):
        store.write(taken.fence, submitted(taken, 0.6), limited)
