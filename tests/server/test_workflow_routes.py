"""Workflows are listed, shown, checked and added over HTTP."""

from __future__ import annotations

import base64
import io
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from support.live_server import LiveServer, live_server, server_settings

from imagen.testing.comfyui import ComfyUI

if TYPE_CHECKING:
    from collections.abc import Iterator

_GRAPH: dict[str, Any] = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "cat.png"}},
    "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x", "images": ["1", 0]}},
}
_EDITOR: dict[str, Any] = {
    "nodes": [
        {"id": 1, "type": "LoadImage", "widgets_values": ["cat.png", "image"]},
        {
            "id": 9,
            "type": "SaveImage",
            "widgets_values": ["x"],
            "inputs": [{"name": "images", "type": "IMAGE", "link": 2}],
        },
    ],
    "links": [[2, 1, 0, 9, 0, "IMAGE"]],
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder = tmp_path_factory.mktemp("server")
    with ComfyUI() as comfy:
        block = {"type": "comfyui", "url": comfy.url, "workflow": "sdxl"}
        settings = server_settings(
            {"studio": block}, folder=folder, workflow_dirs=(folder / "workflows",)
        )
        with live_server(settings, has_worker=False) as server:
            yield server


def _add(server: LiveServer, status: int = 201, **body: Any) -> Any:
    answer = server.client.post("/api/v1/workflows", json=body)
    assert answer.status_code == status, answer.text[:300]
    return answer.json()


def test_workflows_are_listed_and_shown(shared: LiveServer) -> None:
    listed = shared.client.get("/api/v1/workflows").json()["workflows"]
    (sdxl,) = [one for one in listed if one["name"] == "sdxl"]
    assert (sdxl["source"], sdxl["task"]) == ("bundled", "text-to-image")
    shown = shared.client.get("/api/v1/workflows/sdxl").json()
    assert shown["parameters"]["steps"]["label"] == "Steps"
    assert shown["models"][0]["folder"] == "checkpoints"


@pytest.mark.parametrize("name", ["sdlx", "..%2Fgraph.json", "%2Fetc%2Fpasswd", "graph.json"])
def test_a_workflow_is_found_by_name_alone(shared: LiveServer, name: str) -> None:
    Path("graph.json").write_text(json.dumps(_GRAPH))
    assert shared.client.get(f"/api/v1/workflows/{name}").status_code == 404


def test_a_workflow_is_checked_on_a_server(shared: LiveServer) -> None:
    url = "/api/v1/workflows/sdxl/check"
    assert shared.client.get(url, params={"backend": "studio"}).json()["ok"] is True
    answer = shared.client.get(url, params={"backend": "mock"})
    assert (answer.status_code, answer.json()["code"]) == (400, "request")


def test_an_added_graph_is_written_and_shown(shared: LiveServer) -> None:
    made = _add(shared, name="cat", workflow=_GRAPH, title="A cat")
    assert (made["format"], made["tokens"][0]["class"]) == ("api", "LoadImage")
    assert [Path(file).name for file in made["files"]] == ["cat.json", "cat.yaml"]
    assert all(map(os.path.isfile, made["files"]))
    assert shared.client.get("/api/v1/workflows/cat").json()["title"] == "A cat"
    assert "already exists" in _add(shared, 400, name="cat", workflow=_GRAPH)["detail"]
    assert _add(shared, name="cat", workflow=_GRAPH, force=True)["name"] == "cat"


def test_a_dry_run_writes_nothing(shared: LiveServer) -> None:
    assert _add(shared, name="dry", workflow=_GRAPH, dry_run=True)["files"] == []
    assert shared.client.get("/api/v1/workflows/dry").status_code == 404


def test_the_editors_format_is_read_with_the_catalog_of_a_server(shared: LiveServer) -> None:
    assert _add(shared, name="edited", workflow=_EDITOR)["format"] == "editor"


def test_a_workflow_is_read_from_an_image(shared: LiveServer) -> None:
    texts, png = PngInfo(), io.BytesIO()
    texts.add_text("prompt", json.dumps(_GRAPH))
    Image.new("RGB", (16, 16)).save(png, "PNG", pnginfo=texts)
    url = "data:image/png;base64," + base64.b64encode(png.getvalue()).decode()
    assert _add(shared, name="from-image", image=url)["tokens"][0]["token"] == "image"


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"name": "../x", "workflow": _GRAPH}, "not a valid workflow name"),
        ({"name": "con", "workflow": _GRAPH}, "not a valid workflow name"),
        ({"name": "x"}, "either workflow or image"),
        ({"name": "x", "workflow": {}}, "not a workflow"),
        ({"name": "x", "image": "/etc/passwd"}, "not an image that a client can name"),
        ({"name": "x", "workflow": _GRAPH, "backend": "mock"}, "ComfyUI server"),
    ],
)
def test_a_wrong_workflow_is_a_problem(
    shared: LiveServer, body: dict[str, Any], sentence: str
) -> None:
    assert sentence in _add(shared, 400, **body)["detail"]


def test_clients_of_other_machines_see_no_paths(
    shared: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/nowhere")
    settings = shared.runtime.settings
    _add(shared, name="far", workflow=_GRAPH)
    with live_server(
        settings, has_worker=False, is_public=True, secret="s3cret-of-this-test"
    ) as far:
        far.client.headers["Authorization"] = "Bearer s3cret-of-this-test"
        folder = str(settings.state_dir.parent)
        for path in ("/workflows", "/workflows/far", "/workflows/far/check", "/config", "/doctor"):
            answer = far.client.get(f"/api/v1{path}", params={"quick": True})
            assert answer.status_code == 200, answer.text[:300]
            assert folder not in answer.text, path
        made = _add(far, name="far", workflow=_GRAPH, force=True)
        assert (made["files"], made["tokens"][0]["class"]) == (
            ["far.json", "far.yaml"],
            "LoadImage",
        )
