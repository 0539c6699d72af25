"""Requests are submitted over HTTP, and errors are problems."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.live_server import LiveServer


def test_a_submitted_request_becomes_an_image(live: LiveServer) -> None:
    made = live.client.post("/api/v1/generations", json={"request": {"prompt": "a fox"}})
    assert made.status_code == 202
    assert live.wait_for_job(made.json()["job"])["state"] == "done"
    assert len(list(Path("out").glob("*a-fox*.png"))) == 1


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        ({"prompt": "a fox", "nope": 1}, "nope: unknown key"),
        ({"prompt": "a fox", "image": "/etc/passwd"}, "not an image that a client can name"),
        ({"prompt": "a fox", "image": "https://example.org/x.png"}, "not an image that a client"),
        ({"prompt": "a fox", "model": "../secret"}, "is a path or a URL"),
        ({"prompt": "a fox <lora:/etc/x:1>"}, "is a path or a URL"),
        ({"prompt": "a fox", "extra": {"frame": "C:\\x.png"}}, "cannot name files"),
    ],
)
def test_a_wrong_request_is_a_problem_with_a_sentence(
    live: LiveServer, request_: dict[str, object], sentence: str
) -> None:
    answer = live.client.post("/api/v1/generations", json={"request": request_})
    assert (answer.status_code, answer.json()["code"]) == (400, "request")
    assert answer.headers["content-type"] == "application/problem+json"
    assert sentence in answer.json()["detail"]


def test_an_unknown_job_is_not_found(live: LiveServer) -> None:
    answer = live.client.get("/api/v1/jobs/abcdef")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
