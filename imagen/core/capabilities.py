"""What one backend accepts, and the receipt of what became of each parameter asked for."""

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
from imagen.errors import MissingPrompt, RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.core.request import Request

Kind = Literal["int", "float", "bool", "string", "image", "json"]
Outcome = Literal["applied", "mapped", "clamped", "dropped"]

UNREAD = "syntax not read by this engine"
"""How the reason of a text begins that is sent as it is, though not all of it means anything."""
_NEAREST = "the nearest that it has"
NEEDS_PROMPT = ("text-to-image", "variation")
"""Tasks that start from words alone: without a prompt there is nothing to draw."""

_TYPES: Mapping[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (float, int),
    "bool": (bool,),
    "string": (str,),
    "image": (str,),
}
_A = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "image": "a picture's file",
}


class Parameter(BaseModel):
    """One value a backend takes: its type, default, range, choices and a sentence."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Kind = Field(
        "json", description="int, float, bool, string, image (a file), or json for anything."
    )
    default: Any = Field(None, description="The value used when none is asked for.")
    min: int | float | None = Field(None, description="The least it may be.")
    max: int | float | None = Field(None, description="The most it may be.")
    multiple_of: int | None = Field(None, ge=1, description="Whole numbers are rounded to this.")
    choices: tuple[str, ...] | None = Field(None, description="The only values it may have.")
    description: str = Field("", description="What it does, in a sentence.")

    def fit(self, name: str, value: Any) -> Any:
        """`value` within range and of the right type; differs from `value` where it was clamped.

        Raises RequestError where it is of another type, or no choice.
        """
        value = self._typed(name, value)
        if self.choices is not None and value not in self.choices:
            raise RequestError(
                f"{name} can't be {value!r}.{did_you_mean(str(value), self.choices)}",
                remedy=f"Known: {', '.join(self.choices)}.",
            )
        return self._clamped(value) if self.type in ("int", "float") else value

    def _typed(self, name: str, value: Any) -> Any:
        if self.type == "json":
            return value
        if self.type == "int" and isinstance(value, float) and value.is_integer():
            value = int(value)
        wrong = not isinstance(value, _TYPES[self.type])
        if wrong or (isinstance(value, bool) and self.type != "bool"):
            raise RequestError(f"{name} must be {_A[self.type]}, not {value!r}.")
        return _finite(name, value) if self.type == "float" else value

    def _clamped(self, value: Any) -> Any:
        if self.type == "int" and self.multiple_of:
            value = max(1, (value + self.multiple_of // 2) // self.multiple_of) * self.multiple_of
        number = int if self.type == "int" else float
        if self.min is not None and value < self.min:
            return number(self.min)
        if self.max is not None and value > self.max:
            return number(self.max)
        return value


def _finite(name: str, value: float) -> float:
    if not abs(value) <= sys.float_info.max:  # said so, it is true of "not a number" too
        raise RequestError(
            f"{name} must be a finite number, not {one_line(repr(value), limit=40)}."
        )
    return float(value)


class Capabilities(BaseModel):
    """What one backend accepts for one task.

    The names are those of `Request`'s fields, or its own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    tasks: tuple[str, ...] = Field(
        ("text-to-image",), description="All that the backend can do, whichever was asked about."
    )
    parameters: dict[str, Parameter] = {}
    controls: tuple[str, ...] = Field((), description="The kinds of control picture it takes.")
    preprocessors: tuple[str, ...] = Field(
        (), description="The kinds of control picture it can make of a picture."
    )
    preprocesses_in_run: tuple[str, ...] = Field(
        (), description="The kinds that it makes within the run that they steer."
    )
    batch_seeds: bool = Field(
        False,
        description="Whether image n of a batch is exactly the image that seed + n gives alone.",
    )
    without: dict[str, str] = Field(
        default_factory=dict, description="Why a parameter it lacks is lacking, in a sentence."
    )
    prompt_syntax: tuple[Syntax, ...] | None = Field(
        None,
        description="What it reads in a prompt: weights, such as (fog:1.5), choices, such as "
        "{red|blue}, and loras, such as <lora:ink:0.8>; null where that is not known.",
    )


class ParameterOutcome(BaseModel):
    """What became of one parameter."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    outcome: Outcome
    asked: Any = None
    used: Any = None
    """What was used instead: for `mapped` and `clamped`."""
    why: str = ""

    def sentence(self, name: str) -> str:
        """`steps: 50 became 10 (at most 10)`; of one that was applied, the reason alone."""
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
    """As people would write it: `10`, `'euler'`, `aspect_ratio 4:3, megapixels 1`."""
    if isinstance(value, BaseModel):
        value = value.model_dump(exclude_none=True)
    if isinstance(value, dict):
        return ", ".join(f"{name} {inner}" for name, inner in value.items())
    if isinstance(value, tuple | list):
        return "; ".join(map(format_value, value))
    return repr(value)


Receipt = dict[str, ParameterOutcome]
"""For each parameter asked for, what became of it."""


def not_honoured(receipt: Receipt) -> list[str]:
    """A sentence for each parameter that was clamped, dropped, or not wholly read."""
    return [fate.sentence(name) for name, fate in mark_not_honoured(receipt).items()]


def mark_not_honoured(receipt: Receipt) -> Receipt:
    """The parameters that were clamped, dropped or not fully read; dropping "" loses nothing."""
    return {
        name: fate
        for name, fate in receipt.items()
        if (fate.outcome in ("clamped", "dropped") and fate.asked != "") or UNREAD in fate.why
    }


def resolve_parameters(
    request: Request, capabilities: Capabilities
) -> tuple[dict[str, Any], Receipt]:
    """The values a backend of these capabilities will use, and the receipt of how they came about.

    Raises RequestError for an unsupported task, a missing prompt, a value of the wrong type and a
    value outside the choices.
    """
    refuse_unable(request.task, capabilities)
    wanted, translated = translate_words(request.asked(), capabilities.parameters)
    values: dict[str, Any] = {}
    receipt: Receipt = {}
    prompt = capabilities.parameters.get("prompt")
    if request.prompt is None and prompt is not None and prompt.default is None:
        if request.task in NEEDS_PROMPT:
            raise MissingPrompt(
                "This backend needs a prompt: say what the image should show.",
                remedy='Give one, such as "a lighthouse in fog".',
            )
        values["prompt"] = ""
    for name, asked in wanted.items():
        parameter = capabilities.parameters.get(name)
        if parameter is None:
            receipt[name] = ParameterOutcome(
                outcome="dropped", asked=asked, why=_lacking(name, capabilities)
            )
            continue
        values[name] = parameter.fit(name, asked)
        receipt[name] = _fate(parameter, asked, values[name])
        if name in TEXTS and isinstance(asked, str) and values[name] == asked:
            receipt[name] = _read(asked, capabilities)
    return values, with_translated(receipt, translated)


def translate_words(
    asked: Mapping[str, Any], parameters: Mapping[str, Parameter]
) -> tuple[dict[str, Any], Receipt]:
    """The values by the engine's words: sampler, scheduler and scale; and what became of those.

    A sampler's name may carry its schedule ("DPM++ 2M Karras"), and a sampler may come as the
    scheduler, as diffusers and InvokeAI have it. A name that no engine knows stays. Raises
    RequestError where two words for one scale have different values.
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


def _translate_scale(
    values: dict[str, Any], parameters: Mapping[str, Parameter], receipt: Receipt
) -> None:
    """`guidance_scale` is the guidance of a model that has one distilled into it, else its cfg."""
    scale = values.pop(OF_EITHER_SCALE)
    name = "guidance" if "guidance" in parameters else "cfg"
    if values.get(name, scale) != scale:
        raise RequestError(
            f"{OF_EITHER_SCALE} is {name} to this backend, and they have different values: "
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
        outcome, why = "clamped", f"scheduler {values['scheduler']!r} was asked for too"
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
    """The receipt with what was asked before it was put into the engine's names."""
    return receipt | {
        name: fate
        if (now := receipt.get(name)) is None or now.outcome == "applied"
        else now.model_copy(update={"asked": fate.asked})
        for name, fate in translated.items()
    }


def refuse_unable(task: str, capabilities: Capabilities) -> None:
    """A parameter can be left out, but a picture of another kind is not what was asked for.

    Raises RequestError for a task that is none of the backend's.
    """
    if task not in capabilities.tasks:
        raise RequestError(
            f"This backend can't do {task}.", remedy=f"It does: {', '.join(capabilities.tasks)}."
        )


def _lacking(name: str, capabilities: Capabilities) -> str:
    if name in capabilities.without:
        return capabilities.without[name]
    near = nearest(name, capabilities.parameters)
    return f"this backend has no {name}" + (f"; did you mean {near}?" if near else "")


def _fate(parameter: Parameter, asked: Any, used: Any) -> ParameterOutcome:
    if used == asked:
        return ParameterOutcome(outcome="applied", asked=asked)
    return ParameterOutcome(outcome="clamped", asked=asked, used=used, why=_bounds(parameter))


def _read(text: str, capabilities: Capabilities) -> ParameterOutcome:
    """What becomes of a text that is sent as it is: an engine may not read all of its syntax."""
    read = capabilities.prompt_syntax
    unread = [] if read is None else find_unread(text, read)
    why = f"{UNREAD}: {', '.join(unread)}" if unread else ""
    return ParameterOutcome(outcome="applied", asked=text, why=why)


def _bounds(parameter: Parameter) -> str:
    low, high, step = parameter.min, parameter.max, parameter.multiple_of
    parts = (
        "" if low is None else f"at least {low:g}",
        "" if high is None else f"at most {high:g}",
        "" if step is None else f"a multiple of {step}",
    )
    return ", ".join(part for part in parts if part)
