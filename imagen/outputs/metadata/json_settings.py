"""Settings that other programs write as JSON, as values by the names of a request.

Each program has names of its own, but few are used for two things, so one table reads them all;
what is peculiar to one program is settled before.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from imagen.core.field_names import field_named
from imagen.core.json_values import parse_json
from imagen.outputs.metadata.invokeai import parse_old

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_FIELDS: Mapping[str, str] = {
    **dict.fromkeys(("positiveprompt", "c"), "prompt"),
    "uc": "negative",
    **dict.fromkeys(("guidancescale", "scale"), "cfg"),
    **dict.fromkeys(("ksamplername", "comfyuisampler"), "sampler"),
    "comfyuischeduler": "scheduler",
    "initimagecreativity": "strength",
    **dict.fromkeys(("clipskip", "clipstopatlayer"), "clip_skip"),
    **dict.fromkeys(("refinerupscale", "upscaleby"), "hires"),
    **dict.fromkeys(("refinercontrolpercentage", "upscalerstrength"), "hires_denoise"),
}
"""Names beside those of every tool: in lower case, without what is neither letter nor digit."""
_KINDS: Mapping[str, type[str] | type[int] | type[float]] = {
    **dict.fromkeys(("prompt", "negative", "sampler", "scheduler"), str),
    **dict.fromkeys(("seed", "steps", "width", "height", "clip_skip"), int),
    **dict.fromkeys(("cfg", "guidance", "strength", "hires", "hires_denoise"), float),
}
"""The fields that are read, and the type of each."""
_SIZES = ("resolution", "size")
_MODELS = (
    *("model", "basemodel", "basemodelname", "modelname", "usestablediffusionmodel"),
    *("stablediffusionmodel", "checkpoint"),
)
_LORAS = ("loras", "lora", "uselora", "loraweights")
_NAMES_OF_MODELS = ("model_name", "name", "Model", "modelFileName", "modelName", "model", "file")
_WEIGHTS = ("weight", "strength", "multiplier")
_SIZE = re.compile(r"\D{0,3}([0-9]{1,6})\D{1,4}([0-9]{1,6})\D{0,3}")
_LORA_TEXT = re.compile(r"<([^<>:]{1,300}):(-?[0-9.]{1,10})>")
_WITHOUT_IMAGE = "PromptGenerateRequest"
_FEWEST = 3
"""Fewer known values are not the settings of an image."""


class ForeignSettings(NamedTuple):
    """What one such text says."""

    tool: str
    """The program that wrote it; "" is unknown."""
    values: dict[str, Any]
    """By the names of a request; a request has no `clip_skip`, `hires` or `hires_denoise`."""
    others: dict[str, Any]
    """All else that it says; `model` is the model."""


def parse_settings(document: Mapping[str, Any]) -> ForeignSettings | None:
    """The settings in a JSON object; None if they can't be read."""
    tool, flat = _flattened(document)
    values: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for name, value in flat.items():
        understood = _understood(_plain_name(name), value)
        values = values | understood | values
        is_read = understood or _plain_name(name) in (*_MODELS, *_LORAS)
        if not is_read and value not in (None, "", [], {}, "None"):
            others[name] = value
    if len(values.keys() - {"width", "hires_denoise", "strength"}) < _FEWEST and not tool:
        return None
    if values.get("hires", 1) == 1:  # then there is no second pass
        values = {k: v for k, v in values.items() if k not in ("hires", "hires_denoise")}
    loras = [one for name, value in flat.items() for one in _loras(_plain_name(name), value, flat)]
    model = next(filter(None, (_model(flat, name) for name in _MODELS)), "")
    values |= {"loras": loras} if loras else {}
    return ForeignSettings(tool, values, others | ({"model": model} if model else {}))


def is_graph(payload: Mapping[str, Any]) -> bool:
    """Whether this is what a ComfyUI server is sent: nodes, each with its class."""
    return any(isinstance(node, dict) and "class_type" in node for node in payload.values())


def _flattened(document: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The program that wrote it, and its settings without what is around them."""
    inner = document.get("sui_image_params")
    if isinstance(inner, dict):
        return "swarmui", inner
    if isinstance(document.get("image"), dict) and "app_id" in document:
        return "invokeai", parse_old(document)
    if "Comment" in document or ("uc" in document and "scale" in document and "c" not in document):
        return _novelai(document)
    flat = dict(document)
    version = str(document.get("version", ""))
    if document.get("software") == "RuinedFooocus":
        return "ruinedfooocus", flat
    if "metadata_scheme" in document or version.startswith("Fooocus"):
        return "fooocus", flat
    model = flat.get("baseModel")
    if isinstance(model, dict):
        if "flux" not in str(model.get("baseModel")).lower():
            flat.pop("guidance", None)  # it says one for every model
        return "tensorart", flat
    if "baseModel" in flat:  # Civitai's word for the family
        flat["family"] = flat.pop("baseModel")
    if "c" in document and "uc" in document:
        return "drawthings", flat
    if any(_plain_name(name) == "usestablediffusionmodel" for name in document):
        return "easydiffusion", flat
    if isinstance(document.get("use_upscaler"), dict):
        flat |= document["use_upscaler"]
    return "", flat


def _novelai(document: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Its settings are a text within a text; the strength is of an initial image only."""
    comment = document.get("Comment")
    inner = _object(comment) if isinstance(comment, str) else document
    if "uc" not in inner and document.get("Software") != "NovelAI":
        return "", dict(document)
    around = {name: document[name] for name in ("Source", "Software") if document.get(name)}
    described = {"prompt": document.get("Description", "")}
    flat = {**described, **inner, **around}
    if flat.get("request_type", _WITHOUT_IMAGE) == _WITHOUT_IMAGE:
        flat.pop("strength", None)
    return "novelai", flat


def _object(text: str) -> dict[str, Any]:
    try:
        value = parse_json(text, strict_numbers=False)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _plain_name(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower()))


def _understood(name: str, value: Any) -> dict[str, Any]:
    """The fields that this one stands for; none where its name or value is not one we know."""
    if name in _SIZES and isinstance(value, str) and (size := _SIZE.fullmatch(value)):
        return {"width": int(size[1]), "height": int(size[2])}
    field = _FIELDS.get(name) or field_named(name) or ""
    kind = _KINDS.get(field)
    if kind is None:
        return {}
    if kind is str:
        return {field: value.strip()} if isinstance(value, str) and value.strip() else {}
    number = _number(value)
    if number is None or (field == "seed" and number < 0):
        return {}
    if kind is float:
        return {field: float(number)}
    return {field: abs(int(number))} if number == int(number) else {}


def _number(value: Any) -> float | int | None:
    """A number, also as a text; None for all else."""
    if isinstance(value, str) and len(value) <= 40:
        try:
            value = int(value)
        except ValueError:
            try:
                value = float(value)
            except ValueError:
                return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) < math.inf else None


def _loras(name: str, value: Any, flat: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The LoRAs under this name."""
    if name.startswith("loracombined") and isinstance(value, str):  # `ink : 0.5`
        yield from _lora(*value.rpartition(" : ")[::2])
    if name == "loras" and isinstance(value, str):
        for found in _LORA_TEXT.finditer(value):
            yield from _lora(found[1], found[2])
    if name == "uselora" and isinstance(value, dict):
        yield from _lora(value.get("selected_lora"), value.get("multiplier", 1))
    weights = flat.get("loraweights")
    given = [value] if name == "uselora" else value
    if name not in ("loras", "models", "lora") or not isinstance(given, list):
        return
    for number, one in enumerate(given):
        if isinstance(one, str):
            has_weight = isinstance(weights, list) and number < len(weights)
            yield from _lora(one, weights[number] if has_weight and weights else 1)
        elif isinstance(one, dict) and one.get("type", "LORA") in ("LORA", "lora"):
            weight = next((one[key] for key in _WEIGHTS if key in one), 1)
            yield from _lora(_name(one), weight)
        elif isinstance(one, list) and len(one) > 1:
            yield from _lora_of_list(one)


def _lora_of_list(one: list[Any]) -> Iterator[dict[str, Any]]:
    """`[name, weight, hash]`, or `[hash, "weight - name"]`."""
    weight, dash, name = str(one[1]).partition(" - ")
    yield from _lora(name, weight) if dash else _lora(one[0], one[1])


def _lora(name: Any, weight: Any) -> Iterator[dict[str, Any]]:
    strength = _number(weight)
    if isinstance(name, str) and name.strip() not in ("", "None") and strength is not None:
        yield {"name": name.strip(), "strength": float(strength)}


def _model(flat: Mapping[str, Any], wanted: str) -> str:
    found = next((value for name, value in flat.items() if _plain_name(name) == wanted), None)
    return _name(found) if isinstance(found, dict) else found if isinstance(found, str) else ""


def _name(model: Mapping[str, Any]) -> str:
    names = (model.get(key) for key in _NAMES_OF_MODELS)
    return next((name for name in names if isinstance(name, str) and name), "")
