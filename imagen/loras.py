"""Loras: whether tensors are those of a low-rank adapter, and for which family of models."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from imagen.weights import Weights

Family = Literal[
    "sd1", "sd2", "sdxl", "sdxl-refiner", "sd3", "flux1", "flux2", "z-image", "qwen-image", ""
]

_LORA = re.compile(
    r"(^|\.)lora_(A|B|down|up|linear_layer|unet|te\d?)[._]|\.lora\.(down|up)\.|\.(lokr|hada)_w\d",
    re.MULTILINE,
)
_WORDS = ("lora", "lokr", "hada")
_DOWN = r"\.(lora_A|lora_down|lora\.down)\b"
_UP = r"\.(lora_B|lora_up|lora\.up)\b"
_DOT = r"[._]"
_ANY = r".{0,100}"

_UNET = re.compile(rf"attn2{_DOT}to_k{_ANY}{_DOWN}")
_FLUX_2 = re.compile(
    rf"double_stream_modulation|single_transformer_blocks{_DOT}{_ANY}to_qkv_mlp_proj"
)
_FLUX_SINGLE = re.compile(rf"single_blocks{_DOT}\d+{_DOT}linear1{_UP}")
_FLUX = re.compile(rf"(single_transformer|single|double)_blocks{_DOT}")
_LUMINA = re.compile(rf"(^|{_DOT})layers{_DOT}\d+{_DOT}attention{_DOT}{_ANY}{_DOWN}")
_QWEN = re.compile(rf"transformer_blocks{_DOT}\d+{_DOT}(img|txt)_(mod|mlp){_DOT}")
_ATTENDS = re.compile(rf"transformer_blocks{_DOT}\d+{_DOT}attn{_DOT}to_[qkv]{_DOWN}")

_CONTEXTS: Mapping[int, Family] = {768: "sd1", 1024: "sd2", 2048: "sdxl"}
_FLUX_1_LINEAR = 21504
"""The outputs of a single block's first layer: 3 x 3072 + 12288; FLUX.2 has other sums."""
_Z_IMAGE_WIDTH = 3840
_WIDTHS: Mapping[int, Family] = {1536: "sd3", 2432: "sd3", 3072: "qwen-image"}
_SAID: tuple[tuple[str, Family], ...] = (
    ("stable-diffusion-xl", "sdxl"),
    ("sdxl", "sdxl"),
    ("stable-diffusion-v1", "sd1"),
    ("sd_v1", "sd1"),
    ("stable-diffusion-v2", "sd2"),
    ("sd_v2", "sd2"),
    ("stable-diffusion-3", "sd3"),
    ("sd3", "sd3"),
    ("flux2", "flux2"),
    ("flux.2", "flux2"),
    ("flux-2", "flux2"),
    ("flux", "flux1"),
    ("z-image", "z-image"),
    ("zimage", "z-image"),
    ("qwen-image", "qwen-image"),
    ("qwen_image", "qwen-image"),
)
_NOTES = ("modelspec.architecture", "ss_base_model_version")


def is_lora(names: Iterable[str]) -> bool:
    """Whether these are names of a low-rank adapter's tensors."""
    text = "\n".join(names)  # at once, and words first: there are thousands
    return any(word in text for word in _WORDS) and _LORA.search(text) is not None


def family_of_lora(weights: Weights) -> Family:
    """By the names and shapes of its tensors, else by what it says of itself; "" is unknown."""
    return _by_tensors(weights.tensors) or _by_notes(weights.notes)


def _by_tensors(tensors: Mapping[str, tuple[int, ...]]) -> Family:
    if shape := _shape(tensors, _UNET):
        return _CONTEXTS.get(_side(shape, 1), "")
    if any(map(_FLUX_2.search, tensors)):
        return "flux2"
    if any(map(_FLUX.search, tensors)):
        return _flux(tensors)
    if shape := _shape(tensors, _LUMINA):
        return "z-image" if _side(shape, 1) == _Z_IMAGE_WIDTH else ""
    if any(map(_QWEN.search, tensors)):
        return "qwen-image"
    return _WIDTHS.get(_side(_shape(tensors, _ATTENDS), 1), "") or _joint(tensors)


def _flux(tensors: Mapping[str, tuple[int, ...]]) -> Family:
    if shape := _shape(tensors, _FLUX_SINGLE):
        return "flux1" if _side(shape, 0) == _FLUX_1_LINEAR else "flux2"
    return "flux1"


def _joint(tensors: Mapping[str, tuple[int, ...]]) -> Family:
    return "sd3" if any("joint_blocks" in name for name in tensors) else ""


def _shape(tensors: Mapping[str, tuple[int, ...]], pattern: re.Pattern[str]) -> tuple[int, ...]:
    return next((shape for name, shape in tensors.items() if pattern.search(name)), ())


def _side(shape: tuple[int, ...], index: int) -> int:
    return shape[index] if len(shape) > index else 0


def _by_notes(notes: Mapping[str, str]) -> Family:
    said = " ".join(notes.get(name, "") for name in _NOTES).lower()
    return next((family for word, family in _SAID if word in said), "")
