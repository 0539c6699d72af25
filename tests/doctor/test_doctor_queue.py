"""The check of the queue."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from support.doctor_samples import settings, summarize

from imagen.core.request import Request
from imagen.doctor.queue_check import check_queue
from imagen.errors import Lost
from imagen.jobs.model import ServedResource, WorkerInfo
from imagen.jobs.queue import queue_name
from imagen.jobs.schedules import Schedule
from imagen.jobs.sql_store import open_job_store
from imagen.jobs.submit import SubmitOptions, submit_request

if TYPE_CHECKING:
    from pathlib import Path

    from imagen.config import Settings
    from imagen.jobs.model import QueuedJob
    from imagen.jobs.sql_store import SqlJobStore


def _settings(place: Path) -> Settings:
    return settings(place, backends={"mock": {"type": "mock"}, "other": {"type": "mock"}})


def _submit(whole: Settings, store: SqlJobStore, backend: str = "mock") -> None:
    options = SubmitOptions(backend=backend)
    submit_request(Request(prompt="a fox"), whole, options, store=store)


def _take(store: SqlJobStore, worker: str) -> QueuedJob:
    delivery = store.queue.fetch([[queue_name("mock", "mock")]])
    assert delivery is not None
    job = store.take(delivery, worker=worker, backend="mock", resource="mock", at_once=9)
    assert job is not None
    return job


def _worker() -> WorkerInfo:
    now = datetime.now(UTC)
    served = (ServedResource("mock", 1, ("mock",)),)
    return WorkerInfo(id="w", host="desk", pid=7, started=now, seen=now, resources=served)


def test_an_empty_queue_is_ok_without_a_worker(tmp_path: Path) -> None:
    whole = _settings(tmp_path)
    with open_job_store(whole):
        pass
    told = summarize(check_queue(whole, {}))
    assert told == [("queue", "ok", "0 jobs waiting; no worker is running")]


def test_jobs_that_no_worker_will_run_are_warnings(tmp_path: Path) -> None:
    whole = _settings(tmp_path)
    with open_job_store(whole) as store:
        _submit(whole, store)
        (found,) = check_queue(whole, {})
        assert (found.state, found.says) == ("warning", "1 job waiting; no worker is running")
        assert found.remedies == ("Start one with: imagen worker",)
        store.see_worker(_worker())
        _submit(whole, store, "other")
    assert summarize(check_queue(whole, {})) == [
        ("queue", "ok", "2 jobs waiting; desk:7 serves mock"),
        ("queue", "warning", "1 job for other, which no running worker serves"),
    ]


def test_what_needs_attention_is_reported(tmp_path: Path) -> None:
    whole = _settings(tmp_path)
    with open_job_store(whole) as store:
        store.see_worker(_worker())
        for _ in range(2):
            _submit(whole, store)
        store.fail(_take(store, "w").fence, Lost("Gone."), state="lost")
        _take(store, "dead")
        store.pause("mock", 60, {"message": "It cannot be reached."})
        late = datetime.now(UTC) - timedelta(hours=1)
        store.put_schedule(Schedule(cron="0 7 * * *", timezone="UTC", spec={}, next=late))
    told = summarize(check_queue(whole, {}))
    says = [says.partition(" until ")[0] for _, _, says in told]
    assert [state for _, state, _ in told] == ["ok", *["warning"] * 4]
    assert says == [
        "0 jobs waiting; desk:7 serves mock",
        "1 job of workers that have vanished",
        "mock is paused",
        "1 job lost, which may have run and cost money",
        "1 schedule overdue, as no worker has submitted the jobs",
    ]
