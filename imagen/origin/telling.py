"""From what a picture's record holds to the values of a request, and what could not be read."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from imagen.origin.names import sampler_and_schedule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.outputs import Record

Tool = Literal["imagen", "comfyui", "a1111", "sd.cpp", "invokeai", ""]

_LORA_TAG = re.compile(r"[ \t]*<lora:([^<>:]+)(?::(-?\d+(?:\.\d+)?))?(?::[^<>]*)?>")
_SAMPLING = ("sampler", "scheduler")
_SILENT = {
    *("Model", "Model hash", "Version", "Lora hashes", "Backend", "TI hashes"),
    *("model", "app_version", "generation_mode", "metadata_version"),
}
"""What others say beside the settings, and what is read elsewhere."""
_ENGINES: tuple[tuple[str, str], ...] = (
    ("prompt_id", "comfyui"),
    ("prediction_id", "replicate"),
    ("diffusers", "diffusers"),
    ("job_id", "sdcpp"),
    ("model_version", "sdcpp"),
)
"""What only one kind of engine tells of itself."""
_PAYLOADS: tuple[tuple[str, str], ...] = (
    ("look", "mock"),
    ("arguments", "sdcpp"),
    ("pipeline", "diffusers"),
    ("input", "replicate"),
)
"""What only one kind of engine is sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """How a picture came to be, as far as it is told."""

    tool: Tool = ""
    """Which program made it; "" is unknown."""
    kind: str = ""
    """The kind of backend that was, or would be the nearest; "" is unknown."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """By the names of a request's fields; nothing of it is checked."""
    models: tuple[str, ...] = ()
    """The main one first."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Of those values that are called otherwise here: what the tool called them."""
    unread: Mapping[str, Any] = field(default_factory=dict)
    """What is told and has no place in a request."""


def origin(record: Record) -> Origin:
    """Read the record, whichever tool's it is."""
    match record.source:
        case "sidecar" | "imagen":
            return _ours(record)
        case "prompt":
            return _comfyui(record)
        case "invokeai":
            return _translated(record, "invokeai", "")
        case "parameters":
            return _of_parameters(record)


def kind_of(record: Record) -> str:
    """The kind of backend that made it; "" where the record does not tell."""
    if is_graph(record.graph):
        return "comfyui"
    told = record.facts.get("engine")
    engine: Mapping[str, Any] = told if isinstance(told, dict) else {}
    by_engine = (kind for name, kind in _ENGINES if name in engine)
    by_payload = (kind for name, kind in _PAYLOADS if name in record.graph)
    own = "mock" if record.facts.get("model") == "mock" else ""
    return next(by_engine, "") or next(by_payload, "") or own


def is_graph(payload: Mapping[str, Any]) -> bool:
    """Whether this is what a ComfyUI server is sent: nodes, each with its class."""
    return any(isinstance(node, dict) and "class_type" in node for node in payload.values())


def models_sent(payload: Mapping[str, Any]) -> tuple[str, ...]:
    """The models that an engine is told to use, the main one first; () where it is not told."""
    if is_graph(payload):
        from imagen.graphs.importing.told import told  # seldom needed

        return told(payload).models
    model = payload.get("model")
    return (model,) if isinstance(model, str) and model else ()


def _ours(record: Record) -> Origin:
    facts = record.facts
    named = facts.get("models")
    models = named if isinstance(named, list | tuple) else ()
    found = dict.fromkeys(str(one) for one in (facts.get("model"), *models) if one)
    values = record.resolved or record.request
    seed = record.file.get("seed")
    own = {"seed": seed} if isinstance(seed, int) else {}
    return Origin(
        tool="imagen", kind=kind_of(record), values={**values, **own}, models=tuple(found)
    )


def _comfyui(record: Record) -> Origin:
    from imagen.graphs.importing.told import told  # seldom needed

    said = told(record.graph)
    loras = [{"name": name, "strength": strength} for name, strength in said.loras]
    values = {**said.values, **({"loras": loras} if loras else {})}
    unread = {f"picture {number}": name for number, name in enumerate(said.pictures, 1)}
    return Origin(tool="comfyui", kind="comfyui", values=values, models=said.models, unread=unread)


def _of_parameters(record: Record) -> Origin:
    version = str(record.facts.get("Version", ""))
    if version == "imagen":
        return _translated(record, "imagen", "")
    if version.startswith("stable-diffusion.cpp"):
        return _translated(record, "sd.cpp", "sdcpp")
    return _translated(record, "a1111", "")


def _translated(record: Record, tool: Tool, kind: str) -> Origin:
    told = record.resolved
    values = {name: value for name, value in told.items() if name not in _SAMPLING}
    names = dict(zip(_SAMPLING, sampler_and_schedule(*map(told.get, _SAMPLING)), strict=True))
    values |= {name: value for name, value in names.items() if value}
    renamed = {name: told[name] for name in _SAMPLING if name in told and told[name] != names[name]}
    model = record.facts.get("Model", record.facts.get("model"))
    return Origin(
        tool=tool,
        kind=kind,
        values=values | _tagged(str(values.get("prompt", "")), values),
        models=(str(model),) if model else (),
        renamed=renamed,
        unread={name: value for name, value in record.facts.items() if name not in _SILENT},
    )


def _tagged(prompt: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The prompt without its LoRAs, `<lora:ink:0.8>`, and these by themselves."""
    found = _LORA_TAG.findall(prompt)
    if not found:
        return {}
    loras = [{"name": name, "strength": float(weight or 1)} for name, weight in found]
    own = values.get("loras")
    already = own if isinstance(own, list) else []
    return {"prompt": _LORA_TAG.sub("", prompt).strip(" ,"), "loras": [*already, *loras]}
