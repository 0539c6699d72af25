"""Which device a pipeline runs on, with which kind of numbers, and what of it rests elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from imagen.backends.base import Gpu
from imagen.errors import Unavailable

if TYPE_CHECKING:
    from imagen.backends.diffusers.config import DiffusersConfig
    from imagen.backends.diffusers.families import Family

_ROOM = 1.25
"""Beside the weights there must be room for what is computed."""


def device_of(config: DiffusersConfig) -> str:
    """As torch names it: `cuda`, `cuda:1`, `mps` or `cpu`.

    Raises Unavailable where the one asked for isn't there.
    """
    kind, _, number = config.device.partition(":")
    if kind == "auto":
        return "cuda" if _has_cuda() else "mps" if _has_mps() else "cpu"
    if kind == "cpu" or (kind == "mps" and _has_mps()):
        return kind
    is_built = kind == "mps" or (kind == "rocm") == (torch.version.hip is not None)
    if kind == "mps" or not is_built or not _has_cuda() or _index(number) >= _count():
        raise _no_device(config)
    return f"cuda:{number}" if number else "cuda"


def list_gpus() -> tuple[Gpu, ...]:
    """The graphics cards that torch can use, each with its memory if the driver reports it."""
    if _has_cuda():
        return tuple(map(_gpu, range(_count())))
    return (Gpu(name="Apple GPU"),) if _has_mps() else ()


def _gpu(number: int) -> Gpu:
    name = str(torch.cuda.get_device_name(number))
    try:
        free, total = torch.cuda.mem_get_info(number)
    except RuntimeError:  # of the driver: a card in a mode that allows no process
        return Gpu(name=name)
    return Gpu(name=name, vram_total_bytes=int(total), vram_free_bytes=int(free))


def dtype_of(config: DiffusersConfig, family: Family, device: str) -> Any:
    """The kind of numbers, of torch."""
    if config.dtype != "auto":
        return getattr(torch, config.dtype)
    if device == "cpu":
        return torch.float32
    if family.dtype == "bfloat16" and device.startswith("cuda"):
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return getattr(torch, family.dtype)


def offload_of(config: DiffusersConfig, pipe: Any, device: str) -> str:
    """What is to rest in main memory: none, model or sequential."""
    if device == "cpu":
        return "none"
    if config.offload != "auto" or not device.startswith("cuda"):
        return "none" if config.offload == "auto" else config.offload
    free, _ = torch.cuda.mem_get_info(device)
    sizes = [_bytes(part) for part in pipe.components.values() if isinstance(part, torch.nn.Module)]
    if sum(sizes) * _ROOM <= free:
        return "none"
    return "model" if max(sizes, default=0) * _ROOM <= free else "sequential"


def place(pipe: Any, device: str, offload: str) -> None:
    """Put the parts of a pipeline where they belong."""
    if offload == "model":
        pipe.enable_model_cpu_offload(device=device)
    elif offload == "sequential":
        pipe.enable_sequential_cpu_offload(device=device)
    else:
        pipe.to(device)


def empty_cache() -> None:
    """Give back what torch keeps for later."""
    if _has_cuda():
        torch.cuda.empty_cache()
    elif _has_mps():
        torch.mps.empty_cache()


def _bytes(part: Any) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in part.parameters())


def _index(number: str) -> int:
    return int(number or 0)


def _count() -> int:
    return int(torch.cuda.device_count())


def _has_cuda() -> bool:
    return bool(torch.cuda.is_available())


def _has_mps() -> bool:
    return bool(torch.backends.mps.is_available())


def _no_device(config: DiffusersConfig) -> Unavailable:
    return Unavailable(
        f"There is no device {config.device} here that torch {torch.__version__} can use.",
        remedy="Set `device` to auto or cpu, or install the build of torch for your card.",
        backend=config.name,
    )
