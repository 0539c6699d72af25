"""Samplers and schedulers under the names of every tool, in one table.

The usual names are ComfyUI's, where it has one. Sources: ComfyUI 0.3.64, A1111 1.10 and
Forge, InvokeAI, stable-diffusion.cpp, diffusers' classes, models on Replicate, NovelAI, SwarmUI.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

COMFYUI_SAMPLERS = (
    *("euler", "euler_cfg_pp", "euler_ancestral", "euler_ancestral_cfg_pp", "heun", "heunpp2"),
    *("dpm_2", "dpm_2_ancestral", "lms", "dpm_fast", "dpm_adaptive", "dpmpp_2s_ancestral"),
    *("dpmpp_2s_ancestral_cfg_pp", "dpmpp_sde", "dpmpp_sde_gpu", "dpmpp_2m", "dpmpp_2m_cfg_pp"),
    *("dpmpp_2m_sde", "dpmpp_2m_sde_gpu", "dpmpp_2m_sde_heun", "dpmpp_2m_sde_heun_gpu"),
    *("dpmpp_3m_sde", "dpmpp_3m_sde_gpu", "ddpm", "lcm", "ipndm", "ipndm_v", "deis"),
    *("res_multistep", "res_multistep_cfg_pp", "res_multistep_ancestral"),
    *("res_multistep_ancestral_cfg_pp", "gradient_estimation", "gradient_estimation_cfg_pp"),
    *("er_sde", "seeds_2", "seeds_3", "sa_solver", "sa_solver_pece", "ddim", "uni_pc"),
    "uni_pc_bh2",
)
COMFYUI_SCHEDULERS = (
    *("simple", "sgm_uniform", "karras", "exponential", "ddim_uniform", "beta", "normal"),
    *("linear_quadratic", "kl_optimal"),
)
_SAMPLERS: Mapping[str, tuple[str, ...]] = {
    "euler": ("EulerDiscrete", "FlowMatchEulerDiscrete"),
    "euler_ancestral": ("euler_a", "EulerAncestralDiscrete"),
    "euler_ancestral_cfg_pp": ("euler_a_cfg_pp",),
    "heun": ("HeunDiscrete", "FlowMatchHeunDiscrete"),
    "dpm_2": ("KDPM2", "KDPM2Discrete"),
    "dpm_2_ancestral": ("dpm2_a", "kdpm_2_a", "KDPM2AncestralDiscrete"),
    "lms": ("KLMS", "LMSDiscrete"),
    "dpmpp_2s_ancestral": ("dpmpp_2s_a",),
    "dpmpp_2s": ("DPMSolverSinglestep",),
    "dpmpp_sde": ("DPMSolverSDE",),
    "dpmpp_2m": ("DPMSolverMultistep",),
    "dpmpp_2m_v2": ("dpmpp_2mv2",),
    "gradient_estimation": ("euler_ge",),
    "ddim": ("ddim_v3",),
    "ddim_trailing": (),
    "pndm": ("plms",),
    "uni_pc": ("UniPCMultistep",),
    "deis": ("DEISMultistep",),
    "sa_solver": (),
    "tcd": (),
    "restart": (),
    "res_2s": (),
}
"""Other names. Case, spaces, `_`, `-` and `Scheduler` at the end of a class name are ignored, `++`
is `pp`, and any name may begin with `k_`."""
_SCHEDULERS: Mapping[str, tuple[str, ...]] = {
    "normal": ("uniform", "discrete"),
    "ddim_uniform": ("ddim",),
    "ays": ("align_your_steps",),
    "gits": (),
    "smoothstep": (),
    "bong_tangent": (),
    "lcm": (),
    "turbo": (),
    "polyexponential": (),
}
_WITH_SCHEDULE: Mapping[str, tuple[str, str]] = {"karrasdpm": ("dpmpp_2m", "karras")}
_NEAREST: Mapping[str, str] = {
    "ddim_trailing": "ddim",
    "pndm": "ipndm",
    "dpmpp_2s": "dpmpp_2s_ancestral",
    "dpmpp_sde_gpu": "dpmpp_sde",
    "dpmpp_2m_sde_gpu": "dpmpp_2m_sde",
    "dpmpp_3m_sde_gpu": "dpmpp_3m_sde",
    "simple": "normal",
}
"""The nearest substitute for one that an engine lacks, in both directions."""
_AUTOMATIC = ("automatic", "default", "auto")
"""A1111 and similar tools leave the schedule to the sampler."""
_INVOKEAI_KARRAS = "k"
"""The end of InvokeAI's names of samplers with the schedule of Karras: `dpmpp_2m_k`."""


class Sampling(NamedTuple):
    """What the name of a sampler means."""

    sampler: str
    scheduler: str = ""
    """The scheduler in the name; "" if it has none."""


def parse_sampler(name: str) -> Sampling:
    """A sampler by its usual name, and the scheduler in it; an unknown name is kept."""
    return _find_sampler(name) or Sampling(name)


def is_sampler(name: str) -> bool:
    return _find_sampler(name) is not None


def parse_scheduler(name: str) -> str:
    """A scheduler by its usual name, "" for "automatic"; an unknown name is kept."""
    return "" if _squash(name) in _AUTOMATIC else _schedulers().get(_squash(name), name)


def is_scheduler(name: str) -> bool:
    return _squash(name) in _schedulers()


def match_sampler(wanted: Sampling, choices: Iterable[str] | None) -> str | None:
    """The engine's name for this sampler, with the scheduler in it, or for the nearest it has.

    `choices` are the engine's own names; None for a ComfyUI server whose names are unknown. Returns
    None if the engine has nothing similar.
    """
    if choices is None:
        return _comfyui_name(wanted.sampler, COMFYUI_SAMPLERS)
    return _match(wanted, {parse_sampler(choice): choice for choice in choices})


def match_scheduler(wanted: str, choices: Iterable[str] | None) -> str | None:
    """The engine's name for this scheduler, or for the nearest it has; see `match_sampler`."""
    if choices is None:
        return _comfyui_name(wanted, COMFYUI_SCHEDULERS)
    return _match(
        Sampling(wanted), {Sampling(parse_scheduler(choice)): choice for choice in choices}
    )


def comfyui_names(sampler: str | None, scheduler: str | None) -> tuple[str, str]:
    """ComfyUI's names for both; the scheduler may be part of the sampler's name. "" for neither."""
    wanted = parse_sampler((sampler or "").strip().lower())
    schedule = parse_scheduler((scheduler or "").strip().lower()) if scheduler else wanted.scheduler
    return (
        _comfyui_name(wanted.sampler, COMFYUI_SAMPLERS),
        _comfyui_name(schedule, COMFYUI_SCHEDULERS),
    )


def _comfyui_name(wanted: str, known: tuple[str, ...]) -> str:
    """A name without a substitute is kept: the server may have others."""
    return wanted if wanted in known else _NEAREST.get(wanted, wanted)


def _match(wanted: Sampling, choices: Mapping[Sampling, str]) -> str | None:
    name, scheduler = wanted
    near = (_NEAREST.get(name), *(one for one, other in _NEAREST.items() if other == name))
    meant = (Sampling(one, scheduler) for one in (name, *near) if one)
    return next((choices[one] for one in meant if one in choices), None)


def _find_sampler(name: str) -> Sampling | None:
    """By the whole name, or by its beginning if its end is a scheduler."""
    words = [word for word in re.split(r"[\s_-]+", name.strip()) if word]
    if words and words[0].lower() == "k":
        del words[0]
    for length in range(len(words), max(len(words) - 3, 0), -1):
        sampler, end = _squash("".join(words[:length])), _squash("".join(words[length:]))
        if sampler in _WITH_SCHEDULE and not end:
            return Sampling(*_WITH_SCHEDULE[sampler])
        scheduler = "karras" if end == _INVOKEAI_KARRAS else _schedulers().get(end, "")
        if sampler in _samplers() and (scheduler or not end):
            return Sampling(_samplers()[sampler], scheduler)
    return None


def _squash(name: str) -> str:
    plain = "".join(filter(str.isalnum, name.lower().replace("++", "pp")))
    return plain.removesuffix("scheduler") or plain


@cache
def _samplers() -> dict[str, str]:
    return _by_spelling(COMFYUI_SAMPLERS, _SAMPLERS)


@cache
def _schedulers() -> dict[str, str]:
    return _by_spelling(COMFYUI_SCHEDULERS, _SCHEDULERS)


def _by_spelling(comfyui: tuple[str, ...], others: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    own = {_squash(name): name for name in (*comfyui, *others)}
    return own | {_squash(other): name for name, also in others.items() for other in also}
