"""Calls of A1111's clients are followed and stopped by their own callers only."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from support.a1111_server import serve_a1111

from imagen.jobs.sql_store import open_job_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from support.live_server import LiveServer

_DEADLINE_SECONDS = 20.0
_SLOW = {
    "prompt": "a fox",
    "width": 64,
    "height": 64,
    "steps": 100,
    "seed": 1,
    "override_settings": {"sd_model_checkpoint": "slow"},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with serve_a1111(tmp_path_factory.mktemp("a1111")) as live:
        yield live


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads


def _begin(server: LiveServer, pool: ThreadPoolExecutor, **body: Any) -> Future[dict[str, Any]]:
    def call() -> dict[str, Any]:
        answer = httpx.post(
            f"{server.url}/sdapi/v1/txt2img", json=_SLOW | body, timeout=_DEADLINE_SECONDS
        )
        made: dict[str, Any] = answer.raise_for_status().json()
        return made | {"info": json.loads(made["info"])}

    return pool.submit(call)


def _progress(server: LiveServer) -> dict[str, Any]:
    state: dict[str, Any] = server.client.get("/sdapi/v1/progress").raise_for_status().json()
    return state


def _wait(server: LiveServer, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    until = time.monotonic() + _DEADLINE_SECONDS
    while time.monotonic() < until:
        state = _progress(server)
        if is_so(state):
            return state
        time.sleep(0.02)
    raise AssertionError(f"never: {state}")


def test_progress_is_that_of_the_call_and_0_when_idle(
    server: LiveServer, pool: ThreadPoolExecutor
) -> None:
    call = _begin(server, pool, steps=6, batch_size=2)
    state = _wait(server, lambda state: state["state"]["sampling_step"] > 0)
    assert 0 < state["progress"] < 1
    assert (state["state"]["job"], state["state"]["job_count"]) == ("txt2img", 2)
    assert state["state"]["sampling_steps"] == 6
    assert state["eta_relative"] > 0
    assert len(call.result()["images"]) == 2
    idle = _progress(server)
    assert (idle["progress"], idle["state"]["job_count"], idle["current_image"]) == (0, 0, None)


def test_interrupt_answers_with_what_there_is_and_stops_no_strangers_job(
    server: LiveServer, pool: ThreadPoolExecutor
) -> None:
    other = server.client.post(
        "/api/v1/generations",
        json={"request": {"prompt": "a hill", "width": 64, "height": 64}, "backend": "slow"},
    ).json()["job"]
    call = _begin(server, pool, batch_size=3)
    _wait(server, lambda state: state["state"]["job_count"] == 3)
    assert server.client.post("/sdapi/v1/interrupt").json() is None
    made = call.result()
    assert (made["images"], made["info"]["all_seeds"]) == ([], [])
    assert server.wait_for_job(other)["state"] == "done"


def test_skip_gives_up_one_image_of_several(server: LiveServer, pool: ThreadPoolExecutor) -> None:
    call = _begin(server, pool, steps=8, batch_size=2)
    _wait(server, lambda state: state["state"]["sampling_step"] > 0)
    server.client.post("/sdapi/v1/skip")
    made = call.result()
    assert made["info"]["all_seeds"] == [2]


def test_a_client_that_leaves_takes_its_jobs_with_it(server: LiveServer) -> None:
    url = httpx.URL(server.url)
    with closing(HTTPConnection(url.host, url.port, timeout=_DEADLINE_SECONDS)) as connection:
        content = {"Content-Type": "application/json"}
        connection.request("POST", "/sdapi/v1/txt2img", json.dumps(_SLOW), content)
        _wait(server, lambda state: state["state"]["job_count"] == 1)
    _wait(server, lambda state: state["state"]["job_count"] == 0)
    newest = server.runtime.store.list_jobs(limit=1)[0]
    assert server.wait_for_job(newest.id)["state"] == "cancelled"


def test_another_persons_cancellation_is_an_error(
    server: LiveServer, pool: ThreadPoolExecutor
) -> None:
    call = _begin(server, pool)
    _wait(server, lambda state: state["state"]["sampling_step"] > 0)
    server.runtime.store.cancel(server.runtime.store.list_jobs(limit=1)[0].id)
    with pytest.raises(httpx.HTTPStatusError, match="409"):
        call.result()


def test_a_second_pass_redraws_each_image_larger(
    server: LiveServer, pool: ThreadPoolExecutor
) -> None:
    body = {"enable_hr": True, "hr_scale": 2, "batch_size": 2, "hr_upscaler": "mock-x4"}
    call = _begin(server, pool, **body, steps=2, hr_prompt="a wolf")
    made = call.result()
    assert (made["info"]["width"], made["info"]["all_seeds"]) == (128, [1, 2])
    assert made["info"]["prompt"] == "a wolf"


def test_restored_faces_and_a_chosen_model(server: LiveServer) -> None:
    options = server.client.get("/sdapi/v1/options").json()
    assert options["sd_model_checkpoint"] == "mock"
    assert "forge_preset" not in options
    chosen = {"sd_model_checkpoint": "mock-dusk [abcdef1234]", "sd_vae": "x", "unknown": 1}
    assert server.client.post("/sdapi/v1/options/", json=chosen).json() is None
    try:
        options = server.client.get("/sdapi/v1/options").json()
        assert options["sd_model_checkpoint"] == "mock-dusk"
        body = {"prompt": "a fox", "width": 64, "height": 64, "steps": 2, "restore_faces": True}
        made = server.client.post("/sdapi/v1/txt2img", json=body).raise_for_status().json()
        newest = server.runtime.store.list_jobs(limit=2)
        assert [job.spec.request.task for job in newest if job.spec] == [
            "restore",
            "text-to-image",
        ]
        assert "Model: mock-dusk" in json.loads(made["info"])["infotexts"][0]
    finally:
        server.client.post("/sdapi/v1/options", json={"sd_model_checkpoint": "mock"})
    refused = server.client.post("/sdapi/v1/options", json={"sd_model_checkpoint": "mock-dusc"})
    assert (refused.status_code, "mock-dusk" in refused.json()["detail"]) == (404, True)


def test_a_server_that_stops_leaves_the_jobs_of_a_call(
    tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    with serve_a1111(tmp_path) as live:
        call = _begin(live, pool, steps=25)
        _wait(live, lambda state: state["state"]["sampling_step"] > 0)
        settings = live.runtime.settings
    assert call.exception() is not None
    with open_job_store(settings) as store:
        assert [job.state for job in store.list_jobs()] == ["done"]
