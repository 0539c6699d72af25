"""What changes if an image is generated again, over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.live_server import live_server, server_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.live_server import LiveServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    backends: dict[str, dict[str, Any]] = {
        "mock": {"type": "mock"},
        "dusk": {"type": "mock", "look": "dusk"},
    }
    folder = tmp_path_factory.mktemp("server")
    with live_server(server_settings(backends, folder=folder)) as server:
        yield server


def _generate(server: LiveServer, request: dict[str, Any], backend: str = "mock") -> str:
    body = {"backend": backend, "request": request}
    answer = server.client.post("/api/v1/generations?wait=20", json=body)
    return str(answer.raise_for_status().json()["images"][0]["uid"])


def _get(server: LiveServer, path: str, **params: Any) -> Any:
    return server.client.get(f"/api/v1/images/{path}", params=params).raise_for_status().json()


@pytest.fixture(scope="module")
def uid(server: LiveServer) -> str:
    request = {"prompt": "a fox", "width": 64, "height": 48, "seed": 3, "model": "mock", "steps": 4}
    return _generate(server, request)


def test_nothing_differs_on_the_same_backend(server: LiveServer, uid: str) -> None:
    plan = _get(server, f"{uid}/again")
    assert (plan["backend"], plan["drift"]) == ("mock", [])
    again = _generate(server, plan["request"])
    report = _get(server, f"{again}/drift", original=uid)
    assert (report["drift"], report["difference"]) == ([], 0.0)
    assert report["identical"] in ("file", "pixels")


def test_another_backend_is_named_beforehand_and_afterwards(server: LiveServer, uid: str) -> None:
    plan = _get(server, f"{uid}/again", backend="dusk")
    assert plan["backend"] == "dusk"
    assert "model" not in plan["request"]  # it belongs to the first backend
    changes = {(one["what"], one["then"], one["now"]) for one in plan["drift"]}
    assert ("backend", "mock", "dusk") in changes
    again = _generate(server, plan["request"], "dusk")
    report = _get(server, f"{again}/drift", original=uid)
    assert report["identical"] == "no"
    assert 0 < report["difference"] < 1
    assert ("backend", "mock", "dusk") in {
        (one["what"], one["then"], one["now"]) for one in report["drift"]
    }


def test_a_chosen_model_is_part_of_the_request_and_no_surprise(
    server: LiveServer, uid: str
) -> None:
    plan = _get(server, f"{uid}/again", model="mock-dusk")
    assert plan["request"]["model"] == "mock-dusk"
    assert plan["drift"] == []


def test_a_value_that_was_changed_is_reported_afterwards(server: LiveServer, uid: str) -> None:
    plan = _get(server, f"{uid}/again")
    other = _generate(server, {**plan["request"], "steps": 500})
    (steps,) = _get(server, f"{other}/drift", original=uid)["drift"]
    assert (steps["name"], steps["then"], steps["now"]) == ("steps", "4", "200")
    assert "at most 200" in steps["sentence"]


@pytest.mark.parametrize(
    ("path", "params", "status", "sentence"),
    [
        ("{uid}/again", {"backend": "nowhere"}, 404, "There is no backend 'nowhere'"),
        ("{uid}/again", {"model": "../../secret"}, 400, "is a path"),
        ("ffffffff/again", {}, 404, "ffffffff"),
        ("{uid}/drift", {"original": "ffffffff"}, 404, "ffffffff"),
        ("{uid}/drift", {}, 400, "original"),
    ],
)
def test_a_wrong_question_gets_a_sentence(
    server: LiveServer, uid: str, path: str, params: dict[str, str], status: int, sentence: str
) -> None:
    answer = server.client.get(f"/api/v1/images/{path.format(uid=uid)}", params=params)
    assert (answer.status_code, sentence in answer.json()["detail"]) == (status, True), answer.text
