"""What the names of ComfyUI's node classes, inputs and outputs mean, where no catalog says it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

KINDS: Mapping[str, str] = {
    **dict.fromkeys(
        ("positive", "negative", "conditioning", "conditioning_1", "conditioning_2"), "CONDITIONING"
    ),
    **dict.fromkeys(("conditioning_to", "conditioning_from", "cond1", "cond2"), "CONDITIONING"),
    **dict.fromkeys(("latent_image", "samples", "samples_to", "latent"), "LATENT"),
    **dict.fromkeys(("pixels", "image", "images"), "IMAGE"),
    "mask": "MASK",
    "noise": "NOISE",
    "guider": "GUIDER",
    "sampler": "SAMPLER",
    "sigmas": "SIGMAS",
    "control_net": "CONTROL_NET",
}
"""The type of a linked input with this name."""
LATENTS = re.compile(r"(?i)(.*_)?(latents?|latent_image|samples)")
NO_TEXT = re.compile(
    r"(?i)(.*_)?(model|unet|clip|t5|vae|images?|pixels?|video|audio|latents?|latent_image|samples"
    r"|masks?|noise|sampler|sigmas|scheduler|seed|width|height|steps|cfg|denoise|batch_size|loras?"
    r"|lora_stack|control_net|ipadapter|embeds|clip_vision(_output)?|upscale_model|detector"
    r"|sam_model(_opt)?|guide(_size|s)?|start_image|end_image|strength|options|hook)"
    r"(_?\d+)?"
)
"""Linked inputs that carry neither a prompt nor a bundle (pipe, context) that holds one."""
NO_TEXT_TYPES = frozenset(
    ("MODEL", "CLIP", "VAE", "IMAGE", "LATENT", "MASK", "CONTROL_NET", "NOISE", "SAMPLER", "SIGMAS")
) | frozenset(("INT", "FLOAT", "BOOLEAN", "UPSCALE_MODEL", "CLIP_VISION", "CLIP_VISION_OUTPUT"))
BUNDLES = re.compile(r"(?i)(.*_)?(text|hyvid)_embeds")
"""What would be `NO_TEXT` by its ending, and holds texts nevertheless."""
EMPTYING = frozenset(("ConditioningZeroOut", "ImpactNegativeConditioningPlaceholder"))
SHOWING = re.compile(r"(?i)show|display|preview|debug|console|text viewer|log")
"""Nodes whose own text is what they displayed last; what they pass on comes by a link."""
OUTPUT_SIDES: Mapping[str, Mapping[int, str]] = {
    "Efficient Loader": {1: "prompt", 2: "negative"},
    "Context (rgthree)": {4: "prompt", 5: "negative"},
    "Context Big (rgthree)": {4: "prompt", 5: "negative"},
    "ttN pipeLoader": {2: "prompt", 3: "negative"},
    "ControlNetApplyAdvanced": {0: "prompt", 1: "negative"},
}
"""Which output is which side of a prompt, for nodes that have both."""
OUTPUT_INPUTS: Mapping[str, tuple[str, ...]] = {
    "Text String": ("text", "text_b", "text_c", "text_d"),
}
"""Which input each output passes on, for nodes that hold several texts."""
SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "seed": ("seed", "noise_seed", "seed_value", "seed_num"),
    "steps": ("steps", "steps_total", "total_steps"),
    "cfg": ("cfg", "cfg_scale", "guidance_scale"),
    "guidance": ("guidance",),
    "sampler": ("sampler_name", "sampler"),
    "scheduler": ("scheduler", "scheduler_name"),
    "width": ("width", "empty_latent_width", "image_width"),
    "height": ("height", "empty_latent_height", "image_height"),
    "count": ("batch_size",),
    "strength": ("denoise", "denoise_strength"),
}
"""What inputs are called that hold a setting: where a link leads on, one of these is followed."""
SETTINGS: Mapping[str, str] = {
    **{name: role for role, names in SYNONYMS.items() for name in names if role != "strength"},
    "cfg_conds": "cfg",
    "cfg_high_noise": "cfg",
    "true_gs": "cfg",
    "embedded_guidance_scale": "guidance",
}
"""The setting that an input of a sampler, or of what is built into it, holds."""
NUMBERS = frozenset(("seed", "steps", "cfg", "guidance", "width", "height", "count", "strength"))
HOLDERS = ("value", "int", "float", "number", "string", "text")
"""The input of a node that only holds a value, in lower case."""
INTERNAL_MODEL = re.compile(r"EMS-\d+-EMS(\.\w+)?")
"""A hosting service's own number in place of a model's name."""
LORA_TAGS = re.compile(r"(?i)lora|power prompt|wildcard")
"""Classes that take `<lora:name:weight>` in their texts for LoRAs to load."""
LORA_TAG = re.compile(r"<lora:([^<>:]{1,300})(?::(-?\d{1,4}(?:\.\d{1,9})?))?(?::[^<>]{0,100})?>")
