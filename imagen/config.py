"""Settings: what imagen.yaml, the environment and the flags say together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Limits(_Section):
    """What no request may exceed."""

    max_width: int = Field(4096, ge=16, le=16384, description="Pixels.")
    max_height: int = Field(4096, ge=16, le=16384, description="Pixels.")
    max_compute: float | None = Field(
        None, gt=0, description="At most this many width × height × steps / 10^6 of one picture."
    )


class Style(_Section):
    """A named preset of prompt and size."""

    prompt: str = Field("{prompt}", description="`{prompt}` stands for the prompt asked for.")
    negative: str | None = Field(None, description="Put before the negative asked for.")
    width: int | None = Field(None, ge=16, le=16384, description="Pixels, where none is asked.")
    height: int | None = Field(None, ge=16, le=16384, description="Pixels, where none is asked.")


class OutputSettings(_Section):
    """Where pictures go, and what stands in them."""

    directory: Path = Field(Path("outputs"), description="From the working directory.")
    name: str = Field("{date}-{time}-{slug}-{seed}", description="The file's name, by template.")
    sidecar: bool = Field(True, description="A JSON file beside each picture.")
    metadata: bool = Field(True, description="How it was made, inside each picture.")


class Settings(_Section):
    """All of the configuration; the blocks of backends stay raw, each is its adapter's own."""

    backend: str = Field("mock", description="Which backend is used where none is named.")
    backends: dict[str, dict[str, Any]] = Field(default_factory=dict)
    styles: dict[str, Style] = Field(default_factory=dict)
    workflow_dirs: tuple[Path, ...] = ()
    limits: Limits = Limits()
    output: OutputSettings = OutputSettings()
    state_dir: Path = Field(default_factory=lambda: Path.home() / ".local/state/imagen")
