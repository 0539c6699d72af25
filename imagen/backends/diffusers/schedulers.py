"""Samplers and noise schedules by the field's names, and what diffusers calls them."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from imagen.core.samplers import (
    Sampling,
    match_sampler,
    match_scheduler,
    parse_sampler,
    parse_scheduler,
)
from imagen.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

OWN = "default"
"""The sampler that the model itself names."""
NORMAL = "normal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampler:
    """A scheduler of diffusers, and what it is built with."""

    scheduler: str
    options: Mapping[str, Any] = field(default_factory=dict)
    takes_schedules: bool = True
    """Whether its noise can be spread otherwise."""
    needs: str = ""
    """The package without which diffusers has it not."""


_SDE = {"algorithm_type": "sde-dpmsolver++", "solver_order": 2}
SAMPLERS: Mapping[str, Sampler] = {
    "euler": Sampler(scheduler="EulerDiscreteScheduler"),
    "euler_a": Sampler(scheduler="EulerAncestralDiscreteScheduler", takes_schedules=False),
    "heun": Sampler(scheduler="HeunDiscreteScheduler"),
    "dpm2": Sampler(scheduler="KDPM2DiscreteScheduler"),
    "dpm2_a": Sampler(scheduler="KDPM2AncestralDiscreteScheduler"),
    "dpmpp_2m": Sampler(
        scheduler="DPMSolverMultistepScheduler",
        options={"algorithm_type": "dpmsolver++", "solver_order": 2},
    ),
    "dpmpp_2m_sde": Sampler(scheduler="DPMSolverMultistepScheduler", options=_SDE),
    "dpmpp_2s": Sampler(scheduler="DPMSolverSinglestepScheduler"),
    "dpmpp_sde": Sampler(scheduler="DPMSolverSDEScheduler", needs="torchsde"),
    "lms": Sampler(scheduler="LMSDiscreteScheduler", needs="scipy"),
    "ddim": Sampler(scheduler="DDIMScheduler", takes_schedules=False),
    "ddpm": Sampler(scheduler="DDPMScheduler", takes_schedules=False),
    "pndm": Sampler(
        scheduler="PNDMScheduler", options={"skip_prk_steps": True}, takes_schedules=False
    ),
    "unipc": Sampler(scheduler="UniPCMultistepScheduler"),
    "deis": Sampler(scheduler="DEISMultistepScheduler"),
    "lcm": Sampler(scheduler="LCMScheduler", takes_schedules=False),
    "tcd": Sampler(scheduler="TCDScheduler", takes_schedules=False),
    "sasolver": Sampler(scheduler="SASolverScheduler"),
}
FLOW_SAMPLERS: Mapping[str, Sampler] = {
    "euler": Sampler(scheduler="FlowMatchEulerDiscreteScheduler"),
}
"""Others run with these models too, and give garbage without an error.

FlowMatchLCM is none of them: its noise follows no seed.
"""
SCHEDULES: Mapping[str, str] = {
    NORMAL: "",
    "karras": "use_karras_sigmas",
    "exponential": "use_exponential_sigmas",
    "beta": "use_beta_sigmas",
}
"""The option by which each is had; without any of them it is the normal one."""
_SCHEDULE_NEEDS = {"beta": "scipy"}


def samplers(*, is_flow: bool) -> tuple[str, ...]:
    """The names that can be asked for here and now."""
    table = FLOW_SAMPLERS if is_flow else SAMPLERS
    there = [name for name, sampler in table.items() if not _missing(sampler.needs)]
    return (OWN, *there)


def schedules(*, is_flow: bool) -> tuple[str, ...]:
    """The names of noise schedules that can be asked for here and now."""
    if is_flow:
        return (NORMAL,)
    return tuple(name for name in SCHEDULES if not _missing(_SCHEDULE_NEEDS.get(name, "")))


def refuse_missing(sampler: str | None, scheduler: str | None, *, is_flow: bool) -> None:
    """Raises RequestError for one that needs a package that isn't installed."""
    name = match_sampler(Sampling(parse_sampler(sampler or OWN).sampler), SAMPLERS) or ""
    known = SAMPLERS.get(name)
    if known is not None and not is_flow and _missing(known.needs):
        raise _not_installed("sampler", name, known.needs)
    schedule = match_scheduler(parse_scheduler(scheduler or NORMAL), SCHEDULES) or ""
    package = _SCHEDULE_NEEDS.get(schedule, "")
    if not is_flow and _missing(package):
        raise _not_installed("scheduler", schedule, package)
    if is_flow and known is not None and name not in FLOW_SAMPLERS:
        raise RequestError(
            f"sampler {sampler!r} gives garbage with this model, which is trained to match flows.",
            remedy=f"It takes: {', '.join((OWN, *FLOW_SAMPLERS))}.",
        )


def _not_installed(what: str, name: str, package: str) -> RequestError:
    return RequestError(
        f"{what} {name!r} needs the Python package {package!r}, which is not installed.",
        remedy=f"Install it with: pip install {package}",
    )


def _missing(package: str) -> bool:
    return bool(package) and find_spec(package) is None


def chosen(
    sampler: str | None, scheduler: str | None, *, is_flow: bool
) -> tuple[str, dict[str, Any]] | None:
    """The scheduler's class and what it is built with; None for the model's own.

    Raises RequestError for a pair that don't go together.
    """
    name, schedule = sampler or OWN, scheduler or NORMAL
    if name == OWN:
        if schedule != NORMAL:
            raise _no_pair(schedule, "the model's own sampler")
        return None
    found = (FLOW_SAMPLERS if is_flow else SAMPLERS)[name]
    if schedule != NORMAL and not found.takes_schedules:
        raise _no_pair(schedule, f"sampler {name!r}")
    return found.scheduler, {**found.options, **_spread(found, schedule)}


def _spread(sampler: Sampler, schedule: str) -> dict[str, bool]:
    """Each option is said, lest the model's own stay."""
    chosen = SCHEDULES[schedule]
    options = filter(None, SCHEDULES.values()) if sampler.takes_schedules else ()
    return {option: option == chosen for option in options}


def _no_pair(schedule: str, whom: str) -> RequestError:
    able = ", ".join(name for name, sampler in SAMPLERS.items() if sampler.takes_schedules)
    return RequestError(
        f"scheduler {schedule!r} can't be had with {whom}.", remedy=f"It can with: {able}."
    )
