"""The configuration block of a backend of the OpenAI Images API."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from imagen.backends.base import BackendConfig
from imagen.core.text import is_variable_name
from imagen.net.urls import is_private_host, url_faults

DEFAULT_URL = "https://api.openai.com/v1"
DEFAULT_MODEL = "gpt-image-2.6-flare"
"""OpenAI's model for a block that names none."""
KEY_VARIABLE = "OPENAI_API_KEY"
KEYS_PAGE = "https://platform.openai.com/api-keys"

ServerKind = Literal["openai", "imagen", "vllm", "localai", "sd-server", "other"]
SERVER_KINDS: tuple[ServerKind, ...] = get_args(ServerKind)
_OPENAI_HOST = "api.openai.com"


class OpenAIConfig(BackendConfig):
    """The block of a backend of `type: openai`."""

    url: str = Field(
        DEFAULT_URL, description="The API, usually with /v1; https where a key leaves your network."
    )
    server: ServerKind | None = Field(
        None,
        description="The program behind the URL, which decides what it accepts beyond OpenAI's own "
        "parameters: openai, imagen, vllm, localai, sd-server or other; by default by the URL.",
    )
    model: str = Field(
        "",
        description=f"The model; by default {DEFAULT_MODEL} at OpenAI, elsewhere the server's own.",
    )
    api_key_env: str = Field(
        "",
        description=f"The variable that holds the API key; by default {KEY_VARIABLE} at OpenAI, "
        "elsewhere none.",
    )
    stream: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Whether to ask for unfinished images as previews; auto: from imagen, and of "
        "one image from OpenAI.",
    )
    idempotent: bool | None = Field(
        None,
        description="Whether the server answers a repeated Idempotency-Key with the first result, "
        "so that a request whose answer was lost can be sent again; by default only imagen.",
    )
    parameters: dict[str, Any] = Field(
        default_factory=dict, description="Your defaults for request parameters, by name."
    )
    connect_seconds: float = Field(
        10.0, gt=0, le=600, description="Time limit for connecting to the server."
    )
    total_seconds: float = Field(
        600.0, gt=0, le=86400, description="Time limit for a request and its answer."
    )

    @model_validator(mode="before")
    @classmethod
    def _name_key_of_openai(cls, block: object) -> object:
        """Set here, so that the key is known to be a secret."""
        if not isinstance(block, dict) or block.get("api_key_env"):
            return block
        return block | ({"api_key_env": KEY_VARIABLE} if _is_openai(block.get("url")) else {})

    @model_validator(mode="after")
    def _check_block(self) -> OpenAIConfig:
        # Not by field validators: pydantic would show the value, which may be a secret.
        instead = "; name the key's variable in api_key_env"
        for fault in url_faults("url", self.url, like=DEFAULT_URL, instead=instead):
            raise ValueError(fault)
        if self.api_key_env and not is_variable_name(self.api_key_env):
            raise ValueError("api_key_env takes the name of an environment variable, not its value")
        is_http = urlsplit(self.url).scheme == "http"
        if self.api_key_env and is_http and not is_private_host(self.url):
            raise ValueError("url must begin with https:, or others could read the API key")
        return self

    @property
    def is_openai(self) -> bool:
        """Whether this is OpenAI itself, whose prices are known."""
        return _is_openai(self.url)

    @property
    def server_kind(self) -> ServerKind:
        return self.server or ("openai" if self.is_openai else "other")

    @property
    def model_name(self) -> str:
        """The model of requests that name none; "" is the server's own."""
        return self.model or (DEFAULT_MODEL if self.is_openai else "")

    @property
    def is_idempotent(self) -> bool:
        return self.server_kind == "imagen" if self.idempotent is None else self.idempotent


def _is_openai(url: object) -> bool:
    with suppress(ValueError):  # a URL that cannot be read is refused later
        return url is None or urlsplit(str(url)).hostname == _OPENAI_HOST
    return False
