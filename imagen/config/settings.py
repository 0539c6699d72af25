"""Settings: every key of imagen.yaml, with its default and its range."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PrivateAttr, field_validator

from imagen.config.accounts import (
    Budget,
    CloudSettings,
    LibrarySettings,
    Section,
    Switch,
    UsageSettings,
    Webhook,
)
from imagen.config.paths import default_library, default_state_dir
from imagen.core.request import Seed, Side, Steps, Unit

ImageFormat = Literal["png", "jpg", "jpeg", "webp", "avif"]
"""What an image can be saved as, by the ending of its file."""


class Limits(Section):
    """What no request may exceed."""

    max_width: Side = Field(4096, description="Pixels.")
    max_height: Side = Field(4096, description="Pixels.")
    max_compute: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="At most this many width × height × steps / 10^6 of one picture.",
    )


class Style(Section):
    """A named preset: texts around the prompt, and values where the request has none.

    All but the texts are named as in `Request`, and mean the same.
    """

    prompt: str = Field("{prompt}", description="`{prompt}` stands for the prompt asked for.")
    negative: str | None = Field(None, description="Put before the negative asked for.")
    width: Side | None = Field(None, description="Pixels, where none is asked.")
    height: Side | None = Field(None, description="Pixels, where none is asked.")
    seed: Seed | None = Field(None, description="Where the noise starts.")
    steps: Steps | None = Field(None, description="Sampling steps.")
    cfg: float | None = Field(
        None, ge=0, le=100, allow_inf_nan=False, description="Classifier-free guidance scale."
    )
    guidance: float | None = Field(
        None, ge=0, le=100, allow_inf_nan=False, description="Distilled guidance (FLUX.1-dev)."
    )
    sampler: str | None = Field(None, min_length=1, description="The sampler's name.")
    scheduler: str | None = Field(None, min_length=1, description="The noise schedule's name.")
    strength: Unit | None = Field(None, description="How far to leave the initial image.")
    model: str | None = Field(
        None, min_length=1, description="The checkpoint, where the request names none."
    )

    @field_validator("prompt")
    @classmethod
    def _holds_the_prompt(cls, prompt: str) -> str:
        if "{prompt}" not in prompt:
            raise ValueError("must hold {prompt}, where the prompt asked for goes")
        return prompt


class OutputSettings(Section):
    """Where pictures go, and what stands in them."""

    directory: Path = Field(Path("outputs"), description="From the working directory.")
    name: str = Field(
        "{date}-{time}-{slug}-{seed}", min_length=1, description="The file's name, by template."
    )
    format: ImageFormat | None = Field(
        None, description="What images are saved as; where it is left out, as the engine made them."
    )
    quality: int | None = Field(
        None,
        ge=1,
        le=100,
        description="Of images that are converted to JPEG, WebP or AVIF, by default 90, 90 and "
        "80; at 100 WebP is lossless.",
    )
    sidecar: bool = Field(True, description="A JSON file beside each picture.")
    metadata: bool = Field(
        True,
        description="How it was made, inside each image; false also removes what the engine "
        "wrote. The sidecar has its own setting.",
    )
    cloud_sync: Switch = Field(
        "auto",
        description="Whether pictures go to the cloud; auto: where its credentials and "
        "`owner_user_id` are there, on: an error without them.",
    )
    preview: Switch = Field(
        "auto",
        description="Whether a picture is shown once it is there; auto: on a terminal that can.",
    )
    preview_command: str = Field(
        "tmux-img --hold",
        min_length=1,
        description="The viewer in tmux's window; the picture's path is its last word.",
    )


class InputSettings(Section):
    """The images that a request names."""

    allow_urls: bool = Field(
        False,
        description="Whether images may be http and https URLs of the public internet.",
    )


class Settings(Section):
    """All of the configuration; the blocks of backends stay raw, each is its adapter's own."""

    default_backend: str = Field(
        "mock", min_length=1, description="Which backend is used where none is named."
    )
    backends: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Your backends: to each name, its adapter's own keys."
    )
    styles: dict[str, Style] = Field(default_factory=dict, description="Presets, by name.")
    workflow_dirs: tuple[Path, ...] = Field(
        (),
        description="Folders of your own workflows, from this file's folder; "
        "where none is named, ~/.config/imagen/workflows if it is there.",
    )
    limits: Limits = Field(Limits(), description="What no request may exceed.")
    inputs: InputSettings = Field(InputSettings(), description="The images that a request names.")
    output: OutputSettings = Field(
        OutputSettings(), description="Where pictures go, and what stands in them."
    )
    state_dir: Path = Field(
        default_factory=lambda: default_state_dir(os.environ),
        description="Where tickets of running jobs are kept.",
    )
    library: LibrarySettings = Field(
        LibrarySettings(), description="Where it is kept what was made."
    )
    owner_user_id: str | None = Field(
        None, min_length=1, description="Whose pictures these are, in the cloud: a user's id."
    )
    cloud: CloudSettings = Field(CloudSettings(), description="A Supabase project.")
    usage: UsageSettings = Field(UsageSettings(), description="What pictures cost.")
    budgets: tuple[Budget, ...] = Field((), description="What may be spent.")
    webhooks: tuple[Webhook, ...] = Field((), description="Who is told of each generation.")
    _source: Path | None = PrivateAttr(None)

    def with_workflow(self, backend: str, workflow: str) -> Settings:
        """Settings in which this ComfyUI backend runs another workflow: a name, or a file's path.

        What its block says about its own workflow is left out. The backend `comfyui` needs no
        block: it is the server at the usual address.
        """
        block = self.backends.get(backend, {})
        rest = {key: value for key, value in block.items() if key not in ("parameters", "tasks")}
        blocks = {**self.backends, backend: {**rest, "workflow": workflow}}
        return self.model_copy(update={"backends": blocks})

    @property
    def source(self) -> Path | None:
        """The file these settings were read from; None where there was none."""
        return self._source

    def read_from(self, source: Path | None) -> Settings:
        """A copy that remembers the file it was read from."""
        copy = self.model_copy()
        copy._source = source
        return copy

    @property
    def library_at(self) -> str:
        """Where the library is: a file's path, or a PostgreSQL address without its password."""
        return self.library.url or str(default_library(os.environ))

    def shared(self) -> dict[str, Any]:
        """The keys that every backend's block may override."""
        return {"workflow_dirs": self.workflow_dirs, "cache_dir": self.state_dir / "cache"}
