"""Which files a graph reads: pictures that are loaded, and models with the folders they are in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imagen.graphs.importer.reading import Place
from imagen.graphs.importer.samplers import latents
from imagen.graphs.model_names import base_name, is_model_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imagen.graphs.importer.reading import Draft, Link, Reading

_PICTURES = ("LoadImage", "LoadImageMask", "LoadImageOutput")
_PIXELS = ("IMAGE", "MASK")
_BY_INPUT: Mapping[str, tuple[str, str]] = {
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
"""What a file is called as a token ("" for no token), and its folder, by the input it stands at."""
_BY_CLASS: Mapping[str, tuple[str, str]] = {
    "CLIPVisionLoader": ("clip_vision", "clip_vision"),
    "UpscaleModelLoader": ("upscale_model", "upscale_models"),
    "ModelPatchLoader": ("model_patch", "model_patches"),
    "LatentUpscaleModelLoader": ("", "latent_upscale_models"),
}
_ENCODERS = (("clip_l", "clip_l"), ("clip_g", "clip_g"), ("t5", "t5xxl"))
_STRENGTHS = ("strength_model", "strength_clip", "strength")
_MAIN = re.compile(
    r"(?i)(base_)?(ckpt|checkpoint|unet|model|diffusion_model|gguf|transformer)(_name|_path|_file)?"
)
"""Inputs that name the file of the model that samples."""
_MODELS = re.compile(r"(?i)(model|unet|guider|.*_model)(_\w{0,99}|\d{1,9})?")
"""Links that lead there."""
_CHECKPOINT = re.compile(r"(?i)ckpt|checkpoint")
_NO_MASK = "this workflow takes the initial image's own transparency for its mask"


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """One model's file that the graph loads."""

    file: str
    folder: str
    """"" where it can't be told."""
    token: str
    """"" where it has none."""


def take_pictures(draft: Draft, samplers: list[str]) -> None:
    """Choose initial images, masks, control pictures, and how far to leave the initial image."""
    reading = draft.reading
    for sampler in samplers:
        initial = list(_initial(reading, sampler))
        for node_id in initial:
            draft.take("image", node_id, "image")
        if initial:
            _take_strength(draft, sampler)
    loaded = [key for key in reading.in_order if reading.kind_of_node(key) in _PICTURES]
    steering = set(_steering(reading))
    for node_id in loaded:
        role = "control_image" if node_id in steering else "image"
        mask = reading.kind_of_node(node_id) == "LoadImageMask"
        draft.take("mask" if mask else role, node_id, "image")
    if not draft.takes("mask") and any(_is_own_mask(reading, key) for key in loaded):
        draft.without["mask"] = _NO_MASK


def take_models(draft: Draft, samplers: list[str]) -> list[Weights]:
    """Choose the models that have a usual name; and list them all."""
    reading = draft.reading
    found: dict[tuple[str, str], Weights] = {}
    main = _main_model(reading, samplers)
    for place in _model_places(reading, samplers, main):
        name, folder = _named(reading, place)
        if not name and place == main:
            name, folder = _main_name(place)
        token = draft.take(name, place.node, place.input) if name else None
        file = str(reading.literal(place))
        found.setdefault((file, folder), Weights(file=file, folder=folder, token=token or ""))
        if place.input.startswith("lora_name") and token:
            _take_lora_strength(draft, place.node, token)
    return list(found.values())


def _initial(reading: Reading, sampler: str) -> Iterator[str]:
    """The pictures that what a sampler starts from was encoded of."""
    for latent in latents(reading, sampler):
        pixels = [source for name, source, _ in reading.fed(latent, ("IMAGE",)) if name == "pixels"]
        for source in pixels:
            yield from _loaders(reading, source)


def _loaders(reading: Reading, node_id: str) -> list[str]:
    """The pictures that one is made of."""

    def onward(at: str) -> list[str]:
        return [link.node for link in reading.fed(at, ("IMAGE",))]

    kinds = ("LoadImage", "LoadImageOutput")
    return [at for at in reading.walk([node_id], onward) if reading.kind_of_node(at) in kinds]


def _take_strength(draft: Draft, sampler: str) -> None:
    reading = draft.reading
    draft.take("strength", sampler, "denoise")
    for _, source, _ in reading.fed(sampler, ("SIGMAS",)):
        draft.take("strength", source, "denoise")


def _steering(reading: Reading) -> Iterator[str]:
    """The pictures that control nets look at."""
    for key in reading.graph:
        inputs = reading.inputs(key)
        if "control_net" in inputs or "model_patch" in inputs:
            for _, source, _ in reading.fed(key, ("IMAGE",)):
                yield from _loaders(reading, source)


def _is_own_mask(reading: Reading, node_id: str) -> bool:
    """Whether the mask that a picture brings in its alpha channel is used."""
    is_loader = reading.kind_of_node(node_id) == "LoadImage"
    return is_loader and any(slot == 1 for _, slot in reading.uses[node_id])


def _model_places(reading: Reading, samplers: list[str], main: Place | None) -> Iterator[Place]:
    """The model that the first sampler samples with, then the others that it needs, then all."""
    if main is not None:
        yield main
    used = reading.above(samplers[:1])
    before = [key for key in reading.in_order if key in used]
    for key in dict.fromkeys((*before, *reading.in_order)):
        for name, value in reading.inputs(key).items():
            known = reading.declared(Place(key, name))
            is_choice = known is None or known.type == "COMBO"
            if is_choice and is_model_file(value) and Place(key, name) != main:
                yield Place(key, name)


def _main_model(reading: Reading, samplers: list[str]) -> Place | None:
    """The model's file at the end of a sampler's links, else the first that is named like one."""

    def onward(node_id: str) -> list[str]:
        links = reading.links(node_id)
        passes = links if len(links) == 1 or reading.chosen(node_id) is not None else []
        return [link.node for link in _to_models(links) or reading.bundles(node_id) or passes]

    behind = reading.walk(samplers[:1], onward)
    ends = dict.fromkeys(key for key in behind if not _to_models(reading.links(key)))
    for key in (*ends, *(reading.in_order if samplers else ())):
        for name, value in reading.inputs(key).items():
            is_main = _MAIN.fullmatch(name) and (key in ends or _CHECKPOINT.search(name))
            if is_main and is_model_file(value):
                return Place(key, name)
    return None


def _to_models(links: list[Link]) -> list[Link]:
    return [link for link in links if _MODELS.fullmatch(link.name)]


def _main_name(place: Place) -> tuple[str, str]:
    if _CHECKPOINT.search(place.input):
        return "checkpoint", "checkpoints"
    return "unet", "diffusion_models"


def _named(reading: Reading, place: Place) -> tuple[str, str]:
    """A model's usual name and folder; "" for what can't be told."""
    by_class = _BY_CLASS.get(reading.kind_of_node(place.node))
    name, folder = by_class or _BY_INPUT.get(re.sub(r"_?\d{1,9}$", "", place.input), ("", ""))
    if name == "clip" and place.input != "clip_name":
        file = base_name(str(reading.literal(place))).lower()
        name = next((called for part, called in _ENCODERS if part in file), name)
    return name, folder


def _take_lora_strength(draft: Draft, node_id: str, token: str) -> None:
    inputs: Mapping[str, Any] = draft.reading.inputs(node_id)
    own = [inputs[name] for name in _STRENGTHS if isinstance(inputs.get(name), int | float)]
    if own and all(value == own[0] for value in own):
        for name in _STRENGTHS:
            draft.take(f"{token}_strength", node_id, name)
