"""What a model on Replicate takes, in imagen's words: its capabilities for a task."""

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
    from imagen.backends.replicate.input_schema import ModelInput, ModelSchema
    from imagen.core.capabilities import Kind
    from imagen.core.request import Task


_SIZE = "Pixels. "
_WITH_IMAGE = "it counts with an initial image only"
_NEVER_TAKEN = ("style", "aspect", "feather", "extra")
"""Fields that imagen itself sees to."""
_MOST_PICTURES = 4
"""Of a model that does not say."""
_MODEL = Parameter(
    type="string",
    description="Another model: owner/name, owner/name:version or deployments/owner/name.",
)
_FLOATS = ("cfg", "guidance", "strength")
_SAID: Mapping[str, tuple[Kind, str]] = {
    "image": ("image", "The initial image."),
    "mask": ("image", "White is redrawn."),
    "upscale": ("json", "How many times larger."),
    "restore": ("json", "The mending of faces."),
}
"""Fields that are more than the input they become: what each is, before the model's own words."""


def build_capabilities(
    known: InputMapping, task: Task, defaults: Mapping[str, Any]
) -> Capabilities:
    """What the model takes for this task; `defaults` are the configuration's own.

    Raises ConfigError for a default of no parameter, or out of its range.
    """
    tasks = known.tasks
    asked = task if task in tasks else tasks[0]
    parameters = _with_defaults(known, dict(_parameters(known, asked)), defaults)
    parameters["model"] = _MODEL
    return Capabilities(
        tasks=tasks,
        parameters=parameters,
        controls=known.kinds,
        without=dict(_reasons(known, parameters)),
        prompt_syntax=(),
    )


def _parameters(known: InputMapping, task: Task) -> Iterator[tuple[str, Parameter]]:
    for field, found in known.fields.items():
        if task in input_names.TASKS_OF.get(field, {task}):
            yield field, _field(known, field, found)
    if known.size.is_known:
        yield from ((side, _side(known, side)) for side in input_names.SIDES)
    if known.loras or known.lora_list:
        yield "loras", _loras(known)
    for name, found in known.own.items():
        yield name, _own(known, name, found)


def _field(known: InputMapping, field: str, found: ModelInput) -> Parameter:
    if field in _SAID:
        kind, what = _SAID[field]
        return Parameter(type=kind, description=f"{what} {found.description}".strip())
    special = _SPECIAL.get(field)
    if special is not None:
        return special(known, found)
    read = build_parameter(found)
    if field in input_names.ONE_SCALE and _is_shared(known, field):
        # Neither has a default: the one that was not asked for would contradict the other.
        read = read.model_copy(update={"default": None, "description": _shared(found)})
    number: Kind = "float" if field in _FLOATS else read.type
    return Parameter.model_validate(dict(read) | {"type": number})


def _is_shared(known: InputMapping, field: str) -> bool:
    return all(known.fields.get(name) is known.fields[field] for name in input_names.ONE_SCALE)


def _shared(found: ModelInput) -> str:
    default = f" The model's own default is {found.default:g}." if found.default else ""
    return f"Its only scale of guidance, {found.name}.{default} {found.description}".strip()


def _seed(_: InputMapping, found: ModelInput) -> Parameter:
    return Parameter(
        type="int",
        min=0,
        max=largest_seed(found),
        description="Where the noise starts. Beyond the last seed they begin again at 0.",
    )


def largest_seed(found: ModelInput) -> int:
    """The greatest seed that the model takes."""
    return int(found.max) if found.max and found.max > 0 else input_names.SEEDS_END


def _strength(_: InputMapping, found: ModelInput) -> Parameter:
    inverse = found.name in input_names.INVERSE
    default = (
        found.default if isinstance(found.default, float) and 0 <= found.default <= 1 else None
    )
    return Parameter(
        type="float",
        default=round(1 - default, 4) if inverse and default is not None else default,
        min=0.0,
        max=1.0,
        description="How far to leave the initial image: 0 keeps it, 1 forgets it.",
    )


def _count(_: InputMapping, found: ModelInput) -> Parameter:
    most = max(found.choices, default=found.max or _MOST_PICTURES)
    return Parameter(
        type="int",
        default=max(1, min(found.default or 1, int(most))),
        min=1,
        max=max(1, int(most)),
        description=found.description or "How many pictures.",
    )


def _files(known: InputMapping, found: ModelInput) -> Parameter:
    several = "Files" if found.type == "list" else "A file"
    what = f"{several} that the prompt speaks of. {found.description}"
    return Parameter(type="json", description=f"{what} {known.model} takes them as {found.name}.")


def _prompt(_: InputMapping, found: ModelInput) -> Parameter:
    """Without the default of its own that a model's page begins with."""
    return Parameter(type="string", description=found.description or "What to show.")


def _controls(known: InputMapping, found: ModelInput) -> Parameter:
    what = f"One picture that steers ({', '.join(known.kinds)}). {found.description}"
    return Parameter(type="json", description=what.strip())


_SPECIAL = {
    "prompt": _prompt,
    "seed": _seed,
    "strength": _strength,
    "count": _count,
    "references": _files,
    "controls": _controls,
}


def _side(known: InputMapping, side: str) -> Parameter:
    found = known.inputs.get(side)
    if found is None:
        choices = ", ".join(known.size.ratios)
        what = f"With the other side it chooses {known.size.ratio}: {choices}."
        return Parameter(type="int", min=16, description=_SIZE + what)
    read = build_parameter(found)
    default = None if known.size.selector else read.default
    choice = known.size.selector
    what = f" With it, {choice} is {input_names.CUSTOM}." if choice else ""
    return read.model_copy(update={"default": default, "description": read.description + what})


def _loras(known: InputMapping) -> Parameter:
    most = "any number" if known.lora_list else f"at most {len(known.loras)}"
    return Parameter(type="json", description=f"Low-rank adapters, by their address: {most}.")


def _own(known: InputMapping, name: str, found: ModelInput) -> Parameter:
    if name in input_names.REPRODUCIBLE and "seed" in known.fields:
        return build_parameter(found).model_copy(
            update={"default": None, "description": input_names.REPRODUCIBLE[name][1]}
        )
    if name == input_names.FORMAT and input_names.LOSSLESS in found.choices:
        return build_parameter(found, default=input_names.LOSSLESS)
    if found.name in known.lora_inputs:
        return build_parameter(found).model_copy(update={"default": None})
    if name in (known.size.ratio, known.size.selector, known.size.area):
        # No default: the sides, where they are asked for, decide it.
        said = f"{found.description} Width and height decide it where they are asked for."
        default = f" The model's own default is {found.default}." if found.default else ""
        return build_parameter(found, description=(said + default).strip()).model_copy(
            update={"default": None}
        )
    return build_parameter(found)


def _reasons(known: InputMapping, parameters: Mapping[str, Parameter]) -> Iterator[tuple[str, str]]:
    """Why each field of a request, and each input that has another name here, is lacking."""
    for field in Request.model_fields:
        if field in known.fields and field not in parameters:
            yield field, _WITH_IMAGE
        elif field not in parameters and field not in _NEVER_TAKEN:
            yield field, f"{known.model} has no input for it"
    for field, found in known.fields.items():
        if found.name not in parameters:
            yield found.name, f"ask for {field}, which becomes {found.name}"


def _with_defaults(
    known: InputMapping, parameters: dict[str, Parameter], defaults: Mapping[str, Any]
) -> dict[str, Parameter]:
    changed = dict(parameters)
    named = {name: _our_name(known, name) for name in defaults}
    values, _ = translate_words({named[n]: v for n, v in defaults.items()}, parameters)
    for name, ours in named.items():
        if ours in parameters:
            fitted = _fitted(name, parameters[ours], values[ours])
            changed[ours] = parameters[ours].model_copy(update={"default": fitted})
        elif ours not in known.fields:  # those of another task are no mistake
            raise ConfigError(
                f"parameters: {known.model} has no input {name!r}."
                f"{did_you_mean(name, [*parameters, *known.inputs])}",
                remedy=f"Known: {', '.join(sorted(parameters))}.",
            )
    return changed


def _fitted(name: str, parameter: Parameter, value: Any) -> Any:
    try:
        return parameter.fit(f"parameters.{name}", value)
    except RequestError as error:
        raise ConfigError(error.message, remedy=error.remedy) from error


def _our_name(known: InputMapping, name: str) -> str:
    """The field that an input's own name means, else the name under which it is asked for."""
    fields = (field for field, found in known.fields.items() if found.name == name)
    own = next((ours for ours, found in known.own.items() if found.name == name), name)
    return name if name in known.fields else next(fields, own)


def check_health(client: ReplicateClient, config: ReplicateConfig) -> Health:
    """Asks whose token it is, and for the model; its input schema is kept.

    Raises BackendError for the first thing that is missing.
    """
    account = client.account()
    page = client.page(config.reference)
    known = load_schema(config) if config.input_schema else None
    known = known or save_schema(page, config)
    facts = (
        ("account", account),
        ("model", known.model),
        ("version", known.version[:12]),
        ("hardware", known.hardware),
        ("price", _price(known)),
    )
    return Health(ok=True, facts=tuple((name, value) for name, value in facts if value))


def _price(known: ModelSchema) -> str:
    """The rate, in a sentence; "" where it is not in the table."""
    price = find_price(known.model, {}, hardware=known.hardware)
    return calculate_cost(price, PredictionUsage()).basis.rstrip(".") if price else ""
