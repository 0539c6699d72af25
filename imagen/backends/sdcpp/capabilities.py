"""What a stable-diffusion.cpp backend takes for each task, from its block, model and engine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from imagen.backends.base import Model, ModelKind
from imagen.backends.model_choice import MODEL, list_models
from imagen.backends.sdcpp import config as files
from imagen.backends.sdcpp.families import SdFamily
from imagen.backends.sdcpp.loras import list_loras
from imagen.core.capabilities import Capabilities, Parameter, translate_words
from imagen.core.text import did_you_mean
from imagen.errors import ConfigError, RequestError
from imagen.graphs.model_names import is_model_file
from imagen.model_files.identify import identify_model

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from imagen.backends.sdcpp.binary import SdCli
    from imagen.backends.sdcpp.config import SdCppConfig
    from imagen.core.request import Task


LARGEST_SEED = 2**63 - 1
_MOST_AT_ONCE = 64
_LARGEST_SIDE = 16384
SAMPLERS = (
    *("euler", "euler_a", "heun", "dpm2", "dpm++2s_a", "dpm++2m", "dpm++2mv2", "ipndm", "ipndm_v"),
    *("lcm", "ddim_trailing", "tcd", "res_multistep", "res_2s"),
)
"""What any version has; taken for true while no program or server has been asked."""

SCHEDULERS = (
    *("discrete", "karras", "exponential", "ays", "gits", "sgm_uniform", "simple", "smoothstep"),
    *("kl_optimal", "lcm", "bong_tangent"),
)
_MASKED = ("inpaint", "outpaint")
_FROM_A_PICTURE = ("image-to-image", *_MASKED)

_FROM_NOISE = ("text-to-image", "control")
"""Tasks without an image to encode: what is drawn for that depends on the first seed alone."""

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
"""What a version may lack."""

_WITHOUT: dict[str, str] = (
    dict.fromkeys(
        ("prompt_2", "negative_2"), "this engine gives one prompt to all of its text encoders"
    )
    | dict.fromkeys(
        ("variation_seed", "variation_strength"), "this engine does not mix the noise of two seeds"
    )
    | {
        "feather": "imagen feathers the mask itself, before this engine sees it",
        "outpaint": "imagen widens the picture and makes the mask, before this engine sees them",
        "upscale": "this engine enlarges a picture, or makes one; ask for it without a prompt",
        "preprocess": "this engine shows no control picture that it makes",
    }
)


_NONE_TAKEN = "enlarging takes none"


@dataclass(frozen=True, slots=True, kw_only=True)
class SdEngineInfo:
    """What is known of the program or the server; nothing, while neither was asked."""

    samplers: tuple[str, ...] = ()
    schedulers: tuple[str, ...] = ()
    flags: frozenset[str] | None = None
    """None is unknown, and then it is taken to have all."""
    is_server: bool = False
    most_at_once: int = _MOST_AT_ONCE
    largest_side: int = _LARGEST_SIDE


def build_capabilities(
    task: Task, config: SdCppConfig, family: SdFamily, engine: SdEngineInfo
) -> Capabilities:
    """What is taken for this task; raises ConfigError for a default that is none of it."""
    tasks = tuple(_tasks(config, family, engine))
    asked = task if task in tasks else tasks[0]
    there = dict(_parameters(asked, config, family, engine))
    lacking = dict(_lacking(there, family, engine))
    parameters = {name: known for name, known in there.items() if name not in lacking}
    return Capabilities(
        tasks=tasks,
        parameters=_with_defaults(parameters, config),
        controls=tuple(config.controlnets) if "control" in tasks else (),
        batch_seeds=asked in _FROM_NOISE and not engine.is_server,
        preprocesses_in_run=("canny",) if "control" in tasks and _has_canny(engine) else (),
        without=_WITHOUT | dict(_reasons(asked, config, family)) | lacking,
        prompt_syntax=("weights",) if engine.is_server else ("weights", "loras"),
    )


def _has_canny(engine: SdEngineInfo) -> bool:
    return not engine.is_server and (engine.flags is None or "--canny" in engine.flags)


def _tasks(config: SdCppConfig, family: SdFamily, engine: SdEngineInfo) -> Iterator[str]:
    if config.url or config.model or config.diffusion_model:
        yield from ("text-to-image", "image-to-image", *_MASKED)
        if family.takes_references:
            yield "edit"
        if config.controlnets and family.takes_control:
            yield "control"
    if config.upscale_models and not engine.is_server:
        yield "upscale"


def _parameters(
    task: str, config: SdCppConfig, family: SdFamily, engine: SdEngineInfo
) -> Iterator[tuple[str, Parameter]]:
    if task == "upscale":
        yield "image", Parameter(type="image", description="The picture to enlarge.")
        yield "upscale", Parameter(description="How far to enlarge it, and with which model.")
        return
    yield from _TEXTS.items()
    yield from _size(task, family, engine)
    yield from _sampling(family, engine)
    if not engine.is_server:
        yield "model", MODEL
    if task in _FROM_A_PICTURE:
        yield "image", Parameter(type="image", description="The initial image.")
        yield "strength", _STRENGTH
    if task in _MASKED:
        yield "mask", Parameter(type="image", description="What to repaint: white is.")
    if task == "edit":
        yield "references", Parameter(description="The pictures that the prompt speaks of.")
    if config.controlnets and family.takes_control:
        yield "controls", Parameter(description="A picture that steers the composition.")
    if config.loras_folder or engine.is_server:
        yield "loras", Parameter(description="Low-rank adapters, by their files' names.")


_STRENGTH = Parameter(
    type="float", default=0.75, min=0, max=1, description="How far to leave the initial image."
)


_TEXTS = {
    "prompt": Parameter(
        type="string",
        description="What to show. sd-cli reads <lora:name:strength> in it as a LoRA.",
    ),
    "negative": Parameter(type="string", default="", description="What not to show."),
}


def _size(task: str, family: SdFamily, engine: SdEngineInfo) -> Iterator[tuple[str, Parameter]]:
    """A picture that is given has a size of its own."""
    side = Parameter(
        type="int",
        default=None if task in (*_FROM_A_PICTURE, "edit") else family.side,
        min=max(16, family.multiple_of),
        max=engine.largest_side,
        multiple_of=family.multiple_of,
        description="Pixels.",
    )
    yield "width", side
    yield "height", side


def _sampling(family: SdFamily, engine: SdEngineInfo) -> Iterator[tuple[str, Parameter]]:
    yield from {
        "seed": Parameter(type="int", min=0, max=2**64 - 1, description="Where the noise starts."),
        "steps": Parameter(
            type="int", default=family.steps, min=1, max=1000, description="Sampling steps."
        ),
        "cfg": Parameter(
            type="float", default=family.cfg, min=0, max=100, description="Guidance scale."
        ),
        "guidance": Parameter(
            type="float", min=0, max=100, description="Distilled guidance; 3.5 if left out."
        ),
        "sampler": Parameter(
            type="string",
            choices=engine.samplers or SAMPLERS,
            description="The sampler; left out, the one that suits the model.",
        ),
        "scheduler": Parameter(
            type="string",
            choices=engine.schedulers or SCHEDULERS,
            description="The noise schedule; left out, the one that suits the model.",
        ),
        "count": Parameter(
            type="int", default=1, min=1, max=engine.most_at_once, description="How many pictures."
        ),
        "clip_skip": Parameter(
            type="int", min=1, max=12, description="Ends CLIP before its last layers; 1 skips none."
        ),
        "flow_shift": Parameter(
            type="float", min=0, max=100, description="How far the schedule is shifted."
        ),
        "eta": Parameter(
            type="float", min=0, max=10, description="How much noise the sampler adds at each step."
        ),
    }.items()


def _lacking(
    there: Mapping[str, Parameter], family: SdFamily, engine: SdEngineInfo
) -> Iterator[tuple[str, str]]:
    """Why what might be taken is not, by this family or by this version."""
    if not family.has_guidance:
        yield "guidance", "no guidance is distilled into this model; it goes by cfg"
    if not family.has_clip:
        yield "clip_skip", "this model reads no prompt with CLIP alone"
    if not family.is_flow:
        yield "flow_shift", "only the schedule of a flow model can be shifted"
    for name, flag in _FLAGS.items():
        if name in there and engine.flags is not None and flag not in engine.flags:
            yield name, f"this version of stable-diffusion.cpp has no {flag}"


def _reasons(task: str, config: SdCppConfig, family: SdFamily) -> Iterator[tuple[str, str]]:
    """Why a request's field has no place in this task."""
    if task == "upscale":
        yield from dict.fromkeys(("width", "height"), "the size follows from the factor").items()
        yield from dict.fromkeys(("seed", "steps", "prompt", "model"), _NONE_TAKEN).items()
        return
    if config.url:
        yield "model", "sd-server keeps the model that it was started with"
    if task not in _FROM_A_PICTURE:
        yield from dict.fromkeys(("strength",), "there is no initial image").items()
    if task == "edit":
        yield from dict.fromkeys(("image", "mask"), "an edit goes by its references").items()
    if not config.loras_folder:
        yield "loras", f"backends.{config.name}.loras_dir names no folder of LoRAs"
    if not family.takes_control:
        yield "controls", "this engine has control nets for Stable Diffusion 1 only"
    elif not config.controlnets:
        yield "controls", f"backends.{config.name}.controlnets names no control net"


_NAMES = frozenset(
    {"strength", "width", "height", *_TEXTS, *dict(_sampling(SdFamily(), SdEngineInfo()))}
)
"""What a block may give other defaults for."""


def _with_defaults(
    parameters: Mapping[str, Parameter], config: SdCppConfig
) -> dict[str, Parameter]:
    for name in config.parameters:
        if name not in _NAMES:
            raise ConfigError(
                f"backends.{config.name}.parameters.{name}: there is no such parameter."
                f"{did_you_mean(name, _NAMES)}"
            )
    defaults, _ = translate_words(config.parameters, parameters)
    return {
        name: known.model_copy(update={"default": _fitting(name, known, defaults[name], config)})
        if name in defaults
        else known
        for name, known in parameters.items()
    }


def _fitting(name: str, known: Parameter, value: Any, config: SdCppConfig) -> Any:
    try:
        return known.fit(name, value)
    except RequestError as error:
        raise ConfigError(f"backends.{config.name}.parameters: {error.message}") from error


_OWN = ("model", "diffusion_model")
_KINDS: Mapping[str, ModelKind] = {
    "model": "checkpoint",
    "diffusion_model": "diffusion_model",
    "vae": "vae",
    "taesd": "vae",
    "controlnets": "controlnet",
    "upscale_models": "upscaler",
}


def list_backend_models(config: SdCppConfig, program: SdCli) -> Iterator[Model]:
    """Each thing that can be asked for; a file that can't be read is listed without a family."""
    for file in files.list_weight_files(config):
        kind = _KINDS.get(file.key, "text_encoder")
        yield replace(_model(kind, _name(file), file.path), is_default=file.key in _OWN)
    yield from _others(config)
    if (folder := config.loras_folder) is not None:
        for name in list_loras(folder):
            yield _model("lora", name, folder / name)
    yield from (Model(kind="sampler", name=name) for name in program.samplers)
    yield from (Model(kind="scheduler", name=name) for name in program.schedulers)


def _others(config: SdCppConfig) -> Iterator[Model]:
    """The models of `models_dir` that can be looked into, but for the block's own."""
    own = [path.absolute() for path in (config.model, config.diffusion_model) if path]
    root = config.models_dir.expanduser().absolute()
    for name in list_models(root):
        path = root / name
        if not is_model_file(name) or path in own:
            continue
        try:
            found = identify_model(path)
        except ConfigError:
            continue
        if found.role == "checkpoint" or found.role == "diffusion_model":
            yield Model(
                kind=found.role, name=name, family=found.family, size_bytes=found.size_bytes
            )


def _name(file: files.WeightFile) -> str:
    """A control net is asked for by its kind."""
    kind = file.at.removeprefix("controlnets.")
    return kind if file.key == "controlnets" else file.path.name


def _model(kind: ModelKind, name: str, path: Path) -> Model:
    try:
        found = identify_model(path)
    except ConfigError:
        return Model(kind=kind, name=name)
    return Model(kind=kind, name=name, family=found.family, size_bytes=found.size_bytes)
