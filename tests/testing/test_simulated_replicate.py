"""The simulated Replicate answers like the real one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from simulators.replicate import COMMUNITY, DEPLOYMENT, MODELS, TOKEN, Replicate
from simulators.replicate.models import version_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SCHNELL = "black-forest-labs/flux-schnell"
_PREDICTION: Mapping[str, tuple[type, ...]] = {
    "id": (str,),
    "model": (str,),
    "version": (str,),
    "input": (dict,),
    "output": (list, type(None)),
    "data_removed": (bool,),
    "error": (str, type(None)),
    "status": (str,),
    "created_at": (str,),
    "urls": (dict,),
}
"""The fields of every prediction of the real API, and their types."""


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with httpx.Client(headers={"Authorization": f"Bearer {TOKEN}"}, trust_env=False) as client:
        yield client


def _begin(http: httpx.Client, cloud: Replicate, **more: Any) -> httpx.Response:
    body = {"input": {"prompt": "x"}, **more}
    return http.post(f"{cloud.url}/models/{_SCHNELL}/predictions", json=body)


@pytest.mark.parametrize(
    ("switches", "status"),
    [
        pytest.param({}, "succeeded", id="succeeded"),
        pytest.param({"seconds": 9}, "processing", id="processing"),
        pytest.param({"queue_seconds": 9}, "starting", id="starting"),
        pytest.param({"end": "failed"}, "failed", id="failed"),
        pytest.param({"end": "aborted"}, "aborted", id="aborted"),
        pytest.param({"removed": True}, "succeeded", id="removed"),
    ],
)
def test_prediction_has_the_fields_of_the_real_one(
    http: httpx.Client, switches: dict[str, Any], status: str
) -> None:
    with Replicate(**switches) as cloud:
        begun = _begin(http, cloud).json()
        said = http.get(f"{cloud.url}/predictions/{begun['id']}").json()
    assert {name: isinstance(said.get(name), kinds) for name, kinds in _PREDICTION.items()} == (
        dict.fromkeys(_PREDICTION, True)
    )
    assert said["urls"].keys() == {"cancel", "get", "web"}
    assert said["status"] == status
    assert None not in [said.get(name, "") for name in ("started_at", "completed_at", "metrics")]


def test_held_submission_returns_the_finished_prediction(http: httpx.Client) -> None:
    with Replicate(seconds=0.1) as cloud:
        body = {"input": {"prompt": "x"}}
        url = f"{cloud.url}/models/{_SCHNELL}/predictions"
        answer = http.post(url, json=body, headers={"Prefer": "wait=5"})
    said = answer.json()
    assert (answer.status_code, said["status"], said["version"]) == (201, "succeeded", "hidden")
    assert said["metrics"]["predict_time"] == 0.1


def test_submission_without_wait_returns_202(http: httpx.Client) -> None:
    with Replicate(seconds=9) as cloud:
        assert _begin(http, cloud).status_code == 202


@pytest.mark.parametrize(
    ("values", "field"),
    [
        pytest.param({}, "input.prompt", id="missing"),
        pytest.param({"prompt": 7}, "input.prompt", id="type"),
        pytest.param({"prompt": "x", "seed": True}, "input.seed", id="boolean as number"),
        pytest.param(
            {"prompt": "x", "output_format": "gif"}, "input.output_format", id="unknown choice"
        ),
        pytest.param({"prompt": "x", "num_outputs": 9}, "input.num_outputs", id="too many"),
        pytest.param({"prompt": "x", "num_outputs": 0}, "input.num_outputs", id="too few"),
        pytest.param([], "input", id="not an object"),
    ],
)
def test_invalid_input_is_refused_with_its_field(
    http: httpx.Client, values: Any, field: str
) -> None:
    with Replicate() as cloud:
        answer = _begin(http, cloud, input=values)
    said = answer.json()
    assert (answer.status_code, said["title"]) == (422, "Input validation failed")
    assert [fault["field"] for fault in said["invalid_fields"]] == [field]
    assert cloud.submissions == 0


def test_unknown_body_key_is_refused(http: httpx.Client) -> None:
    with Replicate() as cloud:
        assert _begin(http, cloud, wait=5).status_code == 422


def test_community_model_runs_only_by_version(http: httpx.Client) -> None:
    with Replicate() as cloud:
        url = f"{cloud.url}/models/{COMMUNITY}/predictions"
        assert http.post(url, json={"input": {"prompt": "x"}}).status_code == 404
        body = {"version": version_of(COMMUNITY), "input": {"prompt": "x"}}
        assert http.post(f"{cloud.url}/predictions", json=body).json()["model"] == COMMUNITY


@pytest.mark.parametrize(
    ("form", "header", "key"), [("header", "9", None), ("body", None, 9), ("words", None, None)]
)
def test_throttling_has_three_forms(
    http: httpx.Client, form: str, header: str | None, key: int | None
) -> None:
    with Replicate(throttled=1, throttle=form, throttle_seconds=9) as cloud:
        answer = _begin(http, cloud)
    assert answer.status_code == 429
    assert (answer.headers.get("retry-after"), answer.json().get("retry_after")) == (header, key)
    assert ("resets in ~9s" in answer.json()["detail"]) is (form == "words")


def test_wrong_token_is_refused(http: httpx.Client) -> None:
    with Replicate(token="another") as cloud:
        answer = http.get(f"{cloud.url}/account")
    assert (answer.status_code, answer.json()["title"]) == (401, "Unauthenticated")


@pytest.mark.parametrize("model", MODELS)
def test_every_model_is_served_with_its_schema(http: httpx.Client, model: str) -> None:
    with Replicate() as cloud:
        latest = http.get(f"{cloud.url}/models/{model}").json()["latest_version"]
        version = http.get(f"{cloud.url}/models/{model}/versions/{latest['id']}").json()
    assert version["openapi_schema"]["components"]["schemas"] == MODELS[model]


def test_prediction_past_its_deadline_is_cancelled(http: httpx.Client) -> None:
    with Replicate(seconds=60) as cloud:
        _begin(http, cloud)
        job = cloud.jobs.newest_first()[0]
        job.deadline = job.created + 5
        assert (job.status(job.created + 4), job.status(job.created + 6)) == (
            "processing",
            "canceled",
        )


def test_restart_keeps_port_and_predictions(http: httpx.Client) -> None:
    with Replicate() as cloud:
        id = _begin(http, cloud).json()["id"]
        url = cloud.url
        cloud.stop()
        with pytest.raises(httpx.TransportError):
            http.get(f"{url}/account")
        cloud.start()
        assert cloud.url == url
        assert http.get(f"{url}/predictions/{id}").json()["id"] == id


def test_deployment_runs_its_version(http: httpx.Client) -> None:
    with Replicate() as cloud:
        release = http.get(f"{cloud.url}/deployments/{DEPLOYMENT}").json()["current_release"]
        url = f"{cloud.url}/deployments/{DEPLOYMENT}/predictions"
        made = http.post(url, json={"input": {"prompt": "x"}}).json()
    assert (release["model"], made["deployment"]) == (COMMUNITY, DEPLOYMENT)
