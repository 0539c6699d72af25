"""The configuration block of a backend with A1111's API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from imagen.backends.base import BackendConfig
from imagen.core.text import is_variable_name
from imagen.net.urls import url_faults

DEFAULT_URL = "http://127.0.0.1:7860"
API_ONLY_URL = "http://127.0.0.1:7861"
"""Where A1111 and Forge listen with --nowebui."""


class A1111Config(BackendConfig):
    """The block of a backend of `type: a1111`."""

    url: str = Field(
        DEFAULT_URL, description="The server's URL, without /sdapi; it may have a path."
    )
    model: str = Field(
        "", description="The checkpoint; by default the one that is selected on the server."
    )
    parameters: dict[str, Any] = Field(
        default_factory=dict, description="Your defaults for request parameters, by name."
    )
    settings: dict[str, Any] = Field(
        default_factory=dict,
        description="Settings of the server for these jobs only (override_settings), such as "
        "sd_vae or forge_additional_modules.",
    )
    controlnets: dict[str, str] = Field(
        default_factory=dict,
        description="The ControlNet for a kind of control image; by default found by its name.",
    )
    exclusive: bool = Field(
        False,
        description="imagen is the only user of the server: where it cannot tell jobs apart, a "
        "cancelled job interrupts whatever runs, and previews are shown.",
    )
    bearer_env: str = Field("", description="The variable that holds a bearer token.")
    basic_env: str = Field(
        "", description="The variable that holds `user:password`, as in --api-auth."
    )
    ca_file: Path | None = Field(
        None, description="The certificate of the authority that signed the server's, in PEM."
    )
    connect_seconds: float = Field(
        10.0, gt=0, le=600, description="Time limit for connecting to the server."
    )
    idle_seconds: float = Field(
        600.0, gt=0, description="How long a server that works on a job may not answer at all."
    )
    total_seconds: float = Field(
        86400.0, gt=0, description="How long a job may take in all, including the queue."
    )
    lost_seconds: float = Field(
        3.0, gt=0, description="How long a server that has our job may refuse connections."
    )
    cancel_seconds: float = Field(
        10.0, ge=0, description="How long a cancelled job may take to end."
    )
    poll_seconds: float = Field(
        0.5, gt=0, le=60, description="Interval between requests for the progress."
    )
    cache_dir: Path | None = Field(
        None,
        description="Where the server's lists are cached; by default in the state directory.",
    )

    @property
    def base_url(self) -> str:
        """The server's URL without a slash at its end."""
        return self.url.rstrip("/")

    @property
    def credential_remedy(self) -> str:
        """What to do where the server refuses access."""
        variable = self.bearer_env or self.basic_env
        if variable:
            return f"Set {variable} to a credential that the server accepts."
        return (
            f"Name the variable that holds user:password in backends.{self.name}.basic_env, or "
            "that of a token in bearer_env."
        )

    @model_validator(mode="after")
    def _check_block(self) -> A1111Config:
        like = f"{DEFAULT_URL} or https://host/path"
        instead = "; name their variable in basic_env or bearer_env"
        for fault in url_faults("url", self.url, like=like, instead=instead):
            raise ValueError(fault)
        if "/sdapi" in self.url:
            raise ValueError("url must end before /sdapi")
        for key in ("bearer_env", "basic_env"):
            if (name := getattr(self, key)) and not is_variable_name(name):
                raise ValueError(f"{key} takes the name of an environment variable, not its value")
        if self.bearer_env and self.basic_env:
            raise ValueError("bearer_env and basic_env exclude each other; keep one")
        return self
