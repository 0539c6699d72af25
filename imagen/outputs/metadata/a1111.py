"""A1111's `parameters` text, which many tools write: prompt, negative prompt, a line of pairs."""

from __future__ import annotations

import json
import math
import re
from contextlib import suppress
from itertools import count, pairwise
from typing import TYPE_CHECKING, Any

from imagen.core.field_names import field_named
from imagen.core.json_values import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Values = dict[str, Any]

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
_TYPES: Mapping[str, type[int] | type[float] | type[str]] = {
    **dict.fromkeys(("sampler", "scheduler"), str),
    **dict.fromkeys(("steps", "seed", "feather", "variation_seed", "clip_skip"), int),
    **dict.fromkeys(("cfg", "guidance", "strength", "variation_strength", "hires"), float),
}
"""The fields that are read, with their types."""
_MORE_LABELS = {"clip skip": "clip_skip", "hires upscale": "hires", "hires scale": "hires"}
_FIRST_PAIR = re.compile(r"^[ \t]*Steps[ \t]*:[ \t]*[0-9]", re.MULTILINE)
_INLINE = re.compile(r"\bSteps:[ \t]*[0-9]{1,5},[ \t]*[A-Z]")
_TEMPLATE = re.compile(r"\n(?:Negative )?Template:")
"""Extensions for prompt templates write these above or below the settings."""
_LABEL = re.compile(r"[ \t]*(\w[\w \-/]{1,80}):[ \t]*")
_QUOTED = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"(?=[ \t]*(?:,|\n|$))', re.DOTALL)
_PLAIN = re.compile(r"[^,\n]*")
_SIZE = re.compile(r"\(?([0-9]{1,6})[ x×,]{1,3}([0-9]{1,6})\)?")
_FEWEST_PAIRS = 3
"""With fewer pairs the last line is part of the prompt, as in other tools."""


def format_parameters(prompt: str, negative: str, values: Mapping[str, object]) -> str:
    """The text for these values, by imagen's names; values of None are left out."""
    pairs = []
    for name, label in _LABELS.items():
        value = values.get(name)
        if value is not None:
            is_whole = isinstance(value, float) and value.is_integer()
            text = str(int(value)) if is_whole and isinstance(value, float) else str(value)
            needs_quotes = re.search(r'[,:"\n]', text)
            quoted = json.dumps(text, ensure_ascii=False) if needs_quotes else text
            pairs.append(f"{label}: {quoted}")
    lines = (prompt, _NEGATIVE + negative if negative else "", ", ".join(pairs))
    return "\n".join(line for line in lines if line).replace("\0", "")


def parse_parameters(text: str) -> tuple[Values, Values]:
    """The values in such a text by the names of Request's fields, and all other pairs.

    A request has no field for some of the values: `clip_skip`, `hires` (the factor of a second
    pass) and `hires_denoise`.
    """
    head, pairs = _split(text.replace("\r\n", "\n").strip())
    prompt, _, negative = ("\n" + head).partition(f"\n{_NEGATIVE.rstrip()}")
    values: Values = {"prompt": prompt.strip()}
    if negative.strip():
        values["negative"] = negative.strip()
    others: Values = {}
    for label, value in pairs.items():
        fields = _to_fields(label, value)
        values |= fields
        if not fields:
            others[label] = value
    size = _SIZE.fullmatch(str(others.get("Hires resize", "")))
    if "hires" not in values and size and values.get("width"):
        wide = int(size[1]) or int(size[2]) * values["width"] // (values.get("height") or 1)
        values["hires"] = round(wide / values["width"], 4)
    if "hires" in values and "strength" in values:  # then it is that of the second pass
        values["hires_denoise"] = values.pop("strength")
    loras = list(_pop_loras(others))
    return values | ({"loras": loras} if loras else {}), others


def is_setting(name: str) -> bool:
    """Whether only image generators record this; cameras record sizes and models too."""
    return name not in ("prompt", "negative", "width", "height")


def _split(text: str) -> tuple[str, Values]:
    """The text above the settings without templates; and the settings with what is below them."""
    starts = [match.start() for match in _FIRST_PAIR.finditer(text)]
    inline = [match.start() for match in _INLINE.finditer(text)][-1:]
    for start in (*reversed(starts), *inline, text.rfind("\n") + 1):
        pairs, end = _parse_pairs(text, start)
        names = (name for label, value in pairs.items() for name in _to_fields(label, value))
        if len(pairs) >= _FEWEST_PAIRS and any(map(is_setting, names)):
            template = _TEMPLATE.search(text, 0, start)
            below = text[end:]
            cuts = [*(match.start() for match in _TEMPLATE.finditer(below)), len(below)]
            for one, following in pairwise(cuts):
                name, _, value = below[one:following].strip().partition(":")
                pairs[name] = value.strip()
            return text[: template.start() if template else start], pairs
    return text, {}


def _parse_pairs(text: str, at: int) -> tuple[Values, int]:
    """The pairs of the line that starts there, and its end; quoted values may have line breaks."""
    pairs: Values = {}
    may_be_json = True
    while at < len(text) and text[at] != "\n":
        label = _LABEL.match(text, at)
        if label:
            at = label.end()
            value: Any = None
            if may_be_json and text[at : at + 1] in ("{", "["):
                try:
                    _, end = json.JSONDecoder().raw_decode(text, at)
                    value, at = parse_json(text[at:end], strict_numbers=False), end
                except (ValueError, RecursionError):
                    may_be_json = False  # each failure may scan the whole text
            if value is None:
                match = _QUOTED.match(text, at) or _PLAIN.match(text, at)
                value = match[0].strip() if match else ""
                if value.startswith('"'):
                    with suppress(ValueError):
                        value = str(json.loads(value, strict=False))
                at = match.end() if match else at
            pairs[label[1].strip()] = value
        rest = _PLAIN.match(text, at)
        at = rest.end() if rest else at
        at += text[at : at + 1] == ","
    return pairs, at


def _to_fields(label: str, value: object) -> Values:
    """The fields that a pair sets; none if its label or value is unknown."""
    if not isinstance(value, str):
        return {}
    size = _SIZE.fullmatch(value) if label.lower() == "size" else None
    if size:
        return {"width": int(size[1]), "height": int(size[2])}
    name = _MORE_LABELS.get(label.lower()) or field_named(label) or ""
    if name not in _TYPES:
        return {}
    try:
        typed = _TYPES[name](value)
    except ValueError:
        return {}
    return {} if isinstance(typed, float) and not math.isfinite(typed) else {name: typed}


def _pop_loras(others: Values) -> Iterator[Values]:
    """The LoRAs that are among the pairs and not in the prompt; removes them from `others`."""
    named: list[tuple[object, object]] = []
    for text in str(others.pop("Lora weights", "")).split(","):
        name, _, weight = text.rpartition(":")
        if name.strip():
            named.append((name, weight))
    for number in count():
        label = others.pop(f"Lora_{number} Model name", "")
        if not label:
            break
        named.append((label, others.pop(f"Lora_{number} Strength model", 1)))
    resources = others.get("Civitai resources")
    for one in resources if isinstance(resources, list) else ():
        if isinstance(one, dict) and one.get("type") in ("lora", "lycoris"):
            named.append((one.get("modelName"), one.get("weight", 1)))
        if isinstance(one, dict) and one.get("type") == "checkpoint" and one.get("modelName"):
            others.setdefault("Model", one["modelName"])
    for model, value in named:
        try:
            strength = float(value) if isinstance(value, str | int | float) else math.nan
        except ValueError:
            continue
        if isinstance(model, str) and math.isfinite(strength):
            yield {"name": model.strip(), "strength": strength}
