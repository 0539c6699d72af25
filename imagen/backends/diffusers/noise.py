"""Where pictures begin: a generator for each, and two noises mixed for a variation."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagen.backends.diffusers.families import Family
    from imagen.core.request import Request

_SEEDS = 2**64


def seeds(request: Request) -> list[int]:
    """The seed of each picture: each the one that follows."""
    return [((request.seed or 0) + n) % _SEEDS for n in range(request.count or 1)]


def generators(request: Request) -> list[Any]:
    """On the CPU, whatever computes: the same seed gives the same noise everywhere."""
    return [_generator(seed) for seed in seeds(request)]


@contextmanager
def seeded(request: Request) -> Iterator[None]:
    """Inside, what draws without a generator follows the seed too: steered SD 3 and FLUX.1 do."""
    with torch.random.fork_rng():
        torch.manual_seed(request.seed or 0)
        yield


def varied(request: Request, family: Family, pipe: Any, drawing: list[Any], dtype: Any) -> Any:
    """The noise to begin with, for a variation; None where there is one noise only.

    `drawing` are the generators of the pictures: each has drawn its first noise afterwards, as it
    would have without a variation.
    """
    share = request.variation_strength
    if share is None:
        return None
    shape = _shape(request, family, pipe)
    other = torch.randn(shape, generator=_generator(request.variation_seed or 0), dtype=dtype)
    firsts = [torch.randn(shape, generator=one, dtype=dtype) for one in drawing]
    mixed = torch.cat([between(first, other, share) for first in firsts])
    return _packed(mixed, family, pipe)


def between(one: Any, other: Any, share: float) -> Any:
    """On the arc from one noise to another, which keeps the strength of both."""
    if share in (0, 1):
        return other if share else one
    a, b = one.flatten().double(), other.flatten().double()
    cosine = torch.dot(a, b) / (a.norm() * b.norm())
    angle = torch.arccos(cosine.clamp(-1, 1))
    mixed = (torch.sin((1 - share) * angle) * a + torch.sin(share * angle) * b) / torch.sin(angle)
    return mixed.reshape(one.shape).to(one.dtype)


def _generator(seed: int) -> Any:
    return torch.Generator("cpu").manual_seed(seed)


def _shape(request: Request, family: Family, pipe: Any) -> tuple[int, int, int, int]:
    """That of one picture's latents, unpacked."""
    width, height, factor = request.width or 0, request.height or 0, pipe.vae_scale_factor
    if family.name == "flux1":
        sides = 2 * (height // (2 * factor)), 2 * (width // (2 * factor))
        return 1, pipe.transformer.config.in_channels // 4, *sides
    network = pipe.transformer if family.is_flow else pipe.unet
    return 1, network.config.in_channels, height // factor, width // factor


def _packed(noise: Any, family: Family, pipe: Any) -> Any:
    """FLUX takes squares of four latents as one."""
    return pipe._pack_latents(noise, *noise.shape) if family.name == "flux1" else noise
