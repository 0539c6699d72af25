"""What InvokeAI writes into images, as values by the names of a request.

`Dream` of version 1 is a command line; `sd-metadata` of version 2 is JSON, as is the
`invokeai_metadata` of all later ones.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from imagen.core.field_names import field_named

if TYPE_CHECKING:
    from collections.abc import Mapping

    Pair = tuple[dict[str, Any], dict[str, Any]]

_NAMES = {
    "positive_style_prompt": "prompt_2",
    "negative_style_prompt": "negative_2",
    "scheduler": "sampler",
}
"""Its own names; it calls a sampler a scheduler."""
_TEXTS = ("prompt", "negative", "prompt_2", "negative_2", "sampler")
_WHOLE = ("width", "height", "seed", "steps")
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
"""What it is not to show, within the prompt."""


def parse_metadata(said: Mapping[str, Any]) -> Pair:
    """What it says: values by the names of Request's fields, and all else that is said."""
    values: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for name, value in said.items():
        understood = _understood(name, value)
        values |= understood
        if not understood and value not in (None, "", [], {}):
            others[name] = value
    skipped = others.pop("clip_skip", None)  # it counts the layers that are left out
    if type(skipped) is int and skipped > 0:
        values["clip_skip"] = skipped + 1
    name = _name(others.pop("model", None))
    loras = [lora for one in _list(others.pop("loras", None)) for lora in _lora(one)]
    return values | ({"loras": loras} if loras else {}), others | ({"model": name} if name else {})


def parse_dream(line: str) -> dict[str, Any]:
    """The values of `"a fox [blurry]" -s50 -S42 -W512 -H512 -C7.5 -Ak_lms`."""
    start, end = (1, line.rfind('"')) if line.startswith('"') else (0, line.find(" -"))
    end = end if end > 0 else len(line)
    values = _prompts(line[start:end])
    words = iter(line[end + 1 :].split())
    for word in words:
        name, kind = _FLAGS.get(word[1:2], ("", str)) if word.startswith("-") else ("", str)
        text = word[2:] or (next(words, "") if name else "")
        if name and (kind is not str or len(word) == 2 or word.startswith("-A")):
            values |= _typed(name, kind, text)
    return values


def parse_old(said: Mapping[str, Any]) -> dict[str, Any]:
    """What `sd-metadata` says, flat and by the names that are used since."""
    image = said["image"] if isinstance(said.get("image"), dict) else {}
    prompt = image.get("prompt")
    parts = prompt if isinstance(prompt, list) else [prompt]
    texts = [part.get("prompt") if isinstance(part, dict) else part for part in parts]
    prompts = _prompts(", ".join(text for text in texts if isinstance(text, str)))
    around = {name: value for name, value in said.items() if name not in ("image", "model")}
    model = around.pop("model_weights", said.get("model"))
    return {**around, **image, "negative_prompt": "", **_named(prompts), "model": model}


def _named(prompts: Mapping[str, str]) -> dict[str, str]:
    return {"prompt": prompts["prompt"], "negative_prompt": prompts.get("negative", "")}


def _prompts(text: str) -> dict[str, Any]:
    """The prompt, and the negative prompt in brackets within it."""
    negative = ", ".join(part.strip() for part in _BRACKETED.findall(text))
    prompt = _BRACKETED.sub("", text).strip()
    return {"prompt": prompt} | ({"negative": negative} if negative else {})


def _typed(name: str, kind: type[int] | type[float] | type[str], text: str) -> dict[str, Any]:
    try:
        value = kind(text)
    except ValueError:
        return {}
    is_finite = not isinstance(value, float) or math.isfinite(value)
    return {name: value} if text and is_finite else {}


def _understood(name: str, value: Any) -> dict[str, Any]:
    """The fields that this one stands for; none where its name or value is not one we know."""
    field = _NAMES.get(name) or field_named(name) or ""
    if field in _TEXTS and isinstance(value, str):
        return {field: value} if value else {}
    if field in _WHOLE and type(value) is int:
        return {field: value}
    if field in _NUMBERS and _is_number(value):
        return {field: float(value)}
    return {}


def _lora(one: Any) -> list[dict[str, Any]]:
    """Newer ones say `model`, older ones `lora`."""
    said = one if isinstance(one, dict) else {}
    name, weight = _name(said.get("model", said.get("lora"))), said.get("weight", 1.0)
    return [{"name": name, "strength": float(weight)}] if name and _is_number(weight) else []


def _name(model: Any) -> str:
    said = model if isinstance(model, dict) else {}
    name = said.get("name", said.get("model_name"))
    return name if isinstance(name, str) else ""


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) < math.inf
