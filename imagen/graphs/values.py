"""A literal held against what a server's input takes: its type, its range, its choices."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from imagen.core.text import did_you_mean, one_line
from imagen.graphs.model_names import FOLDERS, bare_name, base_name, names_file, spellings

if TYPE_CHECKING:
    from imagen.graphs.catalogue import InputSpec
    from imagen.graphs.manifest import File, Manifest

Wrong = tuple[str, str]
"""What is wrong, and the remedy."""


def wrong_value(value: Any, name: str, wanted: InputSpec, manifest: Manifest) -> Wrong | None:
    """What is wrong with `value` for the input `name`, or None.

    What the server would turn into another value without a word is wrong too: text for a switch
    (it takes "false" for true), a fraction for a whole number.
    """
    if wanted.type == "COMBO":
        return _wrong_choice(value, name, wanted, manifest)
    if wanted.type in ("INT", "FLOAT"):
        return _wrong_number(value, wanted)
    if wanted.type == "BOOLEAN" and not isinstance(value, bool) and value not in (0, 1):
        return f"must be true or false, not {_shown(value)}.", ""
    is_text = isinstance(value, str | int | float) or _is_object(value)
    if wanted.type == "STRING" and not is_text:
        return f"must be text, not {_shown(value)}.", ""
    return None


def _is_object(value: Any) -> bool:
    """Some nodes keep an object in a text input, which the server takes."""
    return isinstance(value, dict) and "__value__" not in value


def _wrong_number(value: Any, wanted: InputSpec) -> Wrong | None:
    number = _number(value)
    whole = wanted.type == "INT"
    if number is None or (whole and number != int(number)):
        return f"must be a {'whole ' if whole else ''}number, not {_shown(value)}.", ""
    if wanted.low is not None and number < wanted.low:
        return f"must be at least {_plain(wanted.low)}, not {_plain(number)}.", ""
    if wanted.high is not None and number > wanted.high:
        return f"must be at most {_plain(wanted.high)}, not {_plain(number)}.", ""
    return None


def _number(value: Any) -> float | None:
    """The number that the server would read in `value`, whole ones exactly; None for no number."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, int):
        return value
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _wrong_choice(value: Any, name: str, wanted: InputSpec, manifest: Manifest) -> Wrong | None:
    choices = wanted.choices
    if choices is None or value in choices:
        return None
    model = _model(value, manifest)
    if model is None and not names_file(value, name):
        known = [one_line(str(choice)) for choice in choices]
        return f"can't be {_shown(value)}.{did_you_mean(str(value), known)}", _listed(known)
    alike = spellings(value, choices)
    if len(alike) == 1:
        return None
    if alike:
        names = ", ".join(one_line(name) for name in alike)
        return f"the server has {_shown(value)} in several folders.", f"Name one of: {names}."
    return _missing(value, name, [str(choice) for choice in choices], model)


def _model(value: Any, manifest: Manifest) -> File | None:
    if not isinstance(value, str):
        return None
    return next((m for m in manifest.files if base_name(m.file) == base_name(value)), None)


def _missing(value: str, name: str, choices: list[str], model: File | None) -> Wrong:
    folder = model.folder if model else FOLDERS.get(name.rstrip("0123456789"), "")
    where = f" in models/{folder}" if folder else ""
    what = f"the server has no file {_shown(value)}{where}."
    if model is None or not model.source:
        return what + _near(
            value, choices
        ), f"Put it into models/{folder}/." if folder else _listed(choices)
    facts = ", ".join(fact for fact in (model.size, model.licence) if fact)
    known = f" ({facts})" if facts else ""
    return what, f"Get it from {model.source}{known}; put it into models/{model.folder}/."


def _near(value: str, choices: list[str]) -> str:
    """The nearest file, with or without its ending."""
    known = [one_line(choice) for choice in choices]
    return did_you_mean(value, known) or did_you_mean(value, [bare_name(name) for name in known])


def _listed(choices: list[str]) -> str:
    shown = ", ".join(choices[:20]) + (", …" if len(choices) > 20 else "")
    return f"Known: {shown}." if choices else "The server has none."


def _shown(value: Any) -> str:
    return one_line(repr(value), limit=80)


def _plain(number: float) -> str:
    return one_line(str(number), limit=80) if isinstance(number, int) else f"{number:g}"
