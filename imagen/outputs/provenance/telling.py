"""From what a picture's record holds to the values of a request, and what could not be read."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from imagen.core.prompt_syntax import lora_tags
from imagen.core.samplers import comfyui_names
from imagen.outputs.metadata.json_settings import is_graph

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.outputs import ImageRecord

_NUMBER = re.compile(r"-?(?:[0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})")
_SAMPLING = ("sampler", "scheduler")
_SILENT = {
    *("Model", "Model hash", "Version", "Lora hashes", "Backend", "TI hashes"),
    *("model", "app_version", "generation_mode", "metadata_version", "Unet", "App"),
    *("software", "Software", "version", "swarm_version", "base_model_hash", "metadata_scheme"),
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
class Provenance:
    """How a picture came to be, as far as it is told."""

    tool: str = ""
    """Which program made it: imagen, comfyui, a1111, sd.cpp, sd.next, invokeai, swarmui, fooocus,
    ruinedfooocus, novelai, tensorart, civitai, drawthings, easydiffusion; "" is unknown."""
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


def origin(record: ImageRecord) -> Provenance:
    """Read the record, whichever tool's it is."""
    match record.source:
        case "sidecar" | "imagen":
            return _ours(record)
        case "prompt":
            return _comfyui(record)
        case "invokeai":
            return _translated(record, "invokeai", "")
        case "settings":
            return _translated(record, record.tool, "")
        case "parameters":
            return _of_parameters(record)


def backend_kind(record: ImageRecord) -> str:
    """The kind of backend that made it; "" where the record does not tell."""
    if is_graph(record.graph):
        return "comfyui"
    told = record.facts.get("engine")
    engine: Mapping[str, Any] = told if isinstance(told, dict) else {}
    by_engine = (kind for name, kind in _ENGINES if name in engine)
    by_payload = (kind for name, kind in _PAYLOADS if name in record.graph)
    own = "mock" if str(record.facts.get("model", "")).startswith("mock") else ""
    return next(by_engine, "") or next(by_payload, "") or own


def sent_models(payload: Mapping[str, Any]) -> tuple[str, ...]:
    """The models that an engine is told to use, the main one first; () where it is not told."""
    if is_graph(payload):
        from imagen.graphs.importer.extract_settings import extract_settings  # seldom needed

        return extract_settings(payload).models
    model = payload.get("model")
    return (model,) if isinstance(model, str) and model else ()


def _ours(record: ImageRecord) -> Provenance:
    facts = record.facts
    named = facts.get("models")
    models = named if isinstance(named, list | tuple) else ()
    found = dict.fromkeys(str(one) for one in (facts.get("model"), *models) if one)
    values = record.resolved or record.request
    seed = record.file.get("seed")
    own = {"seed": seed} if isinstance(seed, int) else {}
    return Provenance(
        tool="imagen", kind=backend_kind(record), values={**values, **own}, models=tuple(found)
    )


def _comfyui(record: ImageRecord) -> Provenance:
    from imagen.graphs.importer.extract_settings import extract_settings  # seldom needed

    said = extract_settings(record.graph)
    loras = [{"name": name, "strength": strength} for name, strength in said.loras]
    own = {**said.values, **({"loras": loras} if loras else {})}
    pictures = {f"picture {number}": name for number, name in enumerate(said.images, 1)}
    unread = {**said.further, **pictures}
    if not record.tool:
        return Provenance(
            tool="comfyui", kind="comfyui", values=own, models=said.models, unread=unread
        )
    # A service that sends a graph has names of its own for its models, and says theirs beside it.
    beside = _translated(record, record.tool, "comfyui")
    named = {"loras": beside.values["loras"]} if "loras" in beside.values else {}
    values = {**beside.values, **own, **named}
    return replace(beside, values=values, models=beside.models or said.models, unread=unread)


def _of_parameters(record: ImageRecord) -> Provenance:
    version = str(record.facts.get("Version", ""))
    tool, kind = next(
        ((tool, kind) for start, tool, kind in _VERSIONS if version.startswith(start)),
        ("a1111", ""),
    )
    tool = "sd.next" if record.facts.get("App") == "SD.Next" else tool
    found = _translated(record, tool, kind)
    return replace(found, values=_with_second_pass(found.values, record.graph))


def _with_second_pass(values: Mapping[str, Any], graph: Mapping[str, Any]) -> Mapping[str, Any]:
    """With what the graph beside the text says of steps that the text has no words for."""
    if not is_graph(graph):
        return values
    from imagen.graphs.importer.extract_settings import extract_settings  # seldom needed

    said = extract_settings(graph).values
    more = {n: said[n] for n in ("clip_skip", "hires", "hires_denoise") if n in said} | dict(values)
    if "hires" in more and "hires" not in values:  # then the text has the size of the second pass
        more |= {side: said[side] for side in ("width", "height") if side in said}
    return more


_VERSIONS = (
    ("imagen", "imagen", ""),
    ("stable-diffusion.cpp", "sd.cpp", "sdcpp"),
    ("Fooocus", "fooocus", ""),
    ("RuinedFooocus", "ruinedfooocus", ""),
    ("ComfyUI", "comfyui", "comfyui"),
)


def _translated(record: ImageRecord, tool: str, kind: str) -> Provenance:
    told = record.resolved
    values = {name: value for name, value in told.items() if name not in _SAMPLING}
    names = dict(zip(_SAMPLING, comfyui_names(*map(told.get, _SAMPLING)), strict=True))
    values |= {name: value for name, value in names.items() if value}
    renamed = {name: told[name] for name in _SAMPLING if name in told and told[name] != names[name]}
    model = next((record.facts[name] for name in _MODELS if record.facts.get(name)), None)
    prompt, loras, odd = _without_tags(str(values.get("prompt", "")))
    if loras:  # the same ones may also be named among the settings
        values |= {"prompt": prompt, "loras": loras}
    unread = {name: value for name, value in record.facts.items() if name not in _SILENT}
    return Provenance(
        tool=tool,
        kind=kind,
        values=values,
        models=(str(model),) if model else (),
        renamed=renamed,
        unread=unread | odd,
    )


_MODELS = ("Model", "model", "Unet")


def _without_tags(prompt: str) -> tuple[str, list[dict[str, Any]], dict[str, str]]:
    """The prompt without its LoRAs, `<lora:ink:0.8>`; these; and what no strength can express."""
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
