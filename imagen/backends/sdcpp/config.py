"""The block of a stable-diffusion.cpp backend in the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from imagen.backends.base import BackendConfig
from imagen.backends.model_choice import MODELS_DIR, find_loras_folder
from imagen.core.text import is_variable_name
from imagen.net.urls import url_faults

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_URL = "http://127.0.0.1:1234"
"""Where sd-server listens unless it is told otherwise."""

FILES = ("model", "diffusion_model", "vae", "clip_l", "clip_g", "t5xxl", "llm", "taesd")
"""The keys that name one file of weights, each the flag of the same name."""

_LIKE = f"{DEFAULT_URL} or https://host/path"
_INSTEAD = "; name a token's variable in bearer_env"
_OF_THE_PROGRAM = (
    "binary",
    *FILES,
    *(
        "models_dir",
        "loras_dir",
        "embeddings_dir",
        "upscale_models",
        "weight_type",
        "threads",
        "offload",
    ),
    *("vae_tiling", "flash_attention", "args"),
)
"""What a server was given when it was started."""


class SdCppConfig(BackendConfig):
    """The block of a backend of `type: sdcpp`."""

    binary: tuple[str, ...] | str = Field(
        "",
        description="sd-cli: its name, its path, or a list that begins a command. Left out, it is "
        "looked for.",
    )
    url: str = Field("", description="A running sd-server, which is then used instead.")
    model: Path | None = Field(None, description="A whole model: safetensors, gguf or ckpt.")
    diffusion_model: Path | None = Field(
        None, description="Instead of `model`: the diffusion model alone, with the files it needs."
    )
    vae: Path | None = Field(None, description="The VAE.")
    clip_l: Path | None = Field(None, description="The text encoder CLIP-L.")
    clip_g: Path | None = Field(None, description="The text encoder CLIP-G.")
    t5xxl: Path | None = Field(None, description="The text encoder T5-XXL.")
    llm: Path | None = Field(None, description="The language model that reads the prompt.")
    taesd: Path | None = Field(None, description="A tiny VAE: faster, and a little worse.")
    models_dir: Path = Field(
        MODELS_DIR, description="The folder of the models that a request may name."
    )
    loras_dir: Path | None = Field(
        None, description="The folder of LoRAs; by default `loras` in `models_dir`."
    )
    embeddings_dir: Path | None = Field(None, description="The folder of textual inversions.")
    controlnets: dict[str, Path] = Field(
        default_factory=dict,
        description="The control net of each kind of control picture: canny, depth, …",
    )
    upscale_models: tuple[Path, ...] = Field(
        (), description="Models that enlarge (ESRGAN); the first is used where none is named."
    )
    weight_type: str = Field(
        "", description="Convert the weights to this while loading: q8_0, q4_K, f16."
    )
    threads: int | None = Field(None, ge=1, le=1024, description="How many; left out, all cores.")
    offload: bool = Field(False, description="Keep weights in RAM, and on the card only in use.")
    vae_tiling: bool = Field(False, description="Decode in tiles: less memory, more time.")
    flash_attention: bool = Field(False, description="Use flash attention: less memory.")
    preview: Literal["none", "proj", "tae", "vae"] = Field(
        "proj", description="How previews are made, from the cheapest to the dearest."
    )
    parameters: dict[str, Any] = Field(
        default_factory=dict, description="Other defaults for what a request may hold, by name."
    )
    args: tuple[str, ...] = Field((), description="Further arguments of sd-cli, as they stand.")
    bearer_env: str = Field("", description="The variable that holds a bearer token, for `url`.")
    connect_seconds: float = Field(
        10.0, gt=0, le=600, description="How long a connection to the server may take."
    )
    idle_seconds: float = Field(
        3600.0, gt=0, description="How long it may tell nothing; loading a model is silent."
    )
    total_seconds: float = Field(86400.0, gt=0, description="How long a job may take in all.")
    lost_seconds: float = Field(
        3.0, gt=0, description="How long a server that was reached may be gone with our job."
    )
    cancel_seconds: float = Field(
        5.0,
        ge=0,
        description="How long to wait, when cancelled, for a picture that the server can't "
        "interrupt.",
    )
    poll_seconds: float = Field(0.5, gt=0, le=60, description="How often the server is asked.")
    cache_dir: Path | None = Field(
        None, description="Where it is noted what a binary can do; below `state_dir` by default."
    )

    @property
    def loras_folder(self) -> Path | None:
        """The folder of LoRAs; None where none is named and the default is not there."""
        return None if self.url else find_loras_folder(self.loras_dir, self.models_dir)

    @model_validator(mode="after")
    def _sound(self) -> SdCppConfig:
        for fault in _faults(self):
            raise ValueError(fault)
        return self


def _faults(config: SdCppConfig) -> Iterator[str]:
    if config.url:
        yield from url_faults("url", config.url, like=_LIKE, instead=_INSTEAD)
        yield from _superfluous(config)
    elif config.model and config.diffusion_model:
        yield "model and diffusion_model exclude each other; keep one"
    elif not (config.model or config.diffusion_model or config.upscale_models):
        yield "needs model, diffusion_model or upscale_models; or url, for a running sd-server"
    if config.bearer_env and not is_variable_name(config.bearer_env):
        yield "bearer_env takes the name of an environment variable, not what it holds"


_NOTHING = (None, "", (), False, MODELS_DIR)


def _superfluous(config: SdCppConfig) -> Iterator[str]:
    given = [name for name in _OF_THE_PROGRAM if getattr(config, name) not in _NOTHING]
    if given:
        yield f"url excludes {', '.join(given)}: the server has what it was started with"
