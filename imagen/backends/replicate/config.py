"""The block of a Replicate backend in the configuration, and the credential it means."""

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
    from collections.abc import Iterator, Mapping


DEFAULT_URL = "https://api.replicate.com/v1"
TOKENS_PAGE = "https://replicate.com/account/api-tokens"
NOT_A_VARIABLE = "takes the name of an environment variable, not what it holds"


class ReplicateConfig(BackendConfig):
    """The block of a backend of `type: replicate`."""

    model: str = Field(
        description="owner/name, owner/name:version, or deployments/owner/name.",
    )
    api_token_env: str = Field(
        "REPLICATE_API_TOKEN",
        description="The variable that holds the API token; also accepted as `api_key_env`.",
    )
    parameters: dict[str, Any] = Field(
        default_factory=dict,
        description="Other defaults for the model's inputs, by imagen's name or the model's own.",
    )
    input_schema: Path | None = Field(
        None,
        description="A file with the model's input schema (JSON), instead of asking for it.",
    )
    base_url: str = Field(DEFAULT_URL, description="The API; https, but for this machine's own.")
    total_seconds: float | None = Field(
        None,
        ge=5,
        le=604800,
        description="How long a prediction may take, waiting included; else by the model's name.",
    )
    wait_seconds: int = Field(
        10, ge=0, le=60, description="How long a submission is held for its result; then we ask."
    )
    connect_seconds: float = Field(
        10.0, gt=0, le=600, description="How long a connection to the API may take."
    )
    lost_seconds: float = Field(
        30.0, gt=0, description="How long the API may be out of reach while it has our job."
    )
    poll_seconds: float = Field(
        0.5, gt=0, le=60, description="How soon the API is asked; later questions come slower."
    )
    cache_dir: Path | None = Field(
        None, description="Where input schemas are kept; below imagen's state where left out."
    )

    @model_validator(mode="before")
    @classmethod
    def _accept_api_key_env(cls, block: object) -> object:
        if not isinstance(block, dict) or "api_key_env" not in block:
            return block
        if "api_token_env" in block:
            raise ValueError("api_token_env and api_key_env mean the same; keep one")
        if isinstance(block["api_key_env"], str) and not is_variable_name(block["api_key_env"]):
            raise ValueError(f"api_key_env {NOT_A_VARIABLE}")
        return {k: v for k, v in block.items() if k != "api_key_env"} | {
            "api_token_env": block["api_key_env"]
        }

    @model_validator(mode="after")
    def _sound(self) -> ReplicateConfig:
        # Not field by field: those faults show the value, which may be a secret.
        for fault in _faults(self):
            raise ValueError(fault)
        return self

    @property
    def reference(self) -> ModelReference:
        """The model."""
        return parse_model_reference(self.model)

    @property
    def deadline_seconds(self) -> float:
        """How long a prediction may take in all."""
        return self.total_seconds or self.reference.deadline_seconds


def _faults(config: ReplicateConfig) -> Iterator[str]:
    try:
        parse_model_reference(config.model)
    except ValueError as error:
        yield f"model {error}"
    if not is_variable_name(config.api_token_env):
        yield f"api_token_env {NOT_A_VARIABLE}"
    yield from url_faults("base_url", config.base_url, like=DEFAULT_URL)
    if urlsplit(config.base_url).scheme != "https" and not is_loopback(config.base_url):
        yield "base_url must begin with https:, or the API token could be read on its way"


def api_token(config: ReplicateConfig, environ: Mapping[str, str] = os.environ) -> str:
    """The API token; raises Unauthorized that names the variable which is not set."""
    remedy = f"Set {config.api_token_env} to an API token ({TOKENS_PAGE})."
    return read_secret(config.api_token_env, environ, remedy=remedy)


def refused_token_remedy(config: ReplicateConfig) -> str:
    """What to do where the API refuses the token."""
    return f"Set {config.api_token_env} to a token that is valid now ({TOKENS_PAGE})."


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
"""Seconds for a prediction, by the model's name: the first that fits. The last ones leave time for
a model of the community's to be started from nothing, which can take minutes."""

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
"""What kind of model it is, by its name: the first that fits."""


@dataclass(frozen=True, slots=True)
class ModelReference:
    """One model, one version of it, or one deployment."""

    owner: str
    name: str
    version: str = ""
    """64 hexadecimal digits; "" for the latest."""
    is_deployment: bool = False

    @property
    def model(self) -> str:
        """`owner/name`, of the model or of the deployment."""
        return f"{self.owner}/{self.name}"

    @property
    def family(self) -> str:
        """`flux1`, `sdxl`, …; "" where its name doesn't tell."""
        return next((kind for pattern, kind in _FAMILIES if fnmatch(self.name, pattern)), "")

    @property
    def deadline_seconds(self) -> float:
        """How long a prediction of a model of this name may take."""
        return next(seconds for pattern, seconds in _DEADLINES if fnmatch(self.name, pattern))


MODEL_FORMS = "owner/name, owner/name:version (64 hexadecimal digits) or deployments/owner/name"


def is_model_reference(text: str) -> bool:
    """Whether a text names a model, a version of one, or a deployment."""
    return any(pattern.fullmatch(text) for pattern in (_DEPLOYMENT, _MODEL))


def parse_model_reference(text: str) -> ModelReference:
    """`owner/name`, `owner/name:version` or `deployments/owner/name`; raises ValueError."""
    deployment = _DEPLOYMENT.fullmatch(text)
    if deployment is not None:
        return ModelReference(deployment[1], deployment[2], is_deployment=True)
    model = _MODEL.fullmatch(text)
    if model is None:
        raise ValueError(f"must look like {MODEL_FORMS}")
    return ModelReference(model[1], model[2], model[3] or "")
