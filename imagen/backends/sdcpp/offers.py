"""What a stable-diffusion.cpp backend has on offer: its files, samplers and schedulers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from imagen.backends.base import Model, ModelKind
from imagen.backends.model_choice import list_models
from imagen.backends.sdcpp import files
from imagen.backends.sdcpp.loras import shelf
from imagen.errors import ConfigError
from imagen.graphs.model_names import is_model_file
from imagen.model_files.identify import read_checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from imagen.backends.sdcpp.binary import Program
    from imagen.backends.sdcpp.config import SdCppConfig

_OWN = ("model", "diffusion_model")
_KINDS: Mapping[str, ModelKind] = {
    "model": "checkpoint",
    "diffusion_model": "diffusion_model",
    "vae": "vae",
    "taesd": "vae",
    "controlnets": "controlnet",
    "upscale_models": "upscaler",
}


def offers(config: SdCppConfig, program: Program) -> Iterator[Model]:
    """Each thing that can be asked for; a file that can't be read is listed without a family."""
    for file in files.named(config):
        kind = _KINDS.get(file.key, "text_encoder")
        yield replace(_model(kind, _name(file), file.path), is_default=file.key in _OWN)
    yield from _others(config)
    if (folder := config.loras_folder) is not None:
        for name in shelf(folder):
            yield _model("lora", name, folder / name)
    yield from (Model(kind="sampler", name=name) for name in program.samplers)
    yield from (Model(kind="scheduler", name=name) for name in program.schedulers)


def _others(config: SdCppConfig) -> Iterator[Model]:
    """The models of `models_dir` that can be looked into, but for the block's own."""
    own = [path.absolute() for path in (config.model, config.diffusion_model) if path]
    root = config.models_dir.expanduser().absolute()
    for name in list_models(root):
        path = root / name
        if not is_model_file(name) or path in own:
            continue
        try:
            found = read_checkpoint(path)
        except ConfigError:
            continue
        if found.role == "checkpoint" or found.role == "diffusion_model":
            yield Model(
                kind=found.role, name=name, family=found.family, size_bytes=found.size_bytes
            )


def _name(file: files.Named) -> str:
    """A control net is asked for by its kind."""
    kind = file.at.removeprefix("controlnets.")
    return kind if file.key == "controlnets" else file.path.name


def _model(kind: ModelKind, name: str, path: Path) -> Model:
    try:
        found = read_checkpoint(path)
    except ConfigError:
        return Model(kind=kind, name=name)
    return Model(kind=kind, name=name, family=found.family, size_bytes=found.size_bytes)
