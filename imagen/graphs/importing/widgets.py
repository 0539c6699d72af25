"""A node's stored values, each put to the input it belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imagen.graphs.importing.declared import DYNAMIC, Declared, below
from imagen.graphs.importing.promoted import CONTROLS
from imagen.graphs.spelling import is_model_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from imagen.graphs.importing.editor import Node

_MOST_TRIES = 4096
_UPLOAD_VALUES = ("image", "video", "audio", "file", "", None)
_SURE, _ODD, _NEVER = 0, 1, 1000
"""How well a value suits an input: as it should be; its type is right; its type is wrong."""


@dataclass(frozen=True, slots=True)
class _Extra:
    """A place among the values that belongs to no input, and is not in every file."""

    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class _Fit:
    """One way to read the values, and how much in it does not fit."""

    values: Mapping[str, Any]
    misfit: int


def literals(node: Node, inputs: Sequence[Declared]) -> dict[str, Any]:
    """The value of each of the node's widgets, by input, as the editor would send it.

    They go by place, as in the editor, also where they are there by name too: people mend a file
    in one of the two, and the editor heeds the other only if it is told to. Where the places don't
    fit the catalogue, and the names do, these count. A place that only some versions of the editor
    fill is told by what fits; a value that is not there is the input's default.
    """
    shown = [one for one in inputs if _shown(node, one)]
    if isinstance(node.values, dict):
        return dict(_by_name(node.values, shown).values)
    by_place = _best(shown, node.values if isinstance(node.values, list) else [])
    if not node.named:
        return dict(by_place.values)
    by_name = _by_name(node.named, shown)
    return dict(min(by_place, by_name, key=lambda fit: fit.misfit).values)


def _shown(node: Node, one: Declared) -> bool:
    face = next((slot for slot in node.inputs if slot.name == one.name), None)
    return one.has_widget or (face is not None and face.has_widget)


def _by_name(named: Mapping[str, Any], shown: Sequence[Declared]) -> _Fit:
    found: dict[str, Any] = {}
    misfit = 0
    waiting = list(shown)
    while waiting:
        one = waiting.pop(0)
        found[one.name] = _given(one, named.get(one.name))
        misfit += _misfit(one, found[one.name]) if one.name in named else 0
        if one.type == DYNAMIC:
            waiting = below(one, found[one.name]) + waiting
    return _Fit(found, misfit)


def _best(shown: Sequence[Declared], values: Sequence[Any]) -> _Fit:
    """The reading in which most fits; the editor's own where several fit as well."""
    tries = [0]
    readings = list(_readings(_places(shown), values, {}, 0, tries))
    return min(readings, key=lambda reading: reading.misfit)


def _places(shown: Sequence[Declared]) -> tuple[Declared | _Extra, ...]:
    """What the editor keeps a value for, in its order."""
    found: list[Declared | _Extra] = []
    for one in shown:
        found += [one, *_beside(one)]
    if any(one.uploads for one in shown):
        required = [place for place in found if isinstance(place, _Extra) or place.required]
        others = [place for place in found if place not in required]
        found = [*required, _Extra(_UPLOAD_VALUES), *others]
    return tuple(found)


def _beside(one: Declared) -> list[_Extra]:
    if not one.has_control:
        return []
    control = _Extra((*CONTROLS, True, False))
    return [control, _Extra(("",))] if one.type == "COMBO" else [control]


def _readings(
    places: tuple[Declared | _Extra, ...],
    values: Sequence[Any],
    found: Mapping[str, Any],
    misfit: int,
    tries: list[int],
) -> Iterator[_Fit]:
    tries[0] += 1
    if not places:
        yield _Fit(found, misfit + sum(value is not None for value in values))
        return
    place, *rest = places
    if isinstance(place, _Extra):
        if values and _among(values[0], place.values):
            yield from _readings(tuple(rest), values[1:], found, misfit, tries)
            if tries[0] > _MOST_TRIES:
                return
        yield from _readings(tuple(rest), values, found, misfit, tries)
        return
    value = _given(place, values[0] if values else None)
    more = _brought(place, value)
    cost = _misfit(place, value) if values else 1
    yield from _readings(
        (*more, *rest), values[1:], {**found, place.name: value}, misfit + cost, tries
    )


def _brought(place: Declared, value: Any) -> tuple[Declared | _Extra, ...]:
    return _places(below(place, value)) if place.type == DYNAMIC else ()


def _given(one: Declared, value: Any) -> Any:
    """What is stored; the default where that is nothing; whole numbers as such."""
    value = one.default if value is None else value
    whole = one.type == "INT" and isinstance(value, float) and value.is_integer()
    return int(value) if whole else value


def _among(value: Any, known: tuple[Any, ...]) -> bool:
    """Membership that tells true from 1."""
    return any(value == one and type(value) is type(one) for one in known)


def _misfit(one: Declared, value: Any) -> int:
    if one.type in ("COMBO", DYNAMIC):
        return _choice_misfit(one, value)
    if one.type == "BOOLEAN":
        return _SURE if isinstance(value, bool) else _ODD if value in (0, 1) else _NEVER
    if one.type == "STRING":
        return _SURE if isinstance(value, str) else _number_misfit(one, value, _ODD)
    if one.type in ("INT", "FLOAT"):
        return _number_misfit(one, value, _SURE)
    return _SURE


def _number_misfit(one: Declared, value: Any, sure: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _NEVER
    low, high = one.number("min"), one.number("max")
    within = (low is None or value >= low) and (high is None or value <= high)
    return sure if within else _ODD


def _choice_misfit(one: Declared, value: Any) -> int:
    if _among(value, one.choices) or is_model_file(value) or one.uploads:
        return _SURE
    texts = not one.choices or any(isinstance(choice, str) for choice in one.choices)
    return _ODD if isinstance(value, str) and texts else _NEVER
