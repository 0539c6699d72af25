"""The configuration block of a stable-diffusion.cpp backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from imagen.backends.base import BackendConfig
from imagen.backends.model_choice import MODELS_DIR, find_loras_folder
from imagen.core.text import is_variable_name
from imagen.net.urls import url_faults

DEFAULT_URL = "http://127.0.0.1:1234"
"""Where sd-server listens by default."""

WEIGHT_KEYS = ("model", "diffusion_model", "vae", "clip_l", "clip_g", "t5xxl", "llm", "taesd")
"""The keys that name one file of weights; sd-cli has a flag of the same name for each."""

_CLI_KEYS = (
    "binary",
    *WEIGHT_KEYS,
    *("models_dir", "loras_dir", "embeddings_dir", "upscale_models", "weight_type", "threads"),
    *("offload", "vae_tiling", "flash_attention", "args"),
)
"""The keys that a server has as options of its own, and that exclude `url`."""
_EMPTY_VALUES = (None, "", (), False, MODELS_DIR)


class SdCppConfig(BackendConfig):
    """The block of a backend of `type: sdcpp`."""

    binary: tuple[str, ...] | str = Field(
        "",
        description="sd-cli: its name, its path, or a list that begins a command. imagen searches "
        "for it by default.",
    )
    url: str = Field("", description="A running sd-server to use instead of sd-cli.")
    model: Path | None = Field(None, description="A complete model: safetensors, gguf or ckpt.")
    diffusion_model: Path | None = Field(
        None, description="Instead of `model`: a diffusion model alone, with the files it needs."
    )
    vae: Path | None = Field(None, description="The VAE.")
    clip_l: Path | None = Field(None, description="The text encoder CLIP-L.")
    clip_g: Path | None = Field(None, description="The text encoder CLIP-G.")
    t5xxl: Path | None = Field(None, description="The text encoder T5-XXL.")
    llm: Path | None = Field(None, description="The language model that encodes the prompt.")
    taesd: Path | None = Field(None, description="A tiny VAE: faster, slightly lower quality.")
    models_dir: Path = Field(
        MODELS_DIR, description="The folder of the models that a request may name."
    )
    loras_dir: Path | None = Field(
        None, description="The folder of LoRAs; by default `loras` in `models_dir`."
    )
    listed_models_only: bool = Field(
        False,
        description="Whether requests may name only what `imagen models` lists: no "
        "paths, and nothing to download. It is true for clients of `imagen serve` unless it is set "
        "here.",
    )
    embeddings_dir: Path | None = Field(None, description="The folder of textual inversions.")
    controlnets: dict[str, Path] = Field(
        default_factory=dict,
        description="The ControlNet for each kind of control image: canny, depth, …",
    )
    upscale_models: tuple[Path, ...] = Field(
        (), description="Upscale models (ESRGAN); the first is the default."
    )
    weight_type: str = Field(
        "", description="Convert the weights to this type while loading: q8_0, q4_K, f16."
    )
    threads: int | None = Field(
        None, ge=1, le=1024, description="Number of threads; by default all cores."
    )
    offload: bool = Field(
        False, description="Keep weights in RAM, and move them to the GPU only while in use."
    )
    vae_tiling: bool = Field(False, description="Decode in tiles: less memory, more time.")
    flash_attention: bool = Field(False, description="Use flash attention: less memory.")
    preview: Literal["none", "proj", "tae", "vae"] = Field(
        "proj", description="How previews are made, from cheap to costly."
    )
    parameters: dict[str, Any] = Field(
        default_factory=dict, description="Your defaults for request parameters, by name."
    )
    args: tuple[str, ...] = Field((), description="More arguments for sd-cli, passed as they are.")
    bearer_env: str = Field("", description="The variable that holds a bearer token, for `url`.")
    connect_seconds: float = Field(
        10.0, gt=0, le=600, description="Time limit for connecting to the server."
    )
    idle_seconds: float = Field(
        3600.0, gt=0, description="Time limit without output; loading a model is silent."
    )
    total_seconds: float = Field(86400.0, gt=0, description="Time limit for a job.")
    lost_seconds: float = Field(
        3.0, gt=0, description="How long a server may be gone while it has a job."
    )
    cancel_seconds: float = Field(
        5.0,
        ge=0,
        description="How long a cancelled job may take to end, since the server cannot interrupt "
        "an image.",
    )
    poll_seconds: float = Field(0.5, gt=0, le=60, description="Interval between polls.")
    cache_dir: Path | None = Field(
        None,
        description="Where the capabilities of a binary are cached; by default in the state "
        "directory.",
    )

    @property
    def loras_folder(self) -> Path | None:
        """The folder of LoRAs; None where none is configured and the default does not exist."""
        return None if self.url else find_loras_folder(self.loras_dir, self.models_dir)

    @property
    def upscale_models_by_name(self) -> dict[str, Path]:
        return {path.name: path for path in self.upscale_models}

    @model_validator(mode="after")
    def _check_block(self) -> SdCppConfig:
        if self.url:
            like = f"{DEFAULT_URL} or https://host/path"
            instead = "; name a token's variable in bearer_env"
            for fault in url_faults("url", self.url, like=like, instead=instead):
                raise ValueError(fault)
            given = [key for key in _CLI_KEYS if getattr(self, key) not in _EMPTY_VALUES]
            if given:
                raise ValueError(
                    f"url excludes {', '.join(given)}: these are options of the server"
                )
        elif self.model and self.diffusion_model:
            raise ValueError("model and diffusion_model exclude each other; keep one")
        elif not (self.model or self.diffusion_model or self.upscale_models):
            raise ValueError(
                "needs model, diffusion_model or upscale_models; or url, for a running sd-server"
            )
        if self.bearer_env and not is_variable_name(self.bearer_env):
            raise ValueError("bearer_env takes the name of an environment variable, not its value")
        return self
