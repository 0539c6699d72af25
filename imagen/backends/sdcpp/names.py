"""The names of samplers and schedulers: those of other engines, and those of this one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SAMPLERS = (
    *("euler", "euler_a", "heun", "dpm2", "dpm++2s_a", "dpm++2m", "dpm++2mv2", "ipndm", "ipndm_v"),
    *("lcm", "ddim_trailing", "tcd", "res_multistep", "res_2s"),
)
"""What any version has; taken for true while no program or server has been asked."""

SCHEDULERS = (
    *("discrete", "karras", "exponential", "ays", "gits", "sgm_uniform", "simple", "smoothstep"),
    *("kl_optimal", "lcm", "bong_tangent"),
)

_SAMPLERS: Mapping[str, str] = {
    "euler_ancestral": "euler_a",
    "euler_ancestral_cfg_pp": "euler_a_cfg_pp",
    "dpm_2": "dpm2",
    "dpmpp_2s_ancestral": "dpm++2s_a",
    "dpmpp_2s_a": "dpm++2s_a",
    "dpmpp_2m": "dpm++2m",
    "dpmpp_2m_v2": "dpm++2mv2",
    "dpmpp_2m_sde": "dpm++2m_sde",
    "ddim": "ddim_trailing",
}
_SCHEDULERS: Mapping[str, str] = {"normal": "discrete", "align_your_steps": "ays"}


def samplers(own: Iterable[str]) -> dict[str, str]:
    """For each name that may be asked for, the engine's own."""
    return _with_aliases(tuple(own) or SAMPLERS, _SAMPLERS)


def schedulers(own: Iterable[str]) -> dict[str, str]:
    """For each name that may be asked for, the engine's own."""
    return _with_aliases(tuple(own) or SCHEDULERS, _SCHEDULERS)


def _with_aliases(own: tuple[str, ...], aliases: Mapping[str, str]) -> dict[str, str]:
    there = {name: name for name in own}
    return there | {name: to for name, to in aliases.items() if to in there and name not in there}
