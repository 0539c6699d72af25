"""Settings that other programs write as JSON, as values by the names of a request.

Each program has its own names, but few names have two meanings, so one table reads them all. What
is special about one program is handled first.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from imagen.core.field_names import field_named
from imagen.core.json_values import as_mapping, parse_json
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
"""Names besides the common ones: in lower case, letters and digits only."""
_TYPES: Mapping[str, type[str] | type[int] | type[float]] = {
    **dict.fromkeys(("prompt", "negative", "sampler", "scheduler"), str),
    **dict.fromkeys(("seed", "steps", "width", "height", "clip_skip"), int),
    **dict.fromkeys(("cfg", "guidance", "strength", "hires", "hires_denoise"), float),
}
"""The fields that are read, with their types."""
_SIZES = ("resolution", "size")
_MODELS = (
    *("model", "basemodel", "basemodelname", "modelname", "usestablediffusionmodel"),
    *("stablediffusionmodel", "checkpoint"),
)
_LORAS = ("loras", "lora", "uselora", "loraweights")
_MODEL_NAME_KEYS = ("model_name", "name", "Model", "modelFileName", "modelName", "model", "file")
_WEIGHT_KEYS = ("weight", "strength", "multiplier")
_SIZE = re.compile(r"\D{0,3}([0-9]{1,6})\D{1,4}([0-9]{1,6})\D{0,3}")
_LORA_TAG = re.compile(r"<([^<>:]{1,300}):(-?[0-9.]{1,10})>")
_WITHOUT_IMAGE = "PromptGenerateRequest"
_FEWEST_VALUES = 3
"""Fewer known values are not the settings of an image."""


class ForeignSettings(NamedTuple):
    """The settings of another program."""

    tool: str
    """The program that wrote them; "" is unknown."""
    values: dict[str, Any]
    """By the names of a request; a request has no `clip_skip`, `hires` or `hires_denoise`."""
    others: dict[str, Any]
    """All other entries; `model` is the model."""


def parse_settings(document: Mapping[str, object]) -> ForeignSettings | None:
    """The settings in a JSON object; None if it has none."""
    tool, flat = _flatten(document)
    values: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for name, value in flat.items():
        fields = _to_fields(_squash(name), value)
        values = {**values, **fields, **values}  # the first one counts
        is_read = fields or _squash(name) in (*_MODELS, *_LORAS)
        if not is_read and value not in (None, "", [], {}, "None"):
            others[name] = value
    if len(values.keys() - {"width", "hires_denoise", "strength"}) < _FEWEST_VALUES and not tool:
        return None
    if values.get("hires", 1) == 1:  # then there is no second pass
        values = {k: v for k, v in values.items() if k not in ("hires", "hires_denoise")}
    loras = [
        {"name": label.strip(), "strength": float(strength)}
        for name, value in flat.items()
        for label, weight in _find_loras(_squash(name), value, flat)
        if isinstance(label, str)
        and label.strip() not in ("", "None")
        and (strength := _parse_number(weight)) is not None
    ]
    if loras:
        values["loras"] = loras
    by_name = {_squash(name): value for name, value in reversed(list(flat.items()))}
    for name in _MODELS:
        value = by_name.get(name)
        model = _name_in(value) if isinstance(value, dict) else value
        if isinstance(model, str) and model:
            others["model"] = model
            break
    return ForeignSettings(tool, values, others)


def is_graph(payload: Mapping[str, object]) -> bool:
    """Whether this is a ComfyUI graph: nodes, each with its class."""
    return any(isinstance(node, dict) and "class_type" in node for node in payload.values())


def _flatten(document: Mapping[str, object]) -> tuple[str, dict[str, object]]:
    """The program that wrote the document, and its settings as one flat object."""
    inner = document.get("sui_image_params")
    if isinstance(inner, dict):
        return "swarmui", inner
    if isinstance(document.get("image"), dict) and "app_id" in document:
        return "invokeai", parse_old(document)
    if "Comment" in document or ("uc" in document and "scale" in document and "c" not in document):
        # NovelAI's settings are a text within a text; their strength is for an initial image only.
        comment = document.get("Comment")
        inner = dict(document)
        if isinstance(comment, str):
            try:
                inner = as_mapping(parse_json(comment, strict_numbers=False))
            except ValueError:
                inner = {}
        if "uc" not in inner and document.get("Software") != "NovelAI":
            return "", dict(document)
        around = {name: document[name] for name in ("Source", "Software") if document.get(name)}
        flat = {"prompt": document.get("Description", ""), **inner, **around}
        if flat.get("request_type", _WITHOUT_IMAGE) == _WITHOUT_IMAGE:
            flat.pop("strength", None)
        return "novelai", flat
    flat = dict(document)
    version = str(document.get("version", ""))
    if document.get("software") == "RuinedFooocus":
        return "ruinedfooocus", flat
    if "metadata_scheme" in document or version.startswith("Fooocus"):
        return "fooocus", flat
    model = flat.get("baseModel")
    if isinstance(model, dict):
        if "flux" not in str(model.get("baseModel")).lower():
            flat.pop("guidance", None)  # it is written for every model
        return "tensorart", flat
    if "baseModel" in flat:  # Civitai's name for the family
        flat["family"] = flat.pop("baseModel")
    if "c" in document and "uc" in document:
        return "drawthings", flat
    if any(_squash(name) == "usestablediffusionmodel" for name in document):
        return "easydiffusion", flat
    return "", flat | as_mapping(document.get("use_upscaler"))


def _squash(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower()))


def _to_fields(name: str, value: object) -> dict[str, object]:
    """The fields that an entry sets; none if its name or value is unknown."""
    if name in _SIZES and isinstance(value, str) and (size := _SIZE.fullmatch(value)):
        return {"width": int(size[1]), "height": int(size[2])}
    field = _FIELDS.get(name) or field_named(name) or ""
    kind = _TYPES.get(field)
    if kind is None:
        return {}
    if kind is str:
        return {field: value.strip()} if isinstance(value, str) and value.strip() else {}
    number = _parse_number(value)
    if number is None or (field == "seed" and number < 0):
        return {}
    if kind is float:
        return {field: float(number)}
    return {field: abs(int(number))} if number == int(number) else {}


def _parse_number(value: object) -> float | int | None:
    """A number, also from a text; None for everything else."""
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


def _find_loras(
    name: str, value: object, flat: Mapping[str, object]
) -> Iterator[tuple[object, object]]:
    """The names and weights of the LoRAs in an entry."""
    if name.startswith("loracombined") and isinstance(value, str):  # `ink : 0.5`
        label, _, weight = value.rpartition(" : ")
        yield label, weight
    if name == "loras" and isinstance(value, str):
        yield from ((tag[1], tag[2]) for tag in _LORA_TAG.finditer(value))
    if name == "uselora" and isinstance(value, dict):
        yield value.get("selected_lora"), value.get("multiplier", 1)
    weights = flat.get("loraweights")
    if name not in ("loras", "models", "lora") or not isinstance(value, list):
        return
    for number, one in enumerate(value):
        if isinstance(one, str):
            has_weight = isinstance(weights, list) and number < len(weights)
            yield one, weights[number] if isinstance(weights, list) and has_weight else 1
        elif isinstance(one, dict) and one.get("type", "LORA") in ("LORA", "lora"):
            yield _name_in(one), next((one[key] for key in _WEIGHT_KEYS if key in one), 1)
        elif isinstance(one, list) and len(one) > 1:
            # [name, weight, hash], or [hash, "weight - name"]
            weight, dash, label = str(one[1]).partition(" - ")
            yield (label, weight) if dash else (one[0], one[1])


def _name_in(model: Mapping[str, object]) -> str:
    names = (model.get(key) for key in _MODEL_NAME_KEYS)
    return next((name for name in names if isinstance(name, str) and name), "")
