"""The configuration of a ComfyUI backend, and the URLs and headers that follow from it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from pydantic import Field, model_validator

from imagen.backends.base import BackendConfig
from imagen.core.request import Task
from imagen.core.text import is_variable_name
from imagen.net.urls import read_authorization, read_secret, url_faults

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DEFAULT_URL = "http://127.0.0.1:8188"
_LIKE = f"{DEFAULT_URL} or https://host/path"
_INSTEAD = "; name their variable in basic_env or bearer_env"

_SECRET_NAME = re.compile(r"authori[sz]ation|cookie|token|secret|password|api-?key", re.IGNORECASE)
_SECRET_VALUE = re.compile(
    r"(bearer|basic)\s+\S|(sk|hf|r8|gh[pousr]|pk|xox[abp])[-_]\w{8,}|eyJ[\w-]{8,}\.|[\w+/-]{32,}=*$",
    re.IGNORECASE,
)
# No `$` in a name, and none of what would end a header and begin another.
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#%&'*+.^_`|~-]+")


class ComfyUIConfig(BackendConfig):
    """The block of a backend of `type: comfyui`."""

    url: str = Field(
        DEFAULT_URL, description="The server's URL: http or https, with its path if any."
    )
    workflow: str = Field(
        "flux1-schnell",
        min_length=1,
        description="The name of a workflow, or the path of its file.",
    )
    workflow_dirs: tuple[Path, ...] = Field((), description="Your own folders of workflows.")
    parameters: dict[str, Any] = Field(
        default_factory=dict, description="Other defaults for parameters of the workflow, by name."
    )
    tasks: dict[Task, str] = Field(
        default_factory=dict,
        description="Other workflows for more tasks: image-to-image, inpaint, upscale, ….",
    )
    controlnets: dict[str, str] = Field(
        default_factory=dict,
        description="Files of other ControlNets, by kind: canny, depth, pose, scribble, ….",
    )
    headers: dict[str, str] = Field(
        default_factory=dict, description="More headers for every request; no secrets."
    )
    headers_env: dict[str, str] = Field(
        default_factory=dict,
        description="More secret headers: for each, the variable that holds its value.",
    )
    bearer_env: str = Field("", description="The variable that holds a bearer token.")
    basic_env: str = Field("", description="The variable that holds `user:password`.")
    ca_file: Path | None = Field(
        None, description="The certificate of the authority that signed the server's, in PEM."
    )
    connect_seconds: float = Field(
        10.0, gt=0, le=600, description="How long to wait for a connection to the server."
    )
    idle_seconds: float = Field(
        3600.0,
        gt=0,
        description="How long a running job may make no progress, or the server not answer.",
    )
    total_seconds: float = Field(
        86400.0, gt=0, description="How long a job may take in all, including the queue."
    )
    lost_seconds: float = Field(
        3.0,
        gt=0,
        description="How long a server that has our job may refuse connections.",
    )
    poll_seconds: float = Field(
        0.5,
        gt=0,
        le=60,
        description="How soon a silent server is asked for the job; later requests come slower.",
    )

    @model_validator(mode="after")
    def _check(self) -> ComfyUIConfig:
        # Not field by field: those errors show the value, which may be a secret.
        for fault in _find_faults(self):
            raise ValueError(fault)
        return self


def _find_faults(config: ComfyUIConfig) -> Iterator[str]:
    yield from url_faults("url", config.url, like=_LIKE, instead=_INSTEAD)
    if config.tasks:
        from imagen.graphs.manifest import WITHOUT_WORKFLOW  # slow, and most blocks name none

        for task in config.tasks.keys() & WITHOUT_WORKFLOW.keys():
            yield f"tasks: {task} {WITHOUT_WORKFLOW[task]}"
    for name, value in config.headers.items():
        if _SECRET_NAME.search(name) or _SECRET_VALUE.match(value):
            yield (
                f"headers.{name} looks like a secret; put it into an environment variable "
                f"and name that in headers_env.{name}"
            )
        if not value.isprintable() or not value.isascii():
            yield f"headers.{name} must be plain text on one line"
    for name in (*config.headers, *config.headers_env):
        if not _HEADER_NAME.fullmatch(name):
            yield f"headers.{name} is not a valid header name"
    variables = {"bearer_env": config.bearer_env, "basic_env": config.basic_env}
    variables |= {f"headers_env.{name}": value for name, value in config.headers_env.items()}
    for key, name in variables.items():
        if name and not is_variable_name(name):
            yield f"{key} takes the name of an environment variable, not its value"
    if config.bearer_env and config.basic_env:
        yield "bearer_env and basic_env exclude each other; keep one"


def base_url(url: str) -> str:
    """The server's URL without a slash at its end."""
    return url.rstrip("/")


def websocket_url(url: str, client_id: str) -> str:
    return f"ws{base_url(url).removeprefix('http')}/ws?{urlencode({'clientId': client_id})}"


def request_headers(
    config: ComfyUIConfig, environ: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """The headers of every request, with the secret ones from the environment.

    Raises Unauthorized for a variable that is not set.
    """

    def read(variable: str) -> str:
        remedy = f"Set {variable} to the credential of the server."
        return read_secret(variable, environ, remedy=remedy)

    return (
        config.headers
        | {name: read(variable) for name, variable in config.headers_env.items()}
        | read_authorization(
            bearer_env=config.bearer_env, basic_env=config.basic_env, environ=environ
        )
    )


def credential_remedy(config: ComfyUIConfig) -> str:
    """What to do where the server refuses access."""
    variables = [
        v for v in (config.bearer_env, config.basic_env, *config.headers_env.values()) if v
    ]
    if not variables:
        return (
            f"Name the variable that holds the credential: backends.{config.name}.bearer_env or "
            "basic_env (user:password), or headers_env."
        )
    return f"Set the environment variable {' and '.join(variables)} to a valid credential."
