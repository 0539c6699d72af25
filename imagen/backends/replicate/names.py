"""What the authors of models call what a request asks for: tables, and nothing else.

Collected from the input schemas of models on replicate.com (2026-11). Where a model has several
inputs of a row, the first one named counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

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
