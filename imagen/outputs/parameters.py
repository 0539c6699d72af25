"""The `parameters` text that other tools write and read: prompt, negative, and a line of pairs."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NEGATIVE = "Negative prompt: "
_LABELS = {
    "steps": "Steps",
    "sampler": "Sampler",
    "scheduler": "Schedule type",
    "cfg": "CFG scale",
    "guidance": "Distilled CFG Scale",
    "seed": "Seed",
    "size": "Size",
    "model": "Model",
    "strength": "Denoising strength",
    "feather": "Mask blur",
    "variation_seed": "Variation seed",
    "variation_strength": "Variation seed strength",
    "backend": "Backend",
    "version": "Version",
}
_FIELDS: Mapping[str, tuple[str, type[int] | type[float] | type[str]]] = {
    "Steps": ("steps", int),
    "Sampler": ("sampler", str),
    "Schedule type": ("scheduler", str),
    "CFG scale": ("cfg", float),
    "Distilled CFG Scale": ("guidance", float),
    "Guidance": ("guidance", float),
    "Seed": ("seed", int),
    "Denoising strength": ("strength", float),
    "Mask blur": ("feather", int),
    "Variation seed": ("variation_seed", int),
    "Variation seed strength": ("variation_strength", float),
}
_PAIR = r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)'
_SIZE = r"([0-9]{1,6})x([0-9]{1,6})"
_FEWEST_PAIRS = 3
"""With fewer, the last line is taken for a part of the prompt, as other tools do."""


def compose(prompt: str, negative: str, values: Mapping[str, Any]) -> str:
    """The text for these values, by our names for them; what is None is left out."""
    pairs = (
        f"{label}: {_quoted(values[name])}"
        for name, label in _LABELS.items()
        if values.get(name) is not None
    )
    lines = (prompt, _NEGATIVE + negative if negative else "", ", ".join(pairs))
    return "\n".join(line for line in lines if line).replace("\0", "")


def parse(text: str) -> tuple[dict[str, Any], dict[str, str]]:
    """What such a text says: values by the names of Request's fields, and all other pairs."""
    *before, last = text.strip().split("\n")
    pairs = dict(_pairs(last))
    if len(pairs) < _FEWEST_PAIRS:
        before, pairs = [*before, last], {}
    prompt, _, negative = ("\n" + "\n".join(before)).partition(f"\n{_NEGATIVE.rstrip()}")
    values: dict[str, Any] = {"prompt": prompt.strip()}
    if negative.strip():
        values["negative"] = negative.strip()
    known = {label: value for label, value in pairs.items() if _understood(label, value)}
    for label, value in known.items():
        values |= _understood(label, value)
    return values, {label: value for label, value in pairs.items() if label not in known}


def _quoted(value: Any) -> str:
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    return json.dumps(text, ensure_ascii=False) if re.search(r'[,:"\n]', text) else text


def _pairs(line: str) -> Iterator[tuple[str, str]]:
    pair = re.compile(_PAIR)
    at = 0
    while at < len(line):
        match = pair.match(line, at)
        if match:
            yield match[1].strip(), _unquoted(match[2].strip())
        comma = line.find(",", at)
        at = match.end() if match else comma + 1 if comma >= 0 else len(line)


def _unquoted(value: str) -> str:
    try:
        text = json.loads(value) if value.startswith('"') else value
    except ValueError:
        return value
    return str(text)


def _understood(label: str, value: str) -> dict[str, Any]:
    """The fields this pair stands for; none where its label or value is not one we know."""
    size = re.fullmatch(_SIZE, value) if label == "Size" else None
    if size:
        return {"width": int(size[1]), "height": int(size[2])}
    if label not in _FIELDS:
        return {}
    name, kind = _FIELDS[label]
    try:
        typed = kind(value)
    except ValueError:
        return {}
    return {} if isinstance(typed, float) and not math.isfinite(typed) else {name: typed}
