"""The configuration block of a Replicate backend and its token."""

from __future__ import annotations

import pytest
from support.replicate_backend import replicate_config

from imagen.backends.replicate.config import ModelReference, parse_model_reference, read_api_token
from imagen.errors import ConfigError, Unauthorized

pytestmark = pytest.mark.usefixtures("replicate_token")

_URL = "https://api.replicate.com/v1"
_VERSION = "5c7d5dc6dd8bf75c1acaa8565735e7986bc5b66206b55cca93cb72c9bf15ccaa"


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        pytest.param("acme/painter", ModelReference("acme", "painter"), id="a model"),
        pytest.param("a/flux-1.1-pro", ModelReference("a", "flux-1.1-pro"), id="with a dot"),
        pytest.param(
            f"acme/painter:{_VERSION}", ModelReference("acme", "painter", _VERSION), id="a version"
        ),
        pytest.param(
            "deployments/acme/studio",
            ModelReference("acme", "studio", is_deployment=True),
            id="a deployment",
        ),
    ],
)
def test_a_model_reference_is_parsed(text: str, reference: ModelReference) -> None:
    assert parse_model_reference(text) == reference


@pytest.mark.parametrize(
    "text",
    [
        "",
        "painter",
        "acme/painter/deep",
        "acme/..",
        "../painter",
        "acme/painter:latest",
        f"acme/painter:{_VERSION[:-1]}",
        "acme/painter?x=1",
        "https://replicate.com/acme/painter",
    ],
)
def test_an_invalid_model_reference_is_an_error(text: str) -> None:
    with pytest.raises(ConfigError, match="model must look like owner/name"):
        replicate_config(_URL, model=text)


@pytest.mark.parametrize(
    ("model", "seconds"),
    [
        ("black-forest-labs/flux-schnell", 60),
        ("black-forest-labs/flux-2-klein-4b", 60),
        ("black-forest-labs/flux-dev", 120),
        ("black-forest-labs/flux-dev-lora", 120),
        ("black-forest-labs/flux-1.1-pro", 180),
        ("acme/painter", 600),
    ],
)
def test_the_default_deadline_depends_on_the_model(model: str, seconds: float) -> None:
    assert replicate_config(_URL, model=model).deadline_seconds == seconds
    assert replicate_config(_URL, model=model, total_seconds=42).deadline_seconds == 42


@pytest.mark.parametrize("seconds", [1, float("inf"), float("nan")])
def test_total_seconds_must_be_a_deadline_that_the_api_accepts(seconds: float) -> None:
    with pytest.raises(ConfigError, match=r"backends\.cloud\.total_seconds"):
        replicate_config(_URL, total_seconds=seconds)


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("black-forest-labs/flux-dev", "flux1"),
        ("black-forest-labs/flux-2-pro", "flux2"),
        ("black-forest-labs/flux-2-klein-4b", "flux2-klein"),
        ("stability-ai/sdxl", "sdxl"),
        ("stability-ai/stable-diffusion-3.5-large", "sd3"),
        ("acme/painter", ""),
    ],
)
def test_the_family_follows_from_the_models_name(model: str, family: str) -> None:
    assert parse_model_reference(model).family == family


@pytest.mark.parametrize(
    ("url", "words"),
    [
        pytest.param("http://api.replicate.com/v1", "must begin with https:", id="http"),
        pytest.param(" HTTP://api.replicate.com/v1", "must begin with https:", id="HTTP"),
        pytest.param("https://me:pw@api.replicate.com", "must not hold a user", id="a password"),
        pytest.param("ftp://api.replicate.com", "must look like", id="ftp"),
        pytest.param("https://api.replicate.com/?x=1", "must end with its path", id="a query"),
        pytest.param("https://[", "must look like", id="not a URL"),
    ],
)
def test_base_url_must_be_https_without_credentials(url: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        replicate_config(url)


def test_base_url_on_this_machine_may_be_http() -> None:
    assert replicate_config("http://127.0.0.1:5000/v1").base_url == "http://127.0.0.1:5000/v1"


def test_a_token_in_the_configuration_is_an_error_that_hides_it() -> None:
    with pytest.raises(ConfigError, match="takes the name of an environment variable") as caught:
        replicate_config(_URL, api_token_env="r8_abcdefghijklmnop")
    assert "r8_abc" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        pytest.param("", "The environment variable STUDIO_TOKEN is not set.", id="not set"),
        pytest.param("a\nb", "STUDIO_TOKEN", id="two lines"),
        pytest.param("ä", "STUDIO_TOKEN", id="not ASCII"),
    ],
)
def test_an_unusable_token_is_reported_by_its_variable(value: str, words: str) -> None:
    config = replicate_config(_URL, api_token_env="STUDIO_TOKEN")
    with pytest.raises(Unauthorized, match=words) as caught:
        read_api_token(config, {"STUDIO_TOKEN": value})
    assert caught.value.remedy.startswith("Set STUDIO_TOKEN to an API token (https://replicate.com")


def test_whitespace_around_a_token_is_ignored() -> None:
    assert read_api_token(replicate_config(_URL), {"REPLICATE_API_TOKEN": " r8_x\n"}) == "r8_x"
