"""Other tools' names for samplers and noise schedules, and ComfyUI's, which our engines know."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_SAMPLERS: Mapping[str, str] = {
    "euler a": "euler_ancestral",
    "euler_a": "euler_ancestral",
    "dpm2": "dpm_2",
    "kdpm_2": "dpm_2",
    "dpm2 a": "dpm_2_ancestral",
    "kdpm_2_a": "dpm_2_ancestral",
    "dpm fast": "dpm_fast",
    "dpm adaptive": "dpm_adaptive",
    "dpm++ sde": "dpmpp_sde",
    "dpm++ 2m": "dpmpp_2m",
    "dpm++2m": "dpmpp_2m",
    "dpm++2mv2": "dpmpp_2m_v2",
    "dpm++ 2m sde": "dpmpp_2m_sde",
    "dpm++2m_sde": "dpmpp_2m_sde",
    "dpm++ 3m sde": "dpmpp_3m_sde",
    "dpm++ 2s a": "dpmpp_2s_ancestral",
    "dpm++2s_a": "dpmpp_2s_ancestral",
    "ddim_trailing": "ddim",
    "ddim_v3": "ddim",
    "dpm_2_a": "dpm_2_ancestral",
    "dpmpp_2s": "dpmpp_2s_ancestral",
    "euler ancestral": "euler_ancestral",
    "unipc": "uni_pc",
}
"""A1111's, sd.cpp's, InvokeAI's and NovelAI's, in lower case. All other names stay."""
_SCHEDULES: Mapping[str, str] = {
    "uniform": "normal",
    "discrete": "normal",
    "sgm uniform": "sgm_uniform",
    "kl optimal": "kl_optimal",
    "align your steps": "ays",
    "ddim": "ddim_uniform",
}
_ENDINGS = (
    *("karras", "exponential", "discrete", "ays", "gits", "sgm_uniform", "ddim_uniform"),
    *("simple", "normal", "beta", "kl_optimal", "linear_quadratic"),
)
"""Schedules behind the sampler's name: in older images of A1111, sd.cpp's, and ComfyUI savers'."""
_LEFT_OPEN = "automatic"
"""Then the tool took what the sampler has by default."""


def sampler_and_schedule(sampler: str | None, schedule: str | None) -> tuple[str, str]:
    """Both by ComfyUI's names; "" for what is not said."""
    name = (sampler or "").strip().lower().removeprefix("k_")
    for ending in _ENDINGS:
        if not schedule and name.endswith((f" {ending}", f"_{ending}")):
            name, schedule = name[: -len(ending) - 1].rstrip(), ending
    spread = (schedule or "").strip().lower()
    spread = "" if spread == _LEFT_OPEN else spread
    return _SAMPLERS.get(name, name), _SCHEDULES.get(spread, spread)
