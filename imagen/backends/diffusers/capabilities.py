"""What a diffusers backend takes for each task, by the family of its model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imagen.backends.diffusers import schedulers
from imagen.backends.model_choice import MODEL
from imagen.core.capabilities import Capabilities, Parameter, translate_words
from imagen.core.text import did_you_mean
from imagen.errors import ConfigError, RequestError

if TYPE_CHECKING:
    from imagen.backends.diffusers.config import DiffusersConfig
    from imagen.backends.diffusers.families import Family, Job
    from imagen.backends.diffusers.model_source import Source
    from imagen.core.request import Task

_LARGEST_SEED = 2**64 - 1
_SEED = Parameter(type="int", min=0, max=_LARGEST_SEED, description="Where the noise starts.")
_PROMPT = Parameter(type="string", description="What to show.")
_COUNT = Parameter(type="int", default=1, min=1, max=8, description="How many at once.")
_LORAS = Parameter(description="Files of `loras_dir`, or paths, with their strengths.")
_CONTROLS = Parameter(description="Control pictures that are ready, each of a kind configured.")
_IMAGE = Parameter(type="image", description="The picture to begin with.")
_MASK = Parameter(type="image", description="What to draw anew: white.")
_REFERENCES = Parameter(description="Pictures that the prompt speaks of, 64 pixels and more.")
_VARIATION = {
    "variation_seed": Parameter(
        type="int", min=0, max=_LARGEST_SEED, description="Where a second noise starts."
    ),
    "variation_strength": Parameter(
        type="float", min=0, max=1, description="The second noise's share."
    ),
}
OF_CFG = ("cfg", "negative", "negative_2")
"""What some pipelines know nothing of."""


def capabilities(task: Task, source: Source, config: DiffusersConfig) -> Capabilities:
    """What it takes for this task; for one that it can't do, what it takes for its first."""
    family = source.family
    tasks = family.tasks(has_controls=bool(config.controlnets))
    asked = task if task in tasks else tasks[0]
    job = family.job(asked, is_steered=False)
    assert job is not None  # it is one of its tasks
    parameters = _parameters(family, job, asked, config)
    return Capabilities(
        tasks=tasks,
        parameters=_with_defaults(parameters, config),
        controls=tuple(config.controlnets),
        without=_without(parameters, config),
        prompt_syntax=(),
    )


def _parameters(
    family: Family, job: Job, task: Task, config: DiffusersConfig
) -> dict[str, Parameter]:
    found = {"prompt": _PROMPT, **_texts(family), **_numbers(family), **_sampling(family)}
    if job in family.without_cfg:
        found = {name: known for name, known in found.items() if name not in OF_CFG}
    found |= {"seed": _SEED, "model": MODEL, "count": _COUNT, "loras": _LORAS}
    if job in ("image", "inpaint"):
        found |= {"image": _IMAGE, "strength": _strength(0.6 if job == "image" else 1.0)}
    if job == "inpaint":
        found["mask"] = _MASK
    if job == "edit":
        found["references"] = _REFERENCES
    if job in ("text", "control text") and family.has_variations:
        found |= _VARIATION
    if config.controlnets and family.job(task, is_steered=True) is not None:
        found["controls"] = _CONTROLS
    return found


def _texts(family: Family) -> dict[str, Parameter]:
    texts: dict[str, str] = {}
    if family.has_negative:
        texts["negative"] = "What not to show; counts with a cfg above 1."
    if family.has_second_prompt:
        texts |= {
            "prompt_2": "For the second text encoder; else it reads the prompt.",
            "negative_2": "For the second text encoder; else it reads the negative.",
        }
    return {name: Parameter(type="string", description=text) for name, text in texts.items()}


def _numbers(family: Family) -> dict[str, Parameter]:
    side = Parameter(
        type="int",
        default=family.side,
        min=16,
        max=4096,
        multiple_of=family.multiple_of,
        description="Pixels.",
    )
    steps = Parameter(
        type="int", default=family.steps, min=1, max=1000, description="Sampling steps."
    )
    cfg = Parameter(
        type="float",
        default=family.cfg,
        min=0,
        max=50,
        description="Classifier-free guidance; 1 and less is none, and twice as fast.",
    )
    found = {"width": side, "height": side, "steps": steps, "cfg": cfg}
    if family.guidance is not None:
        found["guidance"] = Parameter(
            type="float",
            default=family.guidance,
            min=0,
            max=100,
            description="The guidance that is distilled into the model.",
        )
    return found


def _sampling(family: Family) -> dict[str, Parameter]:
    return {
        "sampler": Parameter(
            type="string",
            default=schedulers.OWN,
            choices=schedulers.samplers(is_flow=family.is_flow),
            description="How the noise is taken away; `default` is the model's own way.",
        ),
        "scheduler": Parameter(
            type="string",
            default=schedulers.NORMAL,
            choices=schedulers.schedules(is_flow=family.is_flow),
            description="How the noise is spread over the steps.",
        ),
    }


def _strength(default: float) -> Parameter:
    return Parameter(
        type="float",
        default=default,
        min=0,
        max=1,
        description="How far to leave the picture: the share of the steps that is run.",
    )


def _with_defaults(
    parameters: dict[str, Parameter], config: DiffusersConfig
) -> dict[str, Parameter]:
    """With the configuration's own defaults; raises ConfigError for one that doesn't fit."""
    for name in config.parameters:
        if name not in _ALL:
            raise ConfigError(
                f"backends.{config.name}.parameters.{name}: there is no such parameter."
                + did_you_mean(name, _ALL)
            )
    named, _ = translate_words(config.parameters, parameters)
    chosen = {name: value for name, value in named.items() if name in parameters}
    return parameters | {n: _default(config, n, parameters[n], v) for n, v in chosen.items()}


def _default(config: DiffusersConfig, name: str, parameter: Parameter, value: Any) -> Parameter:
    try:
        fitting = parameter.fit(name, value)
    except RequestError as error:
        raise ConfigError(
            f"backends.{config.name}.parameters.{name}: {error.message}", remedy=error.remedy
        ) from error
    return parameter.model_copy(update={"default": fitting})


_ALL = (
    *("prompt", "negative", "prompt_2", "negative_2", "width", "height", "steps", "cfg"),
    *("guidance", "sampler", "scheduler", "strength", "count"),
)
"""What a configuration may set another default for."""


def _without(parameters: dict[str, Parameter], config: DiffusersConfig) -> dict[str, str]:
    """Why a parameter that others have is lacking."""
    controls = "its pipelines for this task take no control pictures"
    reasons = {
        "guidance": "no guidance is distilled into this model",
        "prompt_2": "this model has one text encoder",
        "negative_2": "this model has one text encoder",
        "negative": "this model's pipeline takes no negative prompt",
        "cfg": "this model's pipeline takes no classifier-free guidance",
        "controls": controls if config.controlnets else "no `controlnets` are configured",
        "variation_seed": "two noises are mixed only where a picture begins from noise",
        "variation_strength": "two noises are mixed only where a picture begins from noise",
    }
    return {name: why for name, why in reasons.items() if name not in parameters}
