"""The block of a stable-diffusion.cpp backend in the configuration."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import Field, model_validator

from imagen.backends.base import BackendConfig
from imagen.backends.model_choice import MODELS_DIR, find_loras_folder
from imagen.core.text import is_variable_name, one_line
from imagen.errors import ConfigError
from imagen.model_files.headers import read_model_header
from imagen.model_files.identify import identify_model
from imagen.net.urls import url_faults

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imagen.model_files.identify import ModelFile, Role


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


_ROLES: Mapping[str, tuple[Role, ...]] = {
    "model": ("checkpoint",),
    "diffusion_model": ("diffusion_model", "checkpoint"),
    "vae": ("vae", "checkpoint"),
    "taesd": ("taesd",),
    "clip_l": ("text_encoder",),
    "clip_g": ("text_encoder",),
    "t5xxl": ("text_encoder",),
    "llm": ("text_encoder",),
    "controlnets": ("controlnet",),
    "upscale_models": ("upscaler",),
}
"""What the file of each key may be; one that can't be looked into may be anything."""

_WORDS: Mapping[Role, str] = {
    "checkpoint": "a whole model",
    "diffusion_model": "a diffusion model without its text encoders and VAE",
    "lora": "a LoRA",
    "vae": "a VAE",
    "taesd": "a tiny VAE",
    "text_encoder": "a text encoder",
    "controlnet": "a control net",
    "upscaler": "a model that enlarges",
}
_PLACES: Mapping[Role, str] = {
    "checkpoint": "Name it in `model`.",
    "diffusion_model": "Name it in `diffusion_model`, and its text encoders and VAE beside it.",
    "lora": "Put it into `loras_dir`, and ask for it with --lora.",
    "vae": "Name it in `vae`.",
    "taesd": "Name it in `taesd`.",
    "text_encoder": "Name it in `clip_l`, `clip_g`, `t5xxl` or `llm`.",
    "controlnet": "Name it in `controlnets`, under the kind of picture it takes.",
    "upscaler": "Name it in `upscale_models`.",
}
_PARTS: Mapping[str, tuple[str, ...]] = {
    "flux1": ("vae", "clip_l", "t5xxl"),
    "flux2": ("vae", "llm"),
    "z-image": ("vae", "llm"),
    "qwen-image": ("vae", "llm"),
}
"""What a diffusion model that stands alone needs; a tiny VAE does for a VAE."""


class WeightFile(NamedTuple):
    """One file, and the key that names it."""

    key: str
    path: Path
    at: str
    """The key with what follows it: `controlnets.canny`."""


def list_weight_files(config: SdCppConfig) -> Iterator[WeightFile]:
    """Every file of weights of a block, the model first."""

    for key in FILES:
        path = getattr(config, key)
        if path is not None:
            yield WeightFile(key, path, key)
    for kind, path in config.controlnets.items():
        yield WeightFile("controlnets", path, f"controlnets.{kind}")
    for index, path in enumerate(config.upscale_models):
        yield WeightFile("upscale_models", path, f"upscale_models[{index}]")


def read_weight_file(file: WeightFile, name: str) -> ModelFile:
    """What the file is; raises ConfigError where it isn't whole or not what its key says."""
    at = f"backends.{name}.{file.at}"
    try:
        found = identify_model(file.path)
    except ConfigError as error:
        raise ConfigError(f"{at}: {error.message}", remedy=error.remedy) from error
    if found.role != "unknown" and found.role not in _ROLES[file.key]:
        what = one_line(file.path.name)
        raise ConfigError(
            f"{at}: {what} is {_WORDS[found.role]}, not {_WORDS[_ROLES[file.key][0]]}.",
            remedy=_PLACES[found.role],
        )
    return found


def describe_role(role: Role) -> str:
    """What a file of this role is, with its article."""
    return _WORDS[role]


def check_weight_files(config: SdCppConfig, keys: tuple[str, ...]) -> dict[str, ModelFile]:
    """What each file of these keys is, by where it is named.

    The program would go on without a VAE or an upscaler that it can't read, and say that all went
    well: raises ConfigError here instead, also where a file's folder is missing.
    """
    there = {
        f.at: read_weight_file(f, config.name) for f in list_weight_files(config) if f.key in keys
    }
    for key in ("loras_dir", "embeddings_dir"):
        folder = getattr(config, key)
        if key in keys and folder is not None and not os.path.isdir(folder):
            raise ConfigError(f"backends.{config.name}.{key}: there is no folder {folder}.")
    if "diffusion_model" in there:
        _refuse_incomplete(config, there["diffusion_model"])
    return there


_OLD_LAYER = re.compile(r"model\.(\d+)\..*")


def read_upscale_factor(path: Path) -> int | None:
    """How far the program enlarges with this ESRGAN; None where it can't be looked into.

    It has a layer for each doubling; in the older of two ways to name layers they are numbered.
    """
    tensors = read_model_header(path).tensors
    if not tensors:
        return None
    if "conv_first.weight" in tensors:
        up = "conv_up1.weight" in tensors
        return 4 if "conv_up2.weight" in tensors else 2 if up else 1
    numbers = [int(found[1]) for name in tensors if (found := _OLD_LAYER.fullmatch(name))]
    last = max(numbers, default=_LAST_OF_FOUR)
    return 1 if last <= _LAST_OF_ONE else 2 if last <= _LAST_OF_TWO else 4


_LAST_OF_ONE, _LAST_OF_TWO, _LAST_OF_FOUR = 4, 7, 10


def missing_parts(config: SdCppConfig, main: ModelFile) -> list[str]:
    """The keys that a diffusion model without its companions needs, and the block lacks."""
    if main.role != "diffusion_model":
        return []
    given = {key for key in ("vae", "clip_l", "t5xxl", "llm") if getattr(config, key) is not None}
    if config.taesd is not None:
        given.add("vae")
    return [part for part in _PARTS.get(main.family, ()) if part not in given]


def _refuse_incomplete(config: SdCppConfig, main: ModelFile) -> None:
    if missing := missing_parts(config, main):
        raise ConfigError(
            f"backends.{config.name}: a {main.family} diffusion model also needs "
            f"{' and '.join(missing)}."
        )
