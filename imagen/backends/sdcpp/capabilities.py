"""What a stable-diffusion.cpp backend accepts for each task, from its block, model and engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from imagen.backends.model_choice import MODEL
from imagen.core.capabilities import Capabilities, Parameter, with_configured_defaults

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imagen.backends.sdcpp.config import SdCppConfig
    from imagen.backends.sdcpp.families import SdFamily
    from imagen.core.request import Task

_MAX_IMAGES = 64
_LARGEST_SIDE = 16384
_SAMPLERS = (
    *("euler", "euler_a", "heun", "dpm2", "dpm++2s_a", "dpm++2m", "dpm++2mv2", "ipndm", "ipndm_v"),
    *("lcm", "ddim_trailing", "tcd", "res_multistep", "res_2s"),
)
"""What every version has; assumed while no program or server has been asked."""
_SCHEDULERS = (
    *("discrete", "karras", "exponential", "ays", "gits", "sgm_uniform", "simple", "smoothstep"),
    *("kl_optimal", "lcm", "bong_tangent"),
)
_MASK_TASKS = ("inpaint", "outpaint")
_IMAGE_TASKS = ("image-to-image", *_MASK_TASKS)
_NOISE_TASKS = ("text-to-image", "control")
"""Tasks without an image to encode. Encoding draws noise that depends on the first seed alone."""

_FLAGS: Mapping[str, str] = {
    "clip_skip": "--clip-skip",
    "count": "--batch-count",
    "eta": "--eta",
    "flow_shift": "--flow-shift",
    "guidance": "--guidance",
    "loras": "--lora-model-dir",
    "mask": "--mask",
    "references": "--ref-image",
    "sampler": "--sampling-method",
    "scheduler": "--scheduler",
}
"""The flags of parameters that a version of sd-cli may lack."""

_NEVER_ACCEPTED: Mapping[str, str] = {
    "prompt_2": "this engine gives one prompt to all text encoders",
    "negative_2": "this engine gives one prompt to all text encoders",
    "variation_seed": "this engine does not mix the noise of two seeds",
    "variation_strength": "this engine does not mix the noise of two seeds",
    "feather": "imagen feathers the mask before this engine sees it",
    "outpaint": "imagen extends the image and makes the mask before this engine sees them",
    "upscale": "this engine either upscales or generates; upscale without a prompt",
    "preprocess": "this engine does not return a control image that it makes",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SdEngineInfo:
    """What is known about the program or the server; the defaults hold while neither was asked."""

    samplers: tuple[str, ...] = _SAMPLERS
    schedulers: tuple[str, ...] = _SCHEDULERS
    flags: frozenset[str] | None = None
    """The flags of sd-cli; None while they are unknown, and assumed to be all."""
    is_server: bool = False
    max_images: int = _MAX_IMAGES
    largest_side: int = _LARGEST_SIDE

    def has_flag(self, flag: str) -> bool:
        return self.flags is None or flag in self.flags


def build_capabilities(
    task: Task, config: SdCppConfig, family: SdFamily, engine: SdEngineInfo
) -> Capabilities:
    """What the backend accepts for this task; raises ConfigError for an invalid default."""
    tasks: list[Task] = []
    if config.url or config.model or config.diffusion_model:
        tasks += ["text-to-image", "image-to-image", "inpaint", "outpaint"]
        if family.takes_references:
            tasks.append("edit")
        if config.controlnets and family.takes_control:
            tasks.append("control")
    if config.upscale_models and not engine.is_server:
        tasks.append("upscale")
    task = task if task in tasks else tasks[0]
    possible = dict(_parameters(task, config, family, engine))
    without = {name: reason for name, reason in _unsupported(family, engine) if name in possible}
    parameters = {name: one for name, one in possible.items() if name not in without}
    can_control, has_canny = "control" in tasks, not engine.is_server and engine.has_flag("--canny")
    known = {"strength", *_generation_parameters(family, SdEngineInfo())}
    return Capabilities(
        tasks=tuple(tasks),
        parameters=with_configured_defaults(
            parameters, config.parameters, known, backend=config.name
        ),
        controls=tuple(config.controlnets) if can_control else (),
        batch_seeds=task in _NOISE_TASKS and not engine.is_server,
        preprocesses_in_run=("canny",) if can_control and has_canny else (),
        without={**_NEVER_ACCEPTED, **dict(_reasons_without(task, config, family)), **without},
        prompt_syntax=("weights",) if engine.is_server else ("weights", "loras"),
    )


def _parameters(
    task: str, config: SdCppConfig, family: SdFamily, engine: SdEngineInfo
) -> Iterator[tuple[str, Parameter]]:
    if task == "upscale":
        yield "image", Parameter(type="image", description="The image to upscale.")
        yield "upscale", Parameter(description="The upscale factor and model.")
        return
    has_input_size = task in (*_IMAGE_TASKS, "edit")
    default_side = None if has_input_size else family.side
    yield from _generation_parameters(family, engine, default_side).items()
    if not engine.is_server:
        yield "model", MODEL
    if task in _IMAGE_TASKS:
        yield "image", Parameter(type="image", description="The initial image.")
        yield "strength", _STRENGTH
    if task in _MASK_TASKS:
        yield "mask", Parameter(type="image", description="White areas are repainted.")
    if task == "edit":
        yield "references", Parameter(description="Images that the prompt refers to.")
    if config.controlnets and family.takes_control:
        yield "controls", Parameter(description="A control image that guides the composition.")
    if config.loras_folder or engine.is_server:
        yield "loras", Parameter(description="LoRAs, by file name.")


_STRENGTH = Parameter(
    type="float",
    default=0.75,
    min=0,
    max=1,
    description="Denoising strength: 0 keeps the initial image, 1 ignores it.",
)


def _generation_parameters(
    family: SdFamily, engine: SdEngineInfo, default_side: int | None = None
) -> dict[str, Parameter]:
    """The parameters of every task that generates."""
    side = Parameter(
        type="int",
        default=default_side,
        min=max(16, family.multiple_of),
        max=engine.largest_side,
        multiple_of=family.multiple_of,
        description="Pixels.",
    )

    def number(low: float, high: float, description: str, **more: float) -> Parameter:
        return Parameter(type="float", min=low, max=high, description=description, **more)

    def integer(low: int, high: int, description: str, **more: int) -> Parameter:
        return Parameter(type="int", min=low, max=high, description=description, **more)

    return {
        "prompt": Parameter(
            type="string",
            description="What to show. sd-cli reads <lora:name:strength> in it as a LoRA.",
        ),
        "negative": Parameter(type="string", default="", description="What to avoid."),
        "width": side,
        "height": side,
        "seed": integer(0, 2**64 - 1, "The seed of the noise."),
        "steps": integer(1, 1000, "Sampling steps.", default=family.steps),
        "cfg": number(0, 100, "Guidance scale.", default=family.cfg),
        "guidance": number(0, 100, "Distilled guidance; 3.5 by default."),
        "sampler": Parameter(
            type="string",
            choices=engine.samplers,
            description="The sampler; by default the one that suits the model.",
        ),
        "scheduler": Parameter(
            type="string",
            choices=engine.schedulers,
            description="The noise schedule; by default the one that suits the model.",
        ),
        "count": integer(1, engine.max_images, "Number of images.", default=1),
        "clip_skip": integer(1, 12, "Skips the last layers of CLIP; 1 skips none."),
        "flow_shift": number(0, 100, "Shift of the noise schedule."),
        "eta": number(0, 10, "Noise that the sampler adds at each step."),
    }


def _unsupported(family: SdFamily, engine: SdEngineInfo) -> Iterator[tuple[str, str]]:
    """Why this family, or this version of the program, does not take a parameter."""
    if not family.has_guidance:
        yield "guidance", "this model has no distilled guidance; use cfg"
    if not family.has_clip:
        yield "clip_skip", "this model does not read the prompt with CLIP alone"
    if not family.is_flow:
        yield "flow_shift", "only the schedule of a flow model can be shifted"
    for name, flag in _FLAGS.items():
        if not engine.has_flag(flag):
            yield name, f"this version of stable-diffusion.cpp has no {flag}"


def _reasons_without(task: str, config: SdCppConfig, family: SdFamily) -> Iterator[tuple[str, str]]:
    """Why this task, or this block, does not take a field of a request."""
    if task == "upscale":
        yield from dict.fromkeys(("width", "height"), "the size follows from the factor").items()
        unused = ("seed", "steps", "prompt", "model")
        yield from dict.fromkeys(unused, "upscaling does not use it").items()
        return
    if config.url:
        yield "model", "sd-server keeps the model that it was started with"
    if task not in _IMAGE_TASKS:
        yield "strength", "there is no initial image"
    if task == "edit":
        yield from dict.fromkeys(("image", "mask"), "an edit uses references instead").items()
    if not config.loras_folder:
        yield "loras", f"backends.{config.name}.loras_dir names no folder of LoRAs"
    if not family.takes_control:
        yield "controls", "this engine has ControlNets for Stable Diffusion 1 only"
    elif not config.controlnets:
        yield "controls", f"backends.{config.name}.controlnets names no ControlNet"
