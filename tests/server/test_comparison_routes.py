"""Comparisons are extended, estimated and listed over HTTP, and nothing is generated twice."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from support.live_server import live_server, server_settings

from imagen.runtime.client_requests import store_image

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.live_server import LiveServer

_BACKENDS: dict[str, dict[str, Any]] = {
    "one": {"type": "mock"},
    "two": {"type": "mock", "look": "two"},
    "broken": {"type": "mock", "fail": "failed"},
    "slow": {"type": "mock", "step_seconds": 1.0},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("server"))
        settings = server_settings(_BACKENDS)
    with live_server(settings) as server:
        yield server


def _post(server: LiveServer, path: str, **body: Any) -> Any:
    return server.client.post(f"/api/v1/{path}", json=body)


def _start(server: LiveServer, prompt: str, *models: str, **axes: list[Any]) -> str:
    """The id of a comparison that has ended."""
    made = _post(
        server,
        "comparisons",
        request={"prompt": prompt, "width": 48, "height": 32, "steps": 1},
        models=models,
        vary=[{"name": name, "values": values} for name, values in axes.items()],
    )
    made.raise_for_status()
    server.wait_for_job(made.json()["job"])
    return str(made.json()["id"])


def _extend(server: LiveServer, id: str, **body: Any) -> list[str]:
    """Extend a comparison and wait; the labels of the jobs that this took."""
    answer = _post(server, f"comparisons/{id}", **body).raise_for_status().json()
    if answer["job"] is None:
        return []
    server.wait_for_job(answer["job"])
    parent = {"parent": answer["job"]}
    jobs = server.client.get("/api/v1/jobs", params=parent).raise_for_status().json()["jobs"]
    return sorted(job["name"] for job in jobs if job["kind"] == "image")


def _read(server: LiveServer, id: str) -> Any:
    return server.client.get(f"/api/v1/comparisons/{id}").raise_for_status().json()


def test_a_value_and_a_backend_are_added_later(server: LiveServer) -> None:
    id = _start(server, "extended", "one", steps=[1, 2])
    before = _read(server, id)
    body = {"models": ["one", "two"], "vary": [{"name": "steps", "values": [1, 2, 3]}]}
    planned = _post(server, f"comparisons/{id}/estimate", **body).raise_for_status().json()
    assert planned["images"] == 4
    assert [cell["state"] for cell in planned["cells"]] == ["done"] * 2 + ["planned"] * 4
    names = [f"one, steps {n}" for n in (3,)] + [f"two, steps {n}" for n in (1, 2, 3)]
    assert _extend(server, id, **body) == names
    after = _read(server, id)
    assert after["request"]["seed"] == before["request"]["seed"]
    assert after["cells"][:2] == before["cells"]
    assert [cell["state"] for cell in after["cells"]] == ["done"] * 6
    assert (after["models"], after["axes"][0]["values"]) == (["one", "two"], [1, 2, 3])
    report = server.client.get(f"/api/v1/comparisons/{id}/files/{after['report']}").text
    assert "two-03-" in report
    assert _extend(server, id) == []


def test_only_the_failed_cells_are_repeated(server: LiveServer) -> None:
    id = _start(server, "failing", "one", "broken", steps=[1, 2])
    cells = _read(server, id)["cells"]
    assert [cell["state"] for cell in cells] == ["done", "done", "failed", "failed"]
    assert cells[2]["error"]["message"]
    one = {"models": ["broken"], "vary": [{"name": "steps", "values": [2]}]}
    assert _extend(server, id, **one) == ["broken, steps 2"]
    assert _extend(server, id) == ["broken, steps 1", "broken, steps 2"]
    assert [cell["state"] for cell in _read(server, id)["cells"]][:2] == ["done", "done"]


def test_a_backend_that_lacks_the_parameter_counts_once(server: LiveServer) -> None:
    body = {
        "request": {"prompt": "not varied", "width": 48, "height": 32, "steps": 1},
        "models": ["one", "two"],
        "vary": [{"name": "cfg", "values": [2, 4, 6]}],
    }
    planned = _post(server, "comparisons/estimate", **body).raise_for_status().json()
    assert planned["images"] == 2
    assert [cell["state"] for cell in planned["cells"]] == ["planned", "same", "same"] * 2
    assert planned["cells"][1]["dropped"] == ["cfg"]
    id = _start(server, "not varied", "one", cfg=[2, 4])
    cells = _read(server, id)["cells"]
    assert [cell["same_as"] for cell in cells] == [None, {"cfg": 2}]
    assert cells[1]["images"] == cells[0]["images"]
    assert cells[1]["receipt"]["cfg"]["outcome"] == "dropped"
    assert _extend(server, id, vary=[{"name": "cfg", "values": [2, 4, 9]}]) == []
    assert [cell["same_as"] for cell in _read(server, id)["cells"]][1:] == [{"cfg": 2}] * 2


def test_the_images_of_a_running_comparison_are_there_as_they_are_made(server: LiveServer) -> None:
    body = {
        "request": {"prompt": "running", "width": 48, "height": 32, "steps": 2},
        "models": ["one", "slow"],
    }
    made = _post(server, "comparisons", **body).raise_for_status().json()
    first, second = (cell["jobs"][0] for cell in _read(server, made["id"])["cells"])
    server.wait_for_job(first)
    view = _read(server, made["id"])
    assert view["job"] == made["job"]
    (image,) = view["cells"][0]["images"]
    shown = server.client.get(f"/api/v1/images/{image['uid']}").raise_for_status().json()
    assert shown["resolved"]["prompt"] == "running"
    assert view["cells"][0]["seconds"] is not None
    (listed,) = [one for one in _list(server) if one["id"] == made["id"]]
    assert (listed["job"], listed["cells"], listed["done"]) == (made["job"], 2, 1)
    assert listed["cover"]["uid"] == image["uid"]
    server.client.post(f"/api/v1/jobs/{made['job']}/cancel").raise_for_status()
    server.wait_for_job(second)
    server.wait_for_job(made["job"])
    view = _read(server, made["id"])
    assert (view["job"], len(view["cells"][0]["files"])) == (None, 1)
    assert view["cells"][0]["images"][0]["uid"] == image["uid"]
    assert view["cells"][1]["error"]["code"] == "cancelled"


def test_a_running_comparison_gets_a_backend_and_a_value(server: LiveServer) -> None:
    # It runs until all is checked, however slow the machine is.
    _post(server, "backends/slow/pause", seconds=600).raise_for_status()
    made = _post(
        server,
        "comparisons",
        request={"prompt": "growing", "width": 48, "height": 32},
        models=["slow", "one"],
        vary=[{"name": "steps", "values": [1]}],
    ).json()
    more = {"models": ["slow", "one", "two"], "vary": [{"name": "steps", "values": [1, 2]}]}
    planned = _post(server, f"comparisons/{made['id']}/estimate", **more).json()
    assert planned["images"] == 4
    states = {(one["model"], one["values"]["steps"]): one["state"] for one in planned["cells"]}
    assert {place for place, state in states.items() if state == "done"} == {
        ("slow", 1),
        ("one", 1),
    }
    added = _post(server, f"comparisons/{made['id']}", **more).raise_for_status().json()
    assert (added["id"], added["job"], len(added["jobs"])) == (made["id"], made["job"], 4)
    assert {*added["jobs"]}.isdisjoint(made["jobs"])
    # The same once more adds nothing, whichever way it is asked for.
    again = _post(server, f"comparisons/{made['id']}", **more).raise_for_status().json()
    assert again["job"] == made["job"]
    assert again["jobs"] == []
    running = _read(server, made["id"])
    assert (len(running["cells"]), running["job"]) == (6, made["job"])
    assert all(cell["jobs"] for cell in running["cells"])
    _post(server, "backends/slow/unpause").raise_for_status()
    server.wait_for_job(made["job"])
    view = _read(server, made["id"])
    assert view["job"] is None
    assert [len(cell["files"]) for cell in view["cells"]] == [1] * 6
    jobs = server.client.get("/api/v1/jobs", params={"parent": made["job"]}).json()["jobs"]
    assert sorted(job["kind"] for job in jobs) == ["image"] * 6 + ["sheet"]
    with Image.open(
        BytesIO(
            server.client.get(f"/api/v1/comparisons/{made['id']}/files/{view['sheets'][0]}").content
        )
    ) as sheet:
        assert sheet.width > 3 * 48


def test_each_cell_has_a_seed_of_its_own_on_request(server: LiveServer) -> None:
    body = {
        "request": {"prompt": "own seeds", "width": 48, "height": 32, "seed": 5, "steps": 1},
        "models": ["one", "two"],
        "vary": [{"name": "cfg", "values": [2, 4]}],
        "own_seeds": True,
    }
    assert _post(server, "comparisons/estimate", **body).json()["images"] == 4
    made = _post(server, "comparisons", **body).raise_for_status().json()
    server.wait_for_job(made["job"])
    view = _read(server, made["id"])
    seeds = [cell["seed"] for cell in view["cells"]]
    assert (len({*seeds}), view["has_own_seeds"]) == (4, True)
    # Another comparison than that with one seed; more of it has own seeds too.
    shared = _post(server, "comparisons/estimate", **{**body, "own_seeds": False}).json()
    assert shared["images"] == 2
    more = [{"name": "cfg", "values": [2, 4, 8]}]
    assert len(_extend(server, made["id"], vary=more)) == 2
    after = [cell["seed"] for cell in _read(server, made["id"])["cells"]]
    assert (len({*after}), {*seeds} < {*after}) == (6, True)


def _list(server: LiveServer) -> Any:
    return server.client.get("/api/v1/comparisons").raise_for_status().json()["comparisons"]


def test_the_list_says_what_is_compared_and_how_far_it_is(server: LiveServer) -> None:
    id = _start(server, "listed", "one", "broken", steps=[1, 2])
    first = _list(server)[0]
    assert (first["id"], first["prompt"], first["models"]) == (id, "listed", ["one", "broken"])
    assert (first["cells"], first["done"], first["failed"], first["job"]) == (4, 2, 2, None)
    assert first["cover"]["uid"] == _read(server, id)["cells"][0]["images"][0]["uid"]
    assert len(server.client.get("/api/v1/comparisons?limit=1").json()["comparisons"]) == 1


def test_a_comparison_of_uploads_is_extended(server: LiveServer) -> None:
    words = []
    for colour in ("red", "blue"):
        file = BytesIO()
        Image.new("RGB", (32, 32), colour).save(file, "PNG")
        words.append(store_image(file.getvalue(), "image", server.runtime, name=f"{colour}.png"))
    made = _post(
        server,
        "comparisons",
        request={"prompt": "uploads", "image": words[0], "strength": 0.5, "steps": 1},
        models=["one"],
        vary=[{"name": "image", "values": words[:1]}],
    )
    server.wait_for_job(made.raise_for_status().json()["job"])
    id = made.json()["id"]
    assert _extend(server, id, models=["two"]) == ["two, image red.png"]
    more = [{"name": "image", "values": ["red.png", words[1]]}]
    assert _extend(server, id, models=["one"], vary=more) == ["one, image blue.png"]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"vary": [{"name": "cfg", "values": [1]}]}, "has no axis 'cfg'"),
        ({"vary": [{"name": "steps", "values": []}]}, "has no values"),
        ({"models": ["nope"]}, "nope"),
    ],
)
def test_a_wrong_extension_is_refused(
    server: LiveServer, body: dict[str, Any], sentence: str
) -> None:
    id = _start(server, "wrong", "one", steps=[1]) if not _known(server) else _known(server)
    for path in (f"comparisons/{id}", f"comparisons/{id}/estimate"):
        answer = _post(server, path, **body)
        assert answer.status_code in (400, 404)
        assert sentence in answer.json()["detail"]


def _known(server: LiveServer) -> str:
    return next((one["id"] for one in _list(server) if one["prompt"] == "wrong"), "")


def test_an_unknown_comparison_cannot_be_extended(server: LiveServer) -> None:
    assert _post(server, "comparisons/compare-nope").status_code == 404
