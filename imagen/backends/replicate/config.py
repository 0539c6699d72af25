"""The configuration block of a Replicate backend: model reference, API token and limits."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from imagen.backends.base import BackendConfig
from imagen.core.text import is_variable_name
from imagen.net.urls import is_loopback, read_secret, url_faults

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_URL = "https://api.replicate.com/v1"
TOKENS_PAGE = "https://replicate.com/account/api-tokens"
NOT_A_VARIABLE = "takes the name of an environment variable, not its value"
MODEL_FORMS = "owner/name, owner/name:version (64 hexadecimal digits) or deployments/owner/name"

_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_DEPLOYMENT = re.compile(rf"deployments/({_PART})/({_PART})")
_MODEL = re.compile(rf"({_PART})/({_PART})(?::([0-9a-f]{{64}}))?")

_DEADLINES: tuple[tuple[str, float], ...] = (
    ("*schnell*", 60.0),
    ("*klein*", 60.0),
    ("*turbo*", 60.0),
    ("*lightning*", 60.0),
    ("*-dev*", 120.0),
    ("*flux*", 180.0),
    ("*", 600.0),
)
"""Seconds for a prediction by model name; the first match counts. The last ones leave time for a
cold start of a community model, which can take minutes."""

_FAMILIES: tuple[tuple[str, str], ...] = (
    ("flux-2-klein*", "flux2-klein"),
    ("flux-2*", "flux2"),
    ("flux*", "flux1"),
    ("*sdxl*", "sdxl"),
    ("stable-diffusion-3*", "sd3"),
    ("stable-diffusion*", "sd1"),
    ("qwen-image*", "qwen-image"),
    ("z-image*", "z-image"),
)
"""Model family by model name; the first match counts."""


@dataclass(frozen=True, slots=True)
class ModelReference:
    """A model, one version of a model, or a deployment."""

    owner: str
    name: str
    version: str = ""
    """64 hexadecimal digits; "" means the latest version."""
    is_deployment: bool = False

    @property
    def model(self) -> str:
        """`owner/name` of the model or the deployment."""
        return f"{self.owner}/{self.name}"

    @property
    def family(self) -> str:
        """`flux1`, `sdxl`, …; "" where the name does not say."""
        return next((family for pattern, family in _FAMILIES if fnmatch(self.name, pattern)), "")

    @property
    def deadline_seconds(self) -> float:
        return next(seconds for pattern, seconds in _DEADLINES if fnmatch(self.name, pattern))


def is_model_reference(text: str) -> bool:
    return any(pattern.fullmatch(text) for pattern in (_DEPLOYMENT, _MODEL))


def parse_model_reference(text: str) -> ModelReference:
    """Parse `owner/name`, `owner/name:version` or `deployments/owner/name`; raises ValueError."""
    if deployment := _DEPLOYMENT.fullmatch(text):
        return ModelReference(deployment[1], deployment[2], is_deployment=True)
    if model := _MODEL.fullmatch(text):
        return ModelReference(model[1], model[2], model[3] or "")
    raise ValueError(f"must look like {MODEL_FORMS}")


class ReplicateConfig(BackendConfig):
    """The block of a backend of `type: replicate`."""

    model: str = Field(description="owner/name, owner/name:version, or deployments/owner/name.")
    api_token_env: str = Field(
        "REPLICATE_API_TOKEN",
        description="The variable that holds the API token; also accepted as `api_key_env`.",
    )
    parameters: dict[str, Any] = Field(
        default_factory=dict,
        description="Your defaults for the model's inputs, by imagen's name or the model's own.",
    )
    input_schema: Path | None = Field(
        None,
        description="A JSON file with the model's input schema, used instead of the API's.",
    )
    base_url: str = Field(DEFAULT_URL, description="The API; https, except on this machine.")
    total_seconds: float | None = Field(
        None,
        ge=5,
        le=604800,
        description="Time limit for a prediction, waiting included; by default by model name.",
    )
    wait_seconds: int = Field(
        10,
        ge=0,
        le=60,
        description="How long a submission waits for its result before imagen polls.",
    )
    connect_seconds: float = Field(
        10.0, gt=0, le=600, description="Time limit for connecting to the API."
    )
    lost_seconds: float = Field(
        30.0, gt=0, description="How long the API may be unreachable while a job runs."
    )
    poll_seconds: float = Field(
        0.5, gt=0, le=60, description="Interval of the first polls; later ones are less frequent."
    )
    cache_dir: Path | None = Field(
        None, description="Where input schemas are cached; by default in the state directory."
    )

    @model_validator(mode="before")
    @classmethod
    def _accept_api_key_env(cls, block: object) -> object:
        if not isinstance(block, dict) or "api_key_env" not in block:
            return block
        if "api_token_env" in block:
            raise ValueError("api_token_env and api_key_env mean the same; keep one")
        variable = block["api_key_env"]
        if isinstance(variable, str) and not is_variable_name(variable):
            raise ValueError(f"api_key_env {NOT_A_VARIABLE}")
        others = {key: value for key, value in block.items() if key != "api_key_env"}
        return others | {"api_token_env": variable}

    @model_validator(mode="after")
    def _check_block(self) -> ReplicateConfig:
        # Not by field validators: pydantic would show the value, which may be a secret.
        if not is_model_reference(self.model):
            raise ValueError(f"model must look like {MODEL_FORMS}")
        if not is_variable_name(self.api_token_env):
            raise ValueError(f"api_token_env {NOT_A_VARIABLE}")
        for fault in url_faults("base_url", self.base_url, like=DEFAULT_URL):
            raise ValueError(fault)
        if urlsplit(self.base_url).scheme != "https" and not is_loopback(self.base_url):
            raise ValueError("base_url must begin with https:, or others could read the API token")
        return self

    @property
    def reference(self) -> ModelReference:
        return parse_model_reference(self.model)

    @property
    def deadline_seconds(self) -> float:
        """The time limit for a prediction."""
        return self.total_seconds or self.reference.deadline_seconds


def read_api_token(config: ReplicateConfig, environ: Mapping[str, str] = os.environ) -> str:
    """The API token; raises Unauthorized naming the variable that is not set."""
    remedy = f"Set {config.api_token_env} to an API token ({TOKENS_PAGE})."
    return read_secret(config.api_token_env, environ, remedy=remedy)
