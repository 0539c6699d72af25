"""Input schemas are read once, cached for a week, and checked by `check`."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from simulators.replicate import DEPLOYMENT, MODELS, Replicate, ReplicateSwitches
from support.replicate_backend import REQUEST, generate, open_replicate, replicate_config

from imagen.backends.base import Model
from imagen.backends.replicate.input_schema import load_schema
from imagen.errors import ConfigError, Rejected, Unauthorized, Unavailable

pytestmark = pytest.mark.usefixtures("replicate_token")

_SCHNELL = "black-forest-labs/flux-schnell"


def _schema_requests(cloud: Replicate) -> list[str]:
    return [seen.path for seen in cloud.requests if seen.path.startswith("/v1/models")]


def _cache_file() -> Path:
    (path,) = Path("cache/replicate").iterdir()
    return path


def _age_cache(days: float) -> None:
    """Make the cached schema this many days old."""
    path = _cache_file()
    said = json.loads(path.read_text(encoding="utf-8"))
    said["read_at"] = (datetime.now(UTC) - timedelta(days=days)).isoformat()
    path.write_text(json.dumps(said), encoding="utf-8")


def test_a_schema_is_requested_once() -> None:
    with Replicate() as cloud:
        with closing(open_replicate(cloud.url, model=_SCHNELL)) as engine:
            engine.capabilities()
            engine.prepare(REQUEST)
        with closing(open_replicate(cloud.url, model=_SCHNELL)) as engine:
            assert engine.capabilities().parameters["steps"].max == 4
    assert _schema_requests(cloud) == [f"/v1/models/{_SCHNELL}"]


def test_a_cached_schema_is_used_without_the_api() -> None:
    with Replicate() as cloud, closing(open_replicate(cloud.url, model=_SCHNELL)) as engine:
        engine.capabilities()
    with closing(open_replicate(cloud.url, model=_SCHNELL)) as engine:
        assert engine.prepare(REQUEST).request.seed == 7


@pytest.mark.parametrize(("days", "reads"), [(6.9, 1), (7.1, 2)])
def test_a_schema_older_than_a_week_is_refreshed_after_the_next_run(
    days: float, reads: int
) -> None:
    with Replicate() as cloud:
        generate(cloud, model=_SCHNELL)
        _age_cache(days)
        generate(cloud, model=_SCHNELL)
    assert len(_schema_requests(cloud)) - 2 == reads


def test_a_schema_is_refreshed_after_a_rejected_input() -> None:
    with Replicate() as cloud:
        generate(cloud, model=_SCHNELL)
        _age_cache(1)
        before = _cache_file().read_text(encoding="utf-8")
        cloud.switches = ReplicateSwitches(refused_input="steps")
        with pytest.raises(Rejected):
            generate(cloud, model=_SCHNELL)
    assert _cache_file().read_text(encoding="utf-8") != before


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"model": "x", "schemas": {}}',
        '{"model": 7, "schemas": {"properties": {}}}',
    ],
)
def test_a_damaged_cached_schema_is_requested_again(content: str) -> None:
    with Replicate() as cloud:
        for _ in range(2):
            with closing(open_replicate(cloud.url, model=_SCHNELL)) as engine:
                assert engine.capabilities().tasks == ("text-to-image",)
            _cache_file().write_text(content, encoding="utf-8")
    assert len(_schema_requests(cloud)) == 2


def test_a_cache_that_cannot_be_written_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with Replicate() as cloud:
        result = generate(cloud, model=_SCHNELL, cache_dir=tmp_path / "file")
    assert len(result.images) == 1


def test_a_schema_file_is_never_outdated() -> None:
    Path("schema.json").write_text(json.dumps(MODELS[_SCHNELL]), encoding="utf-8")
    with Replicate() as cloud:
        generate(cloud, model=_SCHNELL, input_schema="schema.json")
    found = load_schema(replicate_config(cloud.url, input_schema="schema.json"))
    assert found is not None
    assert not found.is_stale(datetime(2100, 1, 1, tzinfo=UTC))
    assert _schema_requests(cloud) == [f"/v1/models/{_SCHNELL}/predictions"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(None, "cannot be read: No such file", id="missing"),
        pytest.param("{", "is not valid JSON", id="not JSON"),
        pytest.param("{}", "holds no input schema", id="no schema"),
    ],
)
def test_an_invalid_schema_file_is_an_error(content: str | None, words: str) -> None:
    if content is not None:
        Path("schema.json").write_text(content, encoding="utf-8")
    with Replicate() as cloud, pytest.raises(ConfigError, match=words):
        generate(cloud, input_schema="schema.json")


def test_without_token_and_schema_capabilities_are_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("REPLICATE_API_TOKEN")
    with (
        Replicate() as cloud,
        closing(open_replicate(cloud.url)) as engine,
        pytest.raises(Unauthorized, match="REPLICATE_API_TOKEN is not set") as caught,
    ):
        engine.capabilities()
    assert caught.value.backend == "cloud"


def test_without_api_and_schema_capabilities_are_an_error() -> None:
    with Replicate() as cloud:
        cloud.stop()
        with closing(open_replicate(cloud.url)) as engine, pytest.raises(Unavailable) as caught:
            engine.capabilities()
    assert "Check the network connection" in caught.value.remedy


def test_health_shows_account_model_and_hardware() -> None:
    with (
        Replicate() as cloud,
        closing(open_replicate(cloud.url, model=f"deployments/{DEPLOYMENT}")) as e,
    ):
        health = e.check()
    assert (health.ok, dict(health.facts)["account"]) == (True, "stand-in")
    assert dict(health.facts)["model"] == "acme/painter"
    assert dict(health.facts)["hardware"] == "gpu-t4"
    assert "$0.000225 per second of compute" in dict(health.facts)["price"]


@pytest.mark.parametrize(
    ("switches", "block", "summary", "remedy"),
    [
        pytest.param(
            {"token": "another"},
            {},
            "Replicate refused access",
            "Set REPLICATE_API_TOKEN to a valid token",
            id="another token",
        ),
        pytest.param(
            {},
            {"model": "acme/nothing"},
            "does not know acme/nothing",
            "Check that the token may use backends.cloud.model",
            id="no such model",
        ),
    ],
)
def test_health_suggests_a_remedy(
    switches: dict[str, Any], block: dict[str, Any], summary: str, remedy: str
) -> None:
    with Replicate(**switches) as cloud, closing(open_replicate(cloud.url, **block)) as engine:
        health = engine.check()
    assert not health.ok
    assert summary in health.summary
    assert health.remedies[0].startswith(remedy)


def test_health_without_a_token_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REPLICATE_API_TOKEN")
    with Replicate() as cloud, closing(open_replicate(cloud.url)) as engine:
        health = engine.check()
    assert health.summary == "The environment variable REPLICATE_API_TOKEN is not set."


def test_a_model_without_prompt_and_image_is_an_error() -> None:
    said = {"properties": {"audio": {"type": "string", "format": "uri"}}}
    Path("schema.json").write_text(json.dumps(said), encoding="utf-8")
    with Replicate() as cloud, pytest.raises(ConfigError, match="neither a prompt nor an image"):
        generate(cloud, input_schema="schema.json")


def test_models_lists_the_own_model_and_those_with_a_price() -> None:
    with Replicate() as cloud, closing(open_replicate(cloud.url, model="acme/fox")) as engine:
        own, *priced = engine.models()
    assert own == Model(kind="checkpoint", name="acme/fox", is_default=True)
    assert Model(kind="checkpoint", name=_SCHNELL, family="flux1", usd=0.003) in priced
    assert cloud.requests == []


def test_health_uses_the_schema_file() -> None:
    Path("schema.json").write_text(json.dumps(MODELS[_SCHNELL]), encoding="utf-8")
    with (
        Replicate() as cloud,
        closing(open_replicate(cloud.url, input_schema="schema.json")) as engine,
    ):
        assert engine.check().ok
    assert not Path("cache").exists()
