"""Secrets in the configuration: found, refused, masked, and never shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imagen.config import load_settings, masked, variables
from imagen.config.secrets import find_secrets
from imagen.errors import ConfigError


@pytest.mark.parametrize(
    ("key", "value"),
    [
        pytest.param("look", "r8_0123456789abcdefABCDEF", id="replicate"),
        pytest.param("look", "hf_AbCdEfGhIjKlMnOpQr", id="hugging-face"),
        pytest.param("look", "sk-proj-0123456789abcdef", id="openai"),
        pytest.param("look", "ghp_0123456789abcdef", id="github"),
        pytest.param("look", "github_pat_0123456789", id="github-fine-grained"),
        pytest.param("look", "AKIAIOSFODNN7EXAMPLE", id="aws"),
        pytest.param("look", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", id="jwt"),
        pytest.param("look", "Bearer 0123456789", id="bearer"),
        pytest.param("look", "bearer 0123456789", id="bearer-in-lower-case"),
        pytest.param("look", "Basic dXNlcjpwYXNz", id="basic"),
        pytest.param("look", "token=r8_0123456789abcdef", id="token-within-a-text"),
        pytest.param("url", "https://me:hunter2@host:8188", id="password-in-an-address"),
        pytest.param("url", "https://host/?api_key=abc", id="key-in-an-address"),
        pytest.param("password", "hunter2", id="password"),
        pytest.param("client_secret", "x", id="secret"),
        pytest.param("Authorization", "whatever", id="authorization"),
        pytest.param("api_key", "Zx81Qw92Er73Ty64Ui", id="random-text-as-key"),
        pytest.param("apiTokens", "zx81qw92er73ty64ui", id="random-text-as-tokens"),
        pytest.param("api_token_env", "r8_0123456789abcdef", id="token-instead-of-a-name"),
    ],
)
def test_secret_is_found(key: str, value: str) -> None:
    assert [problem.path for problem in find_secrets({"backends": {"a": {key: value}}})] == [
        ("backends", "a", key)
    ]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        pytest.param("api_token_env", "REPLICATE_API_TOKEN", id="name-of-a-variable"),
        pytest.param("prompt", "a bearer of good news, {prompt}", id="bearer-in-a-prompt"),
        pytest.param("prompt", "Basic watercolor", id="basic-in-a-prompt"),
        pytest.param("prompt", "basic watercolour", id="basic-in-lower-case"),
        pytest.param("workflow", "./hf_mirror_of_models/graph.json", id="folder-like-a-token"),
        pytest.param("url", "http://127.0.0.1:8188/comfy", id="plain-address"),
        pytest.param("url", "https://host/a@b?size=3", id="address-with-at-and-query"),
        pytest.param("key", "$<seed>", id="short-key"),
        pytest.param("token", "a_word_that_people_write", id="words-as-token"),
        pytest.param("password_file", "./pw.txt", id="file"),
        pytest.param("password", "", id="empty"),
        pytest.param("max_tokens", 64, id="number"),
        pytest.param("keyboard", "Zx81Qw92Er73Ty64Ui", id="another-word"),
    ],
)
def test_ordinary_value_is_not_a_secret(key: str, value: Any) -> None:
    assert find_secrets({"backends": {"a": {key: value}}}) == []


def test_secret_is_found_at_any_depth() -> None:
    values = {"backends": {"a": {"headers": [{"X": "Bearer 0123456789"}]}}}
    assert [problem.path for problem in find_secrets(values)] == [
        ("backends", "a", "headers", 0, "X")
    ]


def test_name_with_the_word_secret_is_not_a_secret() -> None:
    assert find_secrets({"styles": {"secret-garden": {"prompt": "{prompt}, ivy"}}}) == []


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        pytest.param(
            "backends: {a: {api_token: r8_0123456789abcdef}}",
            "Put it into an environment variable and name that here: `api_token_env: NAME`.",
            id="own-key",
        ),
        pytest.param(
            "backends: {a: {headers: {Authorization: Bearer r8_0123456789abcdef}}}",
            "Put it into an environment variable and name that in `headers_env.Authorization`.",
            id="header",
        ),
        pytest.param(
            "backends: {a: {api_token_env: r8_0123456789abcdef}}",
            "api_token_env takes the name of an environment variable: put the secret into that "
            "variable.",
            id="secret-as-name",
        ),
        pytest.param(
            "backends: {a: {url: 'http://me:r8_0123456789abcdef@host'}}",
            "Put the secret into an environment variable, and name that with the key that "
            "ends in `_env`.",
            id="address",
        ),
    ],
)
def test_file_with_a_secret_is_refused_without_showing_it(text: str, remedy: str) -> None:
    Path("imagen.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"imagen\.yaml, line 1: backends\.a\.") as error:
        load_settings()
    assert error.value.remedy == remedy
    assert "0123456789abcdef" not in str(error.value)


def test_secret_hides_other_problems_of_its_value() -> None:
    Path("imagen.yaml").write_text("output: {sidecar: hf_AbCdEfGhIjKlMnOpQr}")
    with pytest.raises(ConfigError) as error:
        load_settings()
    assert error.value.message == (
        "imagen.yaml, line 1: output.sidecar: what looks like a token does not belong in a file"
    )


def test_possible_secret_is_masked() -> None:
    values = {
        "url": "http://me:pw@host",
        "headers": {"X-Api-Key": "abc", "X-Name": "me"},
        "bearer_env": "MY_TOKEN",
        "basic_env": "f86d081884c7d659",
        "list": ["Bearer 0123456789", 3],
        "password": "",
    }
    assert masked(values) == {
        "url": "***",
        "headers": {"X-Api-Key": "***", "X-Name": "me"},
        "bearer_env": "MY_TOKEN",
        "basic_env": "***",
        "list": ["***", 3],
        "password": "",
    }


def test_named_variables_are_listed_with_their_keys() -> None:
    values = {"bearer_env": "A", "basic_env": "", "headers_env": {"X": "B"}, "url": "C"}
    assert variables(values) == [(("bearer_env",), "A"), (("headers_env", "X"), "B")]
