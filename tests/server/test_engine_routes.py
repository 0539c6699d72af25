"""Backends, their capabilities and their models over HTTP."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.live_server import LiveServer, live_server, server_settings

from imagen.config import ServerSettings, load_settings
from imagen.engines.directory import EngineDirectory
from imagen.library.tokens import add_token
from imagen.testing.comfyui import ComfyUI

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def comfy() -> Iterator[ComfyUI]:
    with ComfyUI() as server:
        yield server


@pytest.fixture(scope="module")
def shared(comfy: ComfyUI, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server with the mock, a ComfyUI, and a backend that cannot be reached."""
    blocks: dict[str, dict[str, Any]] = {
        "mock": {"type": "mock"},
        "studio": {"type": "comfyui", "url": comfy.url, "workflow": "sdxl", "title": "The studio"},
        "gone": {"type": "mock", "fail": "unavailable"},
    }
    folder = tmp_path_factory.mktemp("server")
    settings = server_settings(blocks, folder=folder, pools={"all": ("studio", "mock")})
    with live_server(settings, has_worker=False) as server:
        yield server


def _get(server: LiveServer, path: str, status: int = 200, **query: Any) -> Any:
    answer = server.client.get(f"/api/v1{path}", params=query)
    assert answer.status_code == status, answer.text[:300]
    return answer.json()


def test_backends_are_listed_without_contacting_them(shared: LiveServer) -> None:
    listed = _get(shared, "/backends")
    assert [(one["name"], one["ok"]) for one in listed["backends"]] == [
        ("mock", None),
        ("studio", None),
        ("gone", None),
    ]
    assert listed["pools"] == [{"name": "all", "backends": ["studio", "mock"], "default": False}]
    assert {"comfyui", "mock"} <= set(listed["kinds"])


def test_the_default_backend_is_that_of_requests_that_name_none(tmp_path: Path) -> None:
    backends = {"dawn": {"type": "mock"}, "dusk": {"type": "mock"}}
    server = ServerSettings(backend="both")
    settings = server_settings(
        backends, folder=tmp_path, server=server, pools={"both": ("dawn", "dusk")}
    )
    with live_server(settings, has_worker=False) as live:
        listed = _get(live, "/backends")
    marked = [one["name"] for one in listed["backends"] + listed["pools"] if one["default"]]
    assert marked == ["both"] == [live.runtime.backend]


def test_backends_are_checked_on_demand(shared: LiveServer) -> None:
    states = {one["name"]: one for one in _get(shared, "/backends", check=True)["backends"]}
    assert (states["studio"]["ok"], states["gone"]["ok"]) == (True, False)
    assert states["studio"]["gpus"][0]["name"] == "Imaginary GPU"


def test_a_checked_backend_says_what_it_takes_and_costs(shared: LiveServer) -> None:
    states = {one["name"]: one for one in _get(shared, "/backends", check=True)["backends"]}
    mock, studio, gone = (states[name] for name in ("mock", "studio", "gone"))
    assert (mock["label"], studio["label"]) == ("Mock", "ComfyUI")
    assert mock["engine"] == gone["engine"] != studio["engine"]
    assert {"prompt", "model", "loras", "image", "mask", "strength"} <= set(mock["takes"])
    assert mock["price"] == {"is_free": True, "usd": None, "basis": ""}
    assert (gone["takes"], gone["price"]) == ([], None)


def test_a_backend_describes_the_parameters_of_each_task(shared: LiveServer) -> None:
    shown = _get(shared, "/backends/studio", check=True)
    assert (shown["title"], shown["health"]["ok"]) == ("The studio", True)
    parameters = {one["task"]: one["parameters"] for one in shown["tasks"]}["inpaint"]
    assert parameters["steps"]["label"] == "Steps"
    assert (parameters["mask"]["kind"], parameters["mask"]["group"]) == ("mask", "input")
    assert parameters["sampler"]["models"] == ["sampler"]
    assert parameters["filename_prefix"]["is_advanced"]


def test_a_pool_is_described_by_its_first_backend(shared: LiveServer) -> None:
    assert _get(shared, "/backends/all", task="inpaint")["name"] == "studio"


def test_values_of_an_object_are_described_too(shared: LiveServer) -> None:
    (task,) = _get(shared, "/backends/mock", task="control")["tasks"]
    loras, controls = task["parameters"]["loras"], task["parameters"]["controls"]
    assert loras["fields"]["strength"]["default"] == 1.0
    assert (loras["fields"]["strength"]["min"], loras["fields"]["strength"]["max"]) == (-10, 10)
    assert controls["fields"]["kind"]["choices"] == ["canny", "depth", "pose", "scribble"]
    assert controls["fields"]["image"]["kind"] == "image"


@pytest.mark.parametrize(
    ("path", "query", "status", "sentence"),
    [
        ("/backends/moc", {}, 404, "Did you mean 'mock'?"),
        ("/backends/mock", {"task": "paint"}, 400, "task"),
        ("/backends/studio", {"task": "edit"}, 400, "studio cannot do edit."),
        ("/backends/moc/health", {}, 404, "moc"),
        ("/models", {"backend": "moc"}, 404, "moc"),
        ("/models", {"kind": "pigment"}, 400, "kind"),
    ],
)
def test_unknown_names_are_problems(
    shared: LiveServer, path: str, query: dict[str, str], status: int, sentence: str
) -> None:
    assert sentence in _get(shared, path, status, **query)["detail"]


def test_a_backend_that_cannot_list_its_models_does_not_hide_the_others(
    shared: LiveServer,
) -> None:
    listed = {one["name"]: one for one in _get(shared, "/models")["backends"]}
    assert listed["gone"]["error"]["code"] == "unavailable"
    assert {"checkpoint", "sampler"} <= {model["kind"] for model in listed["studio"]["models"]}


def test_models_are_limited_to_a_kind_and_to_backends(shared: LiveServer) -> None:
    (only,) = _get(shared, "/models", backend="studio", kind="upscaler")["backends"]
    assert {model["kind"] for model in only["models"]} == {"upscaler"}
    names = [one["name"] for one in _get(shared, "/models", backend=["mock", "all"])["backends"]]
    assert names == ["mock", "studio"]


def test_many_clients_are_one_question_to_an_engine(comfy: ComfyUI, shared: LiveServer) -> None:
    def count() -> int:
        return sum(request.path == "/system_stats" for request in comfy.requests)

    before = count()
    clients = [
        threading.Thread(target=_get, args=(shared, "/backends/studio/health")) for _ in range(20)
    ]
    for client in clients:
        client.start()
    for client in clients:
        client.join(20)
    assert count() - before <= 1


def test_a_silent_engine_is_a_late_answer_and_delays_no_other() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        block = {"type": "comfyui", "url": url, "workflow": "sdxl"}
        settings = server_settings({"silent": block, "mock": {"type": "mock"}})
        directory = EngineDirectory(settings, patience_seconds=0.2)
        states = {one.name: one for one in directory.backends(is_asked=True).backends}
        assert states["mock"].ok is True
        assert (states["silent"].ok, states["silent"].summary) == (
            False,
            "The engine did not answer within 0.2 s.",
        )
        assert directory.health("silent").ok is False
        listed = {one.name: one for one in directory.models().backends}
        assert listed["silent"].error is not None
        assert listed["mock"].models


def test_engines_that_run_are_found_and_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, comfy: ComfyUI
) -> None:
    monkeypatch.setattr("imagen.backends.comfyui.capabilities.DEFAULT_URL", comfy.url)
    with live_server(server_settings({}, folder=tmp_path), has_worker=False) as live:
        found = live.client.post("/api/v1/backends/detect", json={}).raise_for_status().json()
        (engine,) = [one for one in found["engines"] if one["kind"] == "comfyui"]
        assert (engine["place"], engine["configured"]) == (comfy.url, [])
        assert "sdxl" in engine["backends"]
        body = {"kind": "comfyui"}
        added = live.client.post("/api/v1/backends", json=body).raise_for_status().json()
        assert added["added"] == engine["backends"]
        settings = load_settings(Path(added["file"]))
        assert settings.backends["sdxl"]["url"] == comfy.url
        assert added["default"] == settings.default_backend == engine["backends"][0]
        found = live.client.post("/api/v1/backends/detect", json={}).json()
        (engine,) = [one for one in found["engines"] if one["kind"] == "comfyui"]
        assert engine["configured"] == engine["backends"]


def test_engines_that_are_added_are_used_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, comfy: ComfyUI
) -> None:
    monkeypatch.setattr("imagen.backends.comfyui.capabilities.DEFAULT_URL", comfy.url)
    with live_server(server_settings({}, folder=tmp_path)) as live:
        added = live.client.post("/api/v1/backends", json={"kind": "comfyui"}).json()
        assert added["in_use"] is True
        listed = _get(live, "/backends", check=True)["backends"]
        assert {
            one["name"]: one["ok"] for one in listed if one["kind"] == "comfyui"
        } == dict.fromkeys(added["added"], True)
        assert [one["name"] for one in listed if one["default"]] == [added["default"]]
        body = {"request": {"prompt": "a fox", "width": 64, "height": 64}}
        for backend in (None, "sdxl", "mock"):
            named = body if backend is None else {**body, "backend": backend}
            made = live.client.post("/api/v1/generations", json=named).raise_for_status().json()
            assert live.wait_for_job(made["job"])["state"] == "done"
        again = live.client.post("/api/v1/backends", json={"kind": "comfyui"}).json()
        assert (again["added"], again["present"]) == ([], added["added"])
        assert live.client.get("/api/v1/status").json()["workers"] == 2


def test_engines_that_do_not_answer_say_why(shared: LiveServer) -> None:
    body = {"url": "http://127.0.0.1:9"}
    found = shared.client.post("/api/v1/backends/detect", json=body).raise_for_status().json()
    assert found["engines"] == []
    silent = {one["kind"]: one["error"] for one in found["silent"]}
    assert "127.0.0.1:9" in silent["comfyui"]
    answer = shared.client.post("/api/v1/backends", json={**body, "kind": "comfyui"})
    assert answer.status_code == 404
    answer = shared.client.post("/api/v1/backends/detect", json={"url": "no address"})
    assert (answer.status_code, "url" in answer.json()["detail"]) == (400, True)


def test_only_admins_look_for_engines(tmp_path: Path) -> None:
    settings = server_settings(folder=tmp_path)
    with live_server(settings, has_worker=False, secret="a-secret-of-this-test") as live:
        token = add_token(live.runtime.library, "kid", ("read", "generate"))
        headers = {"Authorization": f"Bearer {token}"}
        for path, body in (("backends/detect", {}), ("backends", {"kind": "comfyui"})):
            answer = live.client.post(f"/api/v1/{path}", json=body, headers=headers)
            assert answer.status_code == 403
        headers = {"Authorization": "Bearer a-secret-of-this-test"}
        body = {"url": "http://127.0.0.1:9"}
        answer = live.client.post("/api/v1/backends/detect", json=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (400, "request")
