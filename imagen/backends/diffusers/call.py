"""The arguments of a pipeline's call: texts, numbers, images and noise."""

from __future__ import annotations

from contextlib import contextmanager
from inspect import signature
from typing import TYPE_CHECKING

import torch
from PIL import Image

from imagen.core.image_file import read_image_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagen.backends.diffusers.families import DiffusersFamily
    from imagen.backends.diffusers.pipeline import Untyped
    from imagen.backends.diffusers.plan import DiffusersPlan
    from imagen.core.request import Request


def build_arguments(
    plan: DiffusersPlan, family: DiffusersFamily, pipe: Untyped, dtype: Untyped
) -> dict[str, object]:
    """All arguments but the callback; those that this pipeline does not take are left out."""
    request = plan.request
    # On the CPU, whatever device computes: the same seed gives the same noise everywhere.
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in image_seeds(request)]
    # FLUX needs an empty negative prompt to use cfg.
    default_negative = "" if request.cfg is not None and request.cfg > 1 else None
    arguments: dict[str, object] = {
        "prompt": request.prompt,
        "prompt_2": request.prompt_2,
        "negative_prompt": request.negative or default_negative,
        "negative_prompt_2": request.negative_2,
        "width": request.width,
        "height": request.height,
        "num_inference_steps": request.steps,
        "strength": request.strength,
        "num_images_per_prompt": request.count or 1,
        "generator": generators,
        "latents": _variation_noise(request, family, pipe, generators, dtype),
    }
    if request.guidance is not None:
        arguments["guidance_scale"] = request.guidance
    if request.cfg is not None:
        arguments[family.cfg_key] = request.cfg
    arguments |= _image_arguments(plan, pipe)
    taken = signature(pipe.__call__).parameters
    return {name: value for name, value in arguments.items() if name in taken and value is not None}


def _image_arguments(plan: DiffusersPlan, pipe: Untyped) -> dict[str, object]:
    request = plan.request
    arguments: dict[str, object] = {
        "image": read_initial_image(request),
        "mask_image": read_mask(request),
    }
    if plan.kind == "edit":
        arguments["image"] = [
            read_image_file(path, "references").decode().convert("RGB")
            for path in request.references
        ]
    if request.controls:
        has_own_name = "control_image" in signature(pipe.__call__).parameters
        per_control: dict[str, list[object]] = {
            "control_image" if has_own_name else "image": [
                _read_at_size(c.image, "controls", request, "RGB") for c in request.controls
            ],
            "controlnet_conditioning_scale": [float(c.strength) for c in request.controls],
            "control_guidance_start": [c.start for c in request.controls],
            "control_guidance_end": [c.end for c in request.controls],
        }
        # diffusers takes one value for one ControlNet, and lists for several.
        is_single = len(request.controls) == 1
        arguments |= {k: values[0] if is_single else values for k, values in per_control.items()}
    return arguments


def read_initial_image(request: Request) -> Image.Image | None:
    """The initial image at the requested size."""
    return _read_at_size(request.image, "image", request, "RGB") if request.image else None


def read_mask(request: Request) -> Image.Image | None:
    """The mask at the requested size; white areas are repainted."""
    return _read_at_size(request.mask, "mask", request, "L") if request.mask else None


def _read_at_size(path: str, parameter: str, request: Request, mode: str) -> Image.Image:
    size = request.width or 0, request.height or 0
    image = read_image_file(path, parameter).decode().convert(mode)
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)


def image_seeds(request: Request) -> list[int]:
    """The seed of each image in the batch: consecutive numbers."""
    return [((request.seed or 0) + n) % 2**64 for n in range(request.count or 1)]


@contextmanager
def global_seed(request: Request) -> Iterator[None]:
    """Seed torch's global generator, from which SD 3 and FLUX.1 with ControlNets draw noise."""
    with torch.random.fork_rng():
        torch.manual_seed(request.seed or 0)
        yield


def _variation_noise(
    request: Request,
    family: DiffusersFamily,
    pipe: Untyped,
    generators: list[Untyped],
    dtype: Untyped,
) -> Untyped:
    """The mixed initial noise of a variation; None for other tasks.

    Each image's generator has then drawn its first noise, as it would have without a variation.
    """
    share = request.variation_strength
    if share is None:
        return None
    width, height, factor = request.width or 0, request.height or 0, pipe.vae_scale_factor
    is_flux = family.name == "flux1"
    if is_flux:
        channels = pipe.transformer.config.in_channels // 4
        shape = 1, channels, 2 * (height // (2 * factor)), 2 * (width // (2 * factor))
    else:
        network = pipe.transformer if family.is_flow else pipe.unet
        shape = 1, network.config.in_channels, height // factor, width // factor
    second_generator = torch.Generator("cpu").manual_seed(request.variation_seed or 0)
    second = torch.randn(shape, generator=second_generator, dtype=dtype)
    firsts = [torch.randn(shape, generator=generator, dtype=dtype) for generator in generators]
    noise = torch.cat([interpolate_noise(first, second, share) for first in firsts])
    # FLUX packs squares of four latents into one.
    return pipe._pack_latents(noise, *noise.shape) if is_flux else noise


def interpolate_noise(first: Untyped, second: Untyped, share: float) -> Untyped:
    """Spherical interpolation between two noises, which keeps their strength."""
    if share in (0, 1):
        return second if share else first
    a, b = first.flatten().double(), second.flatten().double()
    cosine = torch.dot(a, b) / (a.norm() * b.norm())
    angle = torch.arccos(cosine.clamp(-1, 1))
    mixed = (torch.sin((1 - share) * angle) * a + torch.sin(share * angle) * b) / torch.sin(angle)
    return mixed.reshape(first.shape).to(first.dtype)
