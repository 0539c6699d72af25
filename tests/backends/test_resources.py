"""What the jobs of a backend take turns on, by its configuration and its engine."""

from __future__ import annotations

from typing import Any

import pytest

from imagen.backends.base import parse_rate
from imagen.backends.resources import BackendResource, find_resource
from imagen.errors import ConfigError


def _resource(**block: Any) -> BackendResource:
    return find_resource("one", {"one": block})


@pytest.fixture(autouse=True)
def _host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEN_HOST", "attic")
    monkeypatch.setenv("REPLICATE_API_TOKEN", "r8_secret_token")


@pytest.mark.parametrize(
    ("block", "name", "goes_on_alone"),
    [
        ({"type": "mock"}, "attic: mock", False),
        ({"type": "comfyui"}, "attic: comfyui http://127.0.0.1:8188", True),
        ({"type": "comfyui", "url": "http://gpu1:8188"}, "comfyui http://gpu1:8188", True),
        ({"type": "sdcpp", "url": "http://gpu1:1234"}, "sd-server http://gpu1:1234", True),
        ({"type": "replicate", "model": "a/b"}, "replicate a/b", True),
    ],
    ids=["in-process", "loopback", "server", "sd-server", "service"],
)
def test_jobs_take_turns_on_the_engine(
    block: dict[str, Any], name: str, *, goes_on_alone: bool
) -> None:
    resource = _resource(**block)
    assert (resource.name, resource.goes_on_alone) == (name, goes_on_alone)


def test_job_of_a_synchronous_api_cannot_be_collected_by_another_process() -> None:
    resource = _resource(type="a1111", url="http://gpu1:7860")
    assert (resource.name, resource.goes_on_alone) == ("a1111 http://gpu1:7860", True)
    assert resource.is_synchronous
    assert not _resource(type="comfyui").is_synchronous


def test_jobs_take_turns_on_the_configured_resource() -> None:
    assert _resource(type="comfyui", resource="gpu0").name == "gpu0"


def test_an_engine_runs_one_job_at_once_and_a_service_several() -> None:
    places = [_resource(type="mock").at_once, _resource(type="replicate", model="a/b").at_once]
    assert [*places, _resource(type="mock", at_once=3).at_once] == [1, 4, 3]


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("10/1m", (10, 60.0)),
        ("1 / 30 s", (1, 30.0)),
        ("500/h", (500, 3600.0)),
        ("2/0.5s", (2, 0.5)),
    ],
)
def test_rate_is_a_number_of_jobs_in_a_time(text: str, rate: tuple[int, float]) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("rate", ["ten", "0/1m", "10/0s", "10/1d", "10", "/1m", "3/.s", "1/9e9s"])
def test_wrong_rate_is_refused_with_an_example(rate: str) -> None:
    with pytest.raises(ConfigError, match=r"backends\.one\.rate: must be .* such as 10/1m"):
        _resource(type="mock", rate=rate)


def test_resource_has_the_rate_of_its_backend() -> None:
    assert _resource(type="mock", rate="2/1m").rate == (2, 60.0)
    assert _resource(type="mock").rate is None
