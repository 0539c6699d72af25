"""What each token we propose means: its type, its range, and a sentence."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imagen.capabilities import Kind, Parameter
from imagen.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from imagen.graphs.importing.reading import Draft, Place, Reading


@dataclass(frozen=True, slots=True)
class _Meaning:
    type: Kind
    says: str
    low: float | None = None
    high: float | None = None


_MEANINGS: Mapping[str, _Meaning] = {
    "prompt": _Meaning("string", "What to show."),
    "negative": _Meaning("string", "What not to show."),
    "image": _Meaning("image", "The initial image."),
    "mask": _Meaning("image", "What to repaint: white is redrawn."),
    "control_image": _Meaning("image", "The picture that steers the composition."),
    "strength": _Meaning("float", "How far to leave the initial image.", 0, 1),
    "width": _Meaning("int", "Pixels.", 16, 16384),
    "height": _Meaning("int", "Pixels.", 16, 16384),
    "count": _Meaning("int", "How many pictures, in one batch.", 1, 1024),
    "seed": _Meaning("int", "Where the noise starts.", 0),
    "steps": _Meaning("int", "Sampling steps.", 1, 10000),
    "cfg": _Meaning("float", "How strictly to follow the prompt.", 0, 100),
    "guidance": _Meaning("float", "Distilled guidance.", 0, 100),
    "sampler": _Meaning("string", "A sampler's name, as ComfyUI lists it."),
    "scheduler": _Meaning("string", "A noise schedule's name, as ComfyUI lists it."),
}
ORDER: Mapping[str, int] = {name: number for number, name in enumerate(_MEANINGS)}
"""How parameters are listed."""
_FILE = _Meaning("string", "A model's file, as ComfyUI lists it.")
_WEIGHT = _Meaning("float", "The weight of a low-rank adapter; 0 is none.", -20, 20)
_STEPPED = ("width", "height")
_LARGEST_KEPT = 2**63


def parameter(draft: Draft, name: str, places: Sequence[Place]) -> Parameter:
    """The parameter of a token: what stands there now is its default.

    Its range is what all its places allow; where the default itself is out of that, there is none.
    """
    meaning = _meaning(name)
    default = _typed(meaning.type, draft.defaults[name])
    if default is None:
        return Parameter(default=draft.defaults[name], description=meaning.says)
    said = {"type": meaning.type, "default": default, "description": described(draft, name, places)}
    ranged = Parameter.model_validate(said | _range(draft.reading, name, meaning, places))
    return ranged if _takes_its_default(ranged, name) else Parameter.model_validate(said)


def described(draft: Draft, name: str, places: Sequence[Place]) -> str:
    """What a token means, and for a second one of its kind where it stands."""
    says = _meaning(name).says
    if re.search(r"_\d{1,9}$", name) is None:
        return says
    reading = draft.reading
    title = reading.title(places[0].node) or reading.kind_of_node(places[0].node)
    return f"{says.removesuffix('.')}; of node {places[0].node}, {title}."


def _meaning(name: str) -> _Meaning:
    base = re.sub(r"(_part)?_\d{1,9}$", "", name)
    if base in _MEANINGS:
        return _MEANINGS[base]
    return _WEIGHT if base.endswith("_strength") else _FILE


def _typed(kind: Kind, value: Any) -> Any:
    """The default as its type has it; None where it is of another one."""
    if kind in ("string", "image"):
        return value if isinstance(value, str) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if kind == "float":
        return float(value)
    return int(value) if value == int(value) else None


def _range(
    reading: Reading, name: str, meaning: _Meaning, places: Sequence[Place]
) -> dict[str, Any]:
    if meaning.type not in ("int", "float"):
        return {}
    declared = [known for place in places if (known := reading.declared(place)) is not None]
    lows = [low for known in declared if (low := known.number("min")) is not None]
    highs = [high for known in declared if (high := known.number("max")) is not None]
    low = max([*lows, *([] if meaning.low is None else [meaning.low])], default=None)
    high = min([*highs, *([] if meaning.high is None else [meaning.high])], default=None)
    found: dict[str, Any] = {"min": low}
    if high is not None and high < _LARGEST_KEPT:  # a seed may be as large as there are
        found["max"] = high
    if name.startswith(_STEPPED):
        steps = [int(step) for known in declared if (step := known.number("step"))]
        found |= {"multiple_of": max(steps)} if steps and max(steps) > 1 else {}
    return found


def _takes_its_default(ranged: Parameter, name: str) -> bool:
    try:
        return bool(ranged.fit(name, ranged.default) == ranged.default)
    except RequestError:
        return False
