"""What a model on Replicate accepts for a task, and whether the backend is ready to run it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imagen.backends.base import Health
from imagen.backends.replicate import input_names
from imagen.backends.replicate.input_schema import build_parameter, load_schema, save_schema
from imagen.backends.replicate.pricing import PredictionUsage, calculate_cost, find_price
from imagen.core.capabilities import Capabilities, Parameter, translate_words
from imagen.core.request import Request
from imagen.core.text import did_you_mean
from imagen.errors import ConfigError, RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imagen.backends.replicate.client import ReplicateClient
    from imagen.backends.replicate.config import ReplicateConfig
    from imagen.backends.replicate.input_names import InputMapping
    from imagen.backends.replicate.input_schema import ModelInput
    from imagen.core.capabilities import Kind
    from imagen.core.request import Task

_HANDLED_BY_IMAGEN = ("style", "aspect", "feather", "extra")
_DEFAULT_MAX_IMAGES = 4
_MODEL = Parameter(
    type="string",
    description="Another model: owner/name, owner/name:version or deployments/owner/name.",
)
_OWN_DESCRIPTIONS: Mapping[str, tuple[Kind, str]] = {
    "image": ("image", "The initial image."),
    "mask": ("image", "White areas are repainted."),
    "upscale": ("json", "The upscale factor."),
    "restore": ("json", "Face restoration."),
}
"""Type and first sentence of fields that are more than a single input."""


def build_capabilities(
    mapping: InputMapping, task: Task, defaults: Mapping[str, Any]
) -> Capabilities:
    """What the model accepts for this task; `defaults` come from the configuration.

    Raises ConfigError for an unknown default, or one that is out of range.
    """
    tasks = mapping.tasks
    parameters = dict(_parameters(mapping, task if task in tasks else tasks[0]))
    parameters = _with_defaults(mapping, parameters, defaults) | {"model": _MODEL}
    without: dict[str, str] = {}
    for field in Request.model_fields:
        if field in mapping.fields and field not in parameters:
            without[field] = "it needs an initial image"
        elif field not in parameters and field not in _HANDLED_BY_IMAGEN:
            without[field] = f"{mapping.model} has no input for it"
    for field, model_input in mapping.fields.items():
        if model_input.name not in parameters:
            without[model_input.name] = f"use {field}, which becomes {model_input.name}"
    return Capabilities(
        tasks=tasks,
        parameters=parameters,
        controls=mapping.control_kinds,
        without=without,
        prompt_syntax=(),
    )


def _parameters(mapping: InputMapping, task: Task) -> Iterator[tuple[str, Parameter]]:
    for field, model_input in mapping.fields.items():
        if task in input_names.TASKS_OF.get(field, {task}):
            yield field, _field_parameter(mapping, field, model_input)
    if mapping.size.is_known:
        yield from _side_parameters(mapping)
    if mapping.lora_slots or mapping.lora_list:
        most = "any number" if mapping.lora_list else f"at most {len(mapping.lora_slots)}"
        yield "loras", Parameter(type="json", description=f"LoRAs, by URL: {most}.")
    for name, model_input in mapping.extra.items():
        yield name, _extra_parameter(mapping, name, model_input)


def _field_parameter(mapping: InputMapping, field: str, model_input: ModelInput) -> Parameter:
    description = model_input.description
    match field:
        case "image" | "mask" | "upscale" | "restore":
            kind, text = _OWN_DESCRIPTIONS[field]
            return Parameter(type=kind, description=f"{text} {description}".strip())
        case "prompt":  # without a default: a model's page begins with an example
            return Parameter(type="string", description=description or "What to show.")
        case "seed":
            text = "The seed of the noise. Larger values wrap around to 0."
            highest = int(max(model_input.max or 0, 0)) or input_names.DEFAULT_LARGEST_SEED
            return Parameter(type="int", min=0, max=highest, description=text)
        case "strength":
            return _strength_parameter(model_input)
        case "count":
            most = max(1, int(model_input.highest or _DEFAULT_MAX_IMAGES))
            default = max(1, min(model_input.default or 1, most))
            text = description or "Number of images."
            return Parameter(type="int", default=default, min=1, max=most, description=text)
        case "references":
            files = "Files" if model_input.type == "list" else "A file"
            text = f"{files} that the prompt refers to. {description}"
            text = f"{text} Becomes the input {model_input.name} of {mapping.model}."
            return Parameter(type="json", description=text)
        case "controls":
            text = f"One control image ({', '.join(mapping.control_kinds)}). {description}"
            return Parameter(type="json", description=text.strip())
    parameter = build_parameter(model_input)
    if field not in input_names.GUIDANCE_FIELDS:
        return parameter
    changes: dict[str, object] = {"type": "float"}
    if all(mapping.fields.get(name) is model_input for name in input_names.GUIDANCE_FIELDS):
        # Without a default: the field that was not requested would contradict the other.
        default = f" The model's default is {model_input.default:g}." if model_input.default else ""
        text = f"The model's only guidance input, {model_input.name}.{default} {description}"
        changes |= {"default": None, "description": text.strip()}
    return Parameter.model_validate(dict(parameter) | changes)


def _strength_parameter(model_input: ModelInput) -> Parameter:
    default = model_input.default
    if not isinstance(default, float) or not 0 <= default <= 1:
        default = None
    elif model_input.name in input_names.INVERSE_STRENGTHS:
        default = round(1 - default, 4)
    return Parameter(
        type="float",
        default=default,
        min=0.0,
        max=1.0,
        description="Denoising strength: 0 keeps the initial image, 1 ignores it.",
    )


def _side_parameters(mapping: InputMapping) -> Iterator[tuple[str, Parameter]]:
    size = mapping.size
    for side in input_names.SIDES:
        if side not in mapping.inputs:
            text = f"Pixels. Width and height choose the {size.ratio}: {', '.join(size.ratios)}."
            yield side, Parameter(type="int", min=16, description=text)
            continue
        parameter = build_parameter(mapping.inputs[side])
        if size.selector:
            text = f"{parameter.description} Sets {size.selector} to {input_names.CUSTOM}."
            parameter = parameter.model_copy(update={"default": None, "description": text})
        yield side, parameter


def _extra_parameter(mapping: InputMapping, name: str, model_input: ModelInput) -> Parameter:
    """An input that no request field means."""
    parameter = build_parameter(model_input)
    without_default = parameter.model_copy(update={"default": None})
    if name in input_names.REPRODUCIBLE and "seed" in mapping.fields:
        text = input_names.REPRODUCIBLE[name][1]
        return without_default.model_copy(update={"description": text})
    if name == input_names.FORMAT and input_names.LOSSLESS in model_input.choices:
        return build_parameter(model_input, default=input_names.LOSSLESS)
    if model_input.name in mapping.lora_inputs:
        return without_default
    if name in (mapping.size.ratio, mapping.size.selector, mapping.size.area):
        text = f"{model_input.description} Width and height, if requested, take precedence."
        if model_input.default:
            text += f" The model's default is {model_input.default}."
        return without_default.model_copy(update={"description": text.strip()})
    return parameter


def _with_defaults(
    mapping: InputMapping, parameters: Mapping[str, Parameter], defaults: Mapping[str, Any]
) -> dict[str, Parameter]:
    changed = dict(parameters)
    own_names = [*mapping.extra.items(), *mapping.fields.items()]
    by_own_name = {model_input.name: name for name, model_input in reversed(own_names)}
    names = {n: n if n in mapping.fields else by_own_name.get(n, n) for n in defaults}
    values, _ = translate_words({names[n]: value for n, value in defaults.items()}, parameters)
    for given, name in names.items():
        if name in parameters:
            try:
                default = parameters[name].fit(f"parameters.{given}", values[name])
            except RequestError as error:
                raise ConfigError(error.message, remedy=error.remedy) from error
            changed[name] = parameters[name].model_copy(update={"default": default})
        elif name not in mapping.fields:  # a default for another task is accepted
            raise ConfigError(
                f"parameters: {mapping.model} has no input {given!r}."
                f"{did_you_mean(given, [*parameters, *mapping.inputs])}",
                remedy=f"Known: {', '.join(sorted(parameters))}.",
            )
    return changed


def check_health(client: ReplicateClient, config: ReplicateConfig) -> Health:
    """Check the token and the model; its schema is cached.

    Raises BackendError for the first fault.
    """
    account = client.account()
    info = client.model_info(config.reference)
    schema = load_schema(config) if config.input_schema else None
    schema = schema or save_schema(info, config)
    price = find_price(schema.model, {}, hardware=schema.hardware)
    rate = calculate_cost(price, PredictionUsage()).basis.rstrip(".") if price else ""
    facts = (
        ("account", account),
        ("model", schema.model),
        ("version", schema.version[:12]),
        ("hardware", schema.hardware),
        ("price", rate),
    )
    return Health(ok=True, facts=tuple((name, value) for name, value in facts if value))
