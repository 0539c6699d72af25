"""What a diffusers backend accepts for each task, and the models it lists."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from imagen.backends.base import Model
from imagen.backends.diffusers import schedulers
from imagen.backends.diffusers.model_source import list_loras, read_source
from imagen.backends.model_choice import MODEL, list_models
from imagen.core.capabilities import Capabilities, Parameter, with_configured_defaults
from imagen.errors import ConfigError
from imagen.model_files.identify import identify_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagen.backends.diffusers.config import DiffusersConfig
    from imagen.backends.diffusers.families import DiffusersFamily, PipelineKind
    from imagen.backends.diffusers.model_source import ModelSource
    from imagen.core.request import Task

_LARGEST_SEED = 2**64 - 1
CFG_PARAMETERS = ("cfg", "negative", "negative_2")
"""Parameters that only pipelines with classifier-free guidance take."""
_CONFIGURABLE = (
    *("prompt", "negative", "prompt_2", "negative_2", "width", "height", "steps", "cfg"),
    *("guidance", "sampler", "scheduler", "strength", "count"),
)
"""Parameters whose defaults a block may set."""
_MISSING = {
    "guidance": "this model has no distilled guidance",
    "prompt_2": "this model has one text encoder",
    "negative_2": "this model has one text encoder",
    "negative": "the pipeline of this model takes no negative prompt",
    "cfg": "the pipeline of this model has no classifier-free guidance",
    "variation_seed": "variations work only where an image starts from noise",
    "variation_strength": "variations work only where an image starts from noise",
}
"""Why a model lacks parameters that other models have."""


def find_capabilities(task: Task, source: ModelSource, config: DiffusersConfig) -> Capabilities:
    """What the backend takes for this task; for an unsupported task, for its first one."""
    family = source.family
    tasks = family.tasks(has_controls=bool(config.controlnets))
    task = task if task in tasks else tasks[0]
    kind = family.pipeline_kind(task, has_controls=False)
    assert kind is not None  # the task is one of the family's
    texts = {"prompt": "What to show."}
    if family.has_negative:
        texts["negative"] = "What not to show; needs a cfg above 1."
    if family.has_second_prompt:
        texts["prompt_2"] = "Prompt for the second text encoder; default: the prompt."
        texts["negative_2"] = "Negative prompt for the second text encoder; default: the first."
    parameters = {name: Parameter(type="string", description=d) for name, d in texts.items()}
    parameters |= _sampling_parameters(family)
    if kind in family.without_cfg:
        parameters = {k: p for k, p in parameters.items() if k not in CFG_PARAMETERS}
    parameters |= _image_parameters(family, kind)
    if config.controlnets and family.pipeline_kind(task, has_controls=True) is not None:
        parameters["controls"] = Parameter(
            description="Finished control images, each of a kind in `controlnets`."
        )
    reasons = _MISSING | {
        "controls": "its pipelines for this task take no control images"
        if config.controlnets
        else "no `controlnets` are configured"
    }
    return Capabilities(
        tasks=tasks,
        parameters=with_configured_defaults(
            parameters, config.parameters, _CONFIGURABLE, backend=config.name
        ),
        controls=tuple(config.controlnets),
        without={name: why for name, why in reasons.items() if name not in parameters},
        prompt_syntax=(),
    )


def _sampling_parameters(family: DiffusersFamily) -> dict[str, Parameter]:
    side = Parameter(
        type="int",
        default=family.side,
        min=16,
        max=4096,
        multiple_of=family.multiple_of,
        description="Pixels.",
    )
    parameters = {
        "width": side,
        "height": side,
        "steps": Parameter(
            type="int", default=family.steps, min=1, max=1000, description="Sampling steps."
        ),
        "cfg": Parameter(
            type="float",
            default=family.cfg,
            min=0,
            max=50,
            description="Classifier-free guidance; 1 or less turns it off and is twice as fast.",
        ),
        "sampler": Parameter(
            type="string",
            default=schedulers.DEFAULT,
            choices=schedulers.list_samplers(is_flow=family.is_flow),
            description="Sampler; `default` is the model's own.",
        ),
        "scheduler": Parameter(
            type="string",
            default=schedulers.NORMAL,
            choices=schedulers.list_schedules(is_flow=family.is_flow),
            description="Noise schedule: how the noise is spread over the steps.",
        ),
        "seed": Parameter(type="int", min=0, max=_LARGEST_SEED, description="Seed of the noise."),
        "model": MODEL,
        "count": Parameter(type="int", default=1, min=1, max=8, description="Images per batch."),
        "loras": Parameter(description="Names in `loras_dir` or paths, with strengths."),
    }
    if family.guidance is not None:
        parameters["guidance"] = Parameter(
            type="float",
            default=family.guidance,
            min=0,
            max=100,
            description="Distilled guidance of the model.",
        )
    return parameters


def _image_parameters(family: DiffusersFamily, kind: PipelineKind) -> dict[str, Parameter]:
    """Parameters for images that a pipeline of this kind starts from, and for its noise."""
    parameters: dict[str, Parameter] = {}
    if kind in ("image", "inpaint"):
        parameters["image"] = Parameter(type="image", description="Initial image.")
        parameters["strength"] = Parameter(
            type="float",
            default=0.6 if kind == "image" else 1.0,
            min=0,
            max=1,
            description="Denoising strength: the share of the steps that runs.",
        )
    if kind == "inpaint":
        parameters["mask"] = Parameter(
            type="image", description="Mask image; white areas are repainted."
        )
    if kind == "edit":
        parameters["references"] = Parameter(
            description="Reference images for the prompt, at least 64 pixels wide and high."
        )
    if kind in ("text", "control text") and family.has_variations:
        parameters["variation_seed"] = Parameter(
            type="int", min=0, max=_LARGEST_SEED, description="Seed of a second noise."
        )
        parameters["variation_strength"] = Parameter(
            type="float", min=0, max=1, description="Share of the second noise."
        )
    return parameters


def list_available_models(config: DiffusersConfig, source: ModelSource) -> Iterator[Model]:
    """Everything that a request can name; memory needs are unknown before loading."""
    family = source.family
    yield Model(
        kind="checkpoint",
        name=source.name,
        family=family.name,
        size_bytes=source.size_bytes,
        is_default=True,
    )
    root = config.models_dir.expanduser()
    for name in list_models(root):
        block = config.model_copy(update={"model": str(root / name), "family": "", "variant": ""})
        try:
            other = read_source(block)
        except ConfigError:
            continue
        if not os.path.exists(source.where) or not os.path.samefile(source.where, root / name):
            yield Model(
                kind="diffusion_model" if other.is_part else "checkpoint",
                name=name,
                family=other.family.name,
                size_bytes=other.size_bytes,
            )
    for name, path in list_loras(config.loras_folder):
        try:
            lora = identify_model(path)
        except ConfigError:
            continue
        if lora.role == "lora":
            yield Model(kind="lora", name=name, family=lora.family, size_bytes=lora.size_bytes)
    for kind in config.controlnets:
        yield Model(kind="controlnet", name=kind, family=family.name)
    for name in schedulers.list_samplers(is_flow=family.is_flow):
        yield Model(kind="sampler", name=name)
    for name in schedulers.list_schedules(is_flow=family.is_flow):
        yield Model(kind="scheduler", name=name)
