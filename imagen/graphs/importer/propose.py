"""From a graph to a workflow of ours: its tokens and its manifest, proposed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imagen.core.capabilities import Kind, Parameter
from imagen.errors import RequestError
from imagen.graphs.importer.files import Weights, take_models, take_pictures
from imagen.graphs.importer.prompts import take_prompts
from imagen.graphs.importer.reading import Draft, Place, Reading
from imagen.graphs.importer.samplers import find_samplers, take_settings, take_sizes
from imagen.graphs.importer.told import OF_AN_IMAGE, VALUES
from imagen.graphs.manifest import Manifest, Model, NodePack
from imagen.graphs.tokens import inputs_of, token_name, tokens_of
from imagen.graphs.workflow import inferred_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from imagen.core.request import Task
    from imagen.graphs.importer.convert import Converted, Download

_FOLDER = re.compile(r"\w[\w-]*(/\w[\w-]*)*")
_URL = re.compile(r"https?://\S+")
_SHOWS = re.compile(r"(?i)preview|compar|display|show|sampler")
_BRACES = re.compile(r"\{[^{}]*\}")


@dataclass(frozen=True, slots=True)
class _Meaning:
    type: Kind
    says: str
    low: float | None = None
    high: float | None = None


_MEANINGS: Mapping[str, _Meaning] = {
    "prompt": _Meaning("string", "What to show."),
    "negative": _Meaning("string", "What not to show."),
    "image": _Meaning("image", "The initial image."),
    "mask": _Meaning("image", "What to repaint: white is redrawn."),
    "control_image": _Meaning("image", "The picture that steers the composition."),
    "strength": _Meaning("float", "How far to leave the initial image.", 0, 1),
    "width": _Meaning("int", "Pixels.", 16, 16384),
    "height": _Meaning("int", "Pixels.", 16, 16384),
    "count": _Meaning("int", "How many pictures, in one batch.", 1, 1024),
    "seed": _Meaning("int", "Where the noise starts.", 0),
    "steps": _Meaning("int", "Sampling steps.", 1, 10000),
    "cfg": _Meaning("float", "How strictly to follow the prompt.", 0, 100),
    "guidance": _Meaning("float", "Distilled guidance.", 0, 100),
    "sampler": _Meaning("string", "A sampler's name, as ComfyUI lists it."),
    "scheduler": _Meaning("string", "A noise schedule's name, as ComfyUI lists it."),
}
_ORDER: Mapping[str, int] = {name: number for number, name in enumerate(_MEANINGS)}
"""How parameters are listed."""
_FILE = _Meaning("string", "A model's file, as ComfyUI lists it.")
_WEIGHT = _Meaning("float", "The weight of a low-rank adapter; 0 is none.", -20, 20)
_STEPPED = ("width", "height")
_LARGEST_KEPT = 2**63


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
    found = {name: _parameter(draft, name, where) for name, where in places.items()}
    ranked = sorted(found, key=lambda name: (_ORDER.get(name, len(_ORDER)), "_" in name))
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
    ranked = sorted(draft.names.items(), key=lambda item: _ORDER.get(item[1], len(_ORDER)))
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


def _parameter(draft: Draft, name: str, places: Sequence[Place]) -> Parameter:
    """The parameter of a token: what stands there now is its default.

    Its range is what all its places allow; where the default itself is out of that, there is none.
    """
    meaning = _meaning(name)
    default = _typed(meaning.type, draft.defaults[name])
    if default is None:
        return Parameter(default=draft.defaults[name], description=meaning.says)
    said = {
        "type": meaning.type,
        "default": default,
        "description": _described(draft, name, places),
    }
    ranged = Parameter.model_validate(said | _range(draft.reading, name, meaning, places))
    return ranged if _takes_its_default(ranged, name) else Parameter.model_validate(said)


def _described(draft: Draft, name: str, places: Sequence[Place]) -> str:
    """What a token means, and for a second one of its kind where it stands."""
    says = _meaning(name).says
    if re.search(r"_\d{1,9}$", name) is None:
        return says
    reading = draft.reading
    title = reading.title(places[0].node) or reading.kind_of_node(places[0].node)
    return f"{says.removesuffix('.')}; of node {places[0].node}, {title}."


def _meaning(name: str) -> _Meaning:
    base = re.sub(r"(_part)?_\d{1,9}$", "", name)
    if base in _MEANINGS:
        return _MEANINGS[base]
    return _WEIGHT if base.endswith("_strength") else _FILE


def _typed(kind: Kind, value: Any) -> Any:
    """The default as its type has it; None where it is of another one."""
    if kind in ("string", "image"):
        return value if isinstance(value, str) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if kind == "float":
        return float(value)
    return int(value) if value == int(value) else None


def _range(
    reading: Reading, name: str, meaning: _Meaning, places: Sequence[Place]
) -> dict[str, Any]:
    if meaning.type not in ("int", "float"):
        return {}
    declared = [known for place in places if (known := reading.declared(place)) is not None]
    lows = [low for known in declared if (low := known.number("min")) is not None]
    highs = [high for known in declared if (high := known.number("max")) is not None]
    low = max([*lows, *([] if meaning.low is None else [meaning.low])], default=None)
    high = min([*highs, *([] if meaning.high is None else [meaning.high])], default=None)
    found: dict[str, Any] = {"min": low}
    if high is not None and high < _LARGEST_KEPT:  # a seed may be as large as there are
        found["max"] = high
    if name.startswith(_STEPPED):
        steps = [int(step) for known in declared if (step := known.number("step"))]
        found |= {"multiple_of": max(steps)} if steps and max(steps) > 1 else {}
    return found


def _takes_its_default(ranged: Parameter, name: str) -> bool:
    try:
        return bool(ranged.fit(name, ranged.default) == ranged.default)
    except RequestError:
        return False
