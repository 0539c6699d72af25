"""Loads a pipeline from the hub, a folder or one file; its further pipelines share the parts."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import diffusers

from imagen.backends.diffusers.devices import device_of, dtype_of, offload_of, place
from imagen.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagen.backends.diffusers.config import DiffusersConfig
    from imagen.backends.diffusers.families import Family
    from imagen.backends.diffusers.model_source import Source
    from imagen.backends.diffusers.plan import Plan


@dataclass(slots=True, kw_only=True)
class Loaded:
    """A pipeline in memory, those made of its parts, and its control nets."""

    base: Any
    scheduler: Any
    """The model's own."""
    family: Family
    config: DiffusersConfig
    device: str
    dtype: Any
    offload: str
    nets: dict[str, Any] = field(default_factory=dict)

    def pipeline(self, plan: Plan) -> Any:
        """The pipeline for a plan, with its scheduler set."""
        pipe = self._made_for(plan)
        pipe.scheduler = self._scheduler(plan)
        pipe.set_progress_bar_config(disable=True)
        if self.offload != "none":  # where the last run was stopped, its parts are on the card
            place(pipe, self.device, self.offload)
        return pipe

    def _made_for(self, plan: Plan) -> Any:
        kind = getattr(diffusers, plan.pipeline)
        nets = [self._net(control.kind) for control in plan.request.controls]
        if not nets and type(self.base) is kind:
            return self.base
        steered = {"controlnet": nets[0] if len(nets) == 1 else nets} if nets else {}
        return kind.from_pipe(self.base, dtype=self.dtype, **steered)

    def _net(self, kind: str) -> Any:
        if kind not in self.nets:
            net = _controlnet(self.config.controlnets[kind], self)
            self.nets[kind] = net if self.offload != "none" else net.to(self.device)
        return self.nets[kind]

    def _scheduler(self, plan: Plan) -> Any:
        """A new one each time: they remember their last run."""
        if plan.scheduler is None:
            return type(self.scheduler).from_config(self.scheduler.config)
        name, options = plan.scheduler
        return getattr(diffusers, name).from_config(self.scheduler.config, **options)


@contextmanager
def offline(config: DiffusersConfig) -> Iterator[None]:
    """Inside, the hub's client asks nobody where the configuration says so.

    diffusers asks it all the same for the configs of a single file (`local_files_only` or not).
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or config.offline
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def load(source: Source, config: DiffusersConfig) -> Loaded:
    """The pipeline of a model, on its device."""
    device = device_of(config)
    dtype = dtype_of(config, source.family, device)
    _be_quiet()
    pipe = _pipeline(source, config, dtype)
    offload = offload_of(config, pipe, device)
    place(pipe, device, offload)
    return Loaded(
        base=pipe,
        scheduler=pipe.scheduler,
        family=source.family,
        config=config,
        device=device,
        dtype=dtype,
        offload=offload,
    )


def _pipeline(source: Source, config: DiffusersConfig, dtype: Any) -> Any:
    kind = getattr(diffusers, next(iter(source.family.pipelines.values())))
    how = {**_access(config), "dtype": dtype}
    if source.kind != "file":
        return kind.from_pretrained(source.where, **how, **_variant(config))
    if not source.is_part:
        configs = {"config": _place_of(config.config_dir)} if config.config_dir else {}
        return kind.from_single_file(source.where, **how, **configs)
    return _around_part(kind, source, config, how)


def _around_part(kind: Any, source: Source, config: DiffusersConfig, how: dict[str, Any]) -> Any:
    """The file's diffusion model, with all else from `config_dir`."""
    if not config.config_dir:
        raise ConfigError(
            f"backends.{config.name}.model: {source.where} holds the diffusion model alone, without"
            " its text encoders and VAE.",
            remedy="Set `config_dir` to a whole diffusers folder, or the hub's owner/name, of its"
            f" family ({source.family.name}): the other parts are taken from there.",
        )
    place = _place_of(config.config_dir)
    is_unet = source.family.network.startswith("UNet")
    part = "unet" if is_unet else "transformer"
    network = getattr(diffusers, source.family.network)
    model = network.from_single_file(source.where, config=place, subfolder=part, **how)
    return kind.from_pretrained(place, **{part: model}, **how, **_variant(config))


def _controlnet(where: str, loaded: Loaded) -> Any:
    kind = getattr(diffusers, loaded.family.control_network)
    how = {**_access(loaded.config), "dtype": loaded.dtype}
    place = _place_of(where)
    if os.path.isfile(place):
        return kind.from_single_file(place, **how)
    return kind.from_pretrained(place, **how)


def _place_of(where: str) -> str:
    path = Path(where).expanduser()
    return str(path) if os.path.exists(path) else where


def _access(config: DiffusersConfig) -> dict[str, Any]:
    """How the hub may be asked."""
    token = os.environ.get(config.token_env, "") if config.token_env else ""
    return {"local_files_only": config.offline, **({"token": token} if token else {})}


def _variant(config: DiffusersConfig) -> dict[str, str]:
    return {"variant": config.variant} if config.variant else {}


def _be_quiet() -> None:
    """No bars and notes on a terminal that is ours; what matters is raised."""
    import logging

    import transformers

    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity(logging.CRITICAL)
        library.utils.logging.disable_progress_bar()
