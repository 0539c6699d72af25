"""The log and the figures of a worker."""

from __future__ import annotations

import json
import socket
from io import StringIO
from typing import TYPE_CHECKING
from urllib.request import urlopen

import pytest

from imagen.config import JobSettings, LibrarySettings, OutputSettings, Settings
from imagen.core.request import Request
from imagen.errors import ConfigError, MissingDependency
from imagen.jobs.metrics import parse_address, serve_metrics
from imagen.jobs.model import JobSpec, NewJob
from imagen.jobs.sql_store import open_job_store
from imagen.jobs.worker import WorkerEvent, run_worker
from imagen.jobs.worker_log import WorkerLog
from imagen.library import images_of

if TYPE_CHECKING:
    from pathlib import Path

_SECRET_PROMPT = "a fox of a secret client"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        backends={"paint": {"type": "mock"}, "broken": {"type": "mock", "fail": "failed"}},
        library=LibrarySettings(url=str(tmp_path / "library.db")),
        state_dir=tmp_path / "state",
        output=OutputSettings(directory=tmp_path / "outputs"),
        jobs=JobSettings(retries=0),
    )


def _submit(settings: Settings, *backends: str) -> list[str]:
    request = Request(prompt=_SECRET_PROMPT, width=64, height=64, seed=1)
    specs = [JobSpec(request=request, backend=name) for name in backends]
    with open_job_store(settings) as store:
        return store.submit([NewJob(spec=spec) for spec in specs])


@pytest.fixture
def address() -> tuple[str, int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return "127.0.0.1", free.getsockname()[1]


def _read(address: tuple[str, int]) -> dict[str, float]:
    with urlopen("http://{}:{}/metrics".format(*address), timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def test_json_lines_say_what_happened_without_the_prompt(settings: Settings) -> None:
    (job,) = _submit(settings, "paint")
    stream = StringIO()
    run_worker(settings, drain=True, on_event=WorkerLog("json", stream))
    assert _SECRET_PROMPT not in stream.getvalue()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    events = [line["event"] for line in lines]
    assert [one for one in events if one in ("ready", "started", "done", "stopping")] == [
        "ready",
        "started",
        "done",
        "stopping",
    ]
    (done,) = (line for line in lines if line["event"] == "done")
    assert (done["job"], done["backend"]) == (job, "paint")
    assert done["seconds"] >= 0
    assert "T" in done["at"]


def test_text_lines_are_for_people(settings: Settings) -> None:
    (job,) = _submit(settings, "paint")
    stream = StringIO()
    run_worker(settings, drain=True, on_event=WorkerLog("text", stream))
    (done,) = (line for line in stream.getvalue().splitlines() if " done " in line)
    assert f" done {job} on paint after " in done


def test_the_message_of_a_failed_job_is_not_logged() -> None:
    """It may quote the prompt, as engines do when they refuse one."""
    event = WorkerEvent("failed", f"refused: {_SECRET_PROMPT}", "a-job", "paint", "rejected")
    for write in ("text", "json"):
        stream = StringIO()
        WorkerLog("json" if write == "json" else "text", stream)(event)
        assert _SECRET_PROMPT not in stream.getvalue()
        assert "rejected" in stream.getvalue()


def test_the_message_about_an_engine_is_logged() -> None:
    stream = StringIO()
    event = WorkerEvent("paused", "http://gpu:8188 refused.", "a-job", "gpu", "unavailable")
    WorkerLog("text", stream)(event)
    assert "paused a-job on gpu unavailable http://gpu:8188 refused." in stream.getvalue()


def test_the_message_about_the_worker_is_logged_on_one_line() -> None:
    stream = StringIO()
    WorkerLog("text", stream)(WorkerEvent("outage", "The library\ncannot be\x1b[31m reached."))
    assert stream.getvalue().count("\n") == 1
    assert "\x1b" not in stream.getvalue()
    assert "outage The library cannot be" in stream.getvalue()


def test_metrics_count_jobs_and_failures(settings: Settings, address: tuple[str, int]) -> None:
    _submit(settings, "paint", "paint", "broken")
    with serve_metrics(settings, address) as count:
        before = _read(address)
        run_worker(settings, drain=True, on_event=count)
        after = _read(address)
    assert before['imagen_queued_jobs{pool="paint"}'] == 2
    assert before['imagen_queued_jobs{pool="broken"}'] == 1
    assert 'imagen_queued_jobs{pool="paint"}' not in after
    assert after['imagen_jobs_total{backend="paint",outcome="done"}'] == 2
    assert after['imagen_jobs_total{backend="broken",outcome="failed"}'] == 1
    assert after['imagen_job_failures_total{backend="broken",code="failed"}'] == 1
    assert after['imagen_job_seconds_count{backend="paint"}'] == 2
    assert after['imagen_worker_jobs{backend="paint"}'] == 0
    assert not any(_SECRET_PROMPT in name for name in after)


def test_metrics_show_places_while_a_worker_lives(
    settings: Settings, address: tuple[str, int]
) -> None:
    seen: dict[str, float] = {}

    def look(event: WorkerEvent) -> None:
        count(event)
        if event.kind == "started":
            seen.update(_read(address))

    _submit(settings, "paint")
    with serve_metrics(settings, address) as count:
        run_worker(settings, backends=["paint"], drain=True, on_event=look)
    assert seen["imagen_workers"] == 1
    assert seen['imagen_worker_jobs{backend="paint"}'] == 1
    assert seen['imagen_running_jobs{backend="paint"}'] == 1
    (engine,) = (name for name in seen if name.startswith("imagen_engine_places{"))
    assert seen[engine] == seen[engine.replace("places", "places_busy")] == 1
    assert seen[engine.replace("places", "paused")] == 0


def test_metrics_note_that_the_database_is_away(
    settings: Settings, address: tuple[str, int]
) -> None:
    with serve_metrics(settings, address) as count:
        count(WorkerEvent("outage", "away"))
        assert _read(address)["imagen_database_away"] == 1
        count(WorkerEvent("reconnected"))
        after = _read(address)
    assert (after["imagen_database_away"], after["imagen_database_outages_total"]) == (0, 1)


def test_a_paused_engine_is_shown(settings: Settings, address: tuple[str, int]) -> None:
    with serve_metrics(settings, address), open_job_store(settings) as store:
        store.pause("gpu", 60)
        assert _read(address)['imagen_engine_paused{engine="gpu"}'] == 1


def test_a_port_that_is_taken_is_a_sentence(settings: Settings, address: tuple[str, int]) -> None:
    with (
        serve_metrics(settings, address),
        pytest.raises(ConfigError, match="cannot be served on"),
        serve_metrics(settings, address),
    ):
        pass


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("9108", ("127.0.0.1", 9108)),
        ("0.0.0.0:9108", ("0.0.0.0", 9108)),
        ("[::1]:9108", ("::1", 9108)),
        ("gpu.lan:80", ("gpu.lan", 80)),
    ],
)
def test_an_address_is_a_port_and_perhaps_a_host(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "0", "70000", "x", "host:", ":80", "a b:80", "1:2:3"])
def test_a_wrong_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a port"):
        parse_address(text)


def test_without_the_client_of_prometheus_the_extra_is_named(
    settings: Settings, address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with (
        pytest.raises(MissingDependency) as caught,
        serve_metrics(settings, address),
    ):
        pass
    assert caught.value.extra == "metrics"


def test_an_image_is_recorded_although_its_copy_cannot_be_stored(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("not a folder")
    settings = settings.model_copy(update={"blobs": str(tmp_path / "file" / "below")})
    (job,) = _submit(settings, "paint")
    stream = StringIO()
    run_worker(settings, drain=True, on_event=WorkerLog("json", stream))
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    (remark,) = (line for line in lines if line["event"] == "not_copied")
    assert remark["job"] == job
    assert remark["message"].startswith("No copy could be stored for other machines: The folder")
    with open_job_store(settings) as store:
        assert store.read(job).state == "done"
        assert len(images_of(store.library, job)) == 1
