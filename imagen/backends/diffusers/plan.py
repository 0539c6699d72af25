"""Plan: what will be done for a request, settled and checked before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imagen.backends.diffusers import schedulers
from imagen.backends.diffusers.capabilities import OF_CFG, capabilities
from imagen.backends.diffusers.loras import located
from imagen.core.capabilities import ParameterOutcome, resolve_parameters
from imagen.core.text import did_you_mean
from imagen.errors import RequestError

if TYPE_CHECKING:
    from pathlib import Path

    from imagen.backends.diffusers.config import DiffusersConfig
    from imagen.backends.diffusers.families import Job
    from imagen.backends.diffusers.model_source import Source
    from imagen.core.capabilities import Capabilities, Receipt
    from imagen.core.request import Request

_NO_CFG = "it counts only with a cfg above 1"
_NO_CFG_HERE = "diffusers steers this model without it where there is an initial image"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One run: which pipeline, which scheduler, which files."""

    request: Request
    """Complete: every value that will be used."""
    receipt: Receipt
    job: Job
    pipeline: str
    scheduler: tuple[str, dict[str, Any]] | None
    """The class and its options; None for the model's own."""
    loras: tuple[tuple[Path, float], ...] = ()

    def payload(self, source: Source) -> dict[str, Any]:
        """What a ticket shows of it; JSON."""
        scheduler, options = self.scheduler or ("", {})
        return {
            "model": source.name,
            "family": source.family.name,
            "variant": source.variant,
            "pipeline": self.pipeline,
            "scheduler": scheduler,
            "scheduler_options": options,
            "loras": [path.name for path, _ in self.loras],
        }


def plan(request: Request, source: Source, config: DiffusersConfig) -> Plan:
    """The plan for a request as it was asked, or as a former plan completed it.

    Raises RequestError for what can't be done with this model.
    """
    family = source.family
    schedulers.refuse_missing(request.sampler, request.scheduler, is_flow=family.is_flow)
    known = capabilities(request.task, source, config)
    values, receipt = resolve_parameters(request, known)
    values = _defaults(known) | values
    job = family.job(request.task, is_steered="controls" in values)
    assert job is not None  # settle refuses a task that isn't its own
    _drop_idle(values, receipt, is_without=job in family.without_cfg)
    _refuse_controls(request, known)
    _refuse_no_steps(values, request.task)
    return Plan(
        request=request.exactly(values),
        receipt=receipt,
        job=job,
        pipeline=family.pipelines[job],
        scheduler=schedulers.chosen(
            values.get("sampler"), values.get("scheduler"), is_flow=family.is_flow
        ),
        loras=tuple(located(request.loras, config.loras_folder, family.name)),
    )


def _defaults(known: Capabilities) -> dict[str, Any]:
    parameters = known.parameters.items()
    return {name: value.default for name, value in parameters if value.default is not None}


def _drop_idle(values: dict[str, Any], receipt: Receipt, *, is_without: bool) -> None:
    """Without guidance by a second prompt there is no use for that prompt."""
    idle = OF_CFG if is_without else OF_CFG[1:] if values.get("cfg", 1.0) <= 1 else ()
    for name in idle:
        if values.pop(name, None) is not None and name in receipt:
            why = _NO_CFG_HERE if is_without else _NO_CFG
            receipt[name] = ParameterOutcome(outcome="dropped", asked=receipt[name].asked, why=why)


def _refuse_controls(request: Request, known: Capabilities) -> None:
    for control in request.controls if "controls" in known.parameters else ():
        if control.kind not in known.controls:
            raise RequestError(
                f"This backend has no control of kind {control.kind!r}."
                + did_you_mean(control.kind, known.controls),
                remedy=f"It has: {', '.join(known.controls)}.",
            )
        if control.preprocess:
            raise RequestError(
                f"This backend can't make a {control.kind} picture of a file.",
                remedy="Make it with another backend first (preprocess), and give it here.",
            )


def _refuse_no_steps(values: dict[str, Any], task: str) -> None:
    """diffusers runs the strength's share of the steps, rounded down."""
    if "strength" not in values:
        return
    steps, strength = values["steps"], values["strength"]
    if strength == 0:
        raise RequestError(f"strength 0 leaves nothing to do for {task}: use more than 0.")
    if int(steps * strength) < 1:
        least = next(n for n in range(steps, 10001) if int(n * strength) >= 1)
        raise RequestError(
            f"strength {strength:g} of {steps} steps is less than one step.",
            remedy=f"Ask for {least} steps, or for more strength.",
        )
