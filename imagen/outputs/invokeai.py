"""The `invokeai_metadata` text that InvokeAI writes, as values by the names of a request."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    Pair = tuple[dict[str, Any], dict[str, Any]]

_TEXTS = {"positive_prompt": "prompt", "negative_prompt": "negative"}
_WHOLE = {"width": "width", "height": "height", "seed": "seed", "steps": "steps"}
_NUMBERS = {"cfg_scale": "cfg", "guidance": "guidance", "strength": "strength"}
_SCHEDULER = "scheduler"
_KARRAS = "_k"
"""How its names for samplers end that spread the noise after Karras."""


def parse(said: Mapping[str, Any]) -> Pair:
    """What it says: values by the names of Request's fields, and all else that is said."""
    values: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for name, value in said.items():
        understood = _understood(name, value)
        values |= understood
        if not understood and value not in (None, "", [], {}):
            others[name] = value
    name = _name(others.pop("model", None))
    loras = [lora for one in _list(others.pop("loras", None)) for lora in _lora(one)]
    return values | ({"loras": loras} if loras else {}), others | ({"model": name} if name else {})


def _understood(name: str, value: Any) -> dict[str, Any]:
    """The fields that this one stands for; none where its name or value is not one we know."""
    if name in _TEXTS and isinstance(value, str):
        return {_TEXTS[name]: value} if value else {}
    if name in _WHOLE and type(value) is int:
        return {_WHOLE[name]: value}
    if name in _NUMBERS and _is_number(value):
        return {_NUMBERS[name]: float(value)}
    return _sampler(value) if name == _SCHEDULER and isinstance(value, str) and value else {}


def _sampler(name: str) -> dict[str, Any]:
    """It calls a sampler a scheduler."""
    if name.endswith(_KARRAS):
        return {"sampler": name.removesuffix(_KARRAS), "scheduler": "karras"}
    return {"sampler": name}


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
