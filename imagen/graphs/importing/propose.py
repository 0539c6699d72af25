"""From a graph to a workflow of ours: its tokens and its manifest, proposed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imagen.graphs.importing.files import Weights, take_models, take_pictures
from imagen.graphs.importing.meanings import ORDER, parameter
from imagen.graphs.importing.prompts import take_prompts
from imagen.graphs.importing.reading import Draft, Place, Reading
from imagen.graphs.importing.samplers import find_samplers, take_settings, take_sizes
from imagen.graphs.importing.told import OF_AN_IMAGE, VALUES
from imagen.graphs.manifest import Manifest, Model, NodePack
from imagen.graphs.tokens import inputs_of, token_name, tokens_of
from imagen.graphs.workflow import inferred_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from imagen.capabilities import Parameter
    from imagen.graphs.importing.convert import Converted, Download
    from imagen.request import Task

_FOLDER = re.compile(r"\w[\w-]*(/\w[\w-]*)*")
_URL = re.compile(r"https?://\S+")
_SHOWS = re.compile(r"(?i)preview|compar|display|show|sampler")
_BRACES = re.compile(r"\{[^{}]*\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """One place that a parameter now fills."""

    name: str
    node: str
    input: str
    default: Any
    """What stood there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A graph with tokens, its manifest, and what was chosen."""

    graph: dict[str, Any]
    manifest: Manifest
    tokens: tuple[Token, ...]
    notes: tuple[str, ...] = ()
    """What to know of it, a sentence each."""


def propose(
    given: Converted, *, object_info: Mapping[str, Any], title: str, description: str = ""
) -> Proposal:
    """Choose the tokens of a graph that a server can run; each one's default is what stands there.

    Run without any flag, the workflow is therefore the one it was. `object_info` tells ranges, and
    may be empty; tokens that are there already stay.
    """
    reading = Reading(given.graph, object_info)
    draft = Draft(reading)
    weights = _fill(draft)
    manifest = Manifest(
        title=title,
        description=description,
        task=_task(draft),
        parameters=_parameters(draft),
        models=tuple(_models(weights, given.downloads)),
        output=_outputs(reading),
        nodes=_packs(given.packs),
        without=draft.without,
    )
    return Proposal(
        graph=_with_tokens(given.graph, draft.names),
        manifest=manifest,
        tokens=tuple(_chosen(draft)),
        notes=tuple(_notes(given, reading, draft)),
    )


def token_values(graph: Mapping[str, Any]) -> dict[str, Any]:
    """What the tokens hold that are proposed for the graph, by the names of a request.

    A text of several parts has a token for each, and a size that is chosen by name has none.
    """
    draft = Draft(Reading(graph, {}))
    _fill(draft)
    names = VALUES + (OF_AN_IMAGE if draft.takes("image") else ())
    return {name: draft.defaults[name] for name in names if draft.takes(name)}


def _fill(draft: Draft) -> list[Weights]:
    samplers = find_samplers(draft.reading)
    take_prompts(draft, samplers)
    take_pictures(draft, samplers)
    take_sizes(draft, samplers)
    take_settings(draft, samplers)
    return take_models(draft, samplers)


def _parameters(draft: Draft) -> dict[str, Parameter]:
    """A parameter for each token, the usual ones first; those that were there are inferred."""
    places: dict[str, list[Place]] = {}
    for place, name in draft.names.items():
        places.setdefault(name, []).append(place)
    found = {name: parameter(draft, name, where) for name, where in places.items()}
    ranked = sorted(found, key=lambda name: (ORDER.get(name, len(ORDER)), "_" in name))
    before = inferred_manifest(draft.reading.graph).parameters
    return {name: found[name] for name in ranked} | before


def _task(draft: Draft) -> Task:
    if draft.takes("mask"):
        return "inpaint"
    if not draft.takes("image"):
        return "text-to-image"
    enlarges = draft.takes("upscale_model") and not draft.takes("prompt")
    return "upscale" if enlarges else "image-to-image"


def _models(weights: Sequence[Weights], downloads: Mapping[str, Download]) -> Iterator[Model]:
    for one in weights:
        known = downloads.get(one.file)
        folder = one.folder
        if known is not None and _FOLDER.fullmatch(known.folder):
            folder = known.folder
        source = known.source if known is not None and _URL.fullmatch(known.source) else ""
        if folder:
            yield Model(file=one.file, folder=folder, source=source, token=one.token)


def _outputs(reading: Reading) -> tuple[str, ...]:
    """The nodes whose pictures count: those that save, where there are any; else those that show.

    None for a graph of which that can't be told.
    """
    found = reading.outputs()
    saving = [key for key in found if not _SHOWS.search(reading.kind_of_node(key))]
    return tuple(saving or found)


def _packs(packs: Mapping[str, str]) -> tuple[NodePack, ...]:
    by_pack: dict[str, list[str]] = {}
    for kind, pack in sorted(packs.items()):
        by_pack.setdefault(pack, []).append(kind)
    return tuple(NodePack(name=name, classes=tuple(kinds)) for name, kinds in by_pack.items())


def _with_tokens(graph: Mapping[str, Any], names: Mapping[Place, str]) -> dict[str, Any]:
    return {key: _node(key, node, names) for key, node in graph.items()}


def _node(key: str, node: Mapping[str, Any], names: Mapping[Place, str]) -> dict[str, Any]:
    inputs = {
        name: f"$<{names[Place(key, name)]}>" if Place(key, name) in names else value
        for name, value in inputs_of(node).items()
    }
    ordered = {"class_type": node["class_type"], "inputs": inputs}
    return ordered | {name: value for name, value in node.items() if name not in ordered}


def _chosen(draft: Draft) -> Iterator[Token]:
    ranked = sorted(draft.names.items(), key=lambda item: ORDER.get(item[1], len(ORDER)))
    for place, name in ranked:
        value = draft.defaults[name]
        yield Token(name=name, node=place.node, input=place.input, default=value)


def _notes(given: Converted, reading: Reading, draft: Draft) -> Iterator[str]:
    if given.left_out:
        yield f"Left out, as no output is made from them: {given.left_out} of the file's nodes."
    yield from given.notes
    if not draft.names and not any(tokens_of(reading.graph)):
        yield "Nothing in it looks like a parameter: every value stays as it is."
    for key in reading.graph:
        for name, value in reading.inputs(key).items():
            yield from _text_notes(reading, key, name, value)


def _text_notes(reading: Reading, key: str, name: str, value: Any) -> Iterator[str]:
    place = f"Node {key}, {name}"
    if name == "channel" and value == "alpha" and reading.kind_of_node(key) == "LoadImageMask":
        yield f"{place}: a mask of ours has no transparency; put red there to use --mask."
    if not isinstance(value, str) or token_name(value) is not None:
        return
    known = reading.declared(Place(key, name))
    if known is not None and known.options.get("dynamicPrompts") and _BRACES.search(value):
        yield f"{place}: the editor draws one of {{a|b}}, and takes the braces away; we do not."
    if name == "filename_prefix" and "%" in value:
        yield f"{place}: the editor would fill in what stands between %; a server may not."
