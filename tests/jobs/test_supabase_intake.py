"""Jobs of a Supabase project are taken into the queue, and their results written back."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from PIL import Image
from simulators.supabase import BUCKET, SERVICE_KEY, Bucket, Supabase, SupabaseSwitches
from simulators.supabase.storage import StoredObject
from support.supabase_database import apply, make_project, session, values

from imagen.config import Settings
from imagen.delivery.supabase_jobs import SupabaseJob
from imagen.errors import ConfigError, ImagenError, RequestError
from imagen.jobs.sql_store import open_job_store
from imagen.jobs.supabase_intake import describe_error, parse_row, take_supabase_jobs
from imagen.jobs.worker import run_worker
from imagen.library.outbox import retry as retry_deliveries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from imagen.jobs.sql_store import SqlJobStore

ANN = "aaaaaaaa-0000-4000-8000-000000000001"
BOB = "bbbbbbbb-0000-4000-8000-000000000002"


@pytest.fixture
def project(postgres_url: str) -> str:
    make_project(postgres_url)
    apply(postgres_url)
    return postgres_url


@pytest.fixture
def cloud(project: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supabase]:
    buckets = (Bucket(name=BUCKET), Bucket(name="imagen-inputs"))
    with Supabase(database=project, buckets=buckets) as running:
        monkeypatch.setenv("SUPABASE_URL", running.url)
        monkeypatch.setenv("SUPABASE_SERVICE_KEY", SERVICE_KEY)
        yield running


def _settings(folder: Path, **more: Any) -> Settings:
    """The library in a file, so that the table is reached through PostgREST."""
    values = {
        "backends": {"paint": {"type": "mock"}, "studio": {"type": "mock"}},
        "cloud": {"jobs": {"backends": ["paint"], "models": ["ink", "watercolour"]}},
        "output": {"directory": folder / "out"},
        "library": {"url": str(folder / "library.db")},
        "state_dir": folder / "state",
        **more,
    }
    return Settings.model_validate(values)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return _settings(tmp_path)


@pytest.fixture
def store(settings: Settings) -> Iterator[SqlJobStore]:
    with open_job_store(settings) as opened:
        yield opened


def _add(project: str, user: str = ANN, backend: str | None = None, **request: Any) -> str:
    id = str(uuid4())
    with session(project, "authenticated", user) as connection:
        connection.execute(
            "insert into imagen.jobs (id, request, backend) values (%s, %s, %s)",
            [id, json.dumps(request), backend],
        )
    return id


def _read(project: str, id: str, columns: str) -> Any:
    """What the owner of a job reads of it."""
    with session(project, "service_role") as service:
        return values(service, f"select {columns} from imagen.jobs where id = '{id}'")[0]


def _take(settings: Settings, store: SqlJobStore) -> list[str]:
    """One step of the intake, and the last one; what it says."""
    said: list[str] = []
    with take_supabase_jobs(settings, store, say=said.append):
        pass
    return said


def _row(backend: str | None = None, owner: str = ANN, **request: Any) -> SupabaseJob:
    return SupabaseJob(id=str(uuid4()), owner_user_id=owner, request=request, backend=backend)


def _no_download(parameter: str, owner: str, name: str) -> str:
    return f"/inputs/{parameter}/{owner}/{name}"


def _png(folder: Path) -> bytes:
    path = folder / "fox.png"
    Image.new("RGB", (64, 64), (7, 0, 0)).save(path)
    return path.read_bytes()


def _put(cloud: Supabase, path: str, data: bytes) -> None:
    cloud.objects["imagen-inputs", path] = StoredObject(data=data, media_type="image/png")


# --- a stranger's request ---


def test_a_request_gets_the_first_backend_unless_it_names_one(tmp_path: Path) -> None:
    jobs = {"backends": ["paint", "studio"]}
    settings = _settings(tmp_path, cloud={"jobs": jobs})
    request, backend = parse_row(_row(prompt="fox", steps=4), settings, _no_download)
    assert (request.prompt, request.steps, backend) == ("fox", 4, "paint")
    assert parse_row(_row("studio"), settings, _no_download)[1] == "studio"


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"promt": "fox"}, "'promt' is not a parameter. Did you mean 'prompt'?"),
        ({"extra": {"file": "/etc/passwd"}}, "'extra' is not a parameter"),
        ({"template": "__x__"}, "'template' is not a parameter"),
        ({"steps": -1}, "steps"),
        ({"prompt": ["fox"]}, "prompt"),
        ({"count": 5}, "count: at most 4"),
        ({"model": "/etc/passwd"}, "there is no model '/etc/passwd'"),
        ({"model": "someone/huge-model"}, "there is no model"),
        ({"loras": [{"name": "//host/share/x"}]}, "loras: there is no model"),
        ({"prompt": "fox <lora:other:1>"}, "prompt: there is no model 'other'"),
        ({"negative": "<lora:other:1>"}, "prompt: there is no model 'other'"),
        ({"upscale": {"method": "4x.pth"}, "image": "fox.png"}, "upscale: there is no model"),
        ({"restore": {"model": "x.pth"}, "image": "fox.png"}, "restore: there is no model"),
        ({"loras": [{"name": "watercolor"}]}, "Did you mean 'watercolour'?"),
        ({"references": ["x.png"] * 17}, "At most 16"),
    ],
)
def test_what_users_may_not_ask_for_is_refused(
    settings: Settings, request_: dict[str, Any], message: str
) -> None:
    with pytest.raises(RequestError) as caught:
        parse_row(_row(**request_), settings, _no_download)
    assert message in caught.value.message


def test_another_backend_is_refused_without_naming_it(settings: Settings) -> None:
    with pytest.raises(RequestError, match="Use one of: paint") as caught:
        parse_row(_row("studio"), settings, _no_download)
    assert "studio" in caught.value.message


def test_allowed_models_and_interpolations_pass(settings: Settings) -> None:
    row = _row(prompt="<lora:ink:1>", upscale={"method": "lanczos"}, image="fox.png")
    assert parse_row(row, settings, _no_download)[0].upscale is not None


def test_every_image_comes_from_the_folder_of_the_owner(settings: Settings) -> None:
    row = _row(
        image="a.png", mask="b.png", references=["c.png"], controls=[{"kind": "x", "image": "d"}]
    )
    request, _ = parse_row(row, settings, _no_download)
    assert request.image == f"/inputs/image/{ANN}/a.png"
    assert request.mask == f"/inputs/mask/{ANN}/b.png"
    assert request.references == (f"/inputs/references.0/{ANN}/c.png",)
    assert request.controls[0].image == f"/inputs/controls.0/{ANN}/d"


@pytest.mark.parametrize(
    ("code", "message", "shown"),
    [
        ("request", "image: /home/joe/state/fox.png is not an image.", "image: fox.png is not an"),
        ("rejected", "http://10.0.0.5:8188/prompt refused it.", "the engine refused it."),
        ("unavailable", "http://gpu.internal:8188 cannot be reached", "The engine cannot be"),
        ("output", "/srv/out cannot be written.", "The job failed at the service."),
        ("over_budget", "$12 of $10 this month.", "The spending limit of this service"),
        ("failed", "a\x1b[31m\nb", "a[31m b"),
    ],
)
def test_errors_say_nothing_about_machines(code: str, message: str, shown: str) -> None:
    assert shown in str(describe_error(code, message)["message"])


# --- rows to jobs ---


@pytest.mark.usefixtures("cloud")
def test_a_row_becomes_a_job_of_its_owner(
    settings: Settings, store: SqlJobStore, project: str
) -> None:
    id = _add(project, prompt="a fox", seed=7)
    assert _take(settings, store) == []
    (job,) = store.list_jobs()
    assert job.spec is not None
    assert (job.name, job.pool, job.caller, job.spec.owner) == ("a fox", "paint", ANN, ANN)
    assert _read(project, id, "state") == "queued"


@pytest.mark.usefixtures("cloud")
def test_a_row_becomes_one_job_however_often_it_is_taken(
    settings: Settings, store: SqlJobStore, project: str
) -> None:
    _add(project, prompt="a fox")
    for _ in range(2):
        _take(settings, store)
        with session(project, "service_role") as service:
            service.execute("update imagen.jobs set state = 'taken'")
    assert len(store.list_jobs()) == 1


def test_a_lost_report_is_repeated(
    settings: Settings, store: SqlJobStore, cloud: Supabase, project: str
) -> None:
    id = _add(project, prompt="a fox")
    _take(settings, store)
    (job,) = store.list_jobs()
    cloud.switches = SupabaseSwitches(broken=1000)
    store.cancel(job.id)
    with pytest.raises(ImagenError):
        _take(settings, store)
    cloud.switches = SupabaseSwitches()
    _take(settings, store)
    assert _read(project, id, "state") == "cancelled"


@pytest.mark.usefixtures("cloud")
def test_a_bad_request_fails_with_a_sentence(
    settings: Settings, store: SqlJobStore, project: str
) -> None:
    id = _add(project, prompt="a fox", steps=-1)
    (said,) = _take(settings, store)
    assert id in said
    assert _read(project, id, "state") == "failed"
    error = _read(project, id, "error")
    assert error["code"] == "request"
    assert "steps" in error["message"]
    assert store.list_jobs() == []


def test_an_image_of_the_owner_is_taken_along(
    settings: Settings, store: SqlJobStore, cloud: Supabase, project: str, tmp_path: Path
) -> None:
    _put(cloud, f"{ANN}/fox.png", _png(tmp_path))
    id = _add(project, prompt="a fox", image="fox.png")
    _take(settings, store)
    assert _read(project, id, "error") is None
    (job,) = store.list_jobs()
    assert job.spec is not None
    assert str(job.spec.request.image).startswith("blob:")


@pytest.mark.parametrize(
    "name", [f"../{ANN}/fox.png", f"{ANN}/fox.png", "missing.png", "/etc/passwd"]
)
def test_an_image_of_another_user_is_out_of_reach(
    settings: Settings,
    store: SqlJobStore,
    cloud: Supabase,
    project: str,
    tmp_path: Path,
    name: str,
) -> None:
    _put(cloud, f"{ANN}/fox.png", _png(tmp_path))
    id = _add(project, BOB, prompt="a fox", image=name)
    _take(settings, store)
    assert _read(project, id, "state") == "failed"
    assert str(_read(project, id, "error")["message"]).startswith("image: ")


@pytest.mark.usefixtures("cloud")
def test_a_cancelled_row_cancels_its_job(
    settings: Settings, store: SqlJobStore, project: str
) -> None:
    id = _add(project, prompt="a fox")
    _take(settings, store)
    with session(project, "authenticated", ANN) as connection:
        connection.execute("update imagen.jobs set cancel = true")
    _take(settings, store)
    (job,) = store.list_jobs()
    assert job.state == "cancelled"
    assert _read(project, id, "state") == "cancelled"


@pytest.mark.usefixtures("cloud")
def test_a_job_that_the_queue_has_forgotten_has_failed(
    settings: Settings, store: SqlJobStore, project: str
) -> None:
    id = _add(project, prompt="a fox")
    _take(settings, store)
    with session(project, "service_role") as service:
        service.execute("update imagen.jobs set owner_user_id = %s", [BOB])
    _take(settings, store)
    assert _read(project, id, "error")["code"] == "lost"


# --- what has to be set ---


@pytest.mark.usefixtures("cloud")
@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"cloud": {}}, "cloud.jobs.backends is empty"),
        ({"cloud": {"jobs": {"backends": ["pain"]}}}, "Did you mean 'paint'?"),
        ({"output": {"cloud_sync": "off"}}, "output.cloud_sync is off"),
    ],
)
def test_missing_settings_are_named_at_once(
    tmp_path: Path, more: dict[str, Any], message: str
) -> None:
    settings = _settings(tmp_path, **more)
    with open_job_store(settings) as store, pytest.raises(ConfigError) as caught:
        _take(settings, store)
    assert message in caught.value.message


def test_missing_credentials_are_named_at_once(settings: Settings, store: SqlJobStore) -> None:
    with pytest.raises(ConfigError, match="SUPABASE_URL and SUPABASE_SERVICE_KEY are not set"):
        _take(settings, store)


def test_a_missing_table_is_named_at_once(
    settings: Settings, store: SqlJobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Supabase() as bare:
        monkeypatch.setenv("SUPABASE_URL", bare.url)
        monkeypatch.setenv("SUPABASE_SERVICE_KEY", SERVICE_KEY)
        with pytest.raises(ImagenError) as caught:
            _take(settings, store)
    assert "docs/supabase.sql" in caught.value.remedy


# --- with a worker ---


def _run(settings: Settings, **more: Any) -> list[str]:
    said: list[str] = []
    with open_job_store(settings) as store, take_supabase_jobs(settings, store, say=said.append):
        run_worker(settings, drain=True, **more)
    return said


def test_users_get_their_images(
    settings: Settings, cloud: Supabase, project: str, tmp_path: Path
) -> None:
    _put(cloud, f"{BOB}/fox.png", _png(tmp_path))
    ann = _add(project, ANN, prompt="a fox", seed=7, width=64, height=64, count=2)
    bob = _add(project, BOB, image="fox.png", upscale={"factor": 2, "method": "lanczos"})
    assert _run(settings) == []
    for id, user, count in ((ann, ANN, 2), (bob, BOB, 1)):
        assert (_read(project, id, "state"), _read(project, id, "error")) == ("done", None)
        images = _read(project, id, "images")
        assert len(images) == count
        rows = {row["id"]: row for row in cloud.rows("imagen", "images")}
        for image in images:
            assert rows[image["id"]]["owner_user_id"] == user
            assert (image["bucket"], image["path"]) in cloud.objects
    assert [image["seed"] for image in _read(project, ann, "images")] == ["7", "8"]
    assert _read(project, bob, "images")[0]["width"] == 128
    with open_job_store(settings) as store:
        assert {job.caller for job in store.list_jobs()} == {ANN, BOB}


def test_what_is_done_is_reported_once_uploads_work_again(
    settings: Settings, cloud: Supabase, project: str
) -> None:
    id = _add(project, prompt="a fox", width=64, height=64)
    cloud.switches = SupabaseSwitches(broken_uploads=1000)
    _run(settings)
    assert _read(project, id, "state") == "running"
    assert _read(project, id, "progress") == {"stage": "uploading", "waiting": 1}
    cloud.switches = SupabaseSwitches()
    with open_job_store(settings) as store:
        retry_deliveries(store.library)
    _run(settings)
    assert _read(project, id, "state") == "done"
    assert len(cloud.objects) == 1


def test_an_image_that_the_bucket_refuses_is_no_success(
    settings: Settings, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    buckets = (Bucket(name=BUCKET, file_size_limit=10), Bucket(name="imagen-inputs"))
    with Supabase(database=project, buckets=buckets) as small:
        monkeypatch.setenv("SUPABASE_URL", small.url)
        monkeypatch.setenv("SUPABASE_SERVICE_KEY", SERVICE_KEY)
        id = _add(project, prompt="a fox", width=64, height=64)
        _run(settings)
    assert _read(project, id, "state") == "failed"
    assert _read(project, id, "error")["code"] == "upload"


@pytest.mark.usefixtures("cloud")
def test_a_failed_job_says_why_and_not_where(tmp_path: Path, project: str) -> None:
    settings = _settings(tmp_path, backends={"paint": {"type": "mock", "fail": "failed"}})
    id = _add(project, prompt="a fox", width=64, height=64)
    _run(settings)
    assert _read(project, id, "state") == "failed"
    assert str(tmp_path) not in str(_read(project, id, "error"))


def test_the_table_beside_the_library_is_used_by_sql(
    cloud: Supabase, project: str, tmp_path: Path
) -> None:
    settings = _settings(tmp_path, library={"url": project})
    id = _add(project, prompt="a fox", width=64, height=64)
    _run(settings)
    assert _read(project, id, "state") == "done"
    assert not [one for one in cloud.requests if "/rpc/" in one.path]


def test_two_workers_with_libraries_of_their_own_share_the_rows(
    tmp_path: Path, cloud: Supabase, project: str
) -> None:
    ids = [_add(project, prompt=f"fox {n}", width=64, height=64) for n in range(20)]
    workers = [Thread(target=_run, args=(_settings(tmp_path / name),)) for name in ("one", "two")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert {_read(project, id, "state") for id in ids} == {"done"}
    assert len({_read(project, id, "taken_by") for id in ids}) == 2
    assert len(cloud.rows("imagen", "images")) == 20


def _wait_for(is_reached: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not is_reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_cancelling_a_row_stops_its_running_job(
    tmp_path: Path, cloud: Supabase, project: str
) -> None:
    slow = {"paint": {"type": "mock", "step_seconds": 0.1}}
    settings = _settings(tmp_path, backends=slow)
    id = _add(project, prompt="a fox", width=64, height=64, steps=1000)
    worker = Thread(target=_run, args=(settings,), daemon=True)
    worker.start()
    _wait_for(lambda: (_read(project, id, "progress") or {}).get("fraction"))
    assert _read(project, id, "state") == "running"
    with session(project, "authenticated", ANN) as connection:
        connection.execute("update imagen.jobs set cancel = true")
    _wait_for(lambda: _read(project, id, "state") == "cancelled")
    worker.join(60)
    assert not worker.is_alive()
    assert cloud.objects == {}


def test_killed_workers_make_each_row_once(tmp_path: Path, cloud: Supabase, project: str) -> None:
    ids = [_add(project, prompt=f"fox {n}", width=64, height=64, steps=4) for n in range(6)]
    config = tmp_path / "imagen.yaml"
    config.write_text(
        json.dumps(
            {
                "backends": {"paint": {"type": "mock", "step_seconds": 0.1}},
                "cloud": {"jobs": {"backends": ["paint"]}},
                "output": {"directory": str(tmp_path / "out")},
                "library": {"url": str(tmp_path / "library.db")},
                "state_dir": str(tmp_path / "state"),
                "jobs": {"lease_seconds": 1},
            }
        ),
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "imagen", "worker", "--supabase", "--config", str(config)]

    def is_done(most: int) -> bool:
        states = [str(_read(project, id, "state")) for id in ids]
        return states.count("done") >= most

    for most in (1, 3):
        with subprocess.Popen(command) as process:
            _wait_for(partial(is_done, most))
            process.kill()
    with subprocess.Popen(command) as process:
        _wait_for(partial(is_done, len(ids)))
        process.terminate()
        assert process.wait(60) == 0
    rows = cloud.rows("imagen", "images")
    assert sorted(row["prompt"] for row in rows) == [f"fox {n}" for n in range(6)]
    assert len(cloud.objects) == len(rows)
