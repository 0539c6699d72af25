"""Sampler and scheduler names, and the scheduler classes of diffusers behind them."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING

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

DEFAULT = "default"
"""The sampler that the model's own files name."""
NORMAL = "normal"
SchedulerChoice = tuple[str, dict[str, object]]
"""A scheduler class of diffusers and its options."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffusersSampler:
    """A scheduler class of diffusers, and its options."""

    scheduler: str
    options: Mapping[str, object] = field(default_factory=dict)
    takes_schedules: bool = True
    """Whether it works with other noise schedules than the normal one."""
    needs: str = ""
    """The package that diffusers needs for it."""


SAMPLERS: Mapping[str, DiffusersSampler] = {
    "euler": DiffusersSampler(scheduler="EulerDiscreteScheduler"),
    "euler_a": DiffusersSampler(scheduler="EulerAncestralDiscreteScheduler", takes_schedules=False),
    "heun": DiffusersSampler(scheduler="HeunDiscreteScheduler"),
    "dpm2": DiffusersSampler(scheduler="KDPM2DiscreteScheduler"),
    "dpm2_a": DiffusersSampler(scheduler="KDPM2AncestralDiscreteScheduler"),
    "dpmpp_2m": DiffusersSampler(
        scheduler="DPMSolverMultistepScheduler",
        options={"algorithm_type": "dpmsolver++", "solver_order": 2},
    ),
    "dpmpp_2m_sde": DiffusersSampler(
        scheduler="DPMSolverMultistepScheduler",
        options={"algorithm_type": "sde-dpmsolver++", "solver_order": 2},
    ),
    "dpmpp_2s": DiffusersSampler(scheduler="DPMSolverSinglestepScheduler"),
    "dpmpp_sde": DiffusersSampler(scheduler="DPMSolverSDEScheduler", needs="torchsde"),
    "lms": DiffusersSampler(scheduler="LMSDiscreteScheduler", needs="scipy"),
    "ddim": DiffusersSampler(scheduler="DDIMScheduler", takes_schedules=False),
    "ddpm": DiffusersSampler(scheduler="DDPMScheduler", takes_schedules=False),
    "pndm": DiffusersSampler(
        scheduler="PNDMScheduler", options={"skip_prk_steps": True}, takes_schedules=False
    ),
    "unipc": DiffusersSampler(scheduler="UniPCMultistepScheduler"),
    "deis": DiffusersSampler(scheduler="DEISMultistepScheduler"),
    "lcm": DiffusersSampler(scheduler="LCMScheduler", takes_schedules=False),
    "tcd": DiffusersSampler(scheduler="TCDScheduler", takes_schedules=False),
    "sasolver": DiffusersSampler(scheduler="SASolverScheduler"),
}
# The other samplers also run with flow-matching models, and produce garbage without an error.
# FlowMatchLCM is left out because its noise ignores the seed.
FLOW_SAMPLERS: Mapping[str, DiffusersSampler] = {
    "euler": DiffusersSampler(scheduler="FlowMatchEulerDiscreteScheduler"),
}
SCHEDULES: Mapping[str, str] = {
    NORMAL: "",
    "karras": "use_karras_sigmas",
    "exponential": "use_exponential_sigmas",
    "beta": "use_beta_sigmas",
}
"""The option that selects each noise schedule; without any, it is the normal one."""
_SCHEDULE_NEEDS = {"beta": "scipy"}


def list_samplers(*, is_flow: bool) -> tuple[str, ...]:
    """The samplers that can be used with the packages that are installed."""
    table = FLOW_SAMPLERS if is_flow else SAMPLERS
    return (DEFAULT, *(name for name, known in table.items() if _is_installed(known.needs)))


def list_schedules(*, is_flow: bool) -> tuple[str, ...]:
    """The noise schedules that can be used with the packages that are installed."""
    if is_flow:
        return (NORMAL,)
    return tuple(name for name in SCHEDULES if _is_installed(_SCHEDULE_NEEDS.get(name, "")))


def refuse_unusable(sampler: str | None, scheduler: str | None, *, is_flow: bool) -> None:
    """Raises RequestError for one whose package is missing or that does not fit the model."""
    name = match_sampler(Sampling(parse_sampler(sampler or DEFAULT).sampler), SAMPLERS) or ""
    if is_flow:
        if name in SAMPLERS and name not in FLOW_SAMPLERS:
            raise RequestError(
                f"sampler {sampler!r} does not work with this flow-matching model.",
                remedy=f"Available: {', '.join((DEFAULT, *FLOW_SAMPLERS))}.",
            )
        return
    schedule = match_scheduler(parse_scheduler(scheduler or NORMAL), SCHEDULES) or ""
    needs = {
        f"sampler {name!r}": SAMPLERS[name].needs if name in SAMPLERS else "",
        f"scheduler {schedule!r}": _SCHEDULE_NEEDS.get(schedule, ""),
    }
    for what, package in needs.items():
        if not _is_installed(package):
            raise RequestError(
                f"{what} needs the Python package {package!r}, which is not installed.",
                remedy=f"Install it with: pip install {package}",
            )


def _is_installed(package: str) -> bool:
    return not package or find_spec(package) is not None


def choose_scheduler(
    sampler: str | None, schedule: str | None, *, is_flow: bool
) -> SchedulerChoice | None:
    """The scheduler class and its options; None for the model's own.

    Raises RequestError for a sampler and a schedule that cannot be combined.
    """
    name, schedule = sampler or DEFAULT, schedule or NORMAL
    known = None if name == DEFAULT else (FLOW_SAMPLERS if is_flow else SAMPLERS)[name]
    if schedule != NORMAL and (known is None or not known.takes_schedules):
        subject = f"sampler {name!r}" if known else "the model's own sampler"
        able = ", ".join(name for name, each in SAMPLERS.items() if each.takes_schedules)
        raise RequestError(
            f"scheduler {schedule!r} cannot be combined with {subject}.",
            remedy=f"It works with: {able}.",
        )
    if known is None:
        return None
    # Every option is set, also to False: otherwise the value in the model's own config remains.
    options = filter(None, SCHEDULES.values()) if known.takes_schedules else ()
    chosen = {option: option == SCHEDULES[schedule] for option in options}
    return known.scheduler, {**known.options, **chosen}
