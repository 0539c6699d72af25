"""A worker runs the jobs of the queue, and what becomes of them when something goes wrong."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.queue_runs import drain, new_job, wait_until, working

from imagen.config import LibrarySettings, OutputSettings, Settings
from imagen.config.settings import JobSettings
from imagen.core.request import Request
from imagen.errors import Unavailable
from imagen.jobs.lanes import back_off
from imagen.jobs.model import JobSpec, NewJob
from imagen.jobs.resources import find_resources
from imagen.jobs.sql_store import SqlJobStore, open_job_store
from imagen.library import Query, search_images
from imagen.testing.comfyui import ComfyUI, FailureSwitches, GatewayAnswer, NodeError

if TYPE_CHECKING:
    from collections.abc import Iterator

_WORKFLOW = "sd15"


def _settings(backends: dict[str, dict[str, Any]], **more: Any) -> Settings:
    jobs = JobSettings(lease_seconds=2.0, **more.pop("jobs", {}))
    return Settings(
        backends=backends,
        state_dir=Path("state").absolute(),
        library=LibrarySettings(url=str(Path("library.db").absolute())),
        output=OutputSettings(directory=Path("out")),
        jobs=jobs,
        **more,
    )


def _comfyui(server: ComfyUI, **block: Any) -> dict[str, Any]:
    waits = {"poll_seconds": 0.05, "lost_seconds": 0.3, "connect_seconds": 2.0}
    return {"type": "comfyui", "url": server.url, "workflow": _WORKFLOW, **waits, **block}


@pytest.fixture
def server() -> Iterator[ComfyUI]:
    with ComfyUI(images="flat") as server:
        yield server


@pytest.fixture
def settings(server: ComfyUI) -> Settings:
    return _settings({"lab": _comfyui(server)})


@pytest.fixture
def store(settings: Settings) -> Iterator[SqlJobStore]:
    with open_job_store(settings) as store:
        yield store


def _states(store: SqlJobStore, ids: list[str]) -> list[str]:
    return [store.read(id).state for id in ids]


def _posts(server: ComfyUI) -> list[str]:
    return [str(prompt["prompt_id"]) for prompt in server.prompts]


def test_jobs_are_run_saved_and_recorded_once(
    server: ComfyUI, settings: Settings, store: SqlJobStore
) -> None:
    ids = store.submit([new_job(seed) for seed in range(3)])
    drain(settings)
    assert _states(store, ids) == ["done"] * 3
    assert sorted(_posts(server)) == sorted(ids)
    assert len(search_images(store.library, Query()).images) == 3
    assert len(list(Path("out").glob("*.png"))) == 3
    assert store.queue.live() == set()


def test_the_ticket_of_a_job_has_its_id(settings: Settings, store: SqlJobStore) -> None:
    (id,) = store.submit([new_job()])
    drain(settings)
    (image,) = search_images(store.library, Query()).images
    assert image.generation == id


def test_once_runs_one_job(settings: Settings, store: SqlJobStore) -> None:
    ids = store.submit([new_job(seed) for seed in range(3)])
    drain(settings, once=True)
    assert sorted(_states(store, ids)) == ["done", "queued", "queued"]


def test_a_worker_of_no_backends_runs_no_job_of_an_engine(
    settings: Settings, store: SqlJobStore
) -> None:
    (id,) = store.submit([new_job()])
    drain(settings, once=True, backends=())
    assert store.read(id).state == "queued"


def test_a_job_keeps_its_own_output_settings(settings: Settings, store: SqlJobStore) -> None:
    absolute = str(Path("elsewhere").absolute())
    store.submit(
        [
            new_job(1, spec={"output": {"name": "one-{seed}", "directory": "below"}}),
            new_job(2, spec={"output": {"name": "two-{seed}", "directory": absolute}}),
            new_job(3, spec={"output": {"name": "three-{seed}"}}),
        ]
    )
    drain(settings)
    assert Path("out/below/one-1.png").is_file()
    assert Path("elsewhere/two-2.png").is_file()
    assert Path("out/three-3.png").is_file()


def test_the_next_job_waits_at_the_engine_before_the_last_one_ends(
    settings: Settings, store: SqlJobStore
) -> None:
    store.learn_speed("lab", "lab", 3.3)
    with ComfyUI(images="flat", step_seconds=0.2) as slow:
        own = settings.model_copy(update={"backends": {"lab": _comfyui(slow)}})
        store.submit([new_job(seed, steps=16) for seed in range(8)])
        with working(own):
            wait_until(lambda: all(slow.queue_state()))


def test_a_request_that_the_engine_cannot_honour_fails(
    settings: Settings, store: SqlJobStore
) -> None:
    request = Request(prompt="a fox", width=64, height=64, guidance=4.0)
    spec = JobSpec(request=request, backend="lab", strict=True)
    (id,) = store.submit([NewJob(spec=spec, affinity="lab")])
    drain(settings)
    job = store.read(id)
    assert (job.state, (job.error or {})["code"]) == ("failed", "request")


def test_a_failed_job_is_recorded_and_not_repeated(
    server: ComfyUI, settings: Settings, store: SqlJobStore
) -> None:
    server.switches = FailureSwitches(error=NodeError())
    (id,) = store.submit([new_job()])
    drain(settings)
    job = store.read(id)
    assert (job.state, job.attempt, (job.error or {})["code"]) == ("failed", 1, "failed")
    assert len(server.prompts) == 1


def test_an_engine_that_is_down_gets_no_jobs_and_burns_no_attempts(
    server: ComfyUI, settings: Settings, store: SqlJobStore
) -> None:
    server.die()
    ids = store.submit([new_job(seed) for seed in range(3)])
    with working(settings) as worker:
        wait_until(lambda: sum(event.kind == "paused" for event in worker.events) >= 2)
        server.restart()
        wait_until(lambda: _states(store, ids) == ["done"] * 3)
    rows = [store.read(id) for id in ids]
    assert {row.failures for row in rows} == {0}
    assert store.pauses() == {}
    assert len(server.prompts) == 3


def test_draining_ends_with_an_error_once_an_engine_stays_down(
    server: ComfyUI, settings: Settings, store: SqlJobStore
) -> None:
    server.die()
    (id,) = store.submit([new_job()])
    with pytest.raises(Unavailable, match=r"Jobs are left that cannot run now: .*refused"):
        drain(settings)
    assert (store.read(id).state, store.read(id).failures) == ("queued", 0)


def test_the_other_backends_of_a_pool_go_on_while_one_is_down(
    server: ComfyUI, store: SqlJobStore
) -> None:
    with ComfyUI() as dead:
        dead.die()
        blocks = {"dead": _comfyui(dead), "lab": _comfyui(server)}
        settings = _settings(blocks, pools={"both": ("dead", "lab")})
        ids = store.submit([new_job(seed, backend="both") for seed in range(4)])
        with working(settings):
            wait_until(lambda: _states(store, ids) == ["done"] * 4)
    assert len(server.prompts) == 4


def test_a_job_that_fails_while_its_engine_is_well_is_tried_again_so_many_times(
    server: ComfyUI, settings: Settings, store: SqlJobStore
) -> None:
    broken = GatewayAnswer(status=503, path="/prompt", method="POST", times=1000)
    server.switches = FailureSwitches(http_errors=(broken,))
    settings = settings.model_copy(update={"jobs": JobSettings(lease_seconds=2, retries=1)})
    (id,) = store.submit([new_job()])
    drain(settings)
    job = store.read(id)
    assert (job.state, job.failures, (job.error or {})["code"]) == ("failed", 1, "unavailable")
    assert server.prompts == []


def test_a_rate_limit_pauses_the_engine_and_burns_no_attempt(
    server: ComfyUI, settings: Settings, store: SqlJobStore
) -> None:
    limit = GatewayAnswer(status=429, path="/prompt", method="POST", times=4, retry_after="0")
    server.switches = FailureSwitches(http_errors=(limit,))
    settings = settings.model_copy(update={"jobs": JobSettings(lease_seconds=2, retries=0)})
    (id,) = store.submit([new_job()])
    drain(settings)
    assert (store.read(id).state, store.read(id).failures) == ("done", 0)


def test_a_job_that_a_free_engine_lost_gets_a_new_ticket(
    server: ComfyUI, settings: Settings, store: SqlJobStore
) -> None:
    server.switches = FailureSwitches(restart_empty=True)
    (id,) = store.submit([new_job()])
    drain(settings)
    job = store.read(id)
    assert job.state == "done"
    assert job.ticket_id != id
    assert _posts(server) == [id, job.ticket_id]


def test_a_cancelled_job_stops_at_its_engine(settings: Settings, store: SqlJobStore) -> None:
    with ComfyUI(images="flat", step_seconds=0.1) as slow:
        own = settings.model_copy(update={"backends": {"lab": _comfyui(slow)}})
        (id,) = store.submit([new_job(steps=600)])
        with working(own):
            wait_until(lambda: slow.prompts)
            store.cancel(id)
            wait_until(lambda: store.read(id).state == "cancelled")
        assert set(slow.interrupts) == {id}


def test_a_worker_that_stops_leaves_its_job_at_a_server_to_the_next(
    settings: Settings, store: SqlJobStore
) -> None:
    with ComfyUI(images="flat", step_seconds=0.05) as slow:
        own = settings.model_copy(update={"backends": {"lab": _comfyui(slow)}})
        (id,) = store.submit([new_job(steps=40)])
        with working(own):
            wait_until(lambda: slow.prompts)
        job = store.read(id)
        assert (job.state, job.owner, job.deaths) == ("queued", "", 0)
        drain(own)
        assert store.read(id).state == "done"
        assert _posts(slow) == [id]
        assert slow.interrupts == []


def test_a_worker_that_stops_finishes_a_job_in_its_own_process(store: SqlJobStore) -> None:
    settings = _settings({"lab": {"type": "mock", "step_seconds": 0.3}})
    (id,) = store.submit([new_job()])
    with working(settings) as worker:
        wait_until(lambda: any(event.kind == "started" for event in worker.events))
    assert store.read(id).state == "done"


def test_a_second_request_to_stop_gives_back_a_job_in_its_own_process(store: SqlJobStore) -> None:
    settings = _settings({"lab": {"type": "mock", "step_seconds": 10.0}})
    (id,) = store.submit([new_job(steps=50)])
    with working(settings) as worker:
        wait_until(lambda: any(event.kind == "started" for event in worker.events))
        worker.stop.set()
    job = store.read(id)
    assert (job.state, job.owner, job.job) == ("queued", "", None)


def test_a_late_job_is_begun_anew_on_an_idle_engine(server: ComfyUI, store: SqlJobStore) -> None:
    late = ComfyUI(images="flat", step_seconds=0.1, late_from=1, late_factor=100)
    with late:
        blocks = {"late": _comfyui(late), "lab": _comfyui(server)}
        settings = _settings(blocks, pools={"both": ("late", "lab")})
        store.learn_speed("late", "both", 0.5)
        store.learn_speed("lab", "both", 0.6)
        ids = store.submit([new_job(seed, backend="both", steps=8) for seed in range(2)])
        with working(settings):
            wait_until(lambda: _states(store, ids) == ["done"] * 2)
        (first,) = _posts(late)
        assert set(late.interrupts) == {first}
    assert len(server.prompts) == 2
    assert len(search_images(store.library, Query()).images) == 2


def test_a_job_of_an_engine_that_is_down_fails_over_and_says_so(
    server: ComfyUI, store: SqlJobStore
) -> None:
    with ComfyUI() as dead:
        dead.die()
        blocks = {"dead": _comfyui(dead), "lab": _comfyui(server)}
        settings = _settings(blocks, failover=(("dead", "lab"),))
        (id,) = store.submit([new_job(backend="dead")])
        with working(settings):
            wait_until(lambda: store.read(id).state == "done")
    (prompt,) = server.prompts
    sidecar = json.loads(next(Path("out").glob("*.json")).read_text())
    assert prompt["prompt_id"] == store.read(id).ticket_id
    assert sidecar["receipt"]["backend"]["asked"] == "dead"
    assert sidecar["receipt"]["backend"]["used"] == "lab"


def test_a_request_that_the_next_backend_cannot_honour_is_not_moved(
    server: ComfyUI, store: SqlJobStore
) -> None:
    with ComfyUI() as dead:
        dead.die()
        blocks = {"dead": _comfyui(dead), "lab": _comfyui(server)}
        settings = _settings(blocks, failover=(("dead", "lab"),))
        request = Request(prompt="a fox", width=64, height=64, guidance=4.0)
        spec = JobSpec(request=request, backend="dead")
        (id,) = store.submit([NewJob(spec=spec, affinity="dead")])
        with working(settings) as worker:
            wait_until(lambda: sum(event.kind == "paused" for event in worker.events) >= 2)
    assert (store.read(id).state, store.read(id).pool) == ("queued", "dead")
    assert server.prompts == []


def test_alternating_models_are_switched_twice_at_most(
    server: ComfyUI, settings: Settings, store: SqlJobStore
) -> None:
    models = ("a.safetensors", "b.safetensors")
    store.submit([new_job(n, affinity=models[n % 2]) for n in range(12)])
    drain(settings)
    seeds = [
        node["inputs"]["seed"]
        for prompt in server.prompts
        for node in prompt["prompt"].values()
        if node["class_type"] == "KSampler"
    ]
    order = [models[seed % 2] for seed in seeds]
    assert sum(a != b for a, b in pairwise(order)) == 1


def test_a_rate_holds_for_the_jobs_of_a_resource(server: ComfyUI, store: SqlJobStore) -> None:
    settings = _settings({"lab": _comfyui(server, rate="2/1s")})
    ids = store.submit([new_job(seed) for seed in range(5)])
    drain(settings)
    assert _states(store, ids) == ["done"] * 5
    starts = sorted(
        event.at
        for event in store.events_after(0, limit=1000)
        if event.kind == "state" and event.data["state"] == "running"
    )
    assert all((starts[n + 2] - starts[n]).total_seconds() > 0.99 for n in range(3))


def test_a_child_with_a_control_image_waits_for_the_job_that_makes_it(store: SqlJobStore) -> None:
    from PIL import Image

    Image.new("RGB", (64, 64), "white").save("photo.png")
    settings = _settings({"lab": {"type": "mock"}})
    image = str(Path("photo.png").absolute())
    first = NewJob(
        spec=JobSpec(request=Request(image=image, preprocess="canny"), backend="lab"),
        affinity="lab",
    )
    control = {"kind": "canny", "image": image, "preprocess": True}
    request = Request(prompt="a fox", width=64, height=64, controls=(control,))
    second = NewJob(
        spec=JobSpec(request=request, backend="lab", control_jobs={0: first.id}),
        affinity="lab",
        after=first.id,
    )
    ids = store.submit([first, second])
    drain(settings)
    assert _states(store, ids) == ["done", "done"]


def test_interpolation_needs_no_engine(store: SqlJobStore) -> None:
    from PIL import Image

    Image.new("RGB", (64, 64), "white").save("photo.png")
    image = str(Path("photo.png").absolute())
    request = Request(image=image, upscale={"method": "lanczos", "factor": 2})
    (id,) = store.submit([NewJob(spec=JobSpec(request=request, backend="interpolation"))])
    drain(_settings({"lab": {"type": "mock"}}), backends=())
    assert store.read(id).state == "done"
    (found,) = search_images(store.library, Query()).images
    assert (found.width, found.generation) == (128, id)


def test_backends_that_share_a_resource_share_its_places() -> None:
    blocks: dict[str, dict[str, Any]] = {
        "one": {"type": "mock", "resource": "gpu", "at_once": 2},
        "two": {"type": "mock", "resource": "gpu", "rate": "3/1m"},
        "three": {"type": "mock"},
    }
    shared, own = find_resources(None, _settings(blocks))
    assert (shared.name, shared.backends, shared.at_once) == ("gpu", ("one", "two"), 1)
    assert shared.rate == (3, 60.0)
    assert (own.backends, own.is_remote) == (("three",), False)


@pytest.mark.parametrize(("failures", "seconds"), [(0, 1), (1, 2), (5, 32), (6, 60), (900, 60)])
def test_pauses_double_up_to_a_minute_and_differ_by_a_quarter(failures: int, seconds: int) -> None:
    assert back_off(failures, lambda: 0.0) == 0.75 * seconds
    assert back_off(failures, lambda: 0.999) < 1.25 * seconds
