"""Model families as stable-diffusion.cpp runs them: sizes, usual values, abilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class SdFamily:
    """One family of models."""

    side: int = 1024
    """Pixels of its usual square."""
    multiple_of: int = 8
    """Width and height are rounded to a multiple of this."""
    steps: int = 20
    cfg: float = 1.0
    has_clip: bool = False
    """Whether the last layers of its text encoder can be skipped."""
    has_guidance: bool = False
    """Whether it takes distilled guidance."""
    is_flow: bool = True
    """Whether its noise schedule can be shifted."""
    takes_references: bool = False
    takes_control: bool = False


_FLUX = SdFamily(has_guidance=True, takes_references=True)
_SDXL = SdFamily(multiple_of=64, cfg=7.0, has_clip=True, is_flow=False)
_FAMILIES: Mapping[tuple[str, str], SdFamily] = {
    ("sd1", ""): SdFamily(
        side=512, multiple_of=64, cfg=7.0, has_clip=True, is_flow=False, takes_control=True
    ),
    ("sd2", ""): SdFamily(side=768, multiple_of=64, cfg=7.0, has_clip=True, is_flow=False),
    ("sdxl", ""): _SDXL,
    ("sdxl-refiner", ""): _SDXL,
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
    """The family of this name; an unknown one is assumed to take everything."""
    return _FAMILIES.get((family, variant)) or _FAMILIES.get((family, "")) or _UNKNOWN
