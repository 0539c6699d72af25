"""Find the samplers, settings, sizes, images and models of a graph, and draft a token for each.

The prompts have their own module.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from imagen.graphs.importer.dataflow import SETTING_INPUTS, InputPlace
from imagen.graphs.model_names import base_name, is_model_file
from imagen.graphs.tokens import token_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from imagen.graphs.importer.dataflow import Dataflow, FedInput


# -- The draft -------------------------------------------------------------------------------------


@dataclass
class TokenDraft:
    """The tokens chosen so far. Each place is chosen once, by the first role that asks for it."""

    flow: Dataflow
    names: dict[InputPlace, str] = field(default_factory=dict)
    """The token at each place."""
    defaults: dict[str, object] = field(default_factory=dict)
    """The value of each token."""
    without: dict[str, str] = field(default_factory=dict)
    """Why a parameter is missing, by its name."""
    _tokens: dict[tuple[str, bool, object], str] = field(default_factory=dict)
    """By role and value; 1 and 1.0 are the same value, True is another."""
    _numbers: dict[str, int] = field(default_factory=dict)

    def __contains__(self, role: str) -> bool:
        return role in self.defaults

    def take(self, role: str, node_id: str, name: str) -> str | None:
        """Choose the place that this input gets its value from; return its token if it has one.

        Equal values of a role share a token; another value gets the next name: `steps_2`.
        """
        place = self.flow.find_literal(node_id, name, role)
        return None if place is None else self.take_place(role, place)

    def take_place(self, role: str, place: InputPlace) -> str | None:
        """Choose exactly this place."""
        if place in self.names:
            return self.names[place]
        value = self.flow.literal(place)
        if not isinstance(value, str | int | float) or token_name(value) is not None:
            return None
        if not isinstance(value, str) and not -(2**64) < value < 2**64:
            return None  # NaN, or a number that no server accepts
        key = (role, isinstance(value, bool), value)
        if key not in self._tokens:
            # The second prompt is not `prompt_2`, which belongs to a second text encoder.
            infix = "_part" if role in ("prompt", "negative") else ""
            number = self._numbers.get(role, 0) + 1
            while (name := role if number == 1 else f"{role}{infix}_{number}") in self.defaults:
                number += 1
            self._numbers[role] = number
            self._tokens[key] = name
        token = self._tokens[key]
        self.names[place] = token
        self.defaults[token] = value
        return token


# -- Samplers, settings and sizes ------------------------------------------------------------------

_SEED_INPUTS = ("seed", "noise_seed", "seed_num")
_STEPS_INPUTS = {"steps", "steps_total"}
_SAMPLER_INPUTS = {*_STEPS_INPUTS, "sigmas", "cfg", "sampler_name"}
_CONDITIONING_INPUTS = {"positive", "conditioning"}
_SAMPLER_PARTS = ("NOISE", "GUIDER", "SAMPLER", "SIGMAS")
_SIZE_INPUTS = tuple(zip(SETTING_INPUTS["width"], SETTING_INPUTS["height"], strict=True))
_MAX_SAMPLERS = 32
_SETTINGS: Mapping[str, str] = {
    **{n: role for role, names in SETTING_INPUTS.items() for n in names if role != "strength"},
    "cfg_conds": "cfg",
    "cfg_high_noise": "cfg",
    "true_gs": "cfg",
    "embedded_guidance_scale": "guidance",
}
"""The setting that an input of a sampler, or of one of its parts, holds."""


def find_samplers(flow: Dataflow) -> list[str]:
    """The samplers, each after those whose image it continues with.

    If any of them leads to an output, only those that do.
    """
    samplers = [node_id for node_id in flow.in_order if _is_sampler(flow, node_id)]
    used = flow.ancestors(flow.output_nodes())
    return ([node_id for node_id in samplers if node_id in used] or samplers)[:_MAX_SAMPLERS]


def _is_sampler(flow: Dataflow, node_id: str) -> bool:
    """Whether a node has a guider, or a seed together with conditioning or steps.

    A node that gets the settings to write them into a file is not a sampler.
    """
    inputs = set(flow.inputs(node_id))
    if "guider" in inputs:
        return True
    linked = {one.name for one in flow.fed_inputs(node_id)} - set(_SETTINGS)
    if not linked or any(name.startswith("filename") for name in inputs):
        return False
    is_conditioned = bool(_CONDITIONING_INPUTS & inputs)
    if "latent_image" in inputs and is_conditioned:
        return True
    wanted = _SAMPLER_INPUTS if is_conditioned else _STEPS_INPUTS
    return bool(inputs & {*_SEED_INPUTS}) and bool(inputs & wanted)


def take_settings(draft: TokenDraft, samplers: list[str]) -> None:
    """Choose the settings of the samplers; without a sampler, at least the seeds."""
    flow = draft.flow
    for sampler in samplers:
        own = {_SETTINGS[name] for name in flow.inputs(sampler) if name in _SETTINGS}
        _take_settings_of(draft, sampler)
        for node_id in _upstream(flow, sampler, _SAMPLER_PARTS):
            _take_settings_of(draft, node_id)
        for node_id in _bundled(flow, sampler):
            _take_settings_of(draft, node_id, without=own)
        for node_id in _upstream(flow, sampler, ("CONDITIONING", "GUIDER")):
            draft.take("guidance", node_id, "guidance")
    for node_id in flow.in_order if not samplers else ():
        for name in _SEED_INPUTS:
            draft.take("seed", node_id, name)


def _take_settings_of(draft: TokenDraft, node_id: str, without: set[str] | None = None) -> None:
    inputs = draft.flow.inputs(node_id)
    for name in inputs:
        role = _SETTINGS.get(name)
        if role in (None, "width", "height", "count") or role in (without or ()):
            continue
        # A second sampler that adds no noise does not use its seed.
        if name not in _SEED_INPUTS or inputs.get("add_noise") != "disable":
            draft.take(str(role), node_id, name)


def take_sizes(draft: TokenDraft, samplers: list[str]) -> None:
    """Choose the size and the number of images, which the empty latents have."""
    flow = draft.flow
    for sampler in samplers:
        for node_id in size_sources(flow, sampler):
            inputs = flow.inputs(node_id)
            for width, height in _SIZE_INPUTS:
                if width in inputs and height in inputs and flow.preset_size(node_id) is None:
                    draft.take("width", node_id, width)
                    draft.take("height", node_id, height)
                    draft.take("count", node_id, "batch_size")
                    break
    if "width" not in draft or "height" not in draft:
        return
    # Models and schedules that take the size too have the same value.
    for node_id in flow.in_order:
        for width, height in (("width", "height"), ("target_width", "target_height")):
            places = [flow.find_literal(node_id, name) for name in (width, height)]
            sizes = [None if place is None else flow.literal(place) for place in places]
            if sizes == [draft.defaults["width"], draft.defaults["height"]]:
                draft.take("width", node_id, width)
                draft.take("height", node_id, height)


def size_sources(flow: Dataflow, sampler: str) -> list[str]:
    """The nodes that may set the size of a sampler's images, nearest first."""
    return list(dict.fromkeys((sampler, *_latents(flow, sampler), *_bundled(flow, sampler))))


def _latents(flow: Dataflow, sampler: str) -> list[str]:
    """What a sampler starts from, nearest first; not beyond another sampler."""

    def next_nodes(node_id: str) -> list[str]:
        return [] if _is_sampler(flow, node_id) else _latent_sources(flow, node_id)

    found = flow.walk(_latent_sources(flow, sampler), next_nodes)
    return [node_id for node_id in found if not _is_sampler(flow, node_id)]


def _latent_sources(flow: Dataflow, node_id: str) -> list[str]:
    """The nodes that feed the latents of a node, or else its bundles."""
    fed = flow.fed_by_type(node_id, ("LATENT",))
    fed += [one for one in flow.fed_inputs(node_id) if one.name == "image_embeds"]
    return [one.node for one in fed or flow.bundles(node_id)]


def _bundled(flow: Dataflow, sampler: str) -> list[str]:
    """The nodes behind a sampler's pipes and contexts that are not samplers."""

    def next_nodes(node_id: str) -> list[str]:
        return [one.node for one in flow.bundles(node_id)]

    found = flow.walk(next_nodes(sampler), next_nodes)
    return [node_id for node_id in found if not _is_sampler(flow, node_id)]


def _upstream(flow: Dataflow, node_id: str, types: tuple[str, ...]) -> list[str]:
    def next_nodes(at: str) -> list[str]:
        return [one.node for one in flow.fed_by_type(at, types)]

    return flow.walk(next_nodes(node_id), next_nodes)


# -- Images ----------------------------------------------------------------------------------------

_IMAGE_LOADERS = ("LoadImage", "LoadImageOutput")


def take_images(draft: TokenDraft, samplers: list[str]) -> None:
    """Choose initial images, masks, control images, and the denoising strength."""
    flow = draft.flow
    for sampler in samplers:
        initial = [
            loader
            for latent in _latents(flow, sampler)
            for one in flow.fed_by_type(latent, ("IMAGE",))
            if one.name == "pixels"
            for loader in _image_loaders(flow, one.node)
        ]
        for node_id in initial:
            draft.take("image", node_id, "image")
        if initial:
            draft.take("strength", sampler, "denoise")
            for one in flow.fed_by_type(sampler, ("SIGMAS",)):
                draft.take("strength", one.node, "denoise")
    controls = {
        loader
        for node_id in flow.graph
        if {"control_net", "model_patch"} & set(flow.inputs(node_id))
        for one in flow.fed_by_type(node_id, ("IMAGE",))
        for loader in _image_loaders(flow, one.node)
    }
    uses_alpha = False
    for node_id in flow.in_order:
        kind = flow.class_of(node_id)
        if kind == "LoadImageMask":
            draft.take("mask", node_id, "image")
        elif kind in _IMAGE_LOADERS:
            draft.take("control_image" if node_id in controls else "image", node_id, "image")
        is_alpha_used = any(slot == 1 for _, slot in flow.uses[node_id])
        uses_alpha = uses_alpha or (kind == "LoadImage" and is_alpha_used)
    if "mask" not in draft and uses_alpha:
        draft.without["mask"] = "this workflow uses the initial image's own transparency as mask"


def _image_loaders(flow: Dataflow, node_id: str) -> list[str]:
    """The loaders of the images that a node's image is made from."""

    def next_nodes(at: str) -> list[str]:
        return [one.node for one in flow.fed_by_type(at, ("IMAGE",))]

    return [at for at in flow.walk([node_id], next_nodes) if flow.class_of(at) in _IMAGE_LOADERS]


# -- Models ----------------------------------------------------------------------------------------

_MODELS_BY_INPUT: Mapping[str, tuple[str, str]] = {
    "ckpt_name": ("checkpoint", "checkpoints"),
    "unet_name": ("unet", "diffusion_models"),
    "clip_name": ("clip", "text_encoders"),
    "vae_name": ("vae", "vae"),
    "lora_name": ("lora", "loras"),
    "control_net_name": ("controlnet", "controlnet"),
    "style_model_name": ("style_model", "style_models"),
    "gligen_name": ("", "gligen"),
    "hypernetwork_name": ("", "hypernetworks"),
    "photomaker_model_name": ("", "photomaker"),
    "audio_encoder_name": ("", "audio_encoders"),
}
"""The token ("" for none) and the folder of the file at an input."""
_MODELS_BY_CLASS: Mapping[str, tuple[str, str]] = {
    "CLIPVisionLoader": ("clip_vision", "clip_vision"),
    "UpscaleModelLoader": ("upscale_model", "upscale_models"),
    "ModelPatchLoader": ("model_patch", "model_patches"),
    "LatentUpscaleModelLoader": ("", "latent_upscale_models"),
}
_TEXT_ENCODERS = (("clip_l", "clip_l"), ("clip_g", "clip_g"), ("t5", "t5xxl"))
_LORA_STRENGTHS = ("strength_model", "strength_clip", "strength")
_MAIN_FILE_INPUT = re.compile(
    r"(?i)(base_)?(ckpt|checkpoint|unet|model|diffusion_model|gguf|transformer)(_name|_path|_file)?"
)
_MODEL_LINK = re.compile(r"(?i)(model|unet|guider|.*_model)(_\w{0,99}|\d{1,9})?")
_CHECKPOINT = re.compile(r"(?i)ckpt|checkpoint")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFileUse:
    """A model file that the graph loads."""

    file: str
    folder: str
    """"" if it is unknown."""
    token: str
    """"" if it has none."""


def take_models(draft: TokenDraft, samplers: list[str]) -> list[ModelFileUse]:
    """Choose the model files that have a usual name; return all of them, the main one first."""
    flow = draft.flow
    uses: dict[tuple[str, str], ModelFileUse] = {}
    main = _main_model(flow, samplers)
    for place in _model_places(flow, samplers, main):
        file = str(flow.literal(place))
        # The usual token and folder, "" if they are unknown.
        by_input = _MODELS_BY_INPUT.get(re.sub(r"_?\d{1,9}$", "", place.input), ("", ""))
        name, folder = _MODELS_BY_CLASS.get(flow.class_of(place.node), by_input)
        if name == "clip" and place.input != "clip_name":
            base = base_name(file).lower()
            name = next((encoder for part, encoder in _TEXT_ENCODERS if part in base), name)
        if not name and place == main:
            is_checkpoint = _CHECKPOINT.search(place.input)
            name, folder = "unet", "diffusion_models"
            if is_checkpoint:
                name, folder = "checkpoint", "checkpoints"
        token = draft.take(name, place.node, place.input) if name else None
        uses.setdefault((file, folder), ModelFileUse(file=file, folder=folder, token=token or ""))
        if place.input.startswith("lora_name") and token:
            inputs = flow.inputs(place.node)
            values = (inputs.get(name) for name in _LORA_STRENGTHS)
            strengths = {value for value in values if isinstance(value, int | float)}
            for one in _LORA_STRENGTHS if len(strengths) == 1 else ():
                draft.take(f"{token}_strength", place.node, one)
    return list(uses.values())


def _model_places(
    flow: Dataflow, samplers: list[str], main: InputPlace | None
) -> Iterator[InputPlace]:
    """The main model, then the others that the first sampler needs, then all."""
    if main is not None:
        yield main
    used = flow.ancestors(samplers[:1])
    first = [node_id for node_id in flow.in_order if node_id in used]
    for node_id in dict.fromkeys((*first, *flow.in_order)):
        for name, value in flow.inputs(node_id).items():
            place = InputPlace(node_id, name)
            spec = flow.spec(place)
            is_choice = spec is None or spec.type == "COMBO"
            if is_choice and is_model_file(value) and place != main:
                yield place


def _main_model(flow: Dataflow, samplers: list[str]) -> InputPlace | None:
    """The model file at the end of the first sampler's links, or the first checkpoint by name."""

    def model_links(fed: Sequence[FedInput]) -> list[FedInput]:
        return [one for one in fed if _MODEL_LINK.fullmatch(one.name)]

    def next_nodes(node_id: str) -> list[str]:
        fed = flow.fed_inputs(node_id)
        passes = fed if len(fed) == 1 or flow.passed_input(node_id) is not None else []
        return [one.node for one in model_links(fed) or flow.bundles(node_id) or passes]

    upstream = flow.walk(samplers[:1], next_nodes)
    ends = [node_id for node_id in upstream if not model_links(flow.fed_inputs(node_id))]
    for node_id in (*ends, *(flow.in_order if samplers else ())):
        for name, value in flow.inputs(node_id).items():
            is_main = node_id in ends or _CHECKPOINT.search(name)
            if is_main and _MAIN_FILE_INPUT.fullmatch(name) and is_model_file(value):
                return InputPlace(node_id, name)
    return None
