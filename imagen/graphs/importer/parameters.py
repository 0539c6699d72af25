"""Propose a workflow for a graph: its tokens and its manifest."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imagen.core.capabilities import Kind, Parameter
from imagen.errors import RequestError
from imagen.graphs.graph import inputs_of
from imagen.graphs.importer.analyze import (
    ModelFileUse,
    TokenDraft,
    find_samplers,
    take_images,
    take_models,
    take_settings,
    take_sizes,
)
from imagen.graphs.importer.dataflow import Dataflow, InputPlace
from imagen.graphs.importer.prompts import take_prompts
from imagen.graphs.manifest import Manifest, ManifestModel, NodePack
from imagen.graphs.tokens import token_name, tokens_of
from imagen.graphs.workflow import infer_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from imagen.core.request import Task
    from imagen.graphs.graph import Graph, Node
    from imagen.graphs.importer.convert import ConvertedGraph, Download
    from imagen.graphs.node_catalog import NodeSpec

REQUEST_SETTINGS = (
    *("prompt", "negative", "prompt_2", "negative_2", "width", "height", "seed", "steps", "cfg"),
    *("guidance", "sampler", "scheduler", "count"),
)
"""Tokens that have the name and the meaning of a request's field."""
IMAGE_SETTINGS = ("strength",)
"""The same, with an initial image only."""
_FOLDER = re.compile(r"\w[\w-]*(/\w[\w-]*)*")
_URL = re.compile(r"https?://\S+")
_DISPLAY_ONLY_CLASS = re.compile(r"(?i)preview|compar|display|show|sampler")
_BRACES = re.compile(r"\{[^{}]*\}")
_MAX_INTEGER = 2**63


@dataclass(frozen=True, slots=True)
class _Meaning:
    type: Kind
    description: str
    minimum: float | None = None
    maximum: float | None = None


_MEANINGS: Mapping[str, _Meaning] = {
    "prompt": _Meaning("string", "What to show."),
    "negative": _Meaning("string", "What not to show."),
    "image": _Meaning("image", "The initial image."),
    "mask": _Meaning("image", "Mask image; white areas are repainted."),
    "control_image": _Meaning("image", "The control image."),
    "strength": _Meaning("float", "Denoising strength: 0 keeps the image, 1 ignores it.", 0, 1),
    "width": _Meaning("int", "Pixels.", 16, 16384),
    "height": _Meaning("int", "Pixels.", 16, 16384),
    "count": _Meaning("int", "The number of images in a batch.", 1, 1024),
    "seed": _Meaning("int", "The seed of the noise.", 0),
    "steps": _Meaning("int", "Sampling steps.", 1, 10000),
    "cfg": _Meaning("float", "How strictly to follow the prompt.", 0, 100),
    "guidance": _Meaning("float", "Distilled guidance.", 0, 100),
    "sampler": _Meaning("string", "A sampler's name, as ComfyUI lists it."),
    "scheduler": _Meaning("string", "A scheduler's name, as ComfyUI lists it."),
}
_FILE = _Meaning("string", "A model file, as ComfyUI lists it.")
_WEIGHT = _Meaning("float", "The weight of a LoRA; 0 turns it off.", -20, 20)
_RANKS: Mapping[str, int] = {name: number for number, name in enumerate(_MEANINGS)}
"""The order of parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposedToken:
    """One place that a parameter fills now."""

    name: str
    node: str
    input: str
    default: object
    """The value that was there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposedWorkflow:
    """A graph with tokens, its manifest, and what was chosen."""

    graph: dict[str, Node]
    manifest: Manifest
    tokens: tuple[ProposedToken, ...]
    notes: tuple[str, ...] = ()
    """A sentence for each thing that the user should know."""


def propose_parameters(
    converted: ConvertedGraph,
    catalog: Mapping[str, NodeSpec],
    *,
    title: str,
    description: str = "",
) -> ProposedWorkflow:
    """Choose tokens in a graph that a server can run. The values there become their defaults, so
    that the workflow without any option makes the same image as before.

    The catalog provides ranges and may be empty. Existing tokens stay.
    """
    draft = TokenDraft(Dataflow(converted.graph, catalog))
    models = _choose_tokens(draft)
    outputs = draft.flow.output_nodes()
    saving = [n for n in outputs if not _DISPLAY_ONLY_CLASS.search(draft.flow.class_of(n))]
    classes: dict[str, list[str]] = {}
    for kind, pack in sorted(converted.packs.items()):
        classes.setdefault(pack, []).append(kind)
    task: Task = "text-to-image"
    if "mask" in draft:
        task = "inpaint"
    elif "image" in draft:
        enlarges = "upscale_model" in draft and "prompt" not in draft
        task = "upscale" if enlarges else "image-to-image"
    manifest = Manifest(
        title=title,
        description=description,
        task=task,
        parameters=_build_parameters(draft),
        models=tuple(_manifest_models(models, converted.downloads)),
        output=tuple(saving or outputs),
        nodes=tuple(NodePack(name=pack, classes=tuple(of)) for pack, of in classes.items()),
        without=draft.without,
    )
    ranked = sorted(draft.names.items(), key=lambda item: _RANKS.get(item[1], len(_RANKS)))
    return ProposedWorkflow(
        graph=_insert_tokens(converted.graph, draft.names),
        manifest=manifest,
        tokens=tuple(
            ProposedToken(
                name=name, node=place.node, input=place.input, default=draft.defaults[name]
            )
            for place, name in ranked
        ),
        notes=tuple(_notes(converted, draft)),
    )


def token_values(graph: Graph) -> dict[str, object]:
    """The values of the tokens that are proposed for a graph, by the request's names.

    A text of several parts has a token for each. A size that is chosen by name has none.
    """
    draft = TokenDraft(Dataflow(graph))
    _choose_tokens(draft)
    names = REQUEST_SETTINGS + (IMAGE_SETTINGS if "image" in draft else ())
    return {name: draft.defaults[name] for name in names if name in draft}


def _choose_tokens(draft: TokenDraft) -> list[ModelFileUse]:
    samplers = find_samplers(draft.flow)
    take_prompts(draft, samplers)
    take_images(draft, samplers)
    take_sizes(draft, samplers)
    take_settings(draft, samplers)
    return take_models(draft, samplers)


def _manifest_models(
    models: Sequence[ModelFileUse], downloads: Mapping[str, Download]
) -> Iterator[ManifestModel]:
    for model in models:
        folder, source = model.folder, ""
        download = downloads.get(model.file)
        if download is not None:
            folder = download.folder if _FOLDER.fullmatch(download.folder) else folder
            source = download.source if _URL.fullmatch(download.source) else ""
        if folder:
            yield ManifestModel(file=model.file, folder=folder, source=source, token=model.token)


def _insert_tokens(graph: Graph, names: Mapping[InputPlace, str]) -> dict[str, Node]:
    inserted: dict[str, Node] = {}
    for node_id, node in graph.items():
        inputs = {
            name: f"$<{names[place]}>" if (place := InputPlace(node_id, name)) in names else value
            for name, value in inputs_of(node).items()
        }
        inserted[node_id] = {"class_type": node["class_type"], "inputs": inputs}
        if "_meta" in node:
            inserted[node_id]["_meta"] = node["_meta"]
    return inserted


def _notes(converted: ConvertedGraph, draft: TokenDraft) -> Iterator[str]:
    flow = draft.flow
    if converted.left_out:
        yield f"{converted.left_out} nodes are left out, since no output depends on them."
    yield from converted.notes
    if not draft.names and not any(tokens_of(flow.graph)):
        yield "Nothing in it looks like a parameter: every value is fixed."
    for node_id in flow.graph:
        for name, value in flow.inputs(node_id).items():
            place = f"Node {node_id}, {name}"
            is_mask = flow.class_of(node_id) == "LoadImageMask"
            if is_mask and name == "channel" and value == "alpha":
                yield f"{place}: imagen's masks have no transparency; use red to accept --mask."
            if not isinstance(value, str) or token_name(value) is not None:
                continue
            spec = flow.spec(InputPlace(node_id, name))
            is_dynamic = spec is not None and spec.options.get("dynamicPrompts")
            if is_dynamic and _BRACES.search(value):
                yield f"{place}: the editor replaces {{a|b}} by one of both; imagen does not."
            if name == "filename_prefix" and "%" in value:
                yield f"{place}: the editor fills in the words between %; a server may not."


# -- Parameters ------------------------------------------------------------------------------------


def _build_parameters(draft: TokenDraft) -> dict[str, Parameter]:
    """A parameter for each token, the usual ones first; those of existing tokens are inferred.

    Its default is the value there, within the range that all its places allow.
    """
    places: dict[str, list[InputPlace]] = {}
    for place, name in draft.names.items():
        places.setdefault(name, []).append(place)
    ranked = sorted(places, key=lambda name: (_RANKS.get(name, len(_RANKS)), "_" in name))
    found: dict[str, Parameter] = {}
    for name in ranked:
        value = draft.defaults[name]
        base = re.sub(r"(_part)?_\d{1,9}$", "", name)
        meaning = _MEANINGS.get(base) or (_WEIGHT if base.endswith("_strength") else _FILE)
        description = meaning.description
        default = _convert_default(meaning.type, value)
        if default is None:
            found[name] = Parameter(default=value, description=description)
            continue
        if re.search(r"_\d{1,9}$", name):
            node_id = places[name][0].node
            title = draft.flow.title(node_id) or draft.flow.class_of(node_id)
            description = f"{description.removesuffix('.')}; of node {node_id}, {title}."
        values = {"type": meaning.type, "default": default, "description": description}
        limits = _range(draft.flow, name, meaning, places[name])
        ranged = Parameter.model_validate(values | limits)
        try:
            is_within = ranged.fit(name, ranged.default) == ranged.default
        except RequestError:
            is_within = False
        found[name] = ranged if is_within else Parameter.model_validate(values)
    return found | infer_manifest(draft.flow.graph).parameters


def _convert_default(kind: Kind, value: object) -> object:
    """The value as its type writes it, or None if it is of another type."""
    if kind in ("string", "image"):
        return value if isinstance(value, str) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if kind == "float":
        return float(value)
    return int(value) if value == int(value) else None


def _range(
    flow: Dataflow, name: str, meaning: _Meaning, places: Sequence[InputPlace]
) -> dict[str, object]:
    if meaning.type not in ("int", "float"):
        return {}
    specs = [spec for place in places if (spec := flow.spec(place)) is not None]
    limits = {
        option: [value for spec in specs if (value := spec.number(option)) is not None]
        for option in ("min", "max", "step")
    }
    lows = [*limits["min"], *([] if meaning.minimum is None else [meaning.minimum])]
    highs = [*limits["max"], *([] if meaning.maximum is None else [meaning.maximum])]
    found: dict[str, object] = {"min": max(lows, default=None)}
    high = min(highs, default=None)
    if high is not None and high < _MAX_INTEGER:  # a seed has no other limit
        found["max"] = high
    step = max(map(int, limits["step"]), default=0)
    if name.startswith(("width", "height")) and step > 1:
        found["multiple_of"] = step
    return found
