"""What a stable-diffusion.cpp backend has on offer: its files, samplers and schedulers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagen.backends.base import Model, ModelKind
from imagen.backends.sdcpp import files
from imagen.backends.sdcpp.shelf import shelf
from imagen.checkpoints import read_checkpoint
from imagen.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from imagen.backends.sdcpp.config import SdCppConfig
    from imagen.backends.sdcpp.program import Program

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
        yield _model(kind, _name(file), file.path)
    if config.loras_dir is not None:
        for name in shelf(config.loras_dir):
            yield _model("lora", name, config.loras_dir / name)
    yield from (Model(kind="sampler", name=name) for name in program.samplers)
    yield from (Model(kind="scheduler", name=name) for name in program.schedulers)


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
