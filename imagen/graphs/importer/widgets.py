"""A node's stored values, each put to the input it belongs to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imagen.graphs.importer.declared import CONTROLS, DYNAMIC, Declared, below
from imagen.graphs.model_names import is_model_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from imagen.graphs.importer.editor import Node

_MOST_TRIES = 4096
_UPLOAD_VALUES = ("image", "video", "audio", "file", "", None)
_SURE, _ODD, _NEVER = 0, 1, 1000
"""How well a value suits an input: as it should be; its type is right; its type is wrong."""
UPLOAD_BELOW = "upload_below"
"""An option of our own: the editor keeps a value for an upload button behind this input's."""


@dataclass(frozen=True, slots=True)
class _Extra:
    """A place among the values that belongs to no input, and is not in every file."""

    values: tuple[Any, ...]
    control_of: str = ""
    """The input whose value the editor changes after each run, as this place says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WidgetValues:
    """What a node's stored values mean."""

    values: Mapping[str, Any]
    controls: Mapping[str, str] = field(default_factory=dict)
    """For each input that the editor changes after each run, in which way."""
    missing: frozenset[str] = frozenset()
    """The inputs for which nothing is stored, as the node was older when it was saved."""
    surplus: tuple[Any, ...] = ()
    """What belongs to no input that the catalog declares."""
    misfit: int = 0
    """How much of it does not fit the catalog."""


def read_widgets(node: Node, inputs: Sequence[Declared]) -> WidgetValues:
    """The value of each of the node's widgets, by input, as the editor would send it.

    They go by place, as in the editor, also where they are there by name too: people mend a file
    in one of the two, and the editor heeds the other only if it is told to. Where the places don't
    fit the catalogue, and the names do, these count. A place that only some versions of the editor
    fill is told by what fits; a value that is not there is the input's default. Where values are
    left, a required input that is no socket in the file is a widget of its script's own.
    """
    shown = [one for one in inputs if _shown(node, one)]
    if isinstance(node.values, dict):
        return _by_name(node.values, shown, takes_others=True)
    listed = node.values if isinstance(node.values, list) else []
    listed = [value for value in listed if not _describes_widgets(value)]
    by_place = _best(shown, listed)
    if by_place.surplus:
        slots = {slot.name for slot in node.inputs}
        others = [one for one in inputs if one in shown or (one.required and one.name not in slots)]
        by_place = min(by_place, _best(others, listed), key=lambda fit: fit.misfit)
    if not node.named:
        return by_place
    return min(by_place, _by_name(node.named, shown), key=lambda fit: fit.misfit)


def _describes_widgets(value: Any) -> bool:
    """Whether a stored value is one of LoraManager's notes on its own widgets."""
    return isinstance(value, dict) and "textWidgetName" in value


def _shown(node: Node, one: Declared) -> bool:
    face = next((slot for slot in node.inputs if slot.name == one.name), None)
    return one.has_widget or (face is not None and face.has_widget)


def _by_name(
    named: Mapping[str, Any], shown: Sequence[Declared], *, takes_others: bool = False
) -> WidgetValues:
    """Values by name. A node that stores them so may have widgets that no catalog declares."""
    found: dict[str, Any] = {}
    misfit = 0
    waiting = list(reversed(shown))
    while waiting:
        one = waiting.pop()
        found[one.name] = _given(one, named.get(one.name))
        misfit += _misfit(one, found[one.name]) if one.name in named else 0
        waiting += reversed(below(one, found[one.name]) if one.type == DYNAMIC else [])
    if takes_others:
        others = {k: v for k, v in named.items() if isinstance(v, str | int | float)}
        found = {**{name: v for name, v in others.items() if v not in CONTROLS}, **found}
    control = named.get("control_after_generate")
    seeds = [one.name for one in shown if one.has_control] if control in CONTROLS[1:] else []
    return WidgetValues(values=found, controls=dict.fromkeys(seeds, str(control)), misfit=misfit)


Taken = tuple["Taken", Declared | _Extra, Any] | None
"""The places that have their value so far, the last first."""


def _best(shown: Sequence[Declared], values: Sequence[Any]) -> WidgetValues:
    """The reading in which most fits; the editor's own where several fit as well."""
    best: tuple[int, Taken] | None = None
    waiting: list[tuple[tuple[Declared | _Extra, ...], int, int, Taken]] = [
        (_places(shown), 0, 0, None)
    ]
    for _ in range(_MOST_TRIES):
        if not waiting:
            break
        places, at, misfit, taken = waiting.pop()
        while places and (best is None or misfit < best[0]):
            place, places = places[0], places[1:]
            value = values[at] if at < len(values) else None
            if isinstance(place, _Extra):
                if at < len(values) and _among(value, place.values):
                    waiting.append((places, at, misfit, taken))
                    taken, at = (taken, place, value), at + 1
                continue
            given = _given(place, value)
            misfit += _misfit(place, given) if at < len(values) else 1
            taken, at = (taken, place, given), at + 1
            places = (*_brought(place, given), *places)
        misfit += sum(value is not None for value in values[at:])
        if best is None or misfit < best[0]:
            best = misfit, taken
    assert best is not None
    misfit, taken = best
    return _collected(taken, values, misfit)


def _collected(taken: Taken, values: Sequence[Any], misfit: int) -> WidgetValues:
    found: dict[str, Any] = {}
    controls: dict[str, str] = {}
    steps = []
    while taken is not None:
        taken, place, value = taken
        steps.append((place, value))
    steps.reverse()
    for place, value in steps:
        if isinstance(place, Declared):
            found[place.name] = value
        elif place.control_of and value in (*CONTROLS[1:], True):
            controls[place.control_of] = "randomize" if value is True else value
    left = tuple(value for value in values[len(steps) :] if value not in (None, "", [], {}))
    missing = [place.name for place, _ in steps[len(values) :] if isinstance(place, Declared)]
    return WidgetValues(
        values=found,
        controls=controls,
        missing=frozenset(missing),
        surplus=left,
        misfit=misfit,
    )


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
    found = []
    if one.has_control:
        # Some nodes that make the control themselves store null there.
        found.append(_Extra((*CONTROLS, True, False, None), control_of=one.name))
        found += [_Extra(("",))] if one.type == "COMBO" else []
    return found + ([_Extra(_UPLOAD_VALUES)] if one.options.get(UPLOAD_BELOW) else [])


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
        if isinstance(value, str):
            return _SURE
        return _ODD if isinstance(value, dict) else _number_misfit(one, value, _ODD)
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
