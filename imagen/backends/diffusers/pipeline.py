"""Load a pipeline, place it on its device, and derive further pipelines that share its parts."""

from __future__ import annotations

import gc
import logging
import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import diffusers
import torch

from imagen.backends.base import Gpu
from imagen.errors import ConfigError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagen.backends.diffusers.config import DiffusersConfig
    from imagen.backends.diffusers.families import DiffusersFamily
    from imagen.backends.diffusers.model_source import ModelSource
    from imagen.backends.diffusers.plan import DiffusersPlan

Untyped: TypeAlias = Any
"""A value of torch or diffusers, whose types are not read: a pipeline, a tensor, a scheduler."""

_MEMORY_FACTOR = 1.25
"""How much memory a model needs, by its weights: the computation needs some too."""


@dataclass(slots=True, kw_only=True)
class LoadedPipeline:
    """A pipeline in memory, and its ControlNets."""

    base: Untyped
    scheduler: Untyped
    """The model's own scheduler."""
    family: DiffusersFamily
    config: DiffusersConfig
    device: str
    dtype: Untyped
    offload: str
    controlnets: dict[str, Untyped] = field(default_factory=dict)

    def pipeline_for(self, plan: DiffusersPlan) -> Untyped:
        """The pipeline class that the plan needs, with its scheduler."""
        kind = getattr(diffusers, plan.pipeline)
        nets = []
        for control in plan.request.controls:
            if control.kind not in self.controlnets:
                where = _existing_path(self.config.controlnets[control.kind])
                network = getattr(diffusers, self.family.control_network)
                is_file = os.path.isfile(where)
                load = network.from_single_file if is_file else network.from_pretrained
                net = load(where, **_hub_options(self.config), dtype=self.dtype)
                is_offloaded = self.offload != "none"
                self.controlnets[control.kind] = net if is_offloaded else net.to(self.device)
            nets.append(self.controlnets[control.kind])
        if not nets and type(self.base) is kind:
            pipe = self.base
        else:
            controls = {"controlnet": nets[0] if len(nets) == 1 else nets} if nets else {}
            pipe = kind.from_pipe(self.base, dtype=self.dtype, **controls)
        # Schedulers remember their last run, so each run gets a new one.
        if plan.scheduler is None:
            pipe.scheduler = type(self.scheduler).from_config(self.scheduler.config)
        else:
            name, options = plan.scheduler
            pipe.scheduler = getattr(diffusers, name).from_config(self.scheduler.config, **options)
        pipe.set_progress_bar_config(disable=True)
        if self.offload != "none":  # a stopped run leaves its parts on the GPU
            _place(pipe, self.device, self.offload)
        return pipe


@contextmanager
def hub_access(config: DiffusersConfig) -> Iterator[None]:
    """Within this block, the Hub's client stays offline if the configuration says so.

    `local_files_only` alone is not enough: diffusers ignores it for the configs of single files.
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or config.offline
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def load_pipeline(source: ModelSource, config: DiffusersConfig) -> LoadedPipeline:
    """Load the model's pipeline and place it on its device."""
    import transformers

    for library in (diffusers, transformers):  # imagen shows its own progress
        library.utils.logging.set_verbosity(logging.CRITICAL)
        library.utils.logging.disable_progress_bar()
    device = choose_device(config)
    name = source.family.dtype if config.dtype == "auto" else config.dtype
    if config.dtype == "auto" and device == "cpu":
        name = "float32"
    elif config.dtype == "auto" and name == "bfloat16" and device.startswith("cuda"):
        name = "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
    dtype = getattr(torch, name)
    pipe = _load(source, config, dtype)
    offload = _choose_offload(config, pipe, device)
    _place(pipe, device, offload)
    return LoadedPipeline(
        base=pipe,
        scheduler=pipe.scheduler,
        family=source.family,
        config=config,
        device=device,
        dtype=dtype,
        offload=offload,
    )


def _load(source: ModelSource, config: DiffusersConfig, dtype: Untyped) -> Untyped:
    kind = getattr(diffusers, next(iter(source.family.pipelines.values())))
    options = {**_hub_options(config), "dtype": dtype}
    variant = {"variant": config.variant} if config.variant else {}
    if source.kind != "file":
        return kind.from_pretrained(source.where, **options, **variant)
    config_dir = _existing_path(config.config_dir)
    if not source.is_part:
        configs = {"config": config_dir} if config_dir else {}
        return kind.from_single_file(source.where, **options, **configs)
    if not config_dir:
        raise ConfigError(
            f"backends.{config.name}.model: {source.where} holds only the diffusion model, without"
            " text encoders and VAE.",
            remedy="Set `config_dir` to a complete diffusers folder, or `owner/name` on the Hub, of"
            f" its family ({source.family.name}): it provides the other parts.",
        )
    part = "unet" if source.family.network.startswith("UNet") else "transformer"
    network = getattr(diffusers, source.family.network)
    model = network.from_single_file(source.where, config=config_dir, subfolder=part, **options)
    return kind.from_pretrained(config_dir, **{part: model}, **options, **variant)


def _existing_path(where: str) -> str:
    """An existing path with `~` expanded; anything else as it is: a Hub id."""
    path = Path(where).expanduser()
    return str(path) if where and os.path.exists(path) else where


def _hub_options(config: DiffusersConfig) -> dict[str, object]:
    token = os.environ.get(config.token_env, "") if config.token_env else ""
    return {"local_files_only": config.offline, **({"token": token} if token else {})}


def choose_device(config: DiffusersConfig) -> str:
    """The device as torch names it: `cuda`, `cuda:1`, `mps` or `cpu`.

    Raises Unavailable where the configured one does not exist.
    """
    kind, _, number = config.device.partition(":")
    has_cuda, has_mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if kind == "auto":
        return "cuda" if has_cuda else "mps" if has_mps else "cpu"
    if kind == "cpu" or (kind == "mps" and has_mps):
        return kind
    is_build_for_it = (kind == "rocm") == (torch.version.hip is not None)
    exists = has_cuda and int(number or 0) < torch.cuda.device_count()
    if kind == "mps" or not is_build_for_it or not exists:
        raise Unavailable(
            f"Device {config.device} not found: torch {torch.__version__} cannot use it here.",
            remedy="Set `device` to auto or cpu, or install the build of torch for your GPU.",
            backend=config.name,
        )
    return f"cuda:{number}" if number else "cuda"


def list_gpus() -> tuple[Gpu, ...]:
    """The GPUs that torch can use, each with its memory if the driver reports it."""
    if not torch.cuda.is_available():
        return (Gpu(name="Apple GPU"),) if torch.backends.mps.is_available() else ()
    gpus = []
    for number in range(torch.cuda.device_count()):
        name = str(torch.cuda.get_device_name(number))
        try:
            free, total = map(int, torch.cuda.mem_get_info(number))
            gpus.append(Gpu(name=name, vram_total_bytes=total, vram_free_bytes=free))
        except RuntimeError:  # a GPU in a compute mode that prohibits processes
            gpus.append(Gpu(name=name))
    return tuple(gpus)


def _choose_offload(config: DiffusersConfig, pipe: Untyped, device: str) -> str:
    """none, model or sequential; automatic by the free memory of the GPU."""
    if device == "cpu":
        return "none"
    if config.offload != "auto":
        return config.offload
    if not device.startswith("cuda"):
        return "none"
    free, _ = torch.cuda.mem_get_info(device)
    sizes = [
        sum(tensor.numel() * tensor.element_size() for tensor in part.parameters())
        for part in pipe.components.values()
        if isinstance(part, torch.nn.Module)
    ]
    if sum(sizes) * _MEMORY_FACTOR <= free:
        return "none"
    return "model" if max(sizes, default=0) * _MEMORY_FACTOR <= free else "sequential"


def _place(pipe: Untyped, device: str, offload: str) -> None:
    if offload == "model":
        pipe.enable_model_cpu_offload(device=device)
    elif offload == "sequential":
        pipe.enable_sequential_cpu_offload(device=device)
    else:
        pipe.to(device)


def release_memory() -> None:
    """Collect garbage, and return the memory that torch holds back for later allocations."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()
