"""What a diffusers backend has on offer: its model, LoRAs, control nets and samplers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagen.backends.base import Model
from imagen.backends.diffusers import samplers
from imagen.backends.diffusers.loras import names, shelf
from imagen.checkpoints import read_checkpoint
from imagen.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imagen.backends.diffusers.config import DiffusersConfig
    from imagen.backends.diffusers.source import Source


def offers(config: DiffusersConfig, source: Source) -> Iterator[Model]:
    """Each as a request names it. What a model needs of the card nobody can tell from its files."""
    family = source.family
    yield Model(
        kind="checkpoint", name=config.model, family=family.name, size_bytes=source.size_bytes
    )
    for name, path in zip(names(config.loras_dir), shelf(config.loras_dir), strict=True):
        yield from _lora(name, path)
    for kind in config.controlnets:
        yield Model(kind="controlnet", name=kind, family=family.name)
    for name in samplers.samplers(is_flow=family.is_flow):
        yield Model(kind="sampler", name=name)
    for name in samplers.schedules(is_flow=family.is_flow):
        yield Model(kind="scheduler", name=name)


def _lora(name: str, path: Path) -> Iterator[Model]:
    """A file that is no LoRA, or isn't whole, can't be asked for."""
    try:
        found = read_checkpoint(path)
    except ConfigError:
        return
    if found.role == "lora":
        yield Model(kind="lora", name=name, family=found.family, size_bytes=found.size_bytes)
