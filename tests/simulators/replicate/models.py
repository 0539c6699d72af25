"""The models of the simulated Replicate: their input schemas, and the validation of inputs.

They have the inputs, ranges and defaults of models on replicate.com, as far as these matter.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Schema = dict[str, Any]

COMMUNITY = "acme/painter"
"""A model without an endpoint of its own: it runs by its version."""
DEPLOYMENT = "acme/studio"
_RATIOS = ("1:1", "16:9", "21:9", "3:2", "2:3", "4:5", "5:4", "3:4", "4:3", "9:16", "9:21")


def _text(description: str, default: str | None = None) -> Schema:
    schema: Schema = {"type": "string", "description": description}
    return schema if default is None else schema | {"default": default}


def _whole(
    description: str, default: int | None = None, low: int | None = None, high: int | None = None
) -> Schema:
    schema: Schema = {"type": "integer", "description": description}
    limits = {"default": default, "minimum": low, "maximum": high}
    return schema | {name: value for name, value in limits.items() if value is not None}


def _number(description: str, default: float, low: float, high: float) -> Schema:
    return {
        "type": "number",
        "description": description,
        "default": default,
        "minimum": low,
        "maximum": high,
    }


def _choice(name: str, default: str, choices: tuple[str, ...]) -> tuple[Schema, Schema]:
    """An input that refers to its list of choices, and the list."""
    reference = {"allOf": [{"$ref": f"#/components/schemas/{name}"}], "default": default}
    return reference, {"type": "string", "title": name, "enum": list(choices)}


def _file(description: str) -> Schema:
    return {"type": "string", "format": "uri", "description": description}


def _files(description: str) -> Schema:
    return {
        "type": "array",
        "items": {"type": "string", "format": "uri"},
        "default": [],
        "description": description,
    }


def _switch(description: str, default: bool) -> Schema:
    return {"type": "boolean", "default": default, "description": description}


def _schemas(*required: str, **inputs: Schema | tuple[Schema, Schema]) -> Schema:
    properties: Schema = {}
    lists: Schema = {}
    for order, (name, schema) in enumerate(inputs.items()):
        if isinstance(schema, tuple):
            schema, lists[name] = schema
        properties[name] = schema | {"x-order": order, "title": name.replace("_", " ").title()}
    top = {"type": "object", "title": "Input", "required": list(required), "properties": properties}
    return {"Input": top, "Output": {"type": "array", "items": {"type": "string"}}, **lists}


_FORMAT = _choice("output_format", "webp", ("webp", "jpg", "png"))

_PAINTER = _schemas(
    "prompt",
    prompt=_text("What to show"),
    width=_whole("Width of the image", 64, 16, 1024),
    height=_whole("Height of the image", 64, 16, 1024),
    num_inference_steps=_whole("Number of denoising steps", 4, 1, 50),
    num_outputs=_whole("Number of images", 1, 1, 4),
    seed=_whole("Random seed. Leave blank to randomize the seed"),
    output_format=_choice("output_format", "png", ("webp", "jpg", "png")),
)

_SCHNELL = _schemas(
    "prompt",
    prompt=_text("Prompt for generated image"),
    aspect_ratio=_choice("aspect_ratio", "1:1", _RATIOS),
    num_outputs=_whole("Number of outputs to generate", 1, 1, 4),
    num_inference_steps=_whole("Number of denoising steps. 4 is recommended.", 4, 1, 4),
    seed=_whole("Random seed. Set for reproducible generation"),
    output_format=_FORMAT,
    output_quality=_whole("Quality when saving, from 0 to 100. Not for .png.", 80, 0, 100),
    disable_safety_checker=_switch("Disable safety checker for generated images.", False),
    go_fast=_switch("Run faster predictions with an optimized model", True),
    megapixels=_choice("megapixels", "1", ("1", "0.25")),
)

_DEV = _schemas(
    "prompt",
    prompt=_text("Prompt for generated image"),
    aspect_ratio=_choice("aspect_ratio", "1:1", _RATIOS),
    image=_file("Input image for image to image mode."),
    prompt_strength=_number("1.0 destroys the image", 0.8, 0, 1),
    num_outputs=_whole("Number of outputs to generate", 1, 1, 4),
    num_inference_steps=_whole("Number of denoising steps", 28, 1, 50),
    guidance=_number("Guidance for generated image", 3.0, 0, 10),
    seed=_whole("Random seed. Set for reproducible generation"),
    output_format=_FORMAT,
    go_fast=_switch("Run faster predictions with an optimized model", True),
    megapixels=_choice("megapixels", "1", ("1", "0.25")),
    lora_weights=_text("Load LoRA weights."),
    lora_scale=_number("How strongly the LoRA is applied", 1.0, -1, 3),
)

_PRO = _schemas(
    "prompt",
    prompt=_text("Text prompt for image generation"),
    image_prompt=_file("Image to use with Flux Redux."),
    aspect_ratio=_choice("aspect_ratio", "1:1", ("custom", *_RATIOS)),
    width=_whole("Only used when aspect_ratio=custom. Must be a multiple of 32.", None, 256, 1440),
    height=_whole("Only used when aspect_ratio=custom. Must be a multiple of 32.", None, 256, 1440),
    safety_tolerance=_whole("1 is most strict and 6 is most permissive", 2, 1, 6),
    seed=_whole("Random seed. Set for reproducible generation"),
    prompt_upsampling=_switch("Modify the prompt for more creative generation", False),
    output_format=_FORMAT,
)

_SDXL = _schemas(
    prompt=_text("Input prompt", "An astronaut riding a rainbow unicorn"),
    negative_prompt=_text("Input Negative Prompt", ""),
    image=_file("Input image for img2img or inpaint mode"),
    mask=_file("Input mask for inpaint mode. White areas will be inpainted."),
    width=_whole("Width of output image", 1024),
    height=_whole("Height of output image", 1024),
    num_outputs=_whole("Number of images to output.", 1, 1, 4),
    scheduler=_choice("scheduler", "K_EULER", ("DDIM", "DPMSolverMultistep", "K_EULER")),
    num_inference_steps=_whole("Number of denoising steps", 50, 1, 500),
    guidance_scale=_number("Scale for classifier-free guidance", 7.5, 1, 50),
    prompt_strength=_number("1.0 destroys the image", 0.8, 0, 1),
    seed=_whole("Random seed. Leave blank to randomize the seed"),
    refine=_choice("refine", "no_refiner", ("no_refiner", "base_image_refiner")),
    lora_scale=_number("LoRA additive scale", 0.6, 0, 1),
    replicate_weights=_text("Replicate LoRA weights to use."),
)

_KONTEXT = _schemas(
    "prompt",
    prompt=_text("What you want to generate, or the edit you want to apply"),
    input_image=_file("Image to use as reference."),
    aspect_ratio=_choice("aspect_ratio", "match_input_image", ("match_input_image", *_RATIOS)),
    seed=_whole("Random seed. Set for reproducible generation"),
    output_format=_choice("output_format", "png", ("jpg", "png")),
    safety_tolerance=_whole("0 is most strict and 6 is most permissive.", 2, 0, 6),
)

_FLUX2 = _schemas(
    "prompt",
    prompt=_text("Text prompt for image generation"),
    input_images=_files("Input images for editing (up to 8)"),
    aspect_ratio=_choice("aspect_ratio", "1:1", ("match_input_image", *_RATIOS)),
    resolution=_choice("resolution", "1 MP", ("match_input_image", "0.5 MP", "1 MP", "2 MP")),
    seed=_whole("Random seed.", None, 0, 2147483647),
    output_format=_FORMAT,
)

_CANNY = _schemas(
    "prompt",
    "control_image",
    prompt=_text("Prompt for generated image"),
    control_image=_file("The edges are found by themselves."),
    guidance=_number("Guidance for generated image", 30.0, 0, 100),
    seed=_whole("Random seed"),
    output_format=_FORMAT,
)

_ESRGAN = _schemas(
    "image",
    image=_file("Input image"),
    scale=_number("Factor to scale image by", 4.0, 0, 10),
    face_enhance=_switch("Run GFPGAN face enhancement along with upscaling", False),
)

_CODEFORMER = _schemas(
    "image",
    image=_file("Input image"),
    codeformer_fidelity=_number("Lower is better quality, higher is better identity", 0.5, 0, 1),
    background_enhance=_switch("Enhance background image", True),
)

MODELS: dict[str, Schema] = {
    COMMUNITY: _PAINTER,
    "black-forest-labs/flux-schnell": _SCHNELL,
    "black-forest-labs/flux-dev": _DEV,
    "black-forest-labs/flux-1.1-pro": _PRO,
    "stability-ai/sdxl": _SDXL,
    "black-forest-labs/flux-kontext-pro": _KONTEXT,
    "black-forest-labs/flux-2-pro": _FLUX2,
    "black-forest-labs/flux-canny-dev": _CANNY,
    "nightmareai/real-esrgan": _ESRGAN,
    "sczhou/codeformer": _CODEFORMER,
}
"""`components.schemas` of each model, by `owner/name`."""


def version_of(model: str) -> str:
    """The id of a model's only version."""
    return sha256(model.encode()).hexdigest()


def defaults(model: str) -> dict[str, Any]:
    """The default of each input that has one."""
    properties = MODELS[model]["Input"]["properties"]
    return {name: schema["default"] for name, schema in properties.items() if "default" in schema}


_TYPES: dict[str, tuple[type, ...]] = {
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "boolean": (bool,),
    "array": (list,),
}


def find_invalid_fields(model: str, values: object) -> list[dict[str, str]]:
    """`invalid_fields` for an input; empty for a valid one."""
    if not isinstance(values, dict):
        return [_invalid("input", "invalid_type", "input must be an object")]
    schemas = MODELS[model]
    fields = [
        _invalid(f"input.{name}", "required", f"{name} is required")
        for name in schemas["Input"]["required"]
        if name not in values
    ]
    for name, value in values.items():
        schema = schemas["Input"]["properties"].get(name)
        if schema is not None and value is not None:
            for part in schema.get("allOf", ()):
                schema = schemas[part["$ref"].rpartition("/")[2]] | schema
            fields += _check_value(name, schema, value)
    return fields


def _check_value(name: str, schema: Mapping[str, Any], value: Any) -> Iterator[dict[str, str]]:
    place, kind = f"input.{name}", schema["type"]
    if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "boolean"):
        yield _invalid(place, "invalid_type", f"{name} must be of type {kind}")
    elif "enum" in schema and value not in schema["enum"]:
        known = ", ".join(f'"{choice}"' for choice in schema["enum"])
        yield _invalid(place, "enum", f"{name} must be one of the following: {known}")
    elif value < schema.get("minimum", value):
        yield _invalid(place, "number_gte", f"{name} must be at least {schema['minimum']}")
    elif value > schema.get("maximum", value):
        yield _invalid(place, "number_lte", f"{name} must be at most {schema['maximum']}")


def _invalid(place: str, kind: str, description: str) -> dict[str, str]:
    return {"type": kind, "field": place, "description": description}
