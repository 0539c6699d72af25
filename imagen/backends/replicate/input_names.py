"""What the authors of models call what a request asks for: tables, and nothing else.

Collected from the input schemas of models on replicate.com (2026-11). Where a model has several
inputs of a row, the first one named counts.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imagen.core.request import Request

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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
"""For each field of a request, the inputs that mean it."""

_TEXT, _NUMBER, _FILES = ("string",), ("int", "float"), ("string", "list")
TYPES: Mapping[str, tuple[str, ...]] = {
    "seed": ("int",),
    "steps": ("int",),
    "cfg": _NUMBER,
    "guidance": _NUMBER,
    "count": ("int",),
    "image": _FILES,
    "mask": _TEXT,
    "strength": ("float",),
    "references": _FILES,
    "controls": _FILES,
    "upscale": _NUMBER,
    "restore": ("float",),
}
"""What type an input must have to mean the field; text for those that are not named."""

ONE_SCALE = ("cfg", "guidance")
"""Two fields of a request; a model with one such input means either."""

INVERSE = frozenset({"image_prompt_strength"})
"""Inputs that say how much of the initial image stays, where a request says how much goes."""

CONTROL_STRENGTHS = ("control_strength", "controlnet_conditioning_scale", "condition_scale")
CONTROL_KINDS: Mapping[str, str] = {
    "canny": "canny",
    "depth": "depth",
    "openpose": "pose",
    "pose": "pose",
    "scribble": "scribble",
    "hed": "softedge",
    "lineart": "lineart",
}
"""The kind of control picture, by a word of the model's name."""

LORA_SLOTS: tuple[tuple[str, str], ...] = (
    ("lora_weights", "lora_scale"),
    ("extra_lora", "extra_lora_scale"),
    ("extra_lora_weights", "extra_lora_scale"),
    ("hf_lora", "lora_scale"),
    ("replicate_weights", "lora_scale"),
    ("lora_url", "lora_scale"),
)
"""Inputs that take one low-rank adapter and its weight."""
LORA_LISTS: tuple[tuple[str, str], ...] = (
    ("hf_loras", "lora_scales"),
    ("lora_urls", "lora_scales"),
)
"""Inputs that take any number of them."""

RATIO = "aspect_ratio"
CUSTOM = "custom"
"""The choice of `aspect_ratio` or `size` that lets width and height count."""
SIZE_SELECTORS = (RATIO, "size", "resolution", "image_size")
AREAS = ("megapixels", "resolution", "size")
"""Inputs that choose how many pixels, beside the aspect ratio: `0.25`, `1 MP`, `2K`."""
SIDES = ("width", "height")

FORMAT = "output_format"
LOSSLESS = "png"
REPRODUCIBLE: Mapping[str, tuple[object, str]] = {
    "go_fast": (
        False,
        "Faster, and not reproducible: with true, the same seed gives another picture each time. "
        "false where a seed is used and nothing else is asked for.",
    ),
}
"""Inputs that must have this value for a seed to give the same picture again, and what to say."""

SEEDS_END = 2**32 - 1
"""The greatest seed for a model that names none: some of the libraries they use know no greater."""

_IMAGE: frozenset[Task] = frozenset({"image-to-image", "inpaint", "outpaint"})
TASKS_OF: Mapping[str, frozenset[Task]] = {
    "image": _IMAGE | {"edit", "control", "upscale", "restore"},
    "mask": frozenset({"inpaint", "outpaint"}),
    "strength": _IMAGE,
    "references": _IMAGE | {"edit"},
    "controls": _IMAGE | {"control"},
    "upscale": frozenset({"upscale"}),
    "restore": frozenset({"restore"}),
}
"""Fields of a request that count for some tasks only."""


_AREA = re.compile(r"([\d.]+)\s*(MP|K)?", re.IGNORECASE)
_RATIO = re.compile(r"(\d+(?:\.\d+)?)\s*[:x]\s*(\d+(?:\.\d+)?)")
_LONGEST = 40
"""Characters of a choice that may be a size."""
_KILO = 1024
_UNSEEN = 0.03
"""Ratios that differ by so much (in their logarithms) look alike."""
_LIKE = math.log(2)
"""So do numbers of pixels that differ by less."""


@dataclass(frozen=True, slots=True)
class SizeInputs:
    """The inputs of one model that decide the size."""

    sides: tuple[str, ...] = ()
    """`width` and `height`, where the model takes pixels."""
    selector: str = ""
    """The input that must be `custom` for the sides to count."""
    ratio: str = ""
    """The input with a list of ratios, or of sizes, where it takes no pixels."""
    ratios: tuple[str, ...] = ()
    area: str = ""
    """The input with a list of numbers of pixels, beside the ratio."""
    areas: tuple[str, ...] = ()

    @property
    def is_known(self) -> bool:
        """Whether a size can be asked for."""
        return bool(self.sides or self.ratio)

    @property
    def is_exact(self) -> bool:
        """Whether the picture has the very size that is asked for, whatever else is."""
        return bool(self.sides) and not self.selector

    def of(self, width: int, height: int) -> dict[str, Any]:
        """The inputs for a picture of about this size."""
        if self.sides:
            chosen = {self.selector: CUSTOM} if self.selector else {}
            return chosen | dict(zip(SIDES, (width, height), strict=True))
        told = {self.ratio: _nearest_ratio(self.ratios, width / height)}
        if self.area:
            told[self.area] = _nearest_area(self.areas, width * height)
        return told

    def is_off(self, width: int, height: int) -> bool:
        """Whether no ratio that the model has is the one of this size, as far as anyone sees.

        Or none of its numbers of pixels, where it has a choice of them.
        """
        if self.sides:
            return False
        nearest = parse_ratio(_nearest_ratio(self.ratios, width / height)) or 1.0
        is_other = abs(math.log(nearest * height / width)) > _UNSEEN
        return is_other or self._is_far(width * height)

    def _is_far(self, wanted: float) -> bool:
        nearest = parse_pixels(_nearest_area(self.areas, wanted)) if self.area else None
        return nearest is not None and abs(math.log(nearest / wanted)) > _LIKE


def find_size_inputs(inputs: Mapping[str, ModelInput]) -> SizeInputs:
    """Which of these inputs decide the size."""
    choices = {
        name: tuple(c for c in found.choices if isinstance(c, str))
        for name, found in inputs.items()
    }
    if all(side in inputs and inputs[side].type == "int" for side in SIDES):
        selectors = (name for name in SIZE_SELECTORS if CUSTOM in choices.get(name, ()))
        return SizeInputs(sides=SIDES, selector=next(selectors, ""))
    ratio = next((n for n in SIZE_SELECTORS if any(map(parse_ratio, choices.get(n, ())))), "")
    if not ratio:
        return SizeInputs()
    areas = (n for n in AREAS if n != ratio and any(map(parse_pixels, choices.get(n, ()))))
    area = next(areas, "")
    return SizeInputs(ratio=ratio, ratios=choices[ratio], area=area, areas=choices.get(area, ()))


def parse_ratio(choice: str) -> float | None:
    """`16:9` or `1344x768` as a number; None for what is no ratio (`match_input_image`)."""
    match = _RATIO.fullmatch(choice) if len(choice) <= _LONGEST else None
    if match is None or not float(match[1]) or not float(match[2]):
        return None
    return float(match[1]) / float(match[2])


def parse_pixels(choice: str) -> float | None:
    """`0.25`, `1 MP` or `2K` as a number of pixels; None for what is none."""
    match = _AREA.fullmatch(choice) if len(choice) <= _LONGEST else None
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


@dataclass(frozen=True, slots=True, kw_only=True)
class InputMapping:
    """One model's inputs, by what they mean."""

    model: str
    """`owner/name`."""
    inputs: Mapping[str, ModelInput]
    fields: Mapping[str, ModelInput]
    """The input that a field of a request becomes; two fields may become the same."""
    size: SizeInputs
    loras: tuple[tuple[str, str], ...] = ()
    """The input for each low-rank adapter, and the one for its weight."""
    lora_list: tuple[str, str] | None = None
    """The inputs for all of them, where those are lists."""
    kinds: tuple[str, ...] = ()
    """The kinds of control picture."""

    @property
    def tasks(self) -> tuple[Task, ...]:
        """What the model can do, the most usual first."""
        return tuple(task for task, can in _abilities(self) if can)

    @property
    def own(self) -> dict[str, ModelInput]:
        """The inputs that no field of a request means, by the name under which they are asked for:
        their own, unless a field is called so too."""
        taken = {found.name for found in self.fields.values()} | set(self.size.sides)
        left = {name: found for name, found in self.inputs.items() if name not in taken}
        return {_free(name): found for name, found in left.items()}

    @property
    def lora_inputs(self) -> frozenset[str]:
        """The inputs that low-rank adapters go into, and those for their weights."""
        slots = (*self.loras, *([self.lora_list] if self.lora_list else ()))
        return frozenset(name for slot in slots for name in slot)


def map_inputs(model: str, inputs: Mapping[str, ModelInput]) -> InputMapping:
    """What the inputs of this model mean."""
    kinds = _kinds(model)
    fields = _without_strangers(dict(_claims(inputs)), kinds)
    many = [pair for pair in LORA_LISTS if pair[0] in inputs]
    return InputMapping(
        model=model,
        inputs=inputs,
        fields=_with_one_scale(fields),
        size=find_size_inputs(inputs),
        loras=tuple(pair for pair in LORA_SLOTS if pair[0] in inputs),
        lora_list=many[0] if many else None,
        kinds=kinds if "controls" in fields else (),
    )


def _claims(inputs: Mapping[str, ModelInput]) -> Iterator[tuple[str, ModelInput]]:
    for field, candidates in NAMES.items():
        types = TYPES.get(field, ("string",))
        known = (inputs[name] for name in candidates if name in inputs)
        found = next((one for one in known if one.type in types), None)
        if found is not None:
            yield field, found


def _with_one_scale(fields: dict[str, ModelInput]) -> dict[str, ModelInput]:
    """Where there is one input for guidance, both of our words lead to it."""
    scales = [fields[name] for name in ONE_SCALE if name in fields]
    if len(scales) == 1:
        return fields | dict.fromkeys(ONE_SCALE, scales[0])
    return fields


def _without_strangers(
    fields: dict[str, ModelInput], kinds: tuple[str, ...]
) -> dict[str, ModelInput]:
    """Without inputs that are called like ours, and mean something else."""
    image = fields.get("image")
    lone = image is not None and image.is_required and not _needs_prompt(fields)
    wrong = {
        "mask": image is None,
        "controls": not kinds,
        "references": "references" in fields and not fields["references"].is_file,
        "upscale": not lone,
        "restore": not lone,
    }
    kept = {name: found for name, found in fields.items() if not wrong.get(name)}
    references = kept.get("references")
    if "image" not in kept and references is not None:
        kept["image"] = references  # its first picture
    return kept


def _needs_prompt(fields: Mapping[str, ModelInput]) -> bool:
    return "prompt" in fields and fields["prompt"].is_required


def _abilities(known: InputMapping) -> Iterator[tuple[Task, bool]]:
    has = known.fields.keys()
    needed = [found for found in known.inputs.values() if found.is_required and found.is_picture]
    upscales, restores = "upscale" in has, "restore" in has
    yield "text-to-image", "prompt" in has and not needed
    yield "image-to-image", "image" in has and not (upscales or restores)
    yield "inpaint", {"image", "mask"} <= has
    yield "outpaint", {"image", "mask"} <= has
    yield "edit", {"prompt", "references"} <= has
    yield "control", "controls" in has
    yield "upscale", upscales
    yield "restore", restores


def _kinds(model: str) -> tuple[str, ...]:
    name = model.rpartition("/")[2]
    return tuple(dict.fromkeys(kind for word, kind in CONTROL_KINDS.items() if word in name))


def _free(name: str) -> str:
    return f"input_{name}" if name in Request.model_fields else name
