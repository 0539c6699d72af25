"""InvokeAI's metadata.

`Dream` of version 1 is a command line; `sd-metadata` of version 2 is JSON, as is the
`invokeai_metadata` of all later versions.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, TypeGuard

from imagen.core.field_names import field_named
from imagen.core.json_values import as_list, as_mapping

if TYPE_CHECKING:
    from collections.abc import Mapping

    Values = dict[str, Any]

_NAMES = {
    "positive_style_prompt": "prompt_2",
    "negative_style_prompt": "negative_2",
    "scheduler": "sampler",
}
"""Its own names; its scheduler is a sampler."""
_TEXTS = ("prompt", "negative", "prompt_2", "negative_2", "sampler")
_INTEGERS = ("width", "height", "seed", "steps")
_NUMBERS = ("cfg", "guidance", "strength")
_FLAGS: Mapping[str, tuple[str, type[int] | type[float] | type[str]]] = {
    "s": ("steps", int),
    "S": ("seed", int),
    "W": ("width", int),
    "H": ("height", int),
    "C": ("cfg", float),
    "A": ("sampler", str),
    "f": ("strength", float),
}
_BRACKETED = re.compile(r"\[([^\[\]]*)\]")
"""The negative prompt within the prompt."""


def parse_metadata(document: Mapping[str, object]) -> tuple[Values, Values]:
    """The values by the names of Request's fields, and all other entries."""
    values: Values = {}
    others: Values = {}
    for name, value in document.items():
        field = _NAMES.get(name) or field_named(name) or ""
        if (field in _TEXTS and isinstance(value, str) and value) or (
            field in _INTEGERS and type(value) is int
        ):
            values[field] = value
        elif field in _NUMBERS and _is_number(value):
            values[field] = float(value)
        elif value not in (None, "", [], {}):
            others[name] = value
    skipped = others.pop("clip_skip", None)  # it counts the layers that are left out
    if type(skipped) is int and skipped > 0:
        values["clip_skip"] = skipped + 1
    model = _model_name(others.pop("model", None))
    loras = []
    for entry in map(as_mapping, as_list(others.pop("loras", None))):
        # Newer versions call it `model`, older ones `lora`.
        name, weight = _model_name(entry.get("model", entry.get("lora"))), entry.get("weight", 1.0)
        if name and _is_number(weight):
            loras.append({"name": name, "strength": float(weight)})
    return values | ({"loras": loras} if loras else {}), others | (
        {"model": model} if model else {}
    )


def parse_dream(line: str) -> Values:
    """The values of `"a fox [blurry]" -s50 -S42 -W512 -H512 -C7.5 -Ak_lms`."""
    start, end = (1, line.rfind('"')) if line.startswith('"') else (0, line.find(" -"))
    end = end if end > 0 else len(line)
    values: Values = dict(_split_prompt(line[start:end]))
    words = iter(line[end + 1 :].split())
    for word in words:
        name, kind = _FLAGS.get(word[1:2], ("", str)) if word.startswith("-") else ("", str)
        text = word[2:] or (next(words, "") if name else "")
        if not name or not text or (kind is str and len(word) > 2 and not word.startswith("-A")):
            continue
        try:
            value = kind(text)
        except ValueError:
            continue
        if not isinstance(value, float) or math.isfinite(value):
            values[name] = value
    return values


def parse_old(document: Mapping[str, object]) -> Values:
    """The entries of `sd-metadata`, flat and by the names that are used since."""
    image = as_mapping(document.get("image"))
    prompt = image.get("prompt")
    parts = prompt if isinstance(prompt, list) else [prompt]
    texts = [part.get("prompt") if isinstance(part, dict) else part for part in parts]
    prompts = _split_prompt(", ".join(text for text in texts if isinstance(text, str)))
    around = {name: value for name, value in document.items() if name not in ("image", "model")}
    model = around.pop("model_weights", document.get("model"))
    return {
        **around,
        **image,
        "prompt": prompts["prompt"],
        "negative_prompt": prompts.get("negative", ""),
        "model": model,
    }


def _split_prompt(text: str) -> dict[str, str]:
    """The prompt, and the negative prompt that is in brackets within it."""
    negative = ", ".join(part.strip() for part in _BRACKETED.findall(text))
    prompt = _BRACKETED.sub("", text).strip()
    return {"prompt": prompt} | ({"negative": negative} if negative else {})


def _model_name(model: object) -> str:
    entry = as_mapping(model)
    name = entry.get("name", entry.get("model_name"))
    return name if isinstance(name, str) else ""


def _is_number(value: object) -> TypeGuard[int | float]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < math.inf
