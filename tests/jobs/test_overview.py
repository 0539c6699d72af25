"""What is listed of the queue, and what is expected of it, with each database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from imagen.config import LibrarySettings, Settings
from imagen.core.request import Request
from imagen.jobs.forecast import WaitingJob, forecast
from imagen.jobs.model import ServedResource, Speed, WorkerInfo
from imagen.jobs.overview import read_overview
from imagen.jobs.queue import queue_name
from imagen.jobs.sql_store import open_job_store
from imagen.jobs.submit import JobRequest, SubmitOptions, submit_request, submit_requests

if TYPE_CHECKING:
    from pathlib import Path

_NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
_POOLS = {"both": ("fast", "slow")}


def _worker(id: str, *resources: tuple[str, int, tuple[str, ...]]) -> WorkerInfo:
    served = tuple(ServedResource(*one) for one in resources)
    return WorkerInfo(id=id, host="h", pid=1, started=_NOW, seen=_NOW, resources=served)


def _waiting(id: str, pool: str = "both", *, due: datetime = _NOW) -> WaitingJob:
    return WaitingJob(id, "batch", pool, "sdxl", due)


def _speeds(**seconds: float) -> dict[tuple[str, str], Speed]:
    return {(name, "sdxl"): Speed(each, each, 1) for name, each in seconds.items()}


def _after(seconds: float) -> datetime:
    return _NOW + timedelta(seconds=seconds)


def test_each_job_goes_to_the_place_that_ends_it_first() -> None:
    workers = [_worker("w", ("a", 1, ("fast",)), ("b", 1, ("slow",)))]
    line = [_waiting(str(n)) for n in range(4)]
    found = forecast(line, [], workers, _POOLS, _speeds(fast=10, slow=30), _NOW)
    assert [found[str(n)].end for n in range(4)] == [*map(_after, (10, 20, 30, 30))]
    assert [found[str(n)].position for n in range(4)] == [1, 2, 3, 4]
    assert (found["batch"].start, found["batch"].end) == (_NOW, _after(30))


def test_workers_that_serve_one_engine_share_its_places() -> None:
    workers = [_worker(id, ("a", 1, ("fast",))) for id in ("one", "two")]
    found = forecast([_waiting("1"), _waiting("2")], [], workers, _POOLS, _speeds(fast=10), _NOW)
    assert found["2"].start == _after(10)


def test_what_is_not_known_is_not_guessed() -> None:
    workers = [_worker("w", ("a", 1, ("fast",)))]
    line = [_waiting("1"), _waiting("2"), _waiting("3", "other")]
    found = forecast(line, [], workers, _POOLS, {}, _NOW)
    assert (found["1"].start, found["1"].end) == (_NOW, None)
    assert (found["2"].start, found["2"].end) == (None, None)
    assert (found["3"].position, found["3"].start) == (1, None)
    assert found["batch"].end is None


def test_a_job_does_not_start_before_its_time() -> None:
    workers = [_worker("w", ("a", 1, ("fast",)))]
    line = [_waiting("1", due=_after(60))]
    found = forecast(line, [], workers, _POOLS, _speeds(fast=10), _NOW)
    assert (found["1"].start, found["1"].end) == (_after(60), _after(70))


def test_the_overview_is_the_same_with_each_database(tmp_path: Path, library_url: str) -> None:
    settings = Settings(
        state_dir=tmp_path,
        library=LibrarySettings(url=library_url),
        backends={"mock": {"type": "mock"}},
    )
    options = SubmitOptions(backend="mock")
    with open_job_store(settings, worker_id="w") as store:
        rows = [JobRequest(Request(prompt=f"fox {n}"), "mock") for n in range(3)]
        batch = submit_requests(rows, settings, options, kind="batch", name="b", store=store)
        urgent = SubmitOptions(backend="mock", priority=5)
        first = submit_request(Request(prompt="a cat"), settings, urgent, store=store)
        gone = submit_request(Request(prompt="a dog"), settings, options, store=store)
        store.cancel(gone.id)
        store.queue.beat(())
        delivery = store.queue.fetch([[queue_name("mock", "mock")]])
        assert delivery is not None
        assert store.take(delivery, worker="w", backend="mock", resource="mock", at_once=1)
        top = read_overview(store, settings)
        assert [job.id for job in top.jobs] == [first.id, batch.id, gone.id]
        assert [job.id for job in top.running] == [first.id]
        assert top.counts == {batch.id: {"queued": 3}}
        assert (top.in_line, top.left_out) == (3, 0)
        below = read_overview(store, settings, parent=batch.id, most_active=2)
        assert [job.id for job in below.jobs] == batch.ids[:2]
        assert below.left_out == 1
        assert [below.forecasts[id].position for id in batch.ids] == [1, 2, 3]
        assert read_overview(store, settings, pool="mock", states=["running"]).jobs
        of_pool = read_overview(store, settings, pool="mock", states=["queued"])
        assert [job.id for job in of_pool.jobs] == batch.ids
        assert read_overview(store, settings, states=["cancelled"]).jobs[0].id == gone.id
