"""What a model at a server accepts, and the request in the words of that server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from imagen.backends.openai.config import SERVER_KINDS
from imagen.core.capabilities import Capabilities, Parameter, with_configured_defaults
from imagen.core.request import LARGEST_SEED, USUAL_SIDE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.backends.openai.config import OpenAIConfig, ServerKind
    from imagen.backends.openai.models import ImagesFamily
    from imagen.core.request import Task

_MASK_TASKS = ("inpaint", "outpaint")
_IMAGE_TASKS = ("image-to-image", *_MASK_TASKS)
FIELDS: Mapping[ServerKind, Mapping[str, str]] = {
    "openai": {},
    "imagen": {
        "seed": "seed",
        "negative": "negative_prompt",
        "steps": "steps",
        "cfg": "cfg_scale",
        "guidance": "guidance",
        "sampler": "sampler",
        "scheduler": "scheduler",
        "strength": "strength",
    },
    "vllm": {
        "seed": "seed",
        "negative": "negative_prompt",
        "steps": "num_inference_steps",
        "cfg": "true_cfg_scale",
        "guidance": "guidance_scale",
    },
    "localai": {"seed": "seed", "steps": "step", "negative": ""},
    "sd-server": {
        "seed": "",
        "negative": "",
        "steps": "",
        "cfg": "",
        "guidance": "",
        "sampler": "",
        "scheduler": "",
        "strength": "",
    },
    "other": {},
}
"""Beyond OpenAI's parameters, by kind of server: imagen's names and the server's fields. An empty
field goes into the prompt."""
_STANDARD: Mapping[str, Parameter] = {
    "background": Parameter(
        type="string", choices=("auto", "opaque", "transparent"), description="The background."
    ),
    "output_format": Parameter(
        type="string", choices=("png", "jpeg", "webp"), description="The format it sends."
    ),
    "output_compression": Parameter(
        type="int", min=0, max=100, description="Of JPEG and WebP; 100 is the best quality."
    ),
    "moderation": Parameter(
        type="string", choices=("auto", "low"), description="How strict the content filter is."
    ),
    "input_fidelity": Parameter(
        type="string", choices=("low", "high"), description="How closely input images are kept."
    ),
}
"""OpenAI's own parameters, given as `extra`."""
_SEEDS: Mapping[str, int] = {"sd-server": 2**63 - 1, "localai": 2**31 - 1, "vllm": 2**63 - 1}
_NOT_IN_API = "the Images API has no such parameter"
_WITHOUT: Mapping[str, str] = {
    "feather": "imagen feathers the mask before it is sent",
    "outpaint": "imagen extends the image and makes the mask before they are sent",
    **dict.fromkeys(
        (
            *("prompt_2", "negative_2", "variation_seed", "variation_strength", "clip_skip"),
            *("loras", "controls", "upscale", "restore", "preprocess"),
        ),
        _NOT_IN_API,
    ),
}


def build_capabilities(task: Task, config: OpenAIConfig, family: ImagesFamily) -> Capabilities:
    """What the backend accepts for a task; raises ConfigError for an invalid default."""
    tasks: list[Task] = ["text-to-image"]
    if family.edits:
        tasks += ["image-to-image", "inpaint", "outpaint"]
        tasks += ["edit"] if family.references else []
    task = task if task in tasks else "text-to-image"
    parameters = _parameters(task, config, family)
    known = {*_parameters("inpaint", config, family), *_parameters("edit", config, family)}
    return Capabilities(
        tasks=tuple(tasks),
        parameters=with_configured_defaults(
            parameters, config.parameters, known, backend=config.name
        ),
        without={
            **_WITHOUT,
            **{
                name: _why_without(config) for name in FIELDS["sd-server"] if name not in parameters
            },
            **{
                name: f"{task} does not use it"
                for name in ("image", "mask", "references")
                if name not in parameters
            },
        },
        prompt_syntax=("weights",) if config.server_kind == "sd-server" else (),
    )


def _why_without(config: OpenAIConfig) -> str:
    if config.server_kind != "other":
        return f"the Images API of {config.server_kind} has no such parameter"
    kinds = ", ".join(kind for kind in SERVER_KINDS if FIELDS[kind])
    return f"{_NOT_IN_API}; set backends.{config.name}.server if the server is {kinds}"


def _parameters(task: str, config: OpenAIConfig, family: ImagesFamily) -> dict[str, Parameter]:
    default_side = USUAL_SIDE if task == "text-to-image" else None
    side = Parameter(
        type="int",
        default=default_side,
        min=16,
        max=16384,
        description="Pixels; the nearest size of the model is used.",
    )
    if not family.sizes:
        limits = {"min": family.min_side, "max": family.max_side}
        side = side.model_copy(update={**limits, "multiple_of": family.multiple_of})

    def number(low: float, high: float, description: str) -> Parameter:
        return Parameter(type="float", min=low, max=high, description=description)

    seed = _SEEDS.get(config.server_kind, LARGEST_SEED)
    of_server = {
        "seed": Parameter(type="int", min=0, max=seed, description="The seed of the noise."),
        "negative": Parameter(type="string", default="", description="What to avoid."),
        "steps": Parameter(type="int", min=1, max=1000, description="Sampling steps."),
        "cfg": number(0, 100, "Guidance scale."),
        "guidance": number(0, 100, "Distilled guidance."),
        "sampler": Parameter(type="string", description="The sampler, as the server calls it."),
        "scheduler": Parameter(type="string", description="The scheduler, as the server calls it."),
        "strength": number(0, 1, "Denoising strength: 0 keeps the initial image, 1 ignores it."),
    }
    most = family.max_images
    parameters = {
        "prompt": Parameter(type="string", description="What to show."),
        "width": side,
        "height": side,
        "count": Parameter(type="int", default=1, min=1, max=most, description="Number of images."),
        "model": Parameter(type="string", description="A model of the server's list."),
        **{name: of_server[name] for name in FIELDS[config.server_kind] if name != "strength"},
    }
    if family.quality:
        choices = family.quality
        parameters["quality"] = Parameter(
            type="string", choices=choices, default=choices[0], description="Detail, and cost."
        )
    parameters |= _STANDARD
    if task in _IMAGE_TASKS:
        parameters["image"] = Parameter(type="image", description="The initial image.")
        if "strength" in FIELDS[config.server_kind]:
            parameters["strength"] = of_server["strength"]
    if task == "text-to-image":
        del parameters["input_fidelity"]
    if task in _MASK_TASKS:
        parameters["mask"] = Parameter(type="image", description="White areas are repainted.")
    if task == "edit":
        parameters["references"] = Parameter(description="Images that the prompt refers to.")
    return parameters


def build_body(
    values: Mapping[str, Any], model: str, config: OpenAIConfig, family: ImagesFamily
) -> dict[str, Any]:
    """The request in the server's words, without its images."""
    kind, prompt = config.server_kind, str(values.get("prompt") or "")
    server = {name: values[name] for name in FIELDS[kind] if values.get(name) not in (None, "")}
    if kind == "localai" and "negative" in server:
        prompt = f"{prompt}|{server['negative']}"
    elif kind == "sd-server" and server:
        prompt = f"{prompt}<sd_cpp_extra_args>{json.dumps(_native(server))}</sd_cpp_extra_args>"
    count = int(values.get("count") or 1)
    body: dict[str, Any] = {
        "prompt": prompt,
        "model": model,
        "n": count,
        "size": f"{values['width']}x{values['height']}",
        **{FIELDS[kind][name]: value for name, value in server.items() if FIELDS[kind][name]},
        **{name: values.get(name) for name in ("quality", *_STANDARD)},
    }
    if not config.is_openai:  # its own models always answer so, and refuse the field
        body["response_format"] = "b64_json"
    wants_stream = config.stream == "on"
    if config.stream == "auto":
        is_single = kind == "openai" and family.streams and count == 1
        wants_stream = is_single or kind == "imagen"
    if wants_stream:
        body |= {"stream": True, "partial_images": 2}
    return {name: value for name, value in body.items() if value not in (None, "")} | {
        "prompt": prompt
    }


def _native(values: Mapping[str, Any]) -> dict[str, Any]:
    """sd-server's own parameters, which its Images API reads from the prompt."""
    guidance = {"txt_cfg": values.get("cfg"), "distilled_guidance": values.get("guidance")}
    sampling = {
        "sample_steps": values.get("steps"),
        "sample_method": values.get("sampler"),
        "scheduler": values.get("scheduler"),
        "guidance": {name: value for name, value in guidance.items() if value is not None},
    }
    native = {
        "seed": values.get("seed"),
        "negative_prompt": values.get("negative"),
        "strength": values.get("strength"),
        "sample_params": {name: v for name, v in sampling.items() if v not in (None, {})},
    }
    return {name: value for name, value in native.items() if value not in (None, {})}
