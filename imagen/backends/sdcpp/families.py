"""What each family of models takes: its sizes, its usual values, and what it lacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class SdFamily:
    """One family, as stable-diffusion.cpp runs it."""

    side: int = 1024
    """Pixels of its usual square."""
    multiple_of: int = 8
    """Its sides are aligned up to a multiple of this."""
    steps: int = 20
    cfg: float = 1.0
    has_clip: bool = False
    """Whether the last layers of its text encoder can be left out."""
    has_guidance: bool = False
    """Whether its guidance is distilled into it, and so a number it takes."""
    is_flow: bool = True
    """Whether its schedule can be shifted."""
    takes_references: bool = False
    takes_control: bool = False


_UNET = SdFamily(
    side=512, multiple_of=64, cfg=7.0, has_clip=True, is_flow=False, takes_control=True
)
_FLUX = SdFamily(has_guidance=True, takes_references=True)

_FAMILIES: Mapping[tuple[str, str], SdFamily] = {
    ("sd1", ""): _UNET,
    ("sd2", ""): SdFamily(side=768, multiple_of=64, cfg=7.0, has_clip=True, is_flow=False),
    ("sdxl", ""): SdFamily(multiple_of=64, cfg=7.0, has_clip=True, is_flow=False),
    ("sdxl-refiner", ""): SdFamily(multiple_of=64, cfg=7.0, has_clip=True, is_flow=False),
    ("sd3", ""): SdFamily(cfg=4.5),
    ("flux1", ""): _FLUX,
    ("flux1", "schnell"): SdFamily(steps=4),
    ("flux2", ""): SdFamily(multiple_of=16, has_guidance=True, takes_references=True),
    ("flux2", "klein"): SdFamily(multiple_of=16, steps=4, takes_references=True),
    ("z-image", ""): SdFamily(steps=8),
    ("qwen-image", ""): SdFamily(cfg=2.5, takes_references=True),
}
_UNKNOWN = SdFamily(
    multiple_of=64,
    side=512,
    cfg=7.0,
    has_clip=True,
    has_guidance=True,
    takes_references=True,
    takes_control=True,
)


def find_family(family: str, variant: str = "") -> SdFamily:
    """What a family takes; one that the header doesn't tell is taken to take everything."""
    return _FAMILIES.get((family, variant)) or _FAMILIES.get((family, "")) or _UNKNOWN
