"""Extract the settings of an image from the graph that made it, by the names of a request."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from imagen.graphs.importer.analyze import (
    TokenDraft,
    find_samplers,
    size_sources,
    take_images,
    take_models,
    take_settings,
    take_sizes,
)
from imagen.graphs.importer.dataflow import SETTING_INPUTS, Dataflow, fits_setting
from imagen.graphs.importer.parameters import IMAGE_SETTINGS, REQUEST_SETTINGS
from imagen.graphs.importer.prompts import (
    LORA_TAG,
    LORA_TAG_CLASS,
    find_side,
    find_sides,
    joined_text,
    take_prompts,
    text_inputs,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imagen.graphs.graph import Graph

_MAX_NODES = 3000
_MAX_SAMPLERS = 16
_MAX_LORAS = _MAX_OUTPUTS = 200
_HOSTED_MODEL = re.compile(r"EMS-\d+-EMS(\.\w+)?")
"""A hosting service's number instead of a model's name."""
_LORA_INPUT = re.compile(r"(?i)lora(_name|_url)?(_?\d{1,3})?|lora_?\d{1,3}_name")
_LORA_SOURCE_INPUTS = ("url", "filename")
"""Inputs for a LoRA that is not a file on the server."""
_WEIGHT_INPUTS = (
    *("strength_model", "lora_model_strength", "model_strength", "lora_strength", "strength"),
    *("model_weight", "lora_weight", "weight", "lora_wt", "model_str"),
)
_DIGITS = re.compile(r"\d{1,3}")
_WEIGHT = re.compile(r"-?\d{1,4}(\.\d{1,9})?")
_SCALE_INPUTS = ("scale_by", "upscale_by", "rescale_factor", "factor", "WidthFactor")
_CLIP_SKIP_INPUTS = ("stop_at_clip_layer", "clip_skip")


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphSettings:
    """The settings of a graph; unknown ones are left out."""

    values: Mapping[str, object]
    """By the names of a request, as the graph has them, unchecked.

    Also `clip_skip`, `hires` (the factor of a second pass) and `hires_denoise`.
    """
    models: tuple[str, ...] = ()
    """The model files, the main one first."""
    loras: tuple[tuple[str, float], ...] = ()
    images: tuple[str, ...] = ()
    """The input images, as the engine named them."""
    further: Mapping[str, object] = field(default_factory=dict)
    """Texts that further encoders add to the prompts."""


def extract_settings(graph: Graph) -> GraphSettings:
    """Read a graph from its first sampler upstream.

    If it has several branches, the one that leads from there to an output counts. A graph larger
    than any that people make has no settings.
    """
    if len(graph) > _MAX_NODES:
        return GraphSettings(values={})
    main, used = _find_main(Dataflow(graph))
    flow = Dataflow({node_id: node for node_id, node in graph.items() if node_id in used})
    draft = TokenDraft(flow)
    samplers = [main] if main else []
    take_prompts(draft, samplers)
    take_images(draft, samplers)
    take_sizes(draft, samplers)
    take_settings(draft, samplers)
    files = take_models(draft, samplers)
    names = REQUEST_SETTINGS + (IMAGE_SETTINGS if "image" in draft else ())
    taken = {name: draft.defaults[name] for name in names if name in draft}
    values = {name: value for name, value in taken.items() if fits_setting(value, name)}
    if "width" not in values and main:
        values |= _find_preset_size(flow, main)
    further: dict[str, object] = {}
    sides = find_sides(flow, main) if main else ()
    for role, side in zip(("prompt", "negative"), sides, strict=False):
        encoders = (
            [joined_text(flow, node_id, name, role) for name in inputs]
            for node_id, inputs in side.texts.items()
        )
        firsts = (next((t for t in texts if t.strip()), "") for texts in encoders)
        texts = [text for text in firsts if text]
        if texts:
            values[role] = texts[0]
        if texts[1:]:
            further[f"further {role}"] = texts[1:]
    loras = tuple(dict.fromkeys(_find_loras(flow)))[:_MAX_LORAS]
    names_of_loras = {name for name, _ in loras}
    models = [
        one.file
        for one in files
        if one.folder != "loras" and one.file not in names_of_loras
        if not _HOSTED_MODEL.fullmatch(one.file)
    ]
    return GraphSettings(
        values=values | _find_clip_skip(flow) | _find_second_pass(flow, main),
        models=tuple(dict.fromkeys(models)),
        loras=loras,
        images=tuple(
            value
            for role, value in draft.defaults.items()
            if role.startswith(("image", "mask", "control_image")) and isinstance(value, str)
        ),
        further=further,
    )


def _find_main(flow: Dataflow) -> tuple[str, set[str]]:
    """The first sampler with a prompt, and all nodes of the output that it leads to."""
    samplers = find_samplers(flow)
    with_text = (one for one in samplers[:_MAX_SAMPLERS] if find_side(flow, one, "prompt").texts)
    main = next(with_text, samplers[0] if samplers else "")
    branches = (flow.ancestors([output]) for output in flow.output_nodes()[:_MAX_OUTPUTS])
    used = next((nodes for nodes in branches if not main or main in nodes), None)
    return main, used or set(flow.graph)


def _find_preset_size(flow: Dataflow, sampler: str) -> dict[str, object]:
    for node_id in size_sources(flow, sampler):
        fed = flow.fed_inputs(node_id)
        behind = [one.node for one in fed if one.name in ("width", "height")]
        sizes = (flow.preset_size(at) for at in (node_id, *behind))
        size = next((size for size in sizes if size is not None), None)
        if size is not None:
            return {"width": size[0], "height": size[1]}
    return {}


def _find_clip_skip(flow: Dataflow) -> dict[str, object]:
    """How many of the text encoder's last layers are left out, counted as other tools do."""
    for node_id in flow.in_order:
        for name in _CLIP_SKIP_INPUTS:
            place = flow.find_literal(node_id, name)
            value = flow.literal(place) if place is not None else None
            if type(value) is int and -24 <= value < -1:
                return {"clip_skip": -value}
    return {}


# -- LoRAs -----------------------------------------------------------------------------------------


def _find_loras(flow: Dataflow) -> Iterator[tuple[str, float]]:
    for node_id in flow.in_order:
        inputs = flow.inputs(node_id)
        kind = flow.class_of(node_id).lower()
        entries = [entry for value in inputs.values() for entry in _list_entries(value)]
        yield from entries
        if not entries and LORA_TAG_CLASS.search(kind):
            for name in text_inputs(flow, node_id) or list(inputs):
                text = inputs.get(name)
                for file, weight in LORA_TAG.findall(text) if isinstance(text, str) else ():
                    yield file, float(weight or 1)
        is_loader = "strength_model" in inputs and "lora" in kind
        for name, value in inputs.items():
            is_named = _LORA_INPUT.fullmatch(name) or (name in _LORA_SOURCE_INPUTS and is_loader)
            if is_named and _is_lora(value) and _is_enabled(inputs, name):
                yield str(value), _weight_beside(inputs, name)


def _is_lora(name: object) -> bool:
    return isinstance(name, str) and name.strip("()[] ").lower() not in ("", "none")


def _list_entries(value: object) -> Iterator[tuple[str, float]]:
    """LoRAs in rgthree's `{"on": …, "lora": …}`, or in a list of `{"name": …, "active": …}`."""
    listed = value.get("__value__") if isinstance(value, dict) else None
    for one in [value, *(listed if isinstance(listed, list) else [])]:
        if not isinstance(one, dict) or not one.get("on", one.get("active", True)):
            continue
        name, strength = one.get("lora", one.get("name")), one.get("strength", 1.0)
        if isinstance(strength, str) and _WEIGHT.fullmatch(strength):
            strength = float(strength)
        weight = _as_number(strength)
        if _is_lora(name) and weight is not None:
            yield str(name), weight


def _is_enabled(inputs: Mapping[str, object], name: str) -> bool:
    """Whether a stack uses this LoRA: its own switch, the stack's, and how many count."""
    if inputs.get("toggle") in (False, "Off"):
        return False
    digits = _DIGITS.search(name)
    if digits is None:
        return True
    counts = (inputs.get(one) for one in ("lora_count", "num_loras"))
    count = next((one for one in counts if isinstance(one, int)), None)
    if count is not None and int(digits[0]) > count:
        return False
    switches = [inputs.get(f"{one}_{digits[0]}") for one in ("switch", "toggle", "enabled", "on")]
    return not any(one is False or one == "Off" for one in switches)


def _weight_beside(inputs: Mapping[str, object], name: str) -> float:
    """The weight of a LoRA: `strength_model`, or a name with the LoRA's number in any place."""
    digits = _DIGITS.search(name)
    names = list(_WEIGHT_INPUTS)
    if digits is not None:
        number = digits[0]
        is_simple = inputs.get("input_mode") == "simple"
        numbered = [
            spelling
            for weight in _WEIGHT_INPUTS
            for spelling in (
                f"{weight}_{number}",
                weight.replace("lora_", f"lora_{number}_"),
                weight.replace("lora_", f"lora{number}_"),
            )
            if number in spelling
        ]
        names = sorted(numbered, key=lambda one: is_simple and "lora_wt" not in one)
    weights = (_as_number(inputs.get(one)) for one in names)
    return next((weight for weight in weights if weight is not None), 1.0)


# -- The second pass -------------------------------------------------------------------------------


def _find_second_pass(flow: Dataflow, main: str) -> dict[str, object]:
    """How much a later sampler enlarges the first one's image, and its denoising strength.

    A refiner or a detailer, which works at the same size, is not a second pass.
    """
    samplers = find_samplers(flow)
    width = _first_number(flow, size_sources(flow, main), "width") if main else None
    for sampler in samplers[:_MAX_SAMPLERS]:
        between = _nodes_between(flow, sampler, main, samplers)
        if not between:
            continue
        scales = [_number_at(flow, node_id, name) for node_id in between for name in _SCALE_INPUTS]
        factors = [scale for scale in scales if scale is not None]
        larger = _first_number(flow, between[1:], "width")
        denoise = _number_at(flow, sampler, "denoise")
        found: dict[str, object] = {} if denoise is None else {"hires_denoise": denoise}
        by_model = any("upscale_model" in flow.inputs(node_id) for node_id in between)
        if larger is not None and width:
            factors = [larger / width]
        elif by_model and "upscale_by" not in flow.inputs(sampler):
            return found  # the graph does not say how much a model enlarges
        factor = round(math.prod(factors), 3)
        if factor > 1:
            return {"hires": factor, **found}
    return {}


def _nodes_between(flow: Dataflow, sampler: str, main: str, samplers: list[str]) -> list[str]:
    """A sampler and the nodes between it and `main`; none if it does not continue from there."""

    def next_nodes(node_id: str) -> list[str]:
        if node_id in samplers and node_id != sampler:
            return []
        return [one.node for one in flow.fed_by_type(node_id, ("LATENT", "IMAGE"))]

    found = flow.walk([sampler], next_nodes)
    if sampler == main or main not in found:
        return []
    return [node_id for node_id in found if node_id not in samplers or node_id == sampler]


def _first_number(flow: Dataflow, node_ids: list[str], role: str) -> float | None:
    sizes = (_number_at(flow, at, name) for at in node_ids for name in SETTING_INPUTS[role])
    return next((size for size in sizes if size), None)


def _number_at(flow: Dataflow, node_id: str, name: str) -> float | None:
    place = flow.find_literal(node_id, name, name)
    return None if place is None else _as_number(flow.literal(place))


def _as_number(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if abs(value) < 10**6 else None
