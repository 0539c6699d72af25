"""A small picture of unfinished work: each family's latents are nearly linear in the colours."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.backends.diffusers.families import Family
    from imagen.core.request import Request

_Row = tuple[float, float, float]
# What each channel adds to red, green and blue; the last row is added to all. Fitted by others for
# ComfyUI's previews: https://github.com/comfyanonymous/ComfyUI/blob/v0.3.52/comfy/latent_formats.py
_COLOURS: Mapping[str, tuple[_Row, ...]] = {
    "sd1": (
        (0.3512, 0.2297, 0.3227),
        (0.3250, 0.4974, 0.2350),
        (-0.2829, 0.1762, 0.2721),
        (-0.2120, -0.2616, -0.7177),
        (0.0, 0.0, 0.0),
    ),
    "sdxl": (
        (0.3651, 0.4232, 0.4341),
        (-0.2533, -0.0042, 0.1068),
        (0.1076, 0.1111, -0.0362),
        (-0.3165, -0.2492, -0.2188),
        (0.1084, -0.0175, -0.0011),
    ),
    "sd3": (
        (-0.0922, -0.0175, 0.0749),
        (0.0311, 0.0633, 0.0954),
        (0.1994, 0.0927, 0.0458),
        (0.0856, 0.0339, 0.0902),
        (0.0587, 0.0272, -0.0496),
        (-0.0006, 0.1104, 0.0309),
        (0.0978, 0.0306, 0.0427),
        (-0.0042, 0.1038, 0.1358),
        (-0.0194, 0.0020, 0.0669),
        (-0.0488, 0.0130, -0.0268),
        (0.0922, 0.0988, 0.0951),
        (-0.0278, 0.0524, -0.0542),
        (0.0332, 0.0456, 0.0895),
        (-0.0069, -0.0030, -0.0810),
        (-0.0596, -0.0465, -0.0293),
        (-0.1448, -0.1463, -0.1189),
        (0.2394, 0.2135, 0.1925),
    ),
    "flux1": (
        (-0.0346, 0.0244, 0.0681),
        (0.0034, 0.0210, 0.0687),
        (0.0275, -0.0668, -0.0433),
        (-0.0174, 0.0160, 0.0617),
        (0.0859, 0.0721, 0.0329),
        (0.0004, 0.0383, 0.0115),
        (0.0405, 0.0861, 0.0915),
        (-0.0236, -0.0185, -0.0259),
        (-0.0245, 0.0250, 0.1180),
        (0.1008, 0.0755, -0.0421),
        (-0.0515, 0.0201, 0.0011),
        (0.0428, -0.0012, -0.0036),
        (0.0817, 0.0765, 0.0749),
        (-0.1264, -0.0522, -0.1103),
        (-0.0280, -0.0881, -0.0499),
        (-0.1262, -0.0982, -0.0778),
        (-0.0329, -0.0718, -0.0851),
    ),
}


def preview(latents: Any, family: Family, request: Request, pipe: Any) -> bytes | None:
    """A JPEG of the first picture of a batch; None where nobody knows how it would look."""
    rows = _COLOURS.get(family.latents, ())
    first = _first(latents, family, request, pipe)
    if first.ndim != 3 or first.shape[0] + 1 != len(rows):
        return None
    channels = first.float().cpu()
    calm = channels / max(1.0, float(channels.std()))  # early on it is mostly noise
    *factors, bias = torch.tensor(rows)
    colours = torch.einsum("chw,cr->hwr", calm, torch.stack(factors)) + bias
    return _jpeg(((colours + 1) * 127.5).clamp(0, 255).to(torch.uint8).numpy())


def _first(latents: Any, family: Family, request: Request, pipe: Any) -> Any:
    if family.name == "flux1":
        sides = request.height, request.width
        latents = pipe._unpack_latents(latents[:1], *sides, pipe.vae_scale_factor)
    return latents[0]


def _jpeg(pixels: Any) -> bytes:
    data = BytesIO()
    Image.fromarray(pixels).save(data, format="JPEG", quality=80)
    return data.getvalue()
