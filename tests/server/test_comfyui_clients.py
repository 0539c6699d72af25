"""A client of ComfyUI uses the queue: the server in front of an engine behaves like the engine."""

from __future__ import annotations

import json
import os
import time
from contextlib import chdir, closing
from copy import deepcopy
from typing import TYPE_CHECKING, Any, cast

import httpx
import pytest
from support.live_server import live_server, server_settings
from support.plain_comfyui_client import PlainClient, flat_graph, receive_until, sampled_graph
from websockets.exceptions import ConnectionClosed, InvalidStatus

from imagen.backends import open_backend
from imagen.config import ServerSettings
from imagen.core.request import Request
from imagen.core.result import no_progress
from imagen.runtime.caller import LOCAL
from imagen.server.comfyui.prompts import ClientPrompts, PromptBody
from imagen.testing.comfyui import ComfyUI

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.live_server import LiveServer

_DEADLINE_SECONDS = 20.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder = tmp_path_factory.mktemp("comfyui")
    with chdir(folder), ComfyUI(images="flat", previews=True, step_seconds=0.02) as engine:
        blocks: dict[str, dict[str, Any]] = {"comfy": {"type": "comfyui", "url": engine.url}}
        with live_server(server_settings(blocks, server=ServerSettings(comfyui="comfy"))) as live:
            yield live


@pytest.fixture
def client(server: LiveServer) -> Iterator[PlainClient]:
    with httpx.Client(base_url=server.url, trust_env=False, timeout=_DEADLINE_SECONDS) as http:
        yield PlainClient(cast("ComfyUI", server), http)


def test_a_prompt_runs_as_a_job_with_the_events_of_an_engine(
    server: LiveServer, client: PlainClient
) -> None:
    run = client.run(sampled_graph(steps=40, seed=11), flags=True)
    kinds = [line.split()[0] for line in run.lines]
    assert kinds.index("execution_start") < kinds.index("executed") < len(kinds) - 1
    assert {"status", "executing", "progress", "executed", "execution_success"} <= {*kinds}
    assert run.lines[-1] == "executing null"
    image = run.images[0]
    assert run.data("executed")[0]["output"]["images"] == run.images
    assert client.view(image).content.startswith(b"\x89PNG")
    job = server.wait_for_job(run.prompt_id)
    assert (job["state"], job["name"], job["backend"]) == ("done", "a fox", "comfy")
    assert client.http.get("/history").json().keys() >= {run.prompt_id}


def test_graphs_that_were_not_sent_for_long_are_removed(server: LiveServer) -> None:
    runtime = server.runtime
    old = runtime.settings.state_dir / "prompts" / "0123.json"
    old.parent.mkdir(parents=True, exist_ok=True)
    old.write_text("{}")
    os.utime(old, (1, 1))
    id = ClientPrompts(runtime, "comfy").submit(PromptBody(prompt=flat_graph()), LOCAL)
    assert not old.exists()
    assert server.wait_for_job(id)["state"] == "done"


def test_a_graph_that_cannot_run_is_refused_in_comfyuis_shape(client: PlainClient) -> None:
    broken = deepcopy(flat_graph())
    broken["9"]["inputs"]["images"] = ["77", 0]
    refusal = client.submit_refused(broken)
    assert refusal["error"]["message"].startswith("The workflow ")
    assert "77" in refusal["error"]["message"]
    assert refusal["node_errors"] == {}
    assert "graph" in client.submit_refused({"a": 1})["error"]["message"]
    assert "prompt" in client.http.post("/prompt", json={}).json()["error"]["message"]


def test_a_failed_prompt_ends_with_an_error(client: PlainClient) -> None:
    graph = flat_graph()
    graph["1"]["class_type"] = "NoSuchNode"
    with client.socket() as websocket:
        prompt_id = client.submit(graph)
        frames = receive_until(websocket)
    errors = [json.loads(frame)["data"] for frame in frames if "execution_error" in str(frame)]
    assert errors[0]["prompt_id"] == prompt_id
    assert "NoSuchNode" in errors[0]["exception_message"]
    entry = client.history_entry(prompt_id)
    assert entry["status"]["status_str"] == "error"


def test_prompts_wait_are_removed_and_interrupted(server: LiveServer, client: PlainClient) -> None:
    first = client.submit(sampled_graph(steps=500, seed=21))
    second = client.submit(sampled_graph(steps=500, seed=22))
    _wait(client, "queue_running", first)
    _wait(client, "queue_pending", second)
    assert client.http.get("/prompt").json()["exec_info"]["queue_remaining"] == 2
    client.http.post("/queue", json={"delete": [second]}).raise_for_status()
    client.http.post("/interrupt", json={"prompt_id": second}).raise_for_status()
    client.http.post("/interrupt").raise_for_status()
    assert server.wait_for_job(second)["state"] == "cancelled"
    assert server.wait_for_job(first)["state"] == "cancelled"
    third = client.submit(sampled_graph(steps=500, seed=23))
    size = {"width": 64, "height": 64, "steps": 1}
    native = {"request": {"prompt": "a hill", **size}, "backend": "comfy"}
    other = server.client.post("/api/v1/generations", json=native).json()["job"]
    client.http.post("/queue", json={"clear": True}).raise_for_status()
    client.http.post("/interrupt", json={"prompt_id": other}).raise_for_status()
    server.runtime.store.cancel(third)
    assert server.wait_for_job(other)["state"] == "done"
    assert client.http.get(f"/history/{other}").json() == {}


def _wait(client: PlainClient, part: str, id: str) -> None:
    until = time.monotonic() + _DEADLINE_SECONDS
    while id not in [row[1] for row in client.http.get("/queue").json()[part]]:
        assert time.monotonic() < until, f"{id} is never in {part}"


@pytest.mark.parametrize("prefix", ["", "/api"])
def test_what_else_clients_ask_is_answered_by_the_engine(
    server: LiveServer, client: PlainClient, prefix: str
) -> None:
    url = server.runtime.settings.backends["comfy"]["url"]
    for path in ("/object_info", "/object_info/KSampler", "/system_stats", "/embeddings"):
        assert client.http.get(prefix + path).json() == httpx.get(url + path).json()
    files = {"image": ("fox.png", b"\x89PNG\r\n\x1a\n", "image/png")}
    sent = client.http.post(f"{prefix}/upload/image", files=files, data={"type": "input"})
    assert sent.json()["name"] == "fox.png"


@pytest.mark.parametrize("path", ["/models/%7F", "/object_info/%00", "/models/a%3Fb"])
def test_odd_characters_in_a_path_reach_the_engine_encoded(server: LiveServer, path: str) -> None:
    assert server.client.get(path).status_code in (200, 404)


def test_a_page_of_another_server_gets_no_websocket(client: PlainClient) -> None:
    with (
        pytest.raises((InvalidStatus, ConnectionClosed)),
        client.raw_socket(additional_headers={"Origin": "http://evil.example"}) as websocket,
    ):
        websocket.recv(timeout=_DEADLINE_SECONDS)


def test_imagens_own_adapter_drives_it(server: LiveServer) -> None:
    block = {"type": "comfyui", "url": server.url}
    with closing(open_backend("far", {"far": block})) as backend:
        assert backend.check().ok
        ticket = backend.prepare(Request(prompt="a fox", width=64, height=64, steps=3, seed=5))
        result = backend.collect(ticket, no_progress)
    assert result.images[0].data.startswith(b"\x89PNG")
