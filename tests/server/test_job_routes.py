"""Jobs are listed, followed and changed over HTTP."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from support.live_server import live_server, server_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.live_server import LiveServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server without a worker, so that jobs wait."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("server"))
        settings = server_settings({"mock": {"type": "mock"}, "other": {"type": "mock"}})
    with live_server(settings, has_worker=False) as server:
        yield server


def _submit(server: LiveServer, **body: Any) -> str:
    body = {"request": {"prompt": "a fox"}, **body}
    answer = server.client.post("/api/v1/generations", json=body).raise_for_status()
    return str(answer.json()["job"])


def test_jobs_are_listed_in_pages(server: LiveServer) -> None:
    ids = {_submit(server, backend="other") for _ in range(5)}
    server.client.post(f"/api/v1/jobs/{min(ids)}/cancel")
    server.client.post(f"/api/v1/jobs/{max(ids)}/cancel")
    found: list[str] = []
    after: str | None = None
    for _ in range(3):
        params: dict[str, str | int] = {"backend": "other", "limit": 2}
        if after is not None:
            params["after"] = after
        page = server.client.get("/api/v1/jobs", params=params).raise_for_status().json()
        found += [job["id"] for job in page["jobs"]]
        after = page["after"]
    assert after is None
    assert sorted(found) == sorted(ids)
    assert {*found[-2:]} == {min(ids), max(ids)}


def test_jobs_are_filtered_by_state(server: LiveServer) -> None:
    id = _submit(server)
    server.client.post(f"/api/v1/jobs/{id}/cancel")
    page = server.client.get("/api/v1/jobs", params={"state": ["cancelled", "failed"]}).json()
    assert id in [job["id"] for job in page["jobs"]]
    assert {job["state"] for job in page["jobs"]} == {"cancelled"}
    refused = server.client.get("/api/v1/jobs", params={"state": "canceled"})
    assert (refused.status_code, refused.json()["code"]) == (400, "request")


def test_a_job_is_shown_with_its_request_and_events(server: LiveServer) -> None:
    id = _submit(server)
    job = server.client.get(f"/api/v1/jobs/{id[:12]}").json()
    assert (job["id"], job["state"]) == (id, "queued")
    assert job["request"]["prompt"] == "a fox"
    assert [event["data"]["state"] for event in job["events"]] == ["queued"]
    events = server.client.get(f"/api/v1/jobs/{id}/events").json()
    assert events == {"events": job["events"], "after": None}


def test_a_job_tells_the_size_and_number_of_its_images(server: LiveServer) -> None:
    request = {"prompt": "a fox", "width": 768, "height": 512, "count": 3, "model": "mock-dusk"}
    parent = server.client.get(f"/api/v1/jobs/{_submit(server, request=request)}").json()
    assert (parent["kind"], parent["image_count"]) == ("request", 0)
    job = server.client.get(f"/api/v1/jobs/{parent['jobs'][0]}").json()
    assert (job["width"], job["height"], job["image_count"]) == (768, 512, 1)
    assert job["model"] == "mock-dusk"
    assert job["generation"]
    plain = server.client.get(f"/api/v1/jobs/{_submit(server)}").json()
    assert (plain["width"], plain["image_count"], plain["model"]) == (None, 1, None)


def test_a_waiting_job_is_cancelled_and_run_again(server: LiveServer) -> None:
    id = _submit(server)
    assert server.client.post(f"/api/v1/jobs/{id}/cancel").json()["state"] == "cancelled"
    assert server.client.post(f"/api/v1/jobs/{id}/retry").json()["state"] == "queued"
    again = server.client.post(f"/api/v1/jobs/{id}/retry")
    assert (again.status_code, again.json()["code"]) == (400, "request")


def test_a_job_is_moved_before_all_others(server: LiveServer) -> None:
    first, second = _submit(server), _submit(server)
    moved = server.client.patch(f"/api/v1/jobs/{second}", json={"first": True}).json()
    assert (moved["priority"], moved["position"]) == (1, 1)
    assert server.client.get(f"/api/v1/jobs/{first}").json()["priority"] == 0
    due = server.client.patch(f"/api/v1/jobs/{first}", json={"due": "2040-01-02T03:04:05Z"})
    assert due.json()["due"].startswith("2040-01-02")


def test_a_job_is_moved_behind_another(server: LiveServer) -> None:
    first, second, third = (_submit(server, backend="other") for _ in range(3))
    moved = server.client.patch(f"/api/v1/jobs/{third}", json={"behind": first})
    assert moved.raise_for_status().json()["id"] == third
    page = server.client.get("/api/v1/jobs", params={"backend": "other", "state": "queued"}).json()
    order = [job["id"] for job in page["jobs"]]
    assert [id for id in order if id in (first, second, third)] == [first, third, second]
    unknown = server.client.patch(f"/api/v1/jobs/{third}", json={"behind": "abcdef"})
    assert unknown.status_code == 404


_NOWHERE: list[dict[str, object]] = [
    {},
    {"first": True, "priority": 2},
    {"first": True, "behind": "abcdef"},
    {"priority": 5000},
]


@pytest.mark.parametrize("body", _NOWHERE)
def test_a_move_to_nowhere_is_refused(server: LiveServer, body: dict[str, object]) -> None:
    answer = server.client.patch(f"/api/v1/jobs/{_submit(server)}", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "request")


def test_a_lost_job_runs_again_only_if_that_is_confirmed(server: LiveServer) -> None:
    id = _submit(server)
    store = server.runtime.store
    with store._exclusive() as change:
        row = change.lock(id)
        assert row is not None
        change.end(row, "lost")
    refused = server.client.post(f"/api/v1/jobs/{id}/retry")
    assert refused.status_code == 400
    assert "confirm=true" in refused.json()["remedy"]
    again = server.client.post(f"/api/v1/jobs/{id}/retry", params={"confirm": True})
    assert again.json()["state"] == "queued"


def test_an_unknown_job_is_not_found(server: LiveServer) -> None:
    for path in ("jobs/abcdef", "jobs/abcdef/events", "jobs/a..b", "generations/abcdef"):
        answer = server.client.get(f"/api/v1/{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_a_job_that_does_not_run_has_no_preview(server: LiveServer) -> None:
    answer = server.client.get(f"/api/v1/jobs/{_submit(server)}/preview")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_an_engine_is_paused_and_gets_jobs_again(server: LiveServer) -> None:
    paused = server.client.post("/api/v1/backends/other/pause", params={"seconds": 60}).json()
    assert [pause["error"]["code"] for pause in paused["paused"].values()] == ["paused"]
    assert server.client.get("/api/v1/workers").json() == paused
    assert server.client.post("/api/v1/backends/other/unpause").json()["paused"] == {}
    unknown = server.client.post("/api/v1/backends/othre/pause")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_backend")


def test_a_client_elsewhere_learns_no_paths_of_this_machine(server: LiveServer) -> None:
    id = _submit(server)
    store = server.runtime.store
    with store._exclusive() as change:
        row = change.lock(id)
        assert row is not None
        error = {"code": "output", "message": "'/home/me/out' is full.", "remedy": ""}
        change.end(row, "failed", error=error)
    local = server.client.get(f"/api/v1/generations/{id}").json()
    assert local["error"]["message"] == "'/home/me/out' is full."
    secret = "s" * 32
    with live_server(server.runtime.settings, has_worker=False, secret=secret) as other:
        other.client.headers["Authorization"] = f"Bearer {secret}"
        answers = [
            other.client.get(f"/api/v1/{path}").raise_for_status().json()
            for path in (f"generations/{id}", f"jobs/{id}", f"jobs/{id}/events", "jobs")
        ]
    assert "'out' is full." in json.dumps(answers)
    assert "/home/me" not in json.dumps(answers)
