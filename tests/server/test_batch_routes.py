"""Batches and comparisons are submitted over HTTP, and their results are read."""

from __future__ import annotations

import json
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from support.live_server import live_server, server_settings

from imagen.runtime.client_requests import store_image

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.live_server import LiveServer

_SMALL = {"width": 64, "height": 64}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("server"))
        settings = server_settings({"mock": {"type": "mock"}, "other": {"type": "mock"}})
    with live_server(settings) as server:
        yield server


def _post(server: LiveServer, path: str, **body: Any) -> Any:
    return server.client.post(f"/api/v1/{path}", json=body)


def _result(server: LiveServer, job: str) -> Any:
    server.wait_for_job(job)
    return server.client.get(f"/api/v1/generations/{job}").raise_for_status().json()


# --- batches ---


def test_the_rows_of_a_batch_become_images_in_its_folder(server: LiveServer) -> None:
    rows = [{"prompt": "a bear"}, {"prompt": "an owl", "seed": 7, "backend": "other"}]
    made = _post(server, "batches", name="Zoo", rows=rows, defaults=_SMALL)
    assert made.status_code == 202
    assert made.headers["location"].endswith(made.json()["job"])
    result = _result(server, made.json()["job"])
    assert (result["job"]["kind"], result["job"]["counts"]) == ("batch", {"done": 2})
    images = {image["prompt"]: image for image in result["images"]}
    assert (images["an owl"]["seed"], images["an owl"]["backend"]) == (7, "other")
    assert {path.parent.name for path in server.runtime.settings.output.directory.glob("*/*.png")}
    assert "batch-zoo" in images["a bear"]["path"]


def test_a_batch_that_is_sent_again_is_not_made_again(server: LiveServer) -> None:
    body = {"name": "again", "prompts": "a bear\n# a comment\nan owl\n", "defaults": _SMALL}
    first = _post(server, "batches", **body).json()
    assert (first["requests"], len(first["jobs"])) == (2, 2)
    _result(server, first["job"])
    second = _post(server, "batches", **body | {"prompts": "a bear\nan owl\na cat\n"}).json()
    assert (second["requests"], second["done_earlier"], len(second["jobs"])) == (3, 2, 1)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({}, "either prompts or rows"),
        ({"prompts": "a", "rows": [{"prompt": "a"}]}, "either prompts or rows"),
        ({"prompts": "\n"}, "holds no prompt"),
        ({"rows": [{"prompt": "a"}, {"prompt": "b", "steps": "x"}]}, "http, line 2: steps"),
        ({"rows": [{"prompt": "a", "image": "/etc/passwd"}]}, "line 1: image: '/etc/passwd'"),
        ({"rows": [{"prompt": "a", "output": "../../x"}]}, "leads out of the output"),
        ({"rows": [{"prompt": "a", "backend": "nope"}]}, "http, line 1: "),
        ({"prompts": "a <lora:{/etc/x|/etc/y}:1>"}, "is a path or a URL"),
    ],
)
def test_a_wrong_batch_is_refused_whole(
    server: LiveServer, body: dict[str, Any], sentence: str
) -> None:
    answer = _post(server, "batches", **body)
    assert (answer.status_code, answer.json()["code"]) == (400, "request")
    assert sentence in answer.json()["detail"]


# --- comparisons ---


def test_a_comparison_has_cells_a_sheet_and_a_report(server: LiveServer) -> None:
    body = {
        "request": {"prompt": "a fox", **_SMALL},
        "models": ["mock", "other"],
        "vary": [{"name": "steps", "values": [2, 3]}],
    }
    made = _post(server, "comparisons", **body)
    assert made.status_code == 202
    place = made.headers["location"]
    before = server.client.get(place).json()
    assert [cell["label"] for cell in before["cells"]] == [
        *("mock, steps 2", "mock, steps 3", "other, steps 2", "other, steps 3")
    ]
    assert _result(server, made.json()["job"])["job"]["state"] == "done"
    after = server.client.get(place).json()
    assert {cell["state"] for cell in after["cells"]} == {"done"}
    assert after["job"] is None
    names = [after["report"], *after["sheets"], after["cells"][0]["files"][0]["path"]]
    files = [server.client.get(f"{place}/files/{name}") for name in names]
    assert [file.headers["content-type"].partition(";")[0] for file in files] == [
        *("text/html", "image/png", "image/png")
    ]
    # A stricter policy than the page's own would keep a browser from its script or its images.
    assert files[0].headers["content-security-policy"] == "frame-ancestors 'none'"
    assert "script-src 'sha256-" in files[0].text
    listed = server.client.get("/api/v1/comparisons").json()["comparisons"]
    assert made.json()["id"] in [one["id"] for one in listed]
    again = _post(server, "comparisons", **body).json()
    assert (again["id"], again["job"], again["jobs"]) == (made.json()["id"], None, [])


def test_the_images_of_an_axis_are_those_that_the_client_sent(server: LiveServer) -> None:
    words = []
    for colour in ("red", "blue"):
        file = BytesIO()
        Image.new("RGB", (32, 32), colour).save(file, "PNG")
        name = f"{colour}.png"
        words.append(store_image(file.getvalue(), "image", server.runtime, name=name))
    made = _post(
        server,
        "comparisons",
        request={"prompt": "a fox", "strength": 0.5},
        models=["mock"],
        vary=[{"name": "image", "values": words}],
    )
    place = made.raise_for_status().headers["location"]
    _result(server, made.json()["job"])
    cells = server.client.get(place).json()["cells"]
    assert [cell["label"] for cell in cells] == ["mock, image red.png", "mock, image blue.png"]
    assert {cell["state"] for cell in cells} == {"done"}


@pytest.mark.parametrize(
    ("vary", "sentence"),
    [
        ([{"name": "image", "values": ["/etc/passwd"]}], "not an image that a client can name"),
        ([{"name": "model", "values": ["/etc/x"]}], "is a path or a URL"),
        ([{"name": "lora", "values": ["../x:1"]}], "is a path or a URL"),
        ([{"name": "prompt", "values": ["<lora:{/etc/x|y}:1>"]}], "both wildcards and LoRA"),
        ([{"name": "stesp", "values": [1]}], "did you mean 'steps'"),
        ([{"name": "steps", "values": [-1]}], "steps"),
        ([{"name": "steps", "values": list(range(2000))}], "at most 1,000 values"),
    ],
)
def test_a_wrong_comparison_is_refused(
    server: LiveServer, vary: list[dict[str, Any]], sentence: str
) -> None:
    answer = _post(server, "comparisons", request={"prompt": "x"}, models=["mock"], vary=vary)
    assert (answer.status_code, answer.json()["code"]) == (400, "request")
    assert sentence.lower() in answer.json()["detail"].lower()


def test_half_characters_are_refused(server: LiveServer) -> None:
    skip = [{"name": "\ud800", "values": []}]
    body = json.dumps({"request": {"prompt": "x"}, "models": ["mock"], "skip": skip})
    answer = server.client.post(
        "/api/v1/comparisons", content=body, headers={"Content-Type": "application/json"}
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "request")


def test_a_comparison_in_the_queue_gets_more_jobs(server: LiveServer) -> None:
    body: dict[str, Any] = {"request": {"prompt": "a bat", **_SMALL}, "models": ["mock"]}
    body["at"] = "2040-01-01T00:00:00Z"
    first, again = (_post(server, "comparisons", **body).json() for _ in range(2))
    assert (again["id"], again["job"]) == (first["id"], first["job"])
    more = _post(server, "comparisons", **body | {"models": ["mock", "other"]})
    assert (more.status_code, more.json()["job"]) == (202, first["job"])
    assert len({*more.json()["jobs"]} - {*first["jobs"]}) == 1


@pytest.mark.parametrize(
    "path",
    [
        "compare-nothing",
        "..",
        "compare-x%2f..%2f..",
        "compare-nothing/files/compare.json",
        "batch-zoo",
    ],
)
def test_an_unknown_comparison_is_not_found(server: LiveServer, path: str) -> None:
    assert server.client.get(f"/api/v1/comparisons/{path}").status_code == 404


def test_other_files_of_a_comparison_are_not_served(server: LiveServer) -> None:
    made = _post(server, "comparisons", request={"prompt": "a cat", **_SMALL}, models=["mock"])
    place = made.headers["location"]
    _result(server, made.json()["job"])
    folder = server.runtime.settings.output.directory / made.json()["id"]
    (folder / "secret.txt").write_text("x")
    for name in ("secret.txt", "..%2fsecret.txt", "%2e%2e", "compare.html%00"):
        assert server.client.get(f"{place}/files/{name}").status_code == 404
