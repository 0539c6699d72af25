"""Settings: every key of imagen.yaml, with its default and its range."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator

from imagen.config.places import default_state_dir
from imagen.request import Seed, Side, Unit


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Limits(_Section):
    """What no request may exceed."""

    max_width: Side = Field(4096, description="Pixels.")
    max_height: Side = Field(4096, description="Pixels.")
    max_compute: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="At most this many width × height × steps / 10^6 of one picture.",
    )


class Style(_Section):
    """A named preset: texts around the prompt, and values where the request has none.

    All but the texts are named as in `Request`, and mean the same.
    """

    prompt: str = Field("{prompt}", description="`{prompt}` stands for the prompt asked for.")
    negative: str | None = Field(None, description="Put before the negative asked for.")
    width: Side | None = Field(None, description="Pixels, where none is asked.")
    height: Side | None = Field(None, description="Pixels, where none is asked.")
    seed: Seed | None = Field(None, description="Where the noise starts.")
    steps: int | None = Field(None, ge=1, le=10000, description="Sampling steps.")
    cfg: float | None = Field(
        None, ge=0, le=100, allow_inf_nan=False, description="Classifier-free guidance scale."
    )
    guidance: float | None = Field(
        None, ge=0, le=100, allow_inf_nan=False, description="Distilled guidance (FLUX.1-dev)."
    )
    sampler: str | None = Field(None, min_length=1, description="The sampler's name.")
    scheduler: str | None = Field(None, min_length=1, description="The noise schedule's name.")
    strength: Unit | None = Field(None, description="How far to leave the initial image.")

    @field_validator("prompt")
    @classmethod
    def _holds_the_prompt(cls, prompt: str) -> str:
        if "{prompt}" not in prompt:
            raise ValueError("must hold {prompt}, where the prompt asked for goes")
        return prompt


class OutputSettings(_Section):
    """Where pictures go, and what stands in them."""

    directory: Path = Field(Path("outputs"), description="From the working directory.")
    name: str = Field(
        "{date}-{time}-{slug}-{seed}", min_length=1, description="The file's name, by template."
    )
    sidecar: bool = Field(True, description="A JSON file beside each picture.")
    metadata: bool = Field(True, description="How it was made, inside each picture.")


class Settings(_Section):
    """All of the configuration; the blocks of backends stay raw, each is its adapter's own."""

    backend: str = Field(
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
    output: OutputSettings = Field(
        OutputSettings(), description="Where pictures go, and what stands in them."
    )
    state_dir: Path = Field(
        default_factory=lambda: default_state_dir(os.environ),
        description="Where tickets of running jobs are kept.",
    )
    _source: Path | None = PrivateAttr(None)

    @property
    def source(self) -> Path | None:
        """The file these settings were read from; None where there was none."""
        return self._source

    def read_from(self, source: Path | None) -> Settings:
        """A copy that remembers the file it was read from."""
        copy = self.model_copy()
        copy._source = source
        return copy

    def shared(self) -> dict[str, Any]:
        """The keys that every backend's block may override."""
        return {"workflow_dirs": self.workflow_dirs, "cache_dir": self.state_dir / "cache"}
