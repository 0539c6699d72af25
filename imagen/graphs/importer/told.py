"""What a graph that was run says of its image, by the names of a request."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imagen.graphs.importer.files import take_models, take_pictures
from imagen.graphs.importer.node_classes import INTERNAL_MODEL, LORA_TAG, LORA_TAGS, SYNONYMS
from imagen.graphs.importer.prompts import (
    find_side,
    find_sides,
    joined_text,
    take_prompts,
    text_inputs,
)
from imagen.graphs.importer.reading import Draft, Reading, suits
from imagen.graphs.importer.samplers import find_samplers, size_sources, take_settings, take_sizes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

VALUES = (
    *("prompt", "negative", "prompt_2", "negative_2", "width", "height", "seed", "steps", "cfg"),
    *("guidance", "sampler", "scheduler", "count"),
)
OF_AN_IMAGE = ("strength",)
"""What means something only together with an initial image."""
_MOST = 16
_MOST_NODES = 3000
_LARGEST_LORAS = 200
_LORA = re.compile(r"(?i)lora(_name|_url)?(_?\d{1,3})?|lora_?\d{1,3}_name")
_LORA_SOURCES = ("url", "filename")
"""Inputs for a LoRA that is not a file on the server."""
_WEIGHTS = (
    *("strength_model", "lora_model_strength", "model_strength", "lora_strength", "strength"),
    *("model_weight", "lora_weight", "weight", "lora_wt", "model_str"),
)
_DIGITS = re.compile(r"\d{1,3}")
_WEIGHT = re.compile(r"-?\d{1,4}(\.\d{1,9})?")
_SCALES = ("scale_by", "upscale_by", "rescale_factor", "factor", "WidthFactor")
_SKIPS = ("stop_at_clip_layer", "clip_skip")


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """The settings of a graph; what can't be told is not there."""

    values: Mapping[str, Any]
    """By the names of a request, as the graph has them: nothing of it is checked.

    A request has no `clip_skip`, `hires` (the factor of a second pass) or `hires_denoise`.
    """
    models: tuple[str, ...] = ()
    """The model files, the main one first."""
    loras: tuple[tuple[str, float], ...] = ()
    pictures: tuple[str, ...] = ()
    """What the engine called the pictures that it was made of."""
    further: Mapping[str, Any] = field(default_factory=dict)
    """Texts that further encoders add to the prompt and the negative prompt."""


def told(graph: Mapping[str, Any]) -> Told:
    """Read the graph from its first sampler backwards, as far as links lead.

    Of a graph with several branches only the one counts that leads from there to an output. A graph
    larger than any that people make says nothing.
    """
    if len(graph) > _MOST_NODES:
        return Told(values={})
    whole = Reading(graph, {})
    main, used = _main(whole)
    reading = Reading({key: node for key, node in graph.items() if key in used}, {})
    draft = Draft(reading)
    samplers = [main] if main else []
    take_prompts(draft, samplers)
    take_pictures(draft, samplers)
    take_sizes(draft, samplers)
    take_settings(draft, samplers)
    files = take_models(draft, samplers)
    names = VALUES + (OF_AN_IMAGE if draft.takes("image") else ())
    taken = {name: draft.defaults[name] for name in names if draft.takes(name)}
    values = {name: value for name, value in taken.items() if suits(value, name)}
    texts = _texts(reading, samplers)
    loras = tuple(dict.fromkeys(_loras(reading)))[:_LARGEST_LORAS]
    own = {name for name, _ in loras}
    models = [one.file for one in files if one.folder != "loras" and one.file not in own]
    return Told(
        values=values
        | {role: found[0] for role, found in texts.items() if found}
        | _preset_size(reading, samplers, values)
        | _clip_skip(reading)
        | _second_pass(reading, main),
        models=tuple(dict.fromkeys(one for one in models if not INTERNAL_MODEL.fullmatch(one))),
        loras=loras,
        pictures=tuple(_pictures(draft)),
        further={f"further {role}": found[1:] for role, found in texts.items() if found[1:]},
    )


def _main(reading: Reading) -> tuple[str, set[str]]:
    """The first sampler that shows something, and all nodes of the output that it leads to."""
    samplers = find_samplers(reading)
    with_text = (one for one in samplers[:_MOST] if find_side(reading, one, "prompt").texts)
    main = next(with_text, samplers[0] if samplers else "")
    outputs = (reading.above([output]) for output in reading.outputs()[:_LARGEST_LORAS])
    used = next((nodes for nodes in outputs if not main or main in nodes), None)
    return main, used or set(reading.graph)


def _texts(reading: Reading, samplers: list[str]) -> dict[str, list[str]]:
    """The texts of both sides of the sampler, each whole where it is put together of several."""
    texts: dict[str, list[str]] = {"prompt": [], "negative": []}
    for sampler in samplers:
        for role, side in zip(texts, find_sides(reading, sampler), strict=True):
            spelled = (_first_text(reading, key, n, role) for key, n in side.texts.items())
            texts[role] += [text for text in spelled if text]
    return texts


def _first_text(reading: Reading, node_id: str, names: list[str], role: str) -> str:
    texts = (joined_text(reading, node_id, name, role) for name in names)
    return next((text for text in texts if text.strip()), "")


def _preset_size(
    reading: Reading, samplers: list[str], values: Mapping[str, Any]
) -> dict[str, int]:
    if "width" in values or not samplers:
        return {}
    for node_id in size_sources(reading, samplers[0]):
        behind = [link.node for link in reading.links(node_id) if link.name in ("width", "height")]
        sizes = (reading.preset_size(key) for key in (node_id, *behind))
        size = next((size for size in sizes if size is not None), None)
        if size is not None:
            return {"width": size[0], "height": size[1]}
    return {}


def _loras(reading: Reading) -> Iterator[tuple[str, float]]:
    for key in reading.in_order:
        inputs = reading.inputs(key)
        kind = reading.kind_of_node(key).lower()
        is_loader = "strength_model" in inputs and "lora" in kind
        entries = [one for value in inputs.values() for one in _lora_entries(value)]
        yield from entries
        if not entries and LORA_TAGS.search(kind):
            names = text_inputs(reading, key) or list(inputs)
            for name in names:
                yield from _tagged(inputs.get(name))
        for name, value in inputs.items():
            named = _LORA.fullmatch(name) or (name in _LORA_SOURCES and is_loader)
            if named and _is_lora(value) and _is_on(inputs, name):
                yield str(value), _weight(inputs, name)


def _is_lora(name: Any) -> bool:
    return isinstance(name, str) and name.strip("()[] ").lower() not in ("", "none")


def _tagged(text: Any) -> Iterator[tuple[str, float]]:
    for file, weight in LORA_TAG.findall(text) if isinstance(text, str) else ():
        yield file, float(weight or 1)


def _lora_entries(value: Any) -> Iterator[tuple[str, float]]:
    """One of rgthree's `{"on": …, "lora": …}`, or a list of `{"name": …, "active": …}`."""
    listed = value.get("__value__") if isinstance(value, dict) else None
    for one in [value, *(listed if isinstance(listed, list) else [])]:
        name = one.get("lora", one.get("name")) if isinstance(one, dict) else None
        if name is None or not _is_lora(name) or not one.get("on", one.get("active", True)):
            continue
        strength = one.get("strength", 1.0)
        is_text = isinstance(strength, str) and _WEIGHT.fullmatch(strength)
        weight = float(strength) if is_text else _number(strength)
        if weight is not None:
            yield str(name), weight


def _is_on(inputs: Mapping[str, Any], name: str) -> bool:
    """Whether a stack uses this LoRA: its own switch, the stack's, and how many count."""
    digits = _DIGITS.search(name)
    if inputs.get("toggle") in (False, "Off"):
        return False
    if digits is None:
        return True
    number = digits[0]
    counts = (inputs.get(one) for one in ("lora_count", "num_loras"))
    most = next((one for one in counts if type(one) is int), None)
    own = [inputs.get(f"{one}_{number}") for one in ("switch", "toggle", "enabled", "on")]
    return (most is None or int(number) <= most) and not {"Off", False} & {
        one for one in own if isinstance(one, bool | str)
    }


def _weight(inputs: Mapping[str, Any], name: str) -> float:
    """The value beside the name: `strength_model`, or with its number in any of its places."""
    digits = _DIGITS.search(name)
    names = list(_WEIGHTS)
    if digits is not None:
        number = digits[0]
        own = [
            spelled
            for weight in _WEIGHTS
            for spelled in (
                f"{weight}_{number}",
                weight.replace("lora_", f"lora_{number}_"),
                weight.replace("lora_", f"lora{number}_"),
            )
            if number in spelled
        ]
        is_simple = inputs.get("input_mode") == "simple"
        names = sorted(own, key=lambda one: is_simple and "lora_wt" not in one)
    return next((w for one in names if (w := _number(inputs.get(one))) is not None), 1.0)


def _number(value: Any) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if abs(value) < 10**6 else None


def _clip_skip(reading: Reading) -> dict[str, int]:
    """How many of the text encoder's last layers are left out, counted as other tools do."""
    for key in reading.in_order:
        for name in _SKIPS:
            place = reading.place(key, name)
            value = reading.literal(place) if place is not None else None
            if type(value) is int and -24 <= value < -1:
                return {"clip_skip": -value}
    return {}


def _second_pass(reading: Reading, main: str) -> dict[str, float]:
    """How much larger a later sampler goes on with the first one's image, and its denoising.

    A refiner or a detailer, which works at the same size, is not one.
    """
    samplers = find_samplers(reading)
    width = _first_number(reading, size_sources(reading, main), "width") if main else None
    for sampler in samplers[:_MOST]:
        between = _between(reading, sampler, main, samplers)
        if not between:
            continue
        scales = [_plain_number(reading, key, name) for key in between for name in _SCALES]
        by_model = any("upscale_model" in reading.inputs(key) for key in between)
        factors = [one for one in scales if one is not None]
        larger = _first_number(reading, between[1:], "width")
        denoise = _plain_number(reading, sampler, "denoise")
        found: dict[str, float] = {} if denoise is None else {"hires_denoise": denoise}
        if larger is not None and width:
            factors = [larger / width]
        elif by_model and "upscale_by" not in reading.inputs(sampler):
            return found  # how much a model enlarges is not in the graph
        factor = round(math.prod(factors), 3)
        if factor > 1:
            return {"hires": factor, **found}
    return {}


def _between(reading: Reading, sampler: str, main: str, samplers: list[str]) -> list[str]:
    """A sampler and what is between it and the one whose image it goes on with, if that is main."""

    def onward(node_id: str) -> list[str]:
        if node_id in samplers and node_id != sampler:
            return []
        return [link.node for link in reading.fed(node_id, ("LATENT", "IMAGE"))]

    found = reading.walk([sampler], onward)
    if sampler == main or main not in found:
        return []
    return [key for key in found if key not in samplers or key == sampler]


def _first_number(reading: Reading, node_ids: list[str], role: str) -> float | None:
    sizes = (_plain_number(reading, key, name) for key in node_ids for name in SYNONYMS[role])
    return next((size for size in sizes if size), None)


def _plain_number(reading: Reading, node_id: str, name: str) -> float | None:
    place = reading.place(node_id, name, name)
    return None if place is None else _number(reading.literal(place))


def _pictures(draft: Draft) -> Iterator[str]:
    for role, value in draft.defaults.items():
        if role.startswith(("image", "mask", "control_image")) and isinstance(value, str):
            yield value
