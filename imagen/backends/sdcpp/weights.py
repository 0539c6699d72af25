"""The weight files of a block: check them, list them, and choose another model."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from imagen.backends.base import Model, ModelKind
from imagen.backends.model_choice import ChosenModel, list_models, locate_model
from imagen.backends.sdcpp.config import WEIGHT_KEYS
from imagen.backends.sdcpp.loras import list_loras
from imagen.core.text import one_line
from imagen.errors import ConfigError, RequestError
from imagen.model_files.headers import read_model_header
from imagen.model_files.identify import identify_model

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from imagen.backends.sdcpp.binary import SdCli
    from imagen.backends.sdcpp.config import SdCppConfig
    from imagen.model_files.identify import ModelFile, Role

_MODEL_KEYS = ("model", "diffusion_model")
_FAMILY_KEYS = ("vae", "clip_l", "clip_g", "t5xxl", "llm", "taesd", "controlnets", "parameters")
"""The keys that only fit the family of the block's own model."""
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
"""The roles that the file of each key may have; an unknown role is accepted."""
_ROLE_NAMES: Mapping[Role, str] = {
    "checkpoint": "a complete model",
    "diffusion_model": "a diffusion model without text encoders and VAE",
    "lora": "a LoRA",
    "vae": "a VAE",
    "taesd": "a tiny VAE",
    "text_encoder": "a text encoder",
    "controlnet": "a ControlNet",
    "upscaler": "an upscale model",
}
_ROLE_REMEDIES: Mapping[Role, str] = {
    "checkpoint": "Name it in `model`.",
    "diffusion_model": "Name it in `diffusion_model`, with its text encoders and VAE.",
    "lora": "Put it into `loras_dir`, and use it with --lora.",
    "vae": "Name it in `vae`.",
    "taesd": "Name it in `taesd`.",
    "text_encoder": "Name it in `clip_l`, `clip_g`, `t5xxl` or `llm`.",
    "controlnet": "Name it in `controlnets`, under the kind of its control image.",
    "upscaler": "Name it in `upscale_models`.",
}
_KINDS: Mapping[str, ModelKind] = {
    "model": "checkpoint",
    "diffusion_model": "diffusion_model",
    "vae": "vae",
    "taesd": "vae",
    "controlnets": "controlnet",
    "upscale_models": "upscaler",
}
_NEEDED_PARTS: Mapping[str, tuple[str, ...]] = {
    "flux1": ("vae", "clip_l", "t5xxl"),
    "flux2": ("vae", "llm"),
    "z-image": ("vae", "llm"),
    "qwen-image": ("vae", "llm"),
}
"""What a diffusion model needs beside it, by family; a tiny VAE replaces a VAE."""


class WeightFile(NamedTuple):
    """One file and the key that names it."""

    key: str
    path: Path
    place: str
    """The key with its index or kind: `controlnets.canny`."""


def list_weight_files(config: SdCppConfig) -> Iterator[WeightFile]:
    """Every weight file of a block, the model first."""
    for key in WEIGHT_KEYS:
        path = getattr(config, key)
        if path is not None:
            yield WeightFile(key, path, key)
    for kind, path in config.controlnets.items():
        yield WeightFile("controlnets", path, f"controlnets.{kind}")
    for index, path in enumerate(config.upscale_models):
        yield WeightFile("upscale_models", path, f"upscale_models[{index}]")


def read_weight_file(file: WeightFile, backend: str) -> ModelFile:
    """Read a file's header; raises ConfigError where the file does not fit its key."""
    place = f"backends.{backend}.{file.place}"
    try:
        checkpoint = identify_model(file.path)
    except ConfigError as error:
        raise ConfigError(f"{place}: {error.message}", remedy=error.remedy) from error
    role = checkpoint.role
    if role != "unknown" and role not in _ROLES[file.key]:
        expected = _ROLE_NAMES[_ROLES[file.key][0]]
        raise ConfigError(
            f"{place}: {one_line(file.path.name)} is {_ROLE_NAMES[role]}, not {expected}.",
            remedy=_ROLE_REMEDIES[role],
        )
    return checkpoint


def read_own_model(config: SdCppConfig) -> ModelFile | None:
    """The header of the block's model; None without a model that can be read."""
    for file in list_weight_files(config):
        if file.key in _MODEL_KEYS:
            try:
                return read_weight_file(file, config.name)
            except ConfigError:  # `prepare` and `check` report it
                return None
    return None


def check_weight_files(config: SdCppConfig, keys: tuple[str, ...]) -> dict[str, ModelFile]:
    """Read the files of these keys, by place.

    sd-cli ignores a VAE or an upscale model that it cannot read, and reports success: raises
    ConfigError here instead, also where a folder is missing.
    """
    checkpoints = {
        file.place: read_weight_file(file, config.name)
        for file in list_weight_files(config)
        if file.key in keys
    }
    for key in ("loras_dir", "embeddings_dir"):
        folder = getattr(config, key)
        if key in keys and folder is not None and not os.path.isdir(folder):
            raise ConfigError(f"backends.{config.name}.{key}: folder {folder} not found.")
    main = checkpoints.get("diffusion_model")
    if main and (missing := _missing_parts(config, main)):
        raise ConfigError(
            f"backends.{config.name}: a {main.family} diffusion model also needs "
            f"{' and '.join(missing)}."
        )
    return checkpoints


def _missing_parts(config: SdCppConfig, main: ModelFile) -> list[str]:
    """The keys that a diffusion model needs and the block lacks."""
    if main.role != "diffusion_model":
        return []
    given = {key for key in WEIGHT_KEYS if getattr(config, key) is not None}
    if "taesd" in given:
        given.add("vae")
    return [part for part in _NEEDED_PARTS.get(main.family, ()) if part not in given]


_LAYER_NUMBER = re.compile(r"model\.(\d+)\..*")
_LAST_LAYER_1X, _LAST_LAYER_2X, _LAST_LAYER_4X = 4, 7, 10


def read_upscale_factor(path: Path) -> int | None:
    """The factor of an ESRGAN model; None where the file cannot be read.

    It has one layer for each doubling; in the older naming scheme, layers are numbered.
    """
    tensors = read_model_header(path).tensors
    if not tensors:
        return None
    if "conv_first.weight" in tensors:
        is_2x = "conv_up1.weight" in tensors
        return 4 if "conv_up2.weight" in tensors else 2 if is_2x else 1
    numbers = [int(match[1]) for name in tensors if (match := _LAYER_NUMBER.fullmatch(name))]
    last = max(numbers, default=_LAST_LAYER_4X)
    return 1 if last <= _LAST_LAYER_1X else 2 if last <= _LAST_LAYER_2X else 4


def choose_model(name: str, config: SdCppConfig, own: ModelFile | None) -> ChosenModel[SdCppConfig]:
    """The block with the model that a request names: its own, a path, or a name in `models_dir`.

    Keys that only fit the family of the block's own model are left out for another family. Raises
    RequestError for a model that does not exist or needs files that the block does not have.
    """
    from imagen.graphs.model_names import is_model_file

    main = config.model or config.diffusion_model
    if main is not None and name in (str(main), main.name):
        return ChosenModel(config=config, name=name)
    names = [known for known in list_models(config.models_dir) if is_model_file(known)]
    path, ticket_name = locate_model(
        name,
        names,
        config.models_dir,
        backend=config.name,
        listed_only=config.listed_models_only,
    )
    try:
        checkpoint = identify_model(path)
    except ConfigError as error:
        raise RequestError(f"model: {error.message}", remedy=error.remedy) from error
    role = checkpoint.role
    if role not in ("checkpoint", "diffusion_model", "unknown"):
        raise RequestError(f"model: {path.name} is {_ROLE_NAMES[role]}, not a model.")
    key = "diffusion_model" if role == "diffusion_model" else "model"
    is_same_family = own is not None and checkpoint.family in ("", own.family)
    chosen = ChosenModel.build(
        config,
        ticket_name,
        {"model": None, "diffusion_model": None, key: path},
        left_out=() if is_same_family else _FAMILY_KEYS,
    )
    if missing := _missing_parts(chosen.config, checkpoint):
        raise RequestError(
            f"model: {path.name} is a {checkpoint.family} diffusion model, which also needs "
            f"{' and '.join(missing)}.",
            remedy=f"Use a backend whose block names these files for {checkpoint.family}.",
        )
    return chosen


def list_backend_models(config: SdCppConfig, sd_cli: SdCli) -> Iterator[Model]:
    """The files of the block and its folders, and the program's samplers and schedulers.

    A file that cannot be read is listed without a family.
    """
    from imagen.graphs.model_names import is_model_file

    for file in list_weight_files(config):
        kind = _KINDS.get(file.key, "text_encoder")
        # A ControlNet is requested by the kind of its image.
        is_control = file.key == "controlnets"
        name = file.place.removeprefix("controlnets.") if is_control else file.path.name
        model = _describe_file(kind, name, file.path)
        yield replace(model, is_default=file.key in _MODEL_KEYS)
    own = [path.absolute() for path in (config.model, config.diffusion_model) if path]
    root = config.models_dir.expanduser().absolute()
    for name in list_models(root):
        if is_model_file(name) and root / name not in own:
            try:
                checkpoint = identify_model(root / name)
            except ConfigError:
                continue
            role, size = checkpoint.role, checkpoint.size_bytes
            if role == "checkpoint" or role == "diffusion_model":
                yield Model(kind=role, name=name, family=checkpoint.family, size_bytes=size)
    if (folder := config.loras_folder) is not None:
        for name in list_loras(folder):
            yield _describe_file("lora", name, folder / name)
    yield from (Model(kind="sampler", name=name) for name in sd_cli.samplers)
    yield from (Model(kind="scheduler", name=name) for name in sd_cli.schedulers)


def _describe_file(kind: ModelKind, name: str, path: Path) -> Model:
    try:
        checkpoint = identify_model(path)
    except ConfigError:
        return Model(kind=kind, name=name)
    size = checkpoint.size_bytes
    return Model(kind=kind, name=name, family=checkpoint.family, size_bytes=size)
