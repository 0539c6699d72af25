"""How an image was made, in one vocabulary, whichever program recorded it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from imagen.core.json_values import as_mapping
from imagen.core.prompt_syntax import lora_tags
from imagen.core.request import Request
from imagen.core.samplers import comfyui_names
from imagen.errors import RequestError
from imagen.outputs.metadata.json_settings import is_graph

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.outputs import ImageRecord

__all__ = [
    "Provenance",
    "backend_kind",
    "find_provenance",
    "is_graph",
    "read_graph_values",
    "request_from_values",
    "sent_models",
]

_NUMBER = re.compile(r"-?(?:[0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})")
_SAMPLING = ("sampler", "scheduler")
_MODELS = ("Model", "model", "Unet")
_IGNORED = {
    *("Model", "Model hash", "Version", "Lora hashes", "Backend", "TI hashes"),
    *("model", "app_version", "generation_mode", "metadata_version", "Unet", "App"),
    *("software", "Software", "version", "swarm_version", "base_model_hash", "metadata_scheme"),
}
"""What other programs write besides the settings, and what is read elsewhere."""
_ENGINE_FACTS: tuple[tuple[str, str], ...] = (
    ("prompt_id", "comfyui"),
    ("prediction_id", "replicate"),
    ("diffusers", "diffusers"),
    ("job_id", "sdcpp"),
    ("model_version", "sdcpp"),
    ("task_id", "a1111"),
)
"""Facts that only one kind of engine reports."""
_PAYLOAD_KEYS: tuple[tuple[str, str], ...] = (
    ("look", "mock"),
    ("arguments", "sdcpp"),
    ("pipeline", "diffusers"),
    ("input", "replicate"),
    ("send_images", "a1111"),
)
"""Keys of a payload that only one kind of engine gets."""
_VERSIONS = (
    ("imagen", "imagen", ""),
    ("stable-diffusion.cpp", "sd.cpp", "sdcpp"),
    ("Fooocus", "fooocus", ""),
    ("RuinedFooocus", "ruinedfooocus", ""),
    ("ComfyUI", "comfyui", "comfyui"),
)
"""How `Version` in A1111's parameters starts, with the tool and its kind of backend."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """How an image was made, as far as it is recorded."""

    tool: str = ""
    """The program that made it: imagen, comfyui, a1111, sd.cpp, sd.next, invokeai, swarmui,
    fooocus, ruinedfooocus, novelai, tensorart, civitai, drawthings, easydiffusion; "" is
    unknown."""
    kind: str = ""
    """The kind of backend that made it, or is nearest to it; "" is unknown."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """By the names of the request's fields; not validated."""
    models: tuple[str, ...] = ()
    """The main one first."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """The tool's own words, for values that imagen calls otherwise."""
    unread: Mapping[str, Any] = field(default_factory=dict)
    """What is recorded and has no place in a request."""


def read_graph_values(record: ImageRecord) -> ImageRecord:
    """The record with the values of its ComfyUI graph, if that is all it has."""
    if record.source != "prompt":
        return record
    found = find_provenance(record)
    models: dict[str, object] = {"model": found.models[0]} if found.models else {}
    if len(found.models) > 1:
        models["models"] = list(found.models)
    return replace(record, resolved=dict(found.values), facts={**models, **found.unread})


def find_provenance(record: ImageRecord) -> Provenance:
    """Read the record of any program."""
    match record.source:
        case "sidecar" | "imagen":
            facts = record.facts
            named = facts.get("models")
            models = (facts.get("model"), *(named if isinstance(named, list | tuple) else ()))
            seed = record.file.get("seed")
            own = {"seed": seed} if isinstance(seed, int) else {}
            return Provenance(
                tool="imagen",
                kind=backend_kind(record),
                values={**(record.resolved or record.request), **own},
                models=tuple(dict.fromkeys(str(model) for model in models if model)),
            )
        case "prompt":
            return _from_graph(record)
        case "invokeai":
            return _from_settings(record, "invokeai", "")
        case "settings":
            return _from_settings(record, record.tool, "")
        case "parameters":
            return _from_parameters(record)


def request_from_values(values: Mapping[str, Any]) -> tuple[Request, dict[str, Any]]:
    """The request with these values, and those that it cannot have: out of range, or unknown."""
    valid: dict[str, Any] = {}
    invalid: dict[str, Any] = {}
    for name, value in values.items():
        try:
            Request.of({name: value})
        except RequestError:
            invalid[name] = value
        else:
            valid[name] = value
    return Request.of(valid), invalid


def backend_kind(record: ImageRecord) -> str:
    """The kind of backend that made it; "" if the record does not say."""
    if is_graph(record.graph):
        return "comfyui"
    engine = as_mapping(record.facts.get("engine"))
    by_engine = (kind for name, kind in _ENGINE_FACTS if name in engine)
    by_payload = (kind for name, kind in _PAYLOAD_KEYS if name in record.graph)
    own = "mock" if str(record.facts.get("model", "")).startswith("mock") else ""
    return next(by_engine, "") or next(by_payload, "") or own


def sent_models(payload: Mapping[str, Any]) -> tuple[str, ...]:
    """The models that a payload names, the main one first."""
    if is_graph(payload):
        from imagen.graphs.importer.extract_settings import extract_settings  # seldom needed

        return extract_settings(payload).models
    model = payload.get("model")
    return (model,) if isinstance(model, str) and model else ()


def _from_graph(record: ImageRecord) -> Provenance:
    from imagen.graphs.importer.extract_settings import extract_settings  # seldom needed

    said = extract_settings(record.graph)
    loras = [{"name": name, "strength": strength} for name, strength in said.loras]
    own = {**said.values, **({"loras": loras} if loras else {})}
    images = {f"image {number}": name for number, name in enumerate(said.images, 1)}
    unread = {**said.further, **images}
    if not record.tool:
        return Provenance(
            tool="comfyui", kind="comfyui", values=own, models=said.models, unread=unread
        )
    # A service that uses a graph has its own names for models, and records them beside it.
    beside = _from_settings(record, record.tool, "comfyui")
    named = {"loras": beside.values["loras"]} if "loras" in beside.values else {}
    values = {**beside.values, **own, **named}
    return replace(beside, values=values, models=beside.models or said.models, unread=unread)


def _from_parameters(record: ImageRecord) -> Provenance:
    version = str(record.facts.get("Version", ""))
    known = ((tool, kind) for start, tool, kind in _VERSIONS if version.startswith(start))
    tool, kind = next(known, ("a1111", ""))
    tool = "sd.next" if record.facts.get("App") == "SD.Next" else tool
    provenance = _from_settings(record, tool, kind)
    if not is_graph(record.graph):
        return provenance
    from imagen.graphs.importer.extract_settings import extract_settings  # seldom needed

    # The graph beside the text has steps for which the text has no words.
    said, values = extract_settings(record.graph).values, provenance.values
    more = {n: said[n] for n in ("clip_skip", "hires", "hires_denoise") if n in said} | dict(values)
    if "hires" in more and "hires" not in values:  # the text has the size of the second pass
        more |= {side: said[side] for side in ("width", "height") if side in said}
    return replace(provenance, values=more)


def _from_settings(record: ImageRecord, tool: str, kind: str) -> Provenance:
    settings = record.resolved
    values = {name: value for name, value in settings.items() if name not in _SAMPLING}
    names = dict(zip(_SAMPLING, comfyui_names(*map(settings.get, _SAMPLING)), strict=True))
    values |= {name: value for name, value in names.items() if value}
    renamed = {
        name: settings[name]
        for name in _SAMPLING
        if name in settings and settings[name] != names[name]
    }
    model = next((record.facts[name] for name in _MODELS if record.facts.get(name)), None)
    prompt, loras, odd = _extract_lora_tags(str(values.get("prompt", "")))
    if loras:  # the settings may name the same ones
        values |= {"prompt": prompt, "loras": loras}
    unread = {name: value for name, value in record.facts.items() if name not in _IGNORED}
    return Provenance(
        tool=tool,
        kind=kind,
        values=values,
        models=(str(model),) if model else (),
        renamed=renamed,
        unread=unread | odd,
    )


def _extract_lora_tags(prompt: str) -> tuple[str, list[dict[str, Any]], dict[str, str]]:
    """The prompt without its LoRA tags, `<lora:ink:0.8>`; the LoRAs; and weights of odd forms."""
    pieces: list[str] = []
    loras: list[dict[str, Any]] = []
    odd: dict[str, str] = {}
    at = 0
    for tag in lora_tags(prompt):
        start = prompt.index(tag.text, at)
        pieces.append(prompt[at:start].rstrip(" \t"))
        at = start + len(tag.text)
        strength = tag.strength
        if strength is None:
            numbers = [one.rpartition("=")[2] for one in tag.weights.split(":")]
            known = [float(one) for one in numbers if _NUMBER.fullmatch(one)]
            strength = known[0] if known else 1.0
            if tag.weights and (len(known) < len(numbers) or len(set(known)) > 1):
                odd[f"LoRA {tag.name}"] = tag.weights
        loras.append({"name": tag.name, "strength": strength})
    return "".join((*pieces, prompt[at:])).strip(" ,"), loras, odd
