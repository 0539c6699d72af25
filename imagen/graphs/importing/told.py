"""What a graph that was run says of its picture, by the names of a request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imagen.graphs.importing.draft import Draft
from imagen.graphs.importing.files import take_models, take_pictures
from imagen.graphs.importing.prompts import take_prompts
from imagen.graphs.importing.reading import Reading
from imagen.graphs.importing.samplers import find_samplers, take_settings, take_sizes
from imagen.graphs.tokens import inputs_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_VALUES = (
    *("prompt", "negative", "prompt_2", "negative_2", "width", "height", "seed", "steps", "cfg"),
    *("guidance", "sampler", "scheduler", "count"),
)
_OF_A_PICTURE = ("strength",)
"""What means something only together with an initial image."""
_LORA = "lora_name"
_STRENGTHS = ("strength_model", "strength")
_MAIN = ("checkpoint", "unet")


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """The settings of a graph; what can't be told is not there."""

    values: Mapping[str, Any]
    """By the names of a request, as the graph has them: nothing of it is checked."""
    models: tuple[str, ...] = ()
    """The model files, the main one first."""
    loras: tuple[tuple[str, float], ...] = ()
    pictures: tuple[str, ...] = ()
    """What the engine called the pictures that it was made of."""


def told(graph: Mapping[str, Any]) -> Told:
    """Read the graph from its samplers backwards, as far as links lead."""
    draft = Draft(Reading(graph, {}))
    samplers = find_samplers(draft.reading)
    take_prompts(draft, samplers)
    take_pictures(draft, samplers)
    take_sizes(draft, samplers)
    take_settings(draft, samplers)
    files = take_models(draft, samplers)
    names = _VALUES + (_OF_A_PICTURE if draft.takes("image") else ())
    main = [one.file for one in files if one.token in _MAIN]
    loras = tuple(_loras(draft.reading))
    others = [one.file for one in files if one.file not in {name for name, _ in loras}]
    return Told(
        values={name: draft.defaults[name] for name in names if draft.takes(name)},
        models=tuple(dict.fromkeys([*main, *others])),
        loras=loras,
        pictures=tuple(_pictures(draft)),
    )


def _loras(reading: Reading) -> Iterator[tuple[str, float]]:
    for key in reading.in_order:
        inputs = inputs_of(reading.graph[key])
        name = inputs.get(_LORA)
        weight = next((inputs[one] for one in _STRENGTHS if _is_number(inputs.get(one))), 1.0)
        if isinstance(name, str) and name:
            yield name, float(weight)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _pictures(draft: Draft) -> Iterator[str]:
    for role, value in draft.defaults.items():
        if role.startswith(("image", "mask", "control_image")) and isinstance(value, str):
            yield value
