"""Answers of Replicate's API are parsed into predictions and errors."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from support.replicate_backend import replicate_config

from imagen.backends.replicate.client import (
    Prediction,
    parse_prediction,
    parse_predictions,
)
from imagen.backends.replicate.errors import response_error
from imagen.core.json_values import as_time
from imagen.errors import BackendError, RateLimited, Rejected, Unauthorized, Unavailable

pytestmark = pytest.mark.usefixtures("replicate_token")

_CONFIG = replicate_config("https://api.replicate.com/v1")
_RECORDED: dict[str, Any] = {
    "completed_at": "2023-09-08T16:19:34.791859Z",
    "created_at": "2023-09-08T16:19:34.765994Z",
    "data_removed": False,
    "error": None,
    "id": "gm3qorzdhgbfurvjtvhg6dckhu",
    "input": {"text": "Alice"},
    "metrics": {"predict_time": 0.012683},
    "output": "hello Alice",
    "started_at": "2023-09-08T16:19:34.779176Z",
    "source": "api",
    "status": "succeeded",
    "urls": {"web": "", "get": "", "cancel": ""},
    "model": "replicate/hello-\x1bworld",
    "version": "5c7d5dc6dd8bf75c1acaa8565735e7986bc5b66206b55cca93cb72c9bf15ccaa",
    "logs": "Using seed: 42\n 25%|##5  | 1/4 [00:00<00:01]\r 75%|#######5  | 3/4 [00:02<00:00]",
}


def test_an_answer_is_parsed_into_a_prediction() -> None:
    found = parse_prediction(_RECORDED)
    assert found is not None
    assert found.model == "replicate/hello-world"
    assert (found.id, found.status, found.has_ended) == (
        "gm3qorzdhgbfurvjtvhg6dckhu",
        "succeeded",
        True,
    )
    assert (found.predict_seconds, found.queued_seconds) == (0.012683, 0.013182)
    assert (found.steps, found.seed) == ((3, 4), 42)
    assert found.created_at == datetime(2023, 9, 8, 16, 19, 34, 765994, UTC)


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(None, id="nothing"),
        pytest.param([_RECORDED], id="a list"),
        pytest.param(_RECORDED | {"id": None}, id="no id"),
        pytest.param(_RECORDED | {"id": "../../account"}, id="a path as id"),
        pytest.param(_RECORDED | {"status": 7}, id="no status"),
    ],
)
def test_an_answer_that_is_not_a_prediction_is_none(said: Any) -> None:
    assert parse_prediction(said) is None
    assert parse_predictions({"results": [said]}) == []


@pytest.mark.parametrize("said", [None, {}, {"results": None}, {"results": 7}, []])
def test_an_invalid_list_of_predictions_is_empty(said: Any) -> None:
    assert parse_predictions(said) == []


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"metrics": None, "logs": None, "input": None, "error": 7}, id="null"),
        pytest.param({"metrics": {"predict_time": "1"}}, id="a number in words"),
        pytest.param({"metrics": {"predict_time": True}}, id="a switch"),
        pytest.param({"metrics": {"predict_time": float("inf")}}, id="no end"),
        pytest.param({"created_at": "yesterday", "deadline": 7}, id="no dates"),
    ],
)
def test_invalid_values_of_a_prediction_are_unknown(changes: dict[str, Any]) -> None:
    found = parse_prediction({**_RECORDED, "metrics": {}, **changes})
    assert found is not None
    assert found.predict_seconds is None


def test_a_seed_beyond_64_bits_is_unknown() -> None:
    assert (
        Prediction(id="a", status="succeeded", logs="Using seed: 99999999999999999999").seed is None
    )


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("2026-11-21T06:28:16Z", datetime(2026, 11, 21, 6, 28, 16, tzinfo=UTC)),
        ("2026-11-21T07:28:16+01:00", datetime(2026, 11, 21, 6, 28, 16, tzinfo=UTC)),
        ("2026-11-21T06:28:16", datetime(2026, 11, 21, 6, 28, 16, tzinfo=UTC)),
        ("never", None),
        ("0001-01-01T00:00:00+14:00", None),
        (None, None),
    ],
)
def test_times_are_converted_to_utc(said: Any, found: datetime | None) -> None:
    assert as_time(said) == found


def _error_of(status: int, body: Any, **headers: str) -> BackendError:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response = httpx.Response(status, json=body, headers=named)
    return response_error(
        response, "https://api.replicate.com/v1", _CONFIG, {"num_outputs": "count"}
    )


@pytest.mark.parametrize(
    ("body", "headers", "seconds"),
    [
        pytest.param({"retry_after": 9}, {"retry_after": "3"}, 3.0, id="the header first"),
        pytest.param({"retry_after": 9, "detail": "resets in ~30s."}, {}, 9.0, id="then the body"),
        pytest.param({"detail": "Your rate limit resets in ~30s."}, {}, 30.0, id="then its text"),
        pytest.param({"detail": "Slow down."}, {}, None, id="nothing"),
        pytest.param({"retry_after": -1}, {"retry_after": "soon"}, None, id="nothing that matches"),
        pytest.param([], {"retry_after": "inf"}, None, id="in the far future"),
    ],
)
def test_the_retry_pause_comes_from_header_body_or_text(
    body: Any, headers: dict[str, str], seconds: float | None
) -> None:
    error = _error_of(429, body, **headers)
    assert isinstance(error, RateLimited)
    assert error.retry_after_seconds == seconds


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, Unauthorized),
        (403, Unauthorized),
        (402, Rejected),
        (404, Rejected),
        (422, Rejected),
        (409, Unavailable),
        (500, Unavailable),
        (504, Unavailable),
        (418, Rejected),
    ],
)
@pytest.mark.parametrize("body", [None, [], "words", {"detail": {"deep": 1}}, {"detail": "Oh."}])
def test_each_error_status_has_its_error_class(
    status: int, error: type[BackendError], body: Any
) -> None:
    assert type(_error_of(status, body)) is error


def test_a_redirect_of_the_api_is_an_error() -> None:
    error = _error_of(302, None, location="https://elsewhere.example/v1")
    assert (
        "redirects to https://elsewhere.example/v1; imagen does not send the token" in error.message
    )
    assert error.remedy.endswith("set backends.cloud.base_url to it.")


def test_each_rejected_input_has_its_own_line() -> None:
    faults = [
        {"field": "input.num_outputs", "description": "at most 4", "type": "lte"},
        {"field": "input.prompt", "description": "is required", "type": "required"},
    ]
    assert _error_of(422, {"invalid_fields": faults}).message == (
        "acme/painter rejected its input:\n  num_outputs (count in imagen): at most 4\n"
        "  prompt: is required"
    )


def test_rejected_inputs_in_cogs_form_are_parsed() -> None:
    detail = [{"loc": ["body", "input", "num_outputs"], "msg": "Input should be less than 5"}]
    assert _error_of(422, {"detail": detail}).message == (
        "acme/painter rejected its input: "
        "num_outputs (count in imagen): Input should be less than 5."
    )


def test_error_texts_are_stripped_of_control_characters_and_tokens() -> None:
    said = "no\x1b[2J \u202e Bearer r8_abcdefgh1234 and r8_abcdefgh1234"
    message = _error_of(500, {"detail": said}).message
    assert message == (
        "https://api.replicate.com/v1 is unavailable: 500 no[2J [token] and [token]."
    )
