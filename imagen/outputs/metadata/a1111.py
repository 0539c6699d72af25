"""The `parameters` text that other tools write and read: prompt, negative, and a line of pairs."""

from __future__ import annotations

import json
import math
import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from imagen.core.field_names import field_named
from imagen.core.json_values import parse_json

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
_KINDS: Mapping[str, type[int] | type[float] | type[str]] = {
    **dict.fromkeys(("sampler", "scheduler"), str),
    **dict.fromkeys(("steps", "seed", "feather", "variation_seed", "clip_skip"), int),
    **dict.fromkeys(("cfg", "guidance", "strength", "variation_strength", "hires"), float),
}
"""The fields that are read, and the type of each."""
_FURTHER = {"clip skip": "clip_skip", "hires upscale": "hires", "hires scale": "hires"}
_FIRST_PAIR = re.compile(r"^[ \t]*Steps[ \t]*:[ \t]*[0-9]", re.MULTILINE)
_INLINE = re.compile(r"\bSteps:[ \t]*[0-9]{1,5},[ \t]*[A-Z]")
_TEMPLATE = re.compile(r"\n(?:Negative )?Template:")
"""What extensions that fill in templates write above or below the settings."""
_LABEL = re.compile(r"[ \t]*(\w[\w \-/]{1,80}):[ \t]*")
_QUOTED = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"(?=[ \t]*(?:,|\n|$))', re.DOTALL)
_PLAIN = re.compile(r"[^,\n]*")
_SIZE = re.compile(r"\(?([0-9]{1,6})[ x×,]{1,3}([0-9]{1,6})\)?")
_FEWEST_PAIRS = 3
"""With fewer, the last line is taken for a part of the prompt, as other tools do."""


def format_parameters(prompt: str, negative: str, values: Mapping[str, Any]) -> str:
    """The text for these values, by our names for them; what is None is left out."""
    pairs = (
        f"{label}: {_quoted(values[name])}"
        for name, label in _LABELS.items()
        if values.get(name) is not None
    )
    lines = (prompt, _NEGATIVE + negative if negative else "", ", ".join(pairs))
    return "\n".join(line for line in lines if line).replace("\0", "")


def parse_parameters(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What such a text says: values by the names of Request's fields, and all other pairs.

    A request has no field for some of the values: `clip_skip`, `hires` (the factor of a second
    pass) and `hires_denoise`.
    """
    head, pairs = _split(text.replace("\r\n", "\n").strip())
    prompt, _, negative = ("\n" + head).partition(f"\n{_NEGATIVE.rstrip()}")
    values: dict[str, Any] = {"prompt": prompt.strip()}
    if negative.strip():
        values["negative"] = negative.strip()
    others: dict[str, Any] = {}
    for label, value in pairs.items():
        understood = _understood(label, value)
        values |= understood
        if not understood:
            others[label] = value
    values |= _second_pass(values, others)
    loras = list(_loras(others))
    return values | ({"loras": loras} if loras else {}), others


def _split(text: str) -> tuple[str, dict[str, Any]]:
    """The text above the settings without templates, and the settings with what is below them."""
    starts = [match.start() for match in _FIRST_PAIR.finditer(text)]
    inline = [match.start() for match in _INLINE.finditer(text)][-1:]
    for start in (*reversed(starts), *inline, text.rfind("\n") + 1):
        pairs, end = _pairs(text, start)
        if len(pairs) >= _FEWEST_PAIRS and any(map(is_setting, _values(pairs))):
            template = _TEMPLATE.search(text, 0, start)
            head = text[: template.start() if template else start]
            return head, pairs | _templates(text[end:])
    return text, {}


def is_setting(name: str) -> bool:
    """Whether only a program that makes images says this of one; cameras have sizes and models."""
    return name not in ("prompt", "negative", "width", "height")


def _values(pairs: Mapping[str, Any]) -> Iterator[str]:
    for label, value in pairs.items():
        yield from _understood(label, value)


def _templates(below: str) -> dict[str, str]:
    starts = [*(match.start() for match in _TEMPLATE.finditer(below)), len(below)]
    named = (below[one:end].strip().partition(":") for one, end in pairwise(starts))
    return {name: text.strip() for name, _, text in named}


def _pairs(text: str, at: int) -> tuple[dict[str, Any], int]:
    """The pairs of the line that starts there, and its end; a quoted value may hold line breaks."""
    pairs: dict[str, Any] = {}
    may_be_json = True
    while at < len(text) and text[at] != "\n":
        label = _LABEL.match(text, at)
        if label:
            at = label.end()
            value: Any = None
            if may_be_json and text[at : at + 1] in ("{", "["):
                value, at = _json_value(text, at)
                may_be_json = value is not None  # each failure may cost a look at all of the text
            if value is None:
                found = _QUOTED.match(text, at) or _PLAIN.match(text, at)
                value = _unquoted(found[0].strip()) if found else ""
                at = found.end() if found else at
            pairs[label[1].strip()] = value
        rest = _PLAIN.match(text, at)
        at = rest.end() if rest else at
        at += text[at : at + 1] == ","
    return pairs, at


def _json_value(text: str, at: int) -> tuple[Any, int]:
    """A value that is JSON, and its end."""
    try:
        _, end = json.JSONDecoder().raw_decode(text, at)
        return parse_json(text[at:end], strict_numbers=False), end
    except (ValueError, RecursionError):
        return None, at


def _second_pass(values: dict[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """How much a second pass enlarges, and its denoising strength, which is not the first's."""
    size = _SIZE.fullmatch(str(others.get("Hires resize", "")))
    if "hires" not in values and size and values.get("width"):
        wide = int(size[1]) or int(size[2]) * values["width"] // (values.get("height") or 1)
        values["hires"] = round(wide / values["width"], 4)
    if "hires" in values and "strength" in values:
        return {"hires_denoise": values.pop("strength")}
    return {}


def _loras(others: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """LoRAs named among the pairs and not in the prompt; they are taken out of `others`."""
    for named in str(others.pop("Lora weights", "")).split(","):
        name, _, weight = named.rpartition(":")
        if name.strip():
            yield from _lora(name, weight)
    number = 0
    while name := others.pop(f"Lora_{number} Model name", ""):
        yield from _lora(name, others.pop(f"Lora_{number} Strength model", 1))
        number += 1
    resources = others.get("Civitai resources")
    for one in resources if isinstance(resources, list) else ():
        if isinstance(one, dict) and one.get("type") in ("lora", "lycoris"):
            yield from _lora(one.get("modelName"), one.get("weight", 1))
        if isinstance(one, dict) and one.get("type") == "checkpoint" and one.get("modelName"):
            others.setdefault("Model", one["modelName"])


def _lora(name: Any, weight: Any) -> Iterator[dict[str, Any]]:
    try:
        strength = float(weight)
    except (TypeError, ValueError):
        return
    if isinstance(name, str) and math.isfinite(strength):
        yield {"name": name.strip(), "strength": strength}


def _quoted(value: Any) -> str:
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    return json.dumps(text, ensure_ascii=False) if re.search(r'[,:"\n]', text) else text


def _unquoted(value: str) -> str:
    try:
        text = json.loads(value, strict=False) if value.startswith('"') else value
    except ValueError:
        return value
    return str(text)


def _understood(label: str, value: Any) -> dict[str, Any]:
    """The fields this pair stands for; none where its label or value is not one we know."""
    if not isinstance(value, str):
        return {}
    size = _SIZE.fullmatch(value) if label.lower() == "size" else None
    if size:
        return {"width": int(size[1]), "height": int(size[2])}
    name = _FURTHER.get(label.lower()) or field_named(label) or ""
    if name not in _KINDS:
        return {}
    try:
        typed = _KINDS[name](value)
    except ValueError:
        return {}
    return {} if isinstance(typed, float) and not math.isfinite(typed) else {name: typed}
