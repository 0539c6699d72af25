"""Parameters as JSON: enough to build a form from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import Field, JsonValue

from imagen.backends.base import ModelKind
from imagen.core.capabilities import Kind
from imagen.core.request import Control, Lora, Outpaint, Restore, Upscale
from imagen.views.base import View

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

    from imagen.core.capabilities import Parameter

ParameterGroup = Literal["prompt", "size", "sampling", "model", "input", "output", "more"]
InputKind = Literal[
    "text",
    "string",
    "int",
    "float",
    "bool",
    "enum",
    "seed",
    "image",
    "image-list",
    "mask",
    "model",
    "lora-list",
    "control-list",
    "object",
    "json",
]


class ParameterView(View):
    """One parameter: what a form shows for it, and which values are valid."""

    type: Kind = Field(description="int, float, bool, string, image (a file), or json.")
    kind: InputKind = Field(description="What to edit it with, such as text, seed or mask.")
    label: str
    group: ParameterGroup = Field(description="The part of the form that it belongs to.")
    is_advanced: bool = Field(description="Whether a simple form leaves it out.")
    default: JsonValue = Field(
        None, description="Null if the engine decides, or if it has no default."
    )
    min: int | float | None = None
    max: int | float | None = None
    multiple_of: int | None = Field(None, description="Whole numbers are rounded to it.")
    choices: tuple[str, ...] | None = Field(None, description="The only valid values.")
    models: tuple[ModelKind, ...] = Field(
        (), description="The kinds of the backend's models that it names."
    )
    unit: str = ""
    description: str = ""
    fields: dict[str, ParameterView] = Field(
        default_factory=dict, description="Of an object, or of each object of a list: its values."
    )


def describe_parameters(
    parameters: Mapping[str, Parameter],
    controls: tuple[str, ...] = (),
    preprocessors: tuple[str, ...] = (),
) -> dict[str, ParameterView]:
    """The parameters by name, in their order; with the kinds of control image that are known."""
    choices = {"controls": controls, "preprocess": preprocessors}
    return {
        name: _describe(name, parameter, choices.get(name, ()))
        for name, parameter in parameters.items()
    }


class _Known(NamedTuple):
    """What a form shows for a parameter that every engine calls the same."""

    label: str
    group: ParameterGroup
    kind: InputKind | None = None
    """None if its type says it."""
    is_advanced: bool = False
    models: tuple[ModelKind, ...] = ()
    unit: str = ""
    value: type[BaseModel] | None = None
    """The type of the object, or of each object of the list."""


_KNOWN: Mapping[str, _Known] = {
    "prompt": _Known("Prompt", "prompt", "text"),
    "negative": _Known("Negative prompt", "prompt", "text"),
    "prompt_2": _Known("Second prompt", "prompt", "text", True),
    "negative_2": _Known("Second negative prompt", "prompt", "text", True),
    "width": _Known("Width", "size", unit="px"),
    "height": _Known("Height", "size", unit="px"),
    "aspect_ratio": _Known("Aspect ratio", "size"),
    "seed": _Known("Seed", "sampling", "seed"),
    "steps": _Known("Steps", "sampling"),
    "cfg": _Known("CFG scale", "sampling"),
    "guidance": _Known("Guidance", "sampling"),
    "sampler": _Known("Sampler", "sampling", models=("sampler",)),
    "scheduler": _Known("Scheduler", "sampling", models=("scheduler",)),
    "clip_skip": _Known("CLIP skip", "sampling", is_advanced=True),
    "variation_seed": _Known("Variation seed", "sampling", "seed", True),
    "variation_strength": _Known("Variation strength", "sampling", is_advanced=True),
    "model": _Known("Model", "model", "model", models=("checkpoint", "diffusion_model")),
    "loras": _Known("LoRAs", "model", "lora-list", models=("lora",), value=Lora),
    "image": _Known("Image", "input", "image"),
    "strength": _Known("Denoising strength", "input"),
    "mask": _Known("Mask", "input", "mask"),
    "feather": _Known("Feather", "input", unit="px"),
    "references": _Known("Reference images", "input", "image-list"),
    "controls": _Known("Control images", "input", "control-list", value=Control),
    "outpaint": _Known("Outpaint", "input", "object", value=Outpaint),
    "upscale": _Known("Upscale", "input", "object", models=("upscaler",), value=Upscale),
    "restore": _Known("Restore faces", "input", "object", value=Restore),
    "preprocess": _Known("Control image to make", "input", "enum"),
    "count": _Known("Images", "output"),
}
_TYPES: Mapping[str, Kind] = {
    "string": "string",
    "integer": "int",
    "number": "float",
    "boolean": "bool",
}


def _describe(name: str, parameter: Parameter, choices: tuple[str, ...]) -> ParameterView:
    label = name.replace("_", " ").replace("-", " ").strip()
    known = _KNOWN.get(name) or _Known(label[:1].upper() + label[1:], "more", is_advanced=True)
    fields = _describe_fields(known.value) if known.value is not None else {}
    if name == "controls" and choices:
        kind = fields["kind"].model_copy(update={"choices": choices, "kind": "enum"})
        fields |= {"kind": kind}
    allowed = parameter.choices or (choices if name == "preprocess" else ()) or None
    return ParameterView(
        type=parameter.type,
        kind=known.kind or ("enum" if allowed else parameter.type),
        label=known.label,
        group=known.group,
        is_advanced=known.is_advanced,
        default=parameter.default,
        min=parameter.min,
        max=parameter.max,
        multiple_of=parameter.multiple_of,
        choices=allowed,
        models=known.models,
        unit=known.unit,
        description=parameter.description,
        fields=fields,
    )


def _describe_fields(model: type[BaseModel]) -> dict[str, ParameterView]:
    """The values of an object of a request, as its JSON schema describes them."""
    fields: dict[str, ParameterView] = {}
    for name, schema in model.model_json_schema()["properties"].items():
        variants = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
        rule = schema | (variants[0] if variants else {})
        kind: Kind = _TYPES.get(rule.get("type", ""), "json")
        fields[name] = ParameterView(
            type="image" if name == "image" else kind,
            kind="image" if name == "image" else kind,
            label=name[:1].upper() + name[1:],
            group="input",
            is_advanced=name in ("start", "end"),
            default=schema.get("default"),
            min=rule.get("minimum"),
            max=rule.get("maximum"),
            description=schema.get("description", ""),
        )
    return fields
