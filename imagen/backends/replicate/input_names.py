"""What a model's inputs mean: names of inputs for request fields, for sizes and for tasks.

The tables were collected from the input schemas of models on replicate.com (2026-11).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imagen.core.request import Request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.backends.replicate.input_schema import ModelInput
    from imagen.core.request import Task

NAMES: Mapping[str, tuple[str, ...]] = {
    "prompt": ("prompt", "text_prompt", "text", "caption"),
    "negative": ("negative_prompt", "negative"),
    "prompt_2": ("prompt_2",),
    "negative_2": ("negative_prompt_2",),
    "seed": ("seed", "random_seed"),
    "steps": ("num_inference_steps", "steps", "inference_steps", "num_steps", "sampling_steps"),
    "cfg": ("cfg", "cfg_scale", "true_cfg_scale", "guidance_scale"),
    "guidance": ("guidance", "distilled_guidance_scale"),
    "sampler": ("sampler", "sampler_name", "scheduler"),
    "scheduler": ("noise_schedule", "schedule"),
    "count": (
        "num_outputs",
        "number_of_images",
        "num_images",
        "num_images_per_prompt",
        "batch_size",
        "n",
    ),
    "image": ("image", "init_image", "input_image", "image_prompt", "img"),
    "mask": ("mask", "mask_image", "image_mask"),
    "strength": (
        "prompt_strength",
        "strength",
        "denoising_strength",
        "denoise",
        "image_prompt_strength",
    ),
    "references": (
        "input_images",
        "image_input",
        "reference_images",
        "image_inputs",
        "images",
        "input_image",
    ),
    "controls": ("control_image", "controlnet_image"),
    "upscale": ("scale", "upscale_factor", "scale_factor", "upscale"),
    "restore": ("codeformer_fidelity", "fidelity"),
}
"""Input names for each request field. Where a model has several of them, the first counts."""

_NUMBER, _FILES = ("int", "float"), ("string", "list")
_TYPES: Mapping[str, tuple[str, ...]] = {
    "seed": ("int",),
    "steps": ("int",),
    "cfg": _NUMBER,
    "guidance": _NUMBER,
    "count": ("int",),
    "image": _FILES,
    "strength": ("float",),
    "references": _FILES,
    "controls": _FILES,
    "upscale": _NUMBER,
    "restore": ("float",),
}
"""Types that an input must have to mean the field; all other fields take a string."""

GUIDANCE_FIELDS = ("cfg", "guidance")
"""Two request fields; where a model has one such input, both mean it."""

INVERSE_STRENGTHS = frozenset({"image_prompt_strength"})
"""Inputs that say how much of the initial image stays, instead of how much changes."""

CONTROL_STRENGTHS = ("control_strength", "controlnet_conditioning_scale", "condition_scale")
_CONTROL_KINDS: Mapping[str, str] = {
    "canny": "canny",
    "depth": "depth",
    "openpose": "pose",
    "pose": "pose",
    "scribble": "scribble",
    "hed": "softedge",
    "lineart": "lineart",
}
"""The kind of control image, by a word of the model's name."""

_LORA_SLOTS: tuple[tuple[str, str], ...] = (
    ("lora_weights", "lora_scale"),
    ("extra_lora", "extra_lora_scale"),
    ("extra_lora_weights", "extra_lora_scale"),
    ("hf_lora", "lora_scale"),
    ("replicate_weights", "lora_scale"),
    ("lora_url", "lora_scale"),
)
"""Inputs for one LoRA and its weight."""
_LORA_LISTS: tuple[tuple[str, str], ...] = (
    ("hf_loras", "lora_scales"),
    ("lora_urls", "lora_scales"),
)
"""Inputs for any number of LoRAs and their weights."""

CUSTOM = "custom"
"""The choice of `aspect_ratio` or `size` with which width and height count."""
SIDES = ("width", "height")
_SIZE_SELECTORS = ("aspect_ratio", "size", "resolution", "image_size")
_AREAS = ("megapixels", "resolution", "size")
"""Inputs that choose the number of pixels beside the aspect ratio: `0.25`, `1 MP`, `2K`."""

FORMAT = "output_format"
LOSSLESS = "png"
REPRODUCIBLE: Mapping[str, tuple[object, str]] = {
    "go_fast": (
        False,
        "Faster, but not reproducible: with true, the same seed gives a different image each "
        "time. false by default where a seed is used.",
    ),
}
"""Values that inputs need for a reproducible seed, and the description to show."""

DEFAULT_LARGEST_SEED = 2**32 - 1
"""For a model that names no limit: some of the libraries they use accept no larger seed."""

_FROM_IMAGE: frozenset[Task] = frozenset({"image-to-image", "inpaint", "outpaint"})
TASKS_OF: Mapping[str, frozenset[Task]] = {
    "image": _FROM_IMAGE | {"edit", "control", "upscale", "restore"},
    "mask": frozenset({"inpaint", "outpaint"}),
    "strength": _FROM_IMAGE,
    "references": _FROM_IMAGE | {"edit"},
    "controls": _FROM_IMAGE | {"control"},
    "upscale": frozenset({"upscale"}),
    "restore": frozenset({"restore"}),
}
"""Request fields that count for some tasks only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputMapping:
    """One model's inputs and what they mean."""

    model: str
    """`owner/name`."""
    inputs: Mapping[str, ModelInput]
    fields: Mapping[str, ModelInput]
    """The input of each request field; two fields may share one."""
    size: SizeInputs
    lora_slots: tuple[tuple[str, str], ...] = ()
    """The inputs for each LoRA and its weight."""
    lora_list: tuple[str, str] | None = None
    """The inputs for all LoRAs and their weights, where those are lists."""
    control_kinds: tuple[str, ...] = ()

    @property
    def tasks(self) -> tuple[Task, ...]:
        """What the model can do, the most usual task first."""
        fields = self.fields.keys()
        needs_image = any(one.is_required and one.is_image for one in self.inputs.values())
        can_upscale, can_restore = "upscale" in fields, "restore" in fields
        is_possible: dict[Task, bool] = {
            "text-to-image": "prompt" in fields and not needs_image,
            "image-to-image": "image" in fields and not (can_upscale or can_restore),
            "inpaint": {"image", "mask"} <= fields,
            "outpaint": {"image", "mask"} <= fields,
            "edit": {"prompt", "references"} <= fields,
            "control": "controls" in fields,
            "upscale": can_upscale,
            "restore": can_restore,
        }
        return tuple(task for task, possible in is_possible.items() if possible)

    @property
    def extra(self) -> dict[str, ModelInput]:
        """The inputs that no request field means, by the name of their parameter: their own,
        prefixed where it is also the name of a field."""
        taken = {one.name for one in self.fields.values()} | set(self.size.sides)
        return {
            f"input_{name}" if name in Request.model_fields else name: one
            for name, one in self.inputs.items()
            if name not in taken
        }

    @property
    def lora_inputs(self) -> frozenset[str]:
        """The names of all inputs for LoRAs and their weights."""
        slots = (*self.lora_slots, *([self.lora_list] if self.lora_list else ()))
        return frozenset(name for slot in slots for name in slot)


def map_inputs(model: str, inputs: Mapping[str, ModelInput]) -> InputMapping:
    """Find out what the inputs of this model mean."""
    name = model.rpartition("/")[2]
    kinds = tuple(dict.fromkeys(kind for word, kind in _CONTROL_KINDS.items() if word in name))
    candidates: dict[str, ModelInput] = {}
    for field, names in NAMES.items():
        types = _TYPES.get(field, ("string",))
        named = (inputs[one] for one in names if one in inputs)
        if found := next((one for one in named if one.type in types), None):
            candidates[field] = found
    fields = _without_homonyms(candidates, has_control_kinds=bool(kinds))
    guidance = [fields[field] for field in GUIDANCE_FIELDS if field in fields]
    if len(guidance) == 1:
        fields |= dict.fromkeys(GUIDANCE_FIELDS, guidance[0])
    return InputMapping(
        model=model,
        inputs=inputs,
        fields=fields,
        size=find_size_inputs(inputs),
        lora_slots=tuple(slot for slot in _LORA_SLOTS if slot[0] in inputs),
        lora_list=next((slot for slot in _LORA_LISTS if slot[0] in inputs), None),
        control_kinds=kinds if "controls" in fields else (),
    )


def _without_homonyms(
    fields: dict[str, ModelInput], *, has_control_kinds: bool
) -> dict[str, ModelInput]:
    """Without inputs that have the name of a field but another meaning."""
    image, prompt = fields.get("image"), fields.get("prompt")
    needs_prompt = prompt is not None and prompt.is_required
    works_on_images = image is not None and image.is_required and not needs_prompt
    is_homonym = {
        "mask": image is None,
        "controls": not has_control_kinds,
        "references": "references" in fields and not fields["references"].is_file,
        "upscale": not works_on_images,
        "restore": not works_on_images,
    }
    kept = {field: one for field, one in fields.items() if not is_homonym.get(field)}
    if "image" not in kept and "references" in kept:
        kept["image"] = kept["references"]  # its first image
    return kept


_AREA = re.compile(r"([\d.]+)\s*(MP|K)?", re.IGNORECASE)
_RATIO = re.compile(r"(\d+(?:\.\d+)?)\s*[:x]\s*(\d+(?:\.\d+)?)")
_LONGEST_CHOICE = 40
_KILO = 1024
_EQUAL_RATIOS = 0.03
"""Ratios whose logarithms differ by less look the same."""
_EQUAL_AREAS = math.log(2)


@dataclass(frozen=True, slots=True)
class SizeInputs:
    """The inputs of one model that decide the size."""

    sides: tuple[str, ...] = ()
    """`width` and `height`, where the model takes pixels."""
    selector: str = ""
    """The input that must be `custom` for the sides to count."""
    ratio: str = ""
    """The input with a list of ratios or sizes, where it takes no pixels."""
    ratios: tuple[str, ...] = ()
    area: str = ""
    """The input with a list of pixel counts, beside the ratio."""
    areas: tuple[str, ...] = ()

    @property
    def is_known(self) -> bool:
        """Whether a size can be requested."""
        return bool(self.sides or self.ratio)

    @property
    def is_exact(self) -> bool:
        """Whether the image always has the exact size that was requested."""
        return bool(self.sides) and not self.selector

    def values_for(self, width: int, height: int) -> dict[str, object]:
        """The values of the inputs for an image of about this size."""
        if self.sides:
            sides: dict[str, object] = dict(zip(SIDES, (width, height), strict=True))
            return {self.selector: CUSTOM, **sides} if self.selector else sides
        values: dict[str, object] = {self.ratio: _nearest_ratio(self.ratios, width / height)}
        if self.area:
            values[self.area] = _nearest_area(self.areas, width * height)
        return values

    def is_approximate(self, width: int, height: int) -> bool:
        """Whether the nearest ratio, or the nearest pixel count, differs visibly."""
        if self.sides:
            return False
        ratio = parse_ratio(_nearest_ratio(self.ratios, width / height)) or 1.0
        if abs(math.log(ratio * height / width)) > _EQUAL_RATIOS:
            return True
        pixels = parse_pixels(_nearest_area(self.areas, width * height)) if self.area else None
        return pixels is not None and abs(math.log(pixels / (width * height))) > _EQUAL_AREAS


def find_size_inputs(inputs: Mapping[str, ModelInput]) -> SizeInputs:
    """The inputs that decide the size."""
    choices = {
        name: tuple(choice for choice in one.choices if isinstance(choice, str))
        for name, one in inputs.items()
    }
    if all(side in inputs and inputs[side].type == "int" for side in SIDES):
        selectors = (name for name in _SIZE_SELECTORS if CUSTOM in choices.get(name, ()))
        return SizeInputs(sides=SIDES, selector=next(selectors, ""))
    ratio = next((n for n in _SIZE_SELECTORS if any(map(parse_ratio, choices.get(n, ())))), "")
    if not ratio:
        return SizeInputs()
    areas = (n for n in _AREAS if n != ratio and any(map(parse_pixels, choices.get(n, ()))))
    area = next(areas, "")
    return SizeInputs(ratio=ratio, ratios=choices[ratio], area=area, areas=choices.get(area, ()))


def parse_ratio(choice: str) -> float | None:
    """`16:9` or `1344x768` as a number; None for anything else (`match_input_image`)."""
    match = _RATIO.fullmatch(choice) if len(choice) <= _LONGEST_CHOICE else None
    if match is None or not float(match[1]) or not float(match[2]):
        return None
    return float(match[1]) / float(match[2])


def parse_pixels(choice: str) -> float | None:
    """`0.25`, `1 MP` or `2K` as a number of pixels; None for anything else."""
    match = _AREA.fullmatch(choice) if len(choice) <= _LONGEST_CHOICE else None
    if match is None:
        return None
    try:
        number = float(match[1])
    except ValueError:
        return None
    is_side = (match[2] or "").upper() == "K"
    return ((number * _KILO) ** 2 if is_side else number * 1e6) or None


def _nearest_ratio(choices: tuple[str, ...], wanted: float) -> str:
    known = {choice: ratio for choice in choices if (ratio := parse_ratio(choice)) is not None}
    return min(known, key=lambda choice: abs(math.log(known[choice] / wanted)))


def _nearest_area(choices: tuple[str, ...], wanted: float) -> str:
    known = {choice: pixels for choice in choices if (pixels := parse_pixels(choice)) is not None}
    return min(known, key=lambda choice: abs(math.log(known[choice] / wanted)))
