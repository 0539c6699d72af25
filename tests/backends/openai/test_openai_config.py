"""The block of a backend of the Images API, its models and health, and how servers are found."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest
from simulators.openai import ImagesServer
from support.images_api import open_images_api

from imagen.backends import validate_block
from imagen.backends.openai import OpenAIConfig
from imagen.backends.openai.adapter import detect
from imagen.errors import BackendError, ConfigError


def test_openai_itself_is_the_default() -> None:
    config = validate_block("openai", {}, OpenAIConfig)
    assert (config.url, config.server_kind) == ("https://api.openai.com/v1", "openai")
    assert (config.api_key_env, config.model_name) == ("OPENAI_API_KEY", "gpt-image-2.6-flare")


def test_the_key_of_openai_is_not_sent_to_other_servers() -> None:
    config = validate_block("local", {"url": "http://127.0.0.1:8080/v1"}, OpenAIConfig)
    assert (config.api_key_env, config.server_kind, config.model_name) == ("", "other", "")
    config = validate_block("odd", {"url": "https://api.openai.com.example/v1"}, OpenAIConfig)
    assert config.api_key_env == ""


@pytest.mark.parametrize(
    ("block", "sentence"),
    [
        ({"url": "ftp://host"}, "url must look like"),
        ({"url": "https://me:secret@host/v1"}, "must not hold a user or password"),
        ({"url": "http://example.com/v1", "api_key_env": "A_KEY"}, "must begin with https:"),
        ({"api_key_env": "sk-proj-abc"}, "takes the name of an environment variable"),
        ({"server": "open-ai"}, "server"),
        ({"stream": "yes"}, "stream"),
    ],
)
def test_a_wrong_block_is_refused_with_a_sentence(block: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught:
        validate_block("images", block, OpenAIConfig)
    assert "secret" not in str(caught.value)
    assert "sk-proj" not in str(caught.value)


def test_health_names_a_model_that_the_server_does_not_list() -> None:
    with ImagesServer() as server:
        with closing(open_images_api(server.url, model="sim")) as backend:
            assert backend.check().ok
            assert [(one.name, one.is_default) for one in backend.models()] == [("sim", True)]
        with closing(open_images_api(server.url, model="flux")) as backend:
            assert "does not list the model flux" in backend.check().summary


def test_a_server_that_lists_no_models_is_unhealthy() -> None:
    with ImagesServer() as server, closing(open_images_api(f"{server.url}/x")) as backend:
        assert not backend.check().ok


@pytest.mark.parametrize(
    ("owner", "kind", "name"),
    [("imagen", "imagen", "imagen"), ("vllm", "vllm", "vllm"), ("me", "other", "images-api")],
)
def test_a_server_at_an_address_is_found_with_its_kind(owner: str, kind: str, name: str) -> None:
    models = ({"id": "flux", "owned_by": owner},)
    with ImagesServer(models=models, is_imagen=owner == "imagen") as server:
        address = server.url.removesuffix("/v1")
        block = {"type": "openai", "url": server.url, "server": kind, "model": "flux"}
        assert detect(address).blocks == {name: block}


def test_imagen_on_this_machine_is_not_added_by_itself() -> None:
    """It would be a backend of its own server."""
    with ImagesServer(is_imagen=True) as server:
        found = detect("", usual=(server.url,))
        assert [name for name in found.blocks if name != "openai"] == []
        assert "imagen's own server" in found.left_out[-1].why


def test_what_is_no_images_api_is_not_found() -> None:
    with ImagesServer() as server, pytest.raises(BackendError):
        detect(f"{server.url}/elsewhere")


def test_openai_is_found_by_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-stand-in")
    assert detect("", usual=()).blocks["openai"]["type"] == "openai"
    monkeypatch.delenv("OPENAI_API_KEY")
    found = detect("", usual=())
    assert not found.blocks
    assert [one.why for one in found.left_out] == ["OPENAI_API_KEY is not set."]
