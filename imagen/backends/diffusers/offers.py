"""What a diffusers backend has on offer: its model, LoRAs, control nets and samplers."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from imagen.backends.base import Model, ModelKind
from imagen.backends.diffusers import schedulers
from imagen.backends.diffusers.loras import names, shelf
from imagen.backends.diffusers.model_source import read_source
from imagen.backends.model_choice import list_models
from imagen.errors import ConfigError
from imagen.model_files.identify import read_checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imagen.backends.diffusers.config import DiffusersConfig
    from imagen.backends.diffusers.model_source import Source


def offers(config: DiffusersConfig, source: Source) -> Iterator[Model]:
    """Each as a request names it. What a model needs of the card nobody can tell from its files."""
    family = source.family
    yield Model(
        kind="checkpoint",
        name=source.name,
        family=family.name,
        size_bytes=source.size_bytes,
        is_default=True,
    )
    yield from _others(config, source)
    folder = config.loras_folder
    for name, path in zip(names(folder), shelf(folder), strict=True):
        yield from _lora(name, path)
    for kind in config.controlnets:
        yield Model(kind="controlnet", name=kind, family=family.name)
    for name in schedulers.samplers(is_flow=family.is_flow):
        yield Model(kind="sampler", name=name)
    for name in schedulers.schedules(is_flow=family.is_flow):
        yield Model(kind="scheduler", name=name)


def _others(config: DiffusersConfig, source: Source) -> Iterator[Model]:
    """The models of `models_dir` that this adapter runs, but for the block's own."""
    root = config.models_dir.expanduser()
    for name in list_models(root):
        only = config.model_copy(update={"model": str(root / name), "family": "", "variant": ""})
        try:
            found = read_source(only)
        except ConfigError:
            continue
        if not os.path.exists(source.where) or not os.path.samefile(source.where, root / name):
            family, size = found.family.name, found.size_bytes
            kind: ModelKind = "diffusion_model" if found.is_part else "checkpoint"
            yield Model(kind=kind, name=name, family=family, size_bytes=size)


def _lora(name: str, path: Path) -> Iterator[Model]:
    """A file that is no LoRA, or isn't whole, can't be asked for."""
    try:
        found = read_checkpoint(path)
    except ConfigError:
        return
    if found.role == "lora":
        yield Model(kind="lora", name=name, family=found.family, size_bytes=found.size_bytes)
