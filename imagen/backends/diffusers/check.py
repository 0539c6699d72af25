"""Whether a diffusers backend could work now, and what to do where it could not."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from imagen.backends.base import Health
from imagen.backends.diffusers.model_source import faults, read_source
from imagen.errors import ImagenError, Unavailable

if TYPE_CHECKING:
    from imagen.backends.diffusers.config import DiffusersConfig
    from imagen.backends.diffusers.model_source import Source

_PACKAGES = ("diffusers", "torch", "transformers", "accelerate", "peft", "safetensors")


def health(config: DiffusersConfig) -> Health:
    """Packages, device, and the model's files; never raises."""
    try:
        return _health(config)
    except ImagenError as error:
        remedies = tuple(error.remedy.splitlines()) or ("Correct it in the configuration.",)
        return Health(ok=False, summary=error.message, remedies=remedies)


def _health(config: DiffusersConfig) -> Health:
    source = read_source(config)
    _refuse_absent(source, config)
    damaged = faults(source)
    if damaged:
        return Health(ok=False, summary=damaged[0], remedies=("Download the model again.",))
    from imagen.backends.diffusers.errors import require_packages

    require_packages()
    from imagen.backends.diffusers.devices import device_of, list_gpus

    device = device_of(config)
    facts = (("device", device), *_facts(source), *_versions())
    return Health(ok=True, facts=facts, gpus=list_gpus())


def _refuse_absent(source: Source, config: DiffusersConfig) -> None:
    if config.offline and source.kind == "hub" and source.folder is None:
        raise Unavailable(
            f"{config.model} is not on the disk, and the hub is not asked (offline).",
            remedy="Fetch it once with a connection and without `offline`, or name a folder.",
        )
    if source.is_part and not config.config_dir:
        raise Unavailable(
            f"{config.model} holds the diffusion model alone.",
            remedy="Set `config_dir` to a whole diffusers folder of its family.",
        )


def _facts(source: Source) -> tuple[tuple[str, str], ...]:
    there = () if source.kind != "hub" or source.folder else (("model", "will be downloaded"),)
    return (("family", " ".join(filter(None, (source.family.name, source.variant)))), *there)


def _versions() -> tuple[tuple[str, str], ...]:
    return tuple((name, found) for name in _PACKAGES if (found := _version(name)))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
