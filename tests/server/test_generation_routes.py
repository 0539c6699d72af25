"""Requests are submitted over HTTP and waited for; errors are problems."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from simulators.replicate import Replicate
from support.live_server import live_server, server_settings

from imagen.config import Budget, ServerSettings
from imagen.library.tokens import add_token

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.live_server import LiveServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """One for all tests of this module, with a fast backend and one that waits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("server"))
        backends: dict[str, dict[str, Any]] = {
            "mock": {"type": "mock"},
            "slow": {"type": "mock", "step_seconds": 2},
        }
        settings = server_settings(backends)
    with live_server(settings) as server:
        yield server


def _submit(server: LiveServer, request: dict[str, Any], **more: Any) -> Any:
    headers = more.pop("headers", None)
    params = more.pop("params", None)
    body = {"request": request, **more}
    return server.client.post("/api/v1/generations", json=body, headers=headers, params=params)


def test_a_submitted_request_becomes_an_image(server: LiveServer) -> None:
    made = _submit(server, {"prompt": "a fox"})
    assert made.status_code == 202
    assert made.headers["location"] == f"/api/v1/generations/{made.json()['job']}"
    result = server.client.get(made.headers["location"], params={"wait": 20}).json()
    assert result["job"]["state"] == "done"
    assert result["images"][0]["prompt"] == "a fox"
    assert result["generations"][0]["receipt"]["prompt"]["outcome"] == "applied"


@pytest.mark.parametrize(
    ("headers", "params", "applied"),
    [
        ({"Prefer": "wait=20"}, {}, "wait=20"),
        ({"Prefer": "respond-async, wait"}, {}, "wait"),
        ({"Prefer": "handling=lenient; wait=20"}, {"wait": 20}, None),
        ({}, {"wait": 20}, None),
    ],
)
def test_a_client_that_prefers_to_wait_gets_the_result(
    server: LiveServer, headers: dict[str, str], params: dict[str, int], applied: str | None
) -> None:
    made = _submit(server, {"prompt": "an owl"}, headers=headers, params=params)
    assert made.status_code == 200
    assert made.headers.get("preference-applied") == applied
    assert [image["prompt"] for image in made.json()["images"]] == ["an owl"]


def test_a_wait_that_is_over_leaves_the_job_alone(server: LiveServer) -> None:
    made = _submit(server, {"prompt": "a cat"}, backend="slow", params={"wait": 0.2})
    assert made.status_code == 202
    id = made.json()["job"]
    assert server.client.get(f"/api/v1/jobs/{id}").json()["state"] in ("queued", "running")
    server.client.post(f"/api/v1/jobs/{id}/cancel")
    result = server.client.get(f"/api/v1/generations/{id}", params={"wait": 20}).json()
    assert (result["job"]["state"], result["error"]["code"]) == ("cancelled", "cancelled")


def test_a_repeated_key_is_one_job(server: LiveServer) -> None:
    by_header = _submit(server, {"prompt": "a key"}, headers={"Idempotency-Key": "k1"})
    by_body = _submit(server, {"prompt": "a key"}, key="k1")
    assert by_header.json()["job"] == by_body.json()["job"]
    both = _submit(server, {"prompt": "a key"}, key="k1", headers={"Idempotency-Key": "k2"})
    assert (both.status_code, both.json()["code"]) == (400, "request")


def test_wildcards_are_expanded_unless_the_request_is_literal(server: LiveServer) -> None:
    made = _submit(server, {"prompt": "a {red|blue} fox", "count": 2}, params={"wait": 20})
    prompts = {image["prompt"] for image in made.json()["images"]}
    assert prompts <= {"a red fox", "a blue fox"}
    literal = _submit(server, {"prompt": "a {red} fox"}, literal=True, params={"wait": 20})
    assert [image["prompt"] for image in literal.json()["images"]] == ["a {red} fox"]


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        ({"prompt": "a fox", "nope": 1}, "nope: unknown key"),
        ({"prompt": "a fox", "image": "/etc/passwd"}, "not an image that a client can name"),
        ({"prompt": "a fox", "image": "https://example.org/x.png"}, "not an image that a client"),
        ({"prompt": "a fox", "model": "../secret"}, "is a path or a URL"),
        ({"prompt": "a fox <lora:/etc/x:1>"}, "is a path or a URL"),
        ({"prompt": "a fox {<lora:{/etc/x|/etc/y}:1>|}", "count": 20}, "is a path or a URL"),
        ({"prompt": "a fox", "extra": {"frame": "C:\\x.png"}}, "cannot name files"),
    ],
)
def test_a_wrong_request_is_a_problem_with_a_sentence(
    server: LiveServer, request_: dict[str, object], sentence: str
) -> None:
    answer = _submit(server, request_)
    assert (answer.status_code, answer.json()["code"]) == (400, "request")
    assert answer.headers["content-type"] == "application/problem+json"
    assert sentence in answer.json()["detail"]


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "tomorrow", -1e18])
def test_a_moment_beyond_all_calendars_is_refused(server: LiveServer, at: object) -> None:
    answer = _submit(server, {"prompt": "a fox"}, at=at)
    assert (answer.status_code, answer.json()["code"]) == (400, "request")


def test_an_estimate_says_what_would_happen_and_sends_nothing(server: LiveServer) -> None:
    before = server.client.get("/api/v1/jobs").json()
    body = {"request": {"prompt": "a fox", "width": 64, "height": 64, "count": 2, "cfg": 3.0}}
    estimate = server.client.post("/api/v1/estimate", json=body).json()
    assert (estimate["backend"], estimate["images"], estimate["is_free"]) == ("mock", 2, True)
    assert estimate["plan"][0]["request"]["width"] == 64
    assert estimate["cost_usd"] == 0
    assert server.client.get("/api/v1/jobs").json() == before


def test_the_fields_of_a_request_are_in_the_openapi_document(server: LiveServer) -> None:
    document = server.client.get("/api/v1/openapi.json").json()
    body = document["components"]["schemas"]["GenerationBody"]["properties"]["request"]
    name = body.get("$ref", "").rpartition("/")[2]
    fields = (document["components"]["schemas"][name] if name else body)["properties"]
    assert "blob:" in fields["image"]["description"]
    assert {"prompt", "seed", "loras"} <= fields.keys()
    assert "template" not in fields


def test_an_unknown_key_of_a_body_names_the_nearest(live: LiveServer) -> None:
    answer = live.client.post("/api/v1/generations", json={"request": {}, "backends": "mock"})
    assert answer.json()["detail"] == "backends: unknown key. Did you mean 'backend'?"


@pytest.mark.usefixtures("replicate_token")
def test_an_admin_may_exceed_a_budget_and_the_estimate_says_that_it_is_exceeded(
    tmp_path: Path,
) -> None:
    with Replicate() as cloud:
        model = "black-forest-labs/flux-schnell"
        block = {"type": "replicate", "model": model, "base_url": cloud.url}
        budget = Budget(amount=0.001, per="run")
        hosts = ServerSettings(allowed_hosts=("images.example.org",))
        settings = server_settings(
            {"cloud": block}, folder=tmp_path, budgets=(budget,), server=hosts
        )
        with live_server(settings, has_worker=False) as server:
            body = {"request": {"prompt": "a fox"}, "backend": "cloud"}
            estimate = server.client.post("/api/v1/estimate", json=body).json()
            assert estimate["is_over_budget"] is True
            assert "would exceed the budget" in estimate["budgets"][0]
            fox = {"prompt": "a fox"}
            refused = _submit(server, fox, backend="cloud")
            assert (refused.status_code, refused.json()["code"]) == (402, "over_budget")
            sent = _submit(server, fox, backend="cloud", over_budget=True)
            assert sent.status_code == 202
            secret = add_token(server.runtime.library, "kid", ["read", "generate"])
            away = {"Host": "images.example.org", "Authorization": f"Bearer {secret}"}
            other = _submit(server, fox, backend="cloud", over_budget=True, headers=away)
            assert (other.status_code, "scope admin" in other.text) == (403, True)
