"""The configuration block of a ComfyUI backend."""

from __future__ import annotations

from typing import Any

import pytest

from imagen.backends import validate_block
from imagen.backends.comfyui import ComfyUIConfig
from imagen.backends.comfyui.config import credential_remedy, request_headers, websocket_url
from imagen.errors import ConfigError, Unauthorized


def _config(**block: Any) -> ComfyUIConfig:
    return validate_block("studio", {"workflow": "sd15", **block}, ComfyUIConfig)


def test_a_block_needs_only_a_workflow() -> None:
    config = _config()
    assert config.url == "http://127.0.0.1:8188"
    assert (config.connect_seconds, config.idle_seconds, config.total_seconds) == (10, 3600, 86400)


def test_every_key_has_a_description() -> None:
    assert [n for n, field in ComfyUIConfig.model_fields.items() if not field.description] == []


@pytest.mark.parametrize(
    ("block", "sentence"),
    [
        pytest.param({"url": "ftp://x"}, "url must look like http", id="another scheme"),
        pytest.param({"url": "localhost:8188"}, "url must look like http", id="no scheme"),
        pytest.param({"url": "http://"}, "url must look like http", id="no host"),
        pytest.param({"url": "http://x:99999"}, "url must look like http", id="no such port"),
        pytest.param({"url": "http://x?a=1"}, "url must end with its path", id="a query"),
        pytest.param({"colour": 1}, r"backends\.studio\.colour: unknown key", id="unknown key"),
        pytest.param({"idle_second": 1}, "Did you mean 'idle_seconds'", id="a slip of the pen"),
        pytest.param({"connect_seconds": 0}, "connect_seconds: ", id="no time at all"),
        pytest.param({"workflow": ""}, "workflow: ", id="no workflow"),
        pytest.param(
            {"bearer_env": "A", "basic_env": "B"}, "exclude each other", id="two credentials"
        ),
        pytest.param(
            {"headers": {"a b": "1"}}, "is not a valid header name", id="no header's name"
        ),
        pytest.param({"headers": {"X": "1\r\nY: 2"}}, "one line", id="two headers in one"),
    ],
)
def test_an_invalid_block_says_what_is_wrong(block: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        _config(**block)


@pytest.mark.parametrize(
    ("block", "key"),
    [
        pytest.param({"url": "http://me:hunter2secret@x"}, "basic_env", id="in the address"),
        pytest.param({"bearer_env": "sk-hunter2secret"}, "bearer_env", id="for its variable"),
        pytest.param({"basic_env": "me:hunter2secret"}, "basic_env", id="for its variable, basic"),
        pytest.param({"bearer_env": "hunter2secret"}, "bearer_env", id="one word for its variable"),
        pytest.param({"bearer_env": "HUNTER2" * 10}, "bearer_env", id="a long one"),
        pytest.param(
            {"headers_env": {"X-Key": "hunter2secret!"}}, "headers_env.X-Key", id="for a header's"
        ),
        pytest.param(
            {"headers": {"Authorization": "hunter2secret"}},
            "headers_env.Authorization",
            id="in a header of that name",
        ),
        pytest.param(
            {"headers": {"X-Api-Key": "hunter2secret"}}, "headers_env.X-Api-Key", id="an API key"
        ),
        pytest.param(
            {"headers": {"X-Who": "Bearer hunter2secret"}}, "headers_env.X-Who", id="a bearer"
        ),
        pytest.param(
            {"headers": {"X-Who": "hunter2secret" * 4}}, "headers_env.X-Who", id="a long word"
        ),
    ],
)
def test_a_secret_in_the_file_is_refused_and_not_shown(block: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        _config(**block)
    assert key in str(caught.value)
    assert "hunter2" not in str(caught.value).lower()


def test_headers_come_from_the_file_and_from_the_environment() -> None:
    config = _config(
        headers={"X-Team": "art"}, headers_env={"X-Api-Key": "STUDIO_KEY"}, bearer_env="TOKEN"
    )
    assert request_headers(config, {"STUDIO_KEY": "k1", "TOKEN": " t1\n"}) == {
        "X-Team": "art",
        "X-Api-Key": "k1",
        "Authorization": "Bearer t1",
    }


def test_a_user_and_password_are_sent_as_basic() -> None:
    config = _config(basic_env="PAIR")
    assert request_headers(config, {"PAIR": "me:pass"}) == {"Authorization": "Basic bWU6cGFzcw=="}


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        pytest.param({}, "The environment variable TOKEN is not set.", id="not set"),
        pytest.param({"TOKEN": "  "}, "The environment variable TOKEN is not set.", id="empty"),
        pytest.param(
            {"TOKEN": "a\nb"},
            "The value of TOKEN cannot be sent: it is not plain text on one line.",
            id="two lines",
        ),
    ],
)
def test_a_variable_that_is_not_set_is_named(environ: dict[str, str], sentence: str) -> None:
    with pytest.raises(Unauthorized) as caught:
        request_headers(_config(bearer_env="TOKEN"), environ)
    assert caught.value.message == sentence


def test_the_remedy_of_refused_access_names_the_variable() -> None:
    assert "TOKEN" in credential_remedy(_config(bearer_env="TOKEN"))
    assert "backends.studio.bearer_env" in credential_remedy(_config())


@pytest.mark.parametrize(
    ("url", "address"),
    [
        pytest.param("http://x:1", "ws://x:1/ws?clientId=me", id="http"),
        pytest.param("https://x/comfy/", "wss://x/comfy/ws?clientId=me", id="https with a path"),
    ],
)
def test_the_websocket_keeps_scheme_and_path(url: str, address: str) -> None:
    assert websocket_url(url, "me") == address
