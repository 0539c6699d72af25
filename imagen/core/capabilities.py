"""Capabilities: what a backend accepts; receipts: what became of each parameter of a request."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from imagen.core.field_names import OF_EITHER_SCALE
from imagen.core.prompt_syntax import TEXTS, Syntax, find_unread
from imagen.core.samplers import (
    Sampling,
    is_sampler,
    is_scheduler,
    match_sampler,
    match_scheduler,
    parse_sampler,
    parse_scheduler,
)
from imagen.core.text import did_you_mean, nearest, one_line
from imagen.errors import ConfigError, MissingPrompt, RequestError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from imagen.core.request import Request

Kind = Literal["int", "float", "bool", "string", "image", "json"]
Outcome = Literal["applied", "mapped", "clamped", "dropped"]

UNREAD = "syntax not read by this engine"
"""The reason in the receipt of a text that is sent unchanged although not all of it is read."""
_NEAREST = "the nearest that this backend has"
NEEDS_PROMPT = ("text-to-image", "variation")
"""Tasks that need a prompt, because they start from nothing else."""

_TYPES: Mapping[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (float, int),
    "bool": (bool,),
    "string": (str,),
    "image": (str,),
}
_TYPE_NAMES = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "image": "an image file",
}


class Parameter(BaseModel):
    """One parameter of a backend: its type, default, range, choices and description."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Kind = Field(
        "json", description="int, float, bool, string, image (a file), or json for anything."
    )
    default: Any = Field(None, description="The value if the request has none.")
    min: int | float | None = Field(None, description="The smallest value.")
    max: int | float | None = Field(None, description="The largest value.")
    multiple_of: int | None = Field(None, ge=1, description="Whole numbers are rounded to it.")
    choices: tuple[str, ...] | None = Field(None, description="The only valid values.")
    description: str = Field("", description="What it does, in a sentence.")

    def fit(self, name: str, value: Any) -> Any:
        """The value, clamped to the range and rounded.

        Raises RequestError if it has another type, or is not one of the choices.
        """
        value = self._check_type(name, value)
        if self.choices is not None and value not in self.choices:
            raise RequestError(
                f"{name} cannot be {value!r}.{did_you_mean(str(value), self.choices)}",
                remedy=f"Known: {', '.join(self.choices)}.",
            )
        return self._clamp(value) if self.type in ("int", "float") else value

    def _check_type(self, name: str, value: Any) -> Any:
        if self.type == "json":
            return value
        if self.type == "int" and isinstance(value, float) and value.is_integer():
            value = int(value)
        wrong = not isinstance(value, _TYPES[self.type])
        if wrong or (isinstance(value, bool) and self.type != "bool"):
            raise RequestError(f"{name} must be {_TYPE_NAMES[self.type]}, not {value!r}.")
        if self.type != "float":
            return value
        if not abs(value) <= sys.float_info.max:  # written so that it is true of NaN, too
            shown = one_line(repr(value), limit=40)
            raise RequestError(f"{name} must be a finite number, not {shown}.")
        return float(value)

    def _clamp(self, value: Any) -> Any:
        if self.type == "int" and self.multiple_of:
            value = max(1, (value + self.multiple_of // 2) // self.multiple_of) * self.multiple_of
        number = int if self.type == "int" else float
        if self.min is not None and value < self.min:
            return number(self.min)
        if self.max is not None and value > self.max:
            return number(self.max)
        return value


class Capabilities(BaseModel):
    """What one backend accepts for one task.

    Parameters have the names of the fields of `Request`, or names of their own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    tasks: tuple[str, ...] = Field(
        ("text-to-image",), description="Everything that the backend can do, whatever the task."
    )
    parameters: dict[str, Parameter] = {}
    controls: tuple[str, ...] = Field((), description="The kinds of control image that it takes.")
    preprocessors: tuple[str, ...] = Field(
        (), description="The kinds of control image that it can make from an image."
    )
    preprocesses_in_run: tuple[str, ...] = Field(
        (), description="The kinds that it makes in the same run that uses them."
    )
    batch_seeds: bool = Field(
        False,
        description="Whether image n of a batch equals the image that seed + n gives alone.",
    )
    without: dict[str, str] = Field(
        default_factory=dict, description="For missing parameters, why they are missing."
    )
    prompt_syntax: tuple[Syntax, ...] | None = Field(
        None,
        description="The syntax that it reads in prompts: weights, such as (fog:1.5), choices, "
        "such as {red|blue}, and loras, such as <lora:ink:0.8>; null if unknown.",
    )


class ParameterOutcome(BaseModel):
    """What became of one parameter."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    outcome: Outcome
    asked: Any = None
    used: Any = None
    """The value used instead, for `mapped` and `clamped`."""
    why: str = ""

    def sentence(self, name: str) -> str:
        """`steps: 50 became 10 (at most 10)`; for one that was applied, only the reason."""
        if self.outcome == "applied":
            return f"{name}: {self.why}"
        asked = format_value(self.asked)
        asked = asked if len(asked) <= 60 else asked[:59] + "…"
        return f"{name}: {asked} {self.ending}"

    @property
    def ending(self) -> str:
        """`became 10 (at most 10)`, `became aspect_ratio 4:3 (it takes no pixels)`."""
        became = "was dropped" if self.outcome == "dropped" else f"became {format_value(self.used)}"
        return became + (f" ({self.why})" if self.why else "")


def format_value(value: Any) -> str:
    """A value in a sentence: `10`, `'euler'`, `aspect_ratio 4:3, megapixels 1`."""
    if isinstance(value, BaseModel):
        value = value.model_dump(exclude_none=True)
    if isinstance(value, dict):
        return ", ".join(f"{name} {inner}" for name, inner in value.items())
    if isinstance(value, tuple | list):
        return "; ".join(map(format_value, value))
    return repr(value)


Receipt = dict[str, ParameterOutcome]
"""For each parameter of a request, what became of it."""


def not_honoured(receipt: Receipt) -> list[str]:
    """A sentence for each parameter that was clamped, dropped, or not wholly read."""
    return [outcome.sentence(name) for name, outcome in mark_not_honoured(receipt).items()]


def mark_not_honoured(receipt: Receipt) -> Receipt:
    """The parameters that were clamped, dropped or not fully read; a dropped "" does not count."""
    return {
        name: outcome
        for name, outcome in receipt.items()
        if (outcome.outcome in ("clamped", "dropped") and outcome.asked != "")
        or UNREAD in outcome.why
    }


def resolve_parameters(
    request: Request, capabilities: Capabilities
) -> tuple[dict[str, Any], Receipt]:
    """The values that a backend with these capabilities will use, and the receipt.

    Raises RequestError for an unsupported task, a missing prompt, a value of the wrong type or one
    that is not a choice.
    """
    refuse_unable(request.task, capabilities)
    wanted, translated = translate_words(request.asked(), capabilities.parameters)
    values: dict[str, Any] = {}
    receipt: Receipt = {}
    prompt = capabilities.parameters.get("prompt")
    if request.prompt is None and prompt is not None and prompt.default is None:
        if request.task in NEEDS_PROMPT:
            raise MissingPrompt(
                "This backend needs a prompt that says what the image should show.",
                remedy='Give one, such as "a lighthouse in fog".',
            )
        values["prompt"] = ""
    for name, asked in wanted.items():
        parameter = capabilities.parameters.get(name)
        if parameter is None:
            near = nearest(name, capabilities.parameters)
            why = f"this backend has no {name}" + (f"; did you mean {near}?" if near else "")
            why = capabilities.without.get(name, why)
            receipt[name] = ParameterOutcome(outcome="dropped", asked=asked, why=why)
            continue
        used = values[name] = parameter.fit(name, asked)
        if used != asked:
            low, high, step = parameter.min, parameter.max, parameter.multiple_of
            parts = (
                "" if low is None else f"at least {low:g}",
                "" if high is None else f"at most {high:g}",
                "" if step is None else f"a multiple of {step}",
            )
            receipt[name] = ParameterOutcome(
                outcome="clamped",
                asked=asked,
                used=used,
                why=", ".join(part for part in parts if part),
            )
        else:
            unread: list[str] = []
            if name in TEXTS and isinstance(asked, str) and capabilities.prompt_syntax is not None:
                unread = find_unread(asked, capabilities.prompt_syntax)
            why = f"{UNREAD}: {', '.join(unread)}" if unread else ""
            receipt[name] = ParameterOutcome(outcome="applied", asked=asked, why=why)
    return values, with_translated(receipt, translated)


def translate_words(
    asked: Mapping[str, Any], parameters: Mapping[str, Parameter]
) -> tuple[dict[str, Any], Receipt]:
    """The values in the engine's words for sampler, scheduler and scale, and their receipt.

    The name of a sampler may include its scheduler ("DPM++ 2M Karras"), and a sampler may be given
    as the scheduler, as in diffusers and InvokeAI. A name that no engine knows is kept. Raises
    RequestError if two words for one scale have different values.
    """
    values, receipt = dict(asked), dict[str, ParameterOutcome]()
    if OF_EITHER_SCALE in values and OF_EITHER_SCALE not in parameters:
        _translate_scale(values, parameters, receipt)
    if not {"sampler", "scheduler"} & values.keys():
        return values, receipt
    scheduler = values.get("scheduler")
    if (
        isinstance(scheduler, str)
        and is_sampler(scheduler)
        and not ("scheduler" in parameters and is_scheduler(scheduler))
        and "sampler" in parameters
        and "sampler" not in values
    ):
        values["sampler"] = values.pop("scheduler")
        used, why = {"sampler": scheduler}, "it names a sampler"
        receipt["scheduler"] = ParameterOutcome(
            outcome="mapped", asked=scheduler, used=used, why=why
        )
    if "sampler" in values and "sampler" in parameters:
        _translate_sampler(values, parameters, receipt)
    if "scheduler" in values and "scheduler" in parameters:
        _translate_scheduler(values, parameters["scheduler"], receipt)
    return values, receipt


def with_configured_defaults(
    parameters: Mapping[str, Parameter],
    configured: Mapping[str, Any],
    known: Collection[str],
    *,
    backend: str,
) -> dict[str, Parameter]:
    """The parameters, with defaults from the block of a backend; one of another task is ignored.

    `known` are those of all its tasks. Raises ConfigError for another name, and a value that does
    not fit.
    """
    place = f"backends.{backend}.parameters"
    for name in configured:
        if name not in known:
            raise ConfigError(f"{place}.{name}: unknown parameter.{did_you_mean(name, known)}")
    changed = dict(parameters)
    for name, value in translate_words(configured, parameters)[0].items():
        if name in parameters:
            try:
                default = parameters[name].fit(name, value)
            except RequestError as error:
                message = f"{place}.{name}: {error.message}"
                raise ConfigError(message, remedy=error.remedy) from error
            changed[name] = parameters[name].model_copy(update={"default": default})
    return changed


def _translate_scale(
    values: dict[str, Any], parameters: Mapping[str, Parameter], receipt: Receipt
) -> None:
    """`guidance_scale` is the distilled guidance of a model that has one, else its cfg."""
    scale = values.pop(OF_EITHER_SCALE)
    name = "guidance" if "guidance" in parameters else "cfg"
    if name in values and values[name] != scale:
        raise RequestError(
            f"{OF_EITHER_SCALE} means {name} for this backend, and they have different values: "
            f"{scale!r} and {values[name]!r}.",
            remedy="Keep one of them.",
        )
    values[name] = scale
    why = f"this backend calls it {name}" if name in parameters else ""
    receipt[OF_EITHER_SCALE] = ParameterOutcome(
        outcome="mapped", asked=scale, used={name: scale}, why=why
    )


def _translate_sampler(
    values: dict[str, Any], parameters: Mapping[str, Parameter], receipt: Receipt
) -> None:
    asked, choices = values["sampler"], parameters["sampler"].choices
    if not isinstance(asked, str) or asked in (choices or ()) or not is_sampler(asked):
        return
    wanted = parse_sampler(asked)
    whole = match_sampler(wanted, choices) if choices and wanted.scheduler else None
    used = whole or match_sampler(Sampling(wanted.sampler), choices)
    if used is None:
        return
    values["sampler"] = used
    outcome: Outcome = "mapped"
    why = "its name here" if parse_sampler(used).sampler == wanted.sampler else _NEAREST
    schedule = "" if whole else wanted.scheduler
    if schedule and "scheduler" not in values:
        values["scheduler"] = schedule
        receipt["scheduler"] = ParameterOutcome(
            outcome="applied", asked=schedule, why=f"the sampler {asked!r} names it"
        )
    elif schedule and parse_scheduler(str(values["scheduler"])) != schedule:
        outcome, why = "clamped", f"the request also has scheduler {values['scheduler']!r}"
    if used != asked:
        receipt["sampler"] = ParameterOutcome(outcome=outcome, asked=asked, used=used, why=why)


def _translate_scheduler(values: dict[str, Any], parameter: Parameter, receipt: Receipt) -> None:
    asked = values["scheduler"]
    if not isinstance(asked, str) or asked in (parameter.choices or ()):
        return
    wanted = parse_scheduler(asked)
    used = match_scheduler(wanted, parameter.choices) if wanted else parameter.default
    if used == asked or (used is None and wanted):
        return
    if used is None:
        del values["scheduler"]
    else:
        values["scheduler"] = used
    same = wanted and parse_scheduler(str(used)) == wanted
    why = "its name here" if same else _NEAREST if wanted else "left to the backend"
    before = receipt.get("scheduler")
    receipt["scheduler"] = ParameterOutcome(
        outcome="mapped",
        asked=asked,
        used=used,
        why="; ".join(part for part in (before.why if before else "", why) if part),
    )


def with_translated(receipt: Receipt, translated: Receipt) -> Receipt:
    """The receipt with the values as they were before they were translated."""
    return receipt | {
        name: outcome
        if (now := receipt.get(name)) is None or now.outcome == "applied"
        else now.model_copy(update={"asked": outcome.asked})
        for name, outcome in translated.items()
    }


def refuse_unable(task: str, capabilities: Capabilities) -> None:
    """Raises RequestError if the backend cannot do the task."""
    if task not in capabilities.tasks:
        raise RequestError(
            f"This backend cannot do {task}.", remedy=f"It does: {', '.join(capabilities.tasks)}."
        )
