"""What a server with A1111's API accepts for each task, from its block and its own lists."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from imagen.core.capabilities import Capabilities, Parameter, with_configured_defaults

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from imagen.backends.a1111.client import A1111Info
    from imagen.backends.a1111.config import A1111Config
    from imagen.core.request import Task

MASK_TASKS = ("inpaint", "outpaint")
IMAGE_TASKS = ("image-to-image", *MASK_TASKS)
EXTRAS_TASKS = ("upscale", "restore")
"""Tasks of the tab "Extras", which use no checkpoint."""
_SAMPLERS = (
    *("DPM++ 2M", "DPM++ SDE", "DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 2S a", "DPM++ 3M SDE"),
    *("Euler a", "Euler", "LMS", "Heun", "DPM2", "DPM2 a", "DPM fast", "DPM adaptive", "Restart"),
    *("DDIM", "PLMS", "UniPC", "LCM"),
)
"""A1111's; assumed until the server is asked."""
_SCHEDULERS = (
    *("automatic", "uniform", "karras", "exponential", "polyexponential", "sgm_uniform"),
    *("kl_optimal", "align_your_steps", "simple", "normal", "ddim", "beta"),
)
_LARGE_MODEL = re.compile(
    r"xl|flux|sd-?3|pony|illustrious|noob|z-?image|qwen|chroma|lumina|wan", re.I
)
"""Names of models that draw 1024 × 1024 pixels; the others are taken for Stable Diffusion 1."""
_CONTROL_NAMES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "canny": (("canny",), ("canny",)),
    "depth": (("depth",), ("depth_anything", "depth_midas", "depth")),
    "pose": (("openpose", "pose"), ("openpose_full", "dw_openpose_full", "openpose")),
    "scribble": (("scribble",), ("scribble_pidinet", "scribble")),
    "lineart": (("lineart",), ("lineart_realistic", "lineart")),
    "softedge": (("softedge", "hed"), ("softedge_pidinet", "softedge")),
    "normal": (("normal",), ("normal_bae", "normal")),
    "segmentation": (("seg",), ("seg_ofade20k", "seg")),
    "mlsd": (("mlsd",), ("mlsd",)),
    "tile": (("tile",), ("tile_resample", "tile")),
}
"""Parts of the names of ControlNets, and of preprocessors in order of preference, by kind."""
_NEVER_ACCEPTED: Mapping[str, str] = {
    "prompt_2": "this API gives one prompt to all text encoders",
    "negative_2": "this API gives one prompt to all text encoders",
    "feather": "imagen feathers the mask before this server sees it",
    "outpaint": "imagen extends the image and makes the mask before this server sees them",
    "references": "this API takes no reference images",
}


def is_large(model: str) -> bool:
    """Whether a model, or a ControlNet for it, draws about a megapixel, by its name."""
    return _LARGE_MODEL.search(model) is not None


def find_controlnet(kind: str, config: A1111Config, info: A1111Info, model: str) -> str | None:
    """The ControlNet for a kind of control image, for models like this one if there is one."""
    if kind in config.controlnets:
        return config.controlnets[kind]
    parts, _ = _CONTROL_NAMES.get(kind, ((kind,), ()))
    nets = [net for net in info.controlnets if any(part in net.lower() for part in parts)]
    return next((net for net in nets if is_large(net) == is_large(model)), next(iter(nets), None))


def find_preprocessor(kind: str, names: Sequence[str]) -> str | None:
    """The server's preprocessor that makes a kind of control image."""
    _, begins = _CONTROL_NAMES.get(kind, ((), (kind,)))
    return next((n for begin in begins for n in names if n.lower().startswith(begin)), None)


def build_capabilities(
    task: Task, config: A1111Config, info: A1111Info, model: str
) -> Capabilities:
    """What the backend accepts for this task; raises ConfigError for an invalid default."""
    is_cpp = info.program == "sd.cpp"
    kinds = dict.fromkeys((*config.controlnets, *_CONTROL_NAMES))
    controls = tuple(kind for kind in kinds if find_controlnet(kind, config, info, model))
    preprocessors = tuple(k for k in _CONTROL_NAMES if find_preprocessor(k, info.preprocessors))
    tasks: list[Task] = ["text-to-image", "image-to-image", "inpaint", "outpaint"]
    if not is_cpp:
        tasks += ["variation", "upscale"]
    if controls:
        tasks.append("control")
    if preprocessors:
        tasks.append("preprocess")
    if info.restorers and not is_cpp:
        tasks.append("restore")
    task = task if task in tasks else tasks[0]
    parameters = dict(_parameters(task, info, model, has_controls=bool(controls)))
    known = {"strength", *_HIRES, *_generation_parameters(info, None)}
    return Capabilities(
        tasks=tuple(tasks),
        parameters=with_configured_defaults(
            parameters, config.parameters, known, backend=config.name
        ),
        controls=controls,
        preprocessors=preprocessors,
        preprocesses_in_run=tuple(kind for kind in controls if kind in preprocessors),
        without={**_NEVER_ACCEPTED, **dict(_reasons_without(task, info, is_cpp=is_cpp))},
        prompt_syntax=("weights",) if is_cpp else ("weights", "loras"),
    )


def _parameters(
    task: Task, info: A1111Info, model: str, *, has_controls: bool
) -> Iterator[tuple[str, Parameter]]:
    if task in (*EXTRAS_TASKS, "preprocess"):
        yield "image", Parameter(type="image", description="The image to work on.")
        described = {
            "upscale": Parameter(description="The factor, and the upscaler's name on the server."),
            "restore": Parameter(description="The face restorer, and how much it keeps."),
            "preprocess": Parameter(
                type="string", description="The kind of control image to make."
            ),
        }
        yield task, described[task]
        return
    side = None if task in IMAGE_TASKS else 1024 if is_large(model) else 512
    yield from _generation_parameters(info, side).items()
    if task in IMAGE_TASKS:
        yield "image", Parameter(type="image", description="The initial image.")
        yield "strength", _STRENGTH
    else:
        yield from _HIRES.items()
    if task in MASK_TASKS:
        yield "mask", Parameter(type="image", description="White areas are repainted.")
    if has_controls:
        yield "controls", Parameter(description="Control images (ControlNet units).")


_STRENGTH = Parameter(
    type="float",
    default=0.75,
    min=0,
    max=1,
    description="Denoising strength: 0 keeps the initial image, 1 ignores it.",
)


_HIRES = {
    "hires": Parameter(
        type="float", min=1, max=8, description="Factor of a second pass at a larger size."
    ),
    "hires_denoise": _STRENGTH.model_copy(
        update={"default": None, "description": "Denoising strength of the second pass: 0.5."}
    ),
    "hires_steps": Parameter(
        type="int", min=0, max=1000, description="Steps of the second pass; 0: as many."
    ),
    "hires_upscaler": Parameter(
        type="string", description="The upscaler of the second pass; by default Latent."
    ),
}
"""The names that the metadata of A1111's images are read with."""


def _generation_parameters(info: A1111Info, default_side: int | None) -> dict[str, Parameter]:
    """The parameters of every task that generates."""
    side = Parameter(
        type="int", default=default_side, min=64, max=8192, multiple_of=8, description="Pixels."
    )
    seed = Parameter(type="int", min=0, max=2**63 - 1, description="The seed of the noise.")
    parameters = {
        "prompt": Parameter(type="string", description="What to show."),
        "negative": Parameter(type="string", default="", description="What to avoid."),
        "width": side,
        "height": side,
        "seed": seed,
        "steps": Parameter(type="int", default=20, min=1, max=1000, description="Sampling steps."),
        "cfg": Parameter(type="float", default=7.0, min=0, max=100, description="Guidance scale."),
        "sampler": Parameter(
            type="string",
            choices=info.samplers or _SAMPLERS,
            description="The sampler; by default the server's.",
        ),
        "scheduler": Parameter(
            type="string",
            choices=info.schedulers or _SCHEDULERS,
            description="The noise schedule; by default the server's.",
        ),
        "count": Parameter(
            type="int", default=1, min=1, max=64, description="Images in one batch."
        ),
        "clip_skip": Parameter(
            type="int", min=1, max=12, description="Skips the last layers of CLIP; 1 skips none."
        ),
        "loras": Parameter(description="LoRAs, by the names of the server."),
    }
    if info.program != "sd.cpp":
        parameters["model"] = Parameter(
            type="string", description="Another checkpoint of the server: a name of imagen models."
        )
        parameters["variation_seed"] = seed.model_copy(
            update={"description": "The seed of a second noise."}
        )
        parameters["variation_strength"] = Parameter(
            type="float", min=0, max=1, description="Share of the second noise."
        )
    if info.program == "forge":
        parameters["guidance"] = Parameter(
            type="float", min=0, max=100, description="Distilled guidance; 3.5 by default."
        )
    return parameters


def _reasons_without(task: Task, info: A1111Info, *, is_cpp: bool) -> Iterator[tuple[str, str]]:
    """Why this task, or this server, does not take a field of a request."""
    if task in (*EXTRAS_TASKS, "preprocess"):
        yield from dict.fromkeys(("width", "height"), "the size follows from the image").items()
        unused = ("seed", "steps", "prompt", "negative", "model", "strength")
        yield from dict.fromkeys(unused, "this task does not use it").items()
        return
    if info.program != "forge":
        yield "guidance", "of this API's servers, only Forge has distilled guidance; use cfg"
    if is_cpp:
        yield "model", "this server keeps the model that it was started with"
        why = "this server does not mix the noise of two seeds"
        yield from dict.fromkeys(("variation_seed", "variation_strength"), why).items()
    if task not in IMAGE_TASKS:
        yield "strength", "there is no initial image"
    else:
        why = "only a request without an initial image has a second pass"
        yield from dict.fromkeys(_HIRES, why).items()
    yield "upscale", "a request with a prompt takes hires instead, the factor of a second pass"
    yield "controls", "the server lists no ControlNets; `imagen models` asks it again"
