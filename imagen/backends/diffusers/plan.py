"""Plan a run: every value, the pipeline, the scheduler and the LoRA files, before loading."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from imagen.backends.diffusers import schedulers
from imagen.backends.diffusers.capabilities import CFG_PARAMETERS, find_capabilities
from imagen.backends.diffusers.model_source import locate_loras
from imagen.core.capabilities import ParameterOutcome, resolve_parameters
from imagen.core.text import did_you_mean
from imagen.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from imagen.backends.diffusers.config import DiffusersConfig
    from imagen.backends.diffusers.families import PipelineKind
    from imagen.backends.diffusers.model_source import ModelSource
    from imagen.backends.diffusers.schedulers import SchedulerChoice
    from imagen.core.capabilities import Capabilities, Receipt
    from imagen.core.request import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffusersPlan:
    """One run: which pipeline, which scheduler, which files."""

    request: Request
    """Complete: every value that will be used."""
    receipt: Receipt
    kind: PipelineKind
    pipeline: str
    scheduler: SchedulerChoice | None
    """None for the model's own."""
    loras: tuple[tuple[Path, float], ...] = ()

    def payload(self, source: ModelSource) -> dict[str, object]:
        """The plan as a ticket shows it, in JSON types."""
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


def plan_run(request: Request, source: ModelSource, config: DiffusersConfig) -> DiffusersPlan:
    """The plan for a request of a user, or for the complete request of an earlier plan.

    Raises RequestError for what this model cannot do.
    """
    family = source.family
    schedulers.refuse_unusable(request.sampler, request.scheduler, is_flow=family.is_flow)
    known = find_capabilities(request.task, source, config)
    resolved, receipt = resolve_parameters(request, known)
    defaults = {name: p.default for name, p in known.parameters.items() if p.default is not None}
    values = defaults | resolved
    kind = family.pipeline_kind(request.task, has_controls="controls" in values)
    assert kind is not None  # resolve_parameters refuses other tasks
    is_without_cfg = kind in family.without_cfg
    unused: tuple[str, ...] = CFG_PARAMETERS if is_without_cfg else ()
    if not is_without_cfg and values.get("cfg", 1.0) <= 1:
        unused = ("negative", "negative_2")
    for name in unused:
        if values.pop(name, None) is not None and name in receipt:
            receipt[name] = ParameterOutcome(
                outcome="dropped",
                asked=receipt[name].asked,
                why="diffusers does not support it for this model with an initial image"
                if is_without_cfg
                else "it needs a cfg above 1",
            )
    if "controls" in known.parameters:
        _refuse_controls(request, known)
    _refuse_too_few_steps(values, request.task)
    return DiffusersPlan(
        request=request.exactly(values),
        receipt=receipt,
        kind=kind,
        pipeline=family.pipelines[kind],
        scheduler=schedulers.choose_scheduler(
            values.get("sampler"), values.get("scheduler"), is_flow=family.is_flow
        ),
        loras=locate_loras(
            request.loras,
            config.loras_folder,
            family.name,
            listed_only=config.listed_models_only,
        ),
    )


def _refuse_controls(request: Request, known: Capabilities) -> None:
    for control in request.controls:
        if control.kind not in known.controls:
            raise RequestError(
                f"Unknown control {control.kind!r}.{did_you_mean(control.kind, known.controls)}",
                remedy=f"Configured: {', '.join(known.controls)}.",
            )
        if control.preprocess:
            raise RequestError(
                f"This backend cannot make a {control.kind} control image.",
                remedy="Make it with another backend first (imagen preprocess), and pass it here.",
            )


def _refuse_too_few_steps(values: Mapping[str, object], task: str) -> None:
    """diffusers runs steps x strength steps, rounded down."""
    steps, strength = values["steps"], values.get("strength")
    if not isinstance(strength, float) or not isinstance(steps, int):
        return
    if strength == 0:
        raise RequestError(f"strength 0 leaves nothing to do for {task}: use more than 0.")
    if int(steps * strength) < 1:
        least = next(n for n in range(steps, 10001) if int(n * strength) >= 1)
        raise RequestError(
            f"strength {strength:g} of {steps} steps is less than one step.",
            remedy=f"Use at least {least} steps, or more strength.",
        )
