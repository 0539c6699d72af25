"""Schedules: when they are due, and that each moment submits once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier, Thread
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from PIL import Image

from imagen.config import load_settings
from imagen.core.image_file import parse_blob_name
from imagen.core.request import Request
from imagen.errors import RequestError
from imagen.jobs.blobs import open_blobs
from imagen.jobs.cron import add_schedule, local_timezone, next_due, submit_due_schedules
from imagen.jobs.sql_store import open_job_store
from imagen.jobs.submit import JobRequest, SubmitOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagen.config import Settings
    from imagen.jobs.model import QueuedJob
    from imagen.jobs.schedules import Schedule
    from imagen.jobs.sql_store import SqlJobStore

_NOON = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def settings() -> Settings:
    Path("imagen.yaml").write_text(
        "state_dir: state\noutput: {directory: out}\nbackends: {mock: {type: mock}}\n"
        "styles: {ink: {prompt: '{prompt}, ink'}}\n"
    )
    return load_settings()


@pytest.fixture
def store(settings: Settings) -> Iterator[SqlJobStore]:
    with open_job_store(settings) as store:
        yield store


def _add(
    request: Request, settings: Settings, store: SqlJobStore, cron: str = "0 * * * *"
) -> Schedule:
    options = SubmitOptions(backend="mock", priority=2)
    row = JobRequest(request, "mock"), settings, options
    return add_schedule(cron, "UTC", [row], store, now=_NOON)


def _jobs(store: SqlJobStore) -> list[QueuedJob]:
    return store.list_jobs()


@pytest.mark.parametrize(
    ("cron", "zone", "after", "due"),
    [
        ("0 7 * * *", "UTC", "2026-06-01T07:00", "2026-06-02T07:00"),
        ("0 7 * * *", "Europe/Zurich", "2026-06-01T12:00", "2026-06-02T05:00"),
        ("*/15 9-17 * * 1-5", "UTC", "2026-06-05T17:46", "2026-06-08T09:00"),
        ("30 2 * * *", "Europe/Zurich", "2026-03-28T12:00", "2026-03-29T01:00"),  # 2:30 is left out
        ("30 2 * * *", "Europe/Zurich", "2026-10-24T12:00", "2026-10-25T00:30"),  # 2:30 comes twice
        ("30 2 * * *", "Europe/Zurich", "2026-10-25T00:30", "2026-10-26T01:30"),
    ],
)
def test_the_next_moment_is_by_the_clocks_of_the_zone(
    cron: str, zone: str, after: str, due: str
) -> None:
    moment = next_due(cron, zone, datetime.fromisoformat(after).replace(tzinfo=UTC))
    assert moment == datetime.fromisoformat(due).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("cron", "zone", "sentence"),
    [
        ("0 7 * *", "UTC", "'0 7 * *' is not a valid schedule: it needs five fields"),
        ("0 25 * * *", "UTC", "'0 25 * * *' is not a valid schedule: bad hour"),
        ("0 7 31 2 *", "UTC", "not a valid schedule"),
        ("* * * * * *", "UTC", "it needs five fields"),
        ("0 7 * * *", "Europe/Zürich", "Did you mean 'Europe/Zurich'?"),
        ("0 7 * * *", "../etc/passwd", "is not a time zone"),
        ("9" * 5000 + " * * * *", "UTC", "is not a valid schedule"),
    ],
)
def test_a_wrong_schedule_is_a_sentence(cron: str, zone: str, sentence: str) -> None:
    with pytest.raises(RequestError) as refused:
        next_due(cron, zone, _NOON)
    assert sentence in refused.value.message


def test_the_time_zone_of_the_machine_is_that_of_the_variable_or_the_system() -> None:
    assert local_timezone({"TZ": "Asia/Tokyo"}) == "Asia/Tokyo"
    assert ZoneInfo(local_timezone({})).key


def test_a_due_schedule_submits_its_request_with_a_new_seed_each_time(
    settings: Settings, store: SqlJobStore
) -> None:
    schedule = _add(Request(prompt="a fox", style="ink"), settings, store)
    assert submit_due_schedules(store, settings, now=_NOON + timedelta(minutes=59)) == []
    assert _jobs(store) == []
    for hour in (1, 2):
        submit_due_schedules(store, settings, now=_NOON + timedelta(hours=hour))
    jobs = _jobs(store)
    seeds = {job.spec.request.seed for job in jobs if job.spec}
    assert [(job.name, job.priority) for job in jobs] == [("a fox", 2)] * 2
    assert len(seeds - {None}) == 2
    (changed,) = store.schedules()
    assert (changed.id, changed.next) == (schedule.id, _NOON + timedelta(hours=3))
    assert changed.last == _NOON + timedelta(hours=2)


def test_missed_moments_are_made_up_for_once(settings: Settings, store: SqlJobStore) -> None:
    _add(Request(prompt="a fox"), settings, store)
    for _ in range(2):
        submit_due_schedules(store, settings, now=_NOON + timedelta(hours=9, minutes=5))
    assert len(_jobs(store)) == 1
    assert store.schedules()[0].next == _NOON + timedelta(hours=10)


def test_two_workers_submit_each_moment_once(settings: Settings) -> None:
    with open_job_store(settings) as one, open_job_store(settings) as two:
        for prompt in ("a fox", "a cat", "a dog"):
            _add(Request(prompt=prompt), settings, one)
        start = Barrier(2)

        def submit(store: SqlJobStore) -> None:
            start.wait(30)
            submit_due_schedules(store, settings, now=_NOON + timedelta(hours=1))

        threads = [Thread(target=submit, args=(store,)) for store in (one, two)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sorted(job.name for job in _jobs(one)) == ["a cat", "a dog", "a fox"]


def test_a_template_gets_new_texts_each_time(settings: Settings, store: SqlJobStore) -> None:
    choices = "|".join(map(str, range(1000)))
    request = Request(prompt="fox 1", template=f"fox {{{choices}}}", seed=1)
    _add(request, settings, store)
    for hour in range(1, 4):
        submit_due_schedules(store, settings, now=_NOON + timedelta(hours=hour))
    requests = [job.spec.request for job in _jobs(store) if job.spec]
    assert len({request.prompt for request in requests}) > 1
    assert {request.template for request in requests} == {request.template}


def test_a_schedule_keeps_its_images_and_a_paused_one_submits_nothing(
    settings: Settings, store: SqlJobStore
) -> None:
    Image.new("RGB", (64, 64), "red").save("photo.png")
    schedule = _add(Request(prompt="a fox", image="photo.png"), settings, store)
    Path("photo.png").unlink()
    later = _NOON + timedelta(hours=1)
    store.put_schedule(schedule.model_copy(update={"is_paused": True}))
    submit_due_schedules(store, settings, now=later)
    assert _jobs(store) == []
    store.put_schedule(schedule)
    assert submit_due_schedules(store, settings, now=later) == []
    (job,) = _jobs(store)
    assert job.spec is not None
    stored = parse_blob_name(job.spec.request.image or "")
    assert stored is not None
    assert open_blobs(settings, store.library).get(stored[0])


def test_a_schedule_that_cannot_be_submitted_does_not_stop_the_others(
    settings: Settings, store: SqlJobStore
) -> None:
    _add(Request(prompt="a fox", width=2048, height=2048), settings, store)
    _add(Request(prompt="a cat"), settings, store)
    limits = settings.limits.model_copy(update={"max_width": 1500})
    smaller = settings.model_copy(update={"limits": limits})
    later = _NOON + timedelta(hours=1)
    (problem,) = submit_due_schedules(store, smaller, now=later)
    assert "submitted nothing: width 2048 exceeds" in problem
    assert [job.name for job in _jobs(store)] == ["a cat"]


def test_a_schedule_of_a_backend_that_a_worker_does_not_know_is_left_to_others(
    settings: Settings, store: SqlJobStore
) -> None:
    named = settings.model_copy(update={"backends": {"studio": {"type": "mock"}}})
    row = JobRequest(Request(prompt="a fox"), "studio"), named, SubmitOptions(backend="studio")
    add_schedule("0 * * * *", "UTC", [row], store, now=_NOON)
    later = _NOON + timedelta(hours=1)
    assert submit_due_schedules(store, settings, now=later) == []
    assert _jobs(store) == []
    submit_due_schedules(store, named, now=later)
    assert [job.name for job in _jobs(store)] == ["a fox"]


def test_a_wrong_request_is_refused_when_the_schedule_is_made(
    settings: Settings, store: SqlJobStore
) -> None:
    with pytest.raises(RequestError, match="Unknown style"):
        _add(Request(prompt="a fox", style="oil"), settings, store)
    assert store.schedules() == []
