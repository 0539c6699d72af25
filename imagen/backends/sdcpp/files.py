"""The files of weights that a block names: whether they are what their key says."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

from imagen.core.text import one_line
from imagen.errors import ConfigError
from imagen.model_files.headers import read_weights
from imagen.model_files.identify import read_checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from imagen.backends.sdcpp.config import SdCppConfig
    from imagen.model_files.identify import Checkpoint, Role

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


class Named(NamedTuple):
    """One file, and the key that names it."""

    key: str
    path: Path
    at: str
    """The key with what follows it: `controlnets.canny`."""


def named(config: SdCppConfig) -> Iterator[Named]:
    """Every file of weights of a block, the model first."""
    from imagen.backends.sdcpp.config import FILES

    for key in FILES:
        path = getattr(config, key)
        if path is not None:
            yield Named(key, path, key)
    for kind, path in config.controlnets.items():
        yield Named("controlnets", path, f"controlnets.{kind}")
    for index, path in enumerate(config.upscale_models):
        yield Named("upscale_models", path, f"upscale_models[{index}]")


def read(file: Named, name: str) -> Checkpoint:
    """What the file is; raises ConfigError where it isn't whole or not what its key says."""
    at = f"backends.{name}.{file.at}"
    try:
        found = read_checkpoint(file.path)
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


def checked(config: SdCppConfig, keys: tuple[str, ...]) -> dict[str, Checkpoint]:
    """What each file of these keys is, by where it is named.

    The program would go on without a VAE or an upscaler that it can't read, and say that all went
    well: raises ConfigError here instead, also where a file's folder is missing.
    """
    there = {f.at: read(f, config.name) for f in named(config) if f.key in keys}
    for key in ("loras_dir", "embeddings_dir"):
        folder = getattr(config, key)
        if key in keys and folder is not None and not os.path.isdir(folder):
            raise ConfigError(f"backends.{config.name}.{key}: there is no folder {folder}.")
    if "diffusion_model" in there:
        _refuse_incomplete(config, there["diffusion_model"])
    return there


_OLD_LAYER = re.compile(r"model\.(\d+)\..*")


def factor(path: Path) -> int | None:
    """How far the program enlarges with this ESRGAN; None where it can't be looked into.

    It has a layer for each doubling; in the older of two ways to name layers they are numbered.
    """
    tensors = read_weights(path).tensors
    if not tensors:
        return None
    if "conv_first.weight" in tensors:
        up = "conv_up1.weight" in tensors
        return 4 if "conv_up2.weight" in tensors else 2 if up else 1
    numbers = [int(found[1]) for name in tensors if (found := _OLD_LAYER.fullmatch(name))]
    last = max(numbers, default=_LAST_OF_FOUR)
    return 1 if last <= _LAST_OF_ONE else 2 if last <= _LAST_OF_TWO else 4


_LAST_OF_ONE, _LAST_OF_TWO, _LAST_OF_FOUR = 4, 7, 10


def missing_parts(config: SdCppConfig, main: Checkpoint) -> list[str]:
    """The keys that a diffusion model without its companions needs, and the block lacks."""
    if main.role != "diffusion_model":
        return []
    given = {key for key in ("vae", "clip_l", "t5xxl", "llm") if getattr(config, key) is not None}
    if config.taesd is not None:
        given.add("vae")
    return [part for part in _PARTS.get(main.family, ()) if part not in given]


def _refuse_incomplete(config: SdCppConfig, main: Checkpoint) -> None:
    if missing := missing_parts(config, main):
        raise ConfigError(
            f"backends.{config.name}: a {main.family} diffusion model also needs "
            f"{' and '.join(missing)}."
        )
