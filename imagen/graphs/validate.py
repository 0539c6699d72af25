"""Check a workflow: its graph, its manifest, and what a server would refuse."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from imagen.core.text import did_you_mean, one_line
from imagen.errors import RequestError
from imagen.graphs.graph import (
    ancestors,
    class_of,
    describe_node,
    inputs_of,
    is_output_node,
    link_sources,
    parse_link,
)
from imagen.graphs.manifest import Manifest
from imagen.graphs.model_names import FOLDERS, bare_name, base_name, names_file, spellings
from imagen.graphs.node_catalog import EDITOR_TYPE_PREFIX, missing_package_remedy, read_catalog
from imagen.graphs.tokens import canonical_name, token_name, tokens_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from imagen.graphs.node_catalog import InputSpec, NodeSpec
    from imagen.graphs.workflow import Workflow

_MAX_SUGGESTIONS = _MAX_CYCLES = 20
_MAX_CYCLE_SHOWN = 12
_ANY_TYPE = ("", "*", "COMBO")
_INSTALL_NODES = (
    "Install the custom nodes that bring it (ComfyUI-Manager: Install Missing Custom Nodes)."
)
_FILLED_IN = frozenset(
    {
        *("prompt", "prompt_2", "negative_2", "seed", "variation_seed", "variation_strength"),
        *("width", "height", "left", "top", "right", "bottom", "fidelity"),
        *("loras", "controls", "references", "upscale", "restore", "outpaint", "preprocess"),
    }
)
"""Parameters that a request always has, or that imagen fills in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowFault:
    """One thing that is wrong with a workflow, and what to do about it."""

    what: str
    """What is wrong: a sentence."""
    remedy: str = ""
    node: str = ""
    """The node's id, or "" for a fault of the whole graph."""
    title: str = ""
    """The node's class, with its title if it has one."""
    input: str = ""

    @property
    def sentence(self) -> str:
        """`node 8 (KSampler), steps: must be at most 10000, not 20000.`"""
        title = f" ({self.title})" if self.title else ""
        node = f"node {self.node}{title}" if self.node else ""
        place = ", ".join(part for part in (node, self.input) if part)
        return f"{place}: {self.what}" if place else self.what


def fault_at(
    graph: Mapping[str, object], node_id: str, name: str, what: str, remedy: str = ""
) -> WorkflowFault:
    """A fault of a node, or of its input `name` unless that is empty."""
    return WorkflowFault(
        what=what,
        remedy=remedy,
        node=one_line(node_id, limit=60),
        title=describe_node(graph, node_id),
        input=one_line(name, limit=60),
    )


# -- The graph by itself ---------------------------------------------------------------------------


def find_structural_faults(
    graph: Mapping[str, object], outputs: Collection[str] = ()
) -> list[WorkflowFault]:
    """Everything wrong with the graph itself. `outputs` are the output nodes that a manifest names.

    If it names none, the output nodes are recognized by their classes: SaveImage, PreviewImage, ….
    """
    if not graph:
        return [WorkflowFault(what="The graph is empty: it has no nodes.")]
    faults: list[WorkflowFault] = []
    for node_id, node in graph.items():
        if not isinstance(node, dict):
            faults.append(
                fault_at(graph, node_id, "", "is not a node.", "Remove it from the file.")
            )
            continue
        kind = node.get("class_type")
        if not isinstance(kind, str) or not kind:
            remedy = "Export the workflow again."
            faults.append(fault_at(graph, node_id, "", "has no class_type.", remedy))
        if not isinstance(node.get("inputs"), dict):
            remedy = 'Add at least "inputs": {}.'
            faults.append(fault_at(graph, node_id, "", "has no inputs.", remedy))
    faults += [*_link_faults(graph), *_find_cycles(graph)]
    for node_id in outputs:
        if node_id not in graph:
            what = f"The manifest's output is node {node_id!r}, which is not in the graph."
            faults.append(WorkflowFault(what=what + did_you_mean(node_id, graph)))
    if not outputs and not any(map(is_output_node, graph.values())):
        remedy = "Add a SaveImage node, or name the node in the manifest: output: [id]."
        faults.append(WorkflowFault(what="No node outputs an image.", remedy=remedy))
    return faults


def _link_faults(graph: Mapping[str, object]) -> Iterator[WorkflowFault]:
    suggestions = 0
    for node_id, node in graph.items():
        for name, value in inputs_of(node).items():
            if not isinstance(value, list):
                continue
            link = parse_link(value)
            if link is None:
                shown = one_line(repr(value), limit=60)
                what = f"is a list but not a link: {shown}."
                remedy = 'Wrap a list that is a value: {"__value__": […]}.'
                yield fault_at(graph, node_id, name, what, remedy)
            elif link.node not in graph:
                what = f"links to node {one_line(repr(link.node))}, which is not in the graph."
                if suggestions < _MAX_SUGGESTIONS:
                    suggestions += 1
                    what += did_you_mean(link.node, graph)
                yield fault_at(graph, node_id, name, what)
            elif link.slot < 0:
                what = f"links to output {value[1]} of node {link.node}; outputs count from 0."
                yield fault_at(graph, node_id, name, what)


def _find_cycles(graph: Mapping[str, object]) -> list[WorkflowFault]:
    """A fault for each cycle that a depth-first walk finds."""
    done: set[str] = set()
    faults: dict[WorkflowFault, None] = {}  # two links may close the same cycle
    for start in graph:
        path: dict[str, Iterator[str]] = {}
        waiting = [start] if start not in done else []
        while waiting:
            node_id = waiting[-1]
            ahead = path.setdefault(node_id, iter(link_sources(graph[node_id])))
            source = next((s for s in ahead if s in graph and s not in done), None)
            if source is None:
                done.add(waiting.pop())
                del path[node_id]
            elif source not in path:
                waiting.append(source)
            else:
                nodes = [*waiting[waiting.index(source) :], source]
                # The walk follows links backwards; people read them forwards.
                shown = [one_line(node, limit=60) for node in reversed(nodes[:_MAX_CYCLE_SHOWN])]
                if len(nodes) > _MAX_CYCLE_SHOWN:
                    shown = [one_line(nodes[-1], limit=60), "…", *shown]
                what = f"depends on itself: {' → '.join(shown)}."
                faults[fault_at(graph, nodes[0], "", what, "Remove one of these links.")] = None
                if len(faults) >= _MAX_CYCLES:
                    return list(faults)
    return list(faults)


# -- The graph and its manifest --------------------------------------------------------------------


def find_faults(workflow: Workflow) -> list[WorkflowFault]:
    """Everything wrong with a workflow that can be known without a server."""
    faults = find_structural_faults(workflow.graph, workflow.manifest.output)
    faults += _token_faults(workflow)
    for name, parameter in workflow.manifest.parameters.items():
        if parameter.default is None:
            continue
        try:
            fitted = parameter.fit(name, parameter.default)
        except RequestError as error:
            what = f"The manifest's default is not valid: {error.message}"
            faults.append(WorkflowFault(what=what))
            continue
        if fitted != parameter.default:
            what = (
                f"The manifest's default of {name}, {parameter.default!r}, is outside its "
                f"own range; the nearest value is {fitted!r}."
            )
            faults.append(WorkflowFault(what=what))
    return faults


def find_missing_values(
    workflow: Workflow, overrides: Mapping[str, object] | None = None
) -> list[WorkflowFault]:
    """A fault for each token that has no value unless a request names it.

    `overrides` are a backend's own defaults. Parameters that every request has, or that imagen
    fills in, are not missing: the prompt, images, width and height, seeds.
    """
    known = workflow.capabilities(overrides).parameters
    open_tokens = {
        name
        for name, parameter in known.items()
        if name in workflow.manifest.parameters  # `find_faults` reports the others
        if parameter.default is None and parameter.type != "image" and name not in _FILLED_IN
    }
    return [
        fault_at(
            workflow.graph,
            node_id,
            name,
            f"the token {token!r} has no value.",
            "Give it a default in the manifest or in the backend's parameters, or set it for "
            f"each image: --set {canonical_name(token)}=…",
        )
        for node_id, name, token in tokens_of(workflow.graph)
        if canonical_name(token) in open_tokens
    ]


def _token_faults(workflow: Workflow) -> Iterator[WorkflowFault]:
    known = workflow.manifest.parameters
    for node_id, name, token in tokens_of(workflow.graph):
        parameter = canonical_name(token)
        if parameter not in known:
            what = f"the token {token!r} is not in the manifest.{did_you_mean(token, known)}"
            remedy = f"Add it to the manifest's parameters: {parameter}."
            yield fault_at(workflow.graph, node_id, name, what, remedy)
    for name in known:
        if name not in workflow.tokens:
            yield WorkflowFault(
                what=f"The manifest's parameter {name!r} has no token in the graph."
                + did_you_mean(name, workflow.tokens),
                remedy=f'Write "$<{name}>" in the graph where its value belongs, or remove the '
                "parameter.",
            )
    for model in workflow.manifest.models:
        if model.token and canonical_name(model.token) not in workflow.tokens:
            yield WorkflowFault(
                what=f"The manifest's model {model.file!r} has the token {model.token!r}, "
                f"which is not in the graph.{did_you_mean(model.token, workflow.tokens)}"
            )


# -- The graph and a server ------------------------------------------------------------------------


def check_against_server(
    graph: Mapping[str, object],
    object_info: Mapping[str, object],
    *,
    manifest: Manifest | None = None,
    version: str | None = None,
) -> list[WorkflowFault]:
    """Everything wrong with a bound graph on a server of this `/object_info` and ComfyUI version.

    Not checked: an input that is still a token, and nodes that no output depends on, which the
    server ignores too. A model file with another spelling is not a fault: `match_model_names`
    corrects it.
    """
    server = _ServerCheck(graph, read_catalog(object_info), manifest or Manifest(), version)
    outputs = [node_id for node_id, node in graph.items() if server.is_output(node)]
    faults = find_structural_faults(graph, server.manifest.output or outputs)
    if what := server.manifest.too_old(version):
        faults.insert(0, WorkflowFault(what=what, remedy="Update ComfyUI."))
    for node_id in graph:
        faults += server.class_faults(node_id)
    used = ancestors(graph, outputs)
    for node_id in filter(used.__contains__, graph):
        faults += server.input_faults(node_id)
    return faults


@dataclass(frozen=True)
class _ServerCheck:
    graph: Mapping[str, object]
    catalog: Mapping[str, NodeSpec]
    manifest: Manifest
    version: str | None

    @cached_property
    def link_types(self) -> set[str]:
        """The types that some node outputs and that no value can be written for."""
        given = {kind for spec in self.catalog.values() for kind in spec.outputs}
        return given - {*_ANY_TYPE, "INT", "FLOAT", "BOOLEAN", "STRING"}

    def is_output(self, node: object) -> bool:
        spec = self.catalog.get(class_of(node))
        return spec.is_output if spec is not None else is_output_node(node)

    def class_faults(self, node_id: str) -> Iterator[WorkflowFault]:
        """The fault of a class that the server does not have."""
        kind = class_of(self.graph[node_id])
        if not kind or kind in self.catalog:
            return
        what = f"the server has no node {one_line(kind)!r}."
        pack = self.manifest.pack_of(kind)
        if self.manifest.too_old(self.version):
            remedy = f"Update ComfyUI to {self.manifest.comfyui} or later."
        elif pack is not None:
            remedy = pack.remedy
        else:
            remedy = missing_package_remedy([kind])
            if not remedy:
                what += did_you_mean(kind, self.catalog)
                remedy = _INSTALL_NODES
        yield fault_at(self.graph, node_id, "", what, remedy)

    def input_faults(self, node_id: str) -> Iterator[WorkflowFault]:
        node = self.graph[node_id]
        spec = self.catalog.get(class_of(node))
        inputs = inputs_of(node)
        for name, wanted in spec.inputs.items() if spec else ():
            if wanted.type.startswith(EDITOR_TYPE_PREFIX):
                continue
            if name in inputs:
                wrong = self._check_input(inputs[name], wanted)
                if wrong is not None:
                    yield fault_at(self.graph, node_id, name, *wrong)
            elif wanted.required:
                yield fault_at(self.graph, node_id, name, "is required and missing.")

    def _check_input(self, value: object, wanted: InputSpec) -> tuple[str, str] | None:
        if token_name(value) is not None:
            return None
        link = parse_link(value)
        if link is not None:
            spec = self.catalog.get(class_of(self.graph.get(link.node)))
            if spec is None or link.slot < 0:
                return None  # the source has the fault, or it is structural
            source = one_line(link.node)
            if link.slot >= len(spec.outputs):
                last = f"its last is {len(spec.outputs) - 1}" if spec.outputs else "it has none"
                return f"links to output {link.slot} of node {source}; {last}.", ""
            given = spec.outputs[link.slot]
            if {given, wanted.type} & {*_ANY_TYPE} or given.startswith(EDITOR_TYPE_PREFIX):
                return None
            # As the server decides it: a type may be a list of types, and one in common is enough.
            left, right = ({kind.strip() for kind in t.split(",")} for t in (given, wanted.type))
            if left & right or "*" in left | right:
                return None
            output = f"output {link.slot} of node {source}"
            return f"takes {one_line(wanted.type)}, but {output} is {one_line(given)}.", ""
        if isinstance(value, list):
            return None  # a structural fault already
        if wanted.type in self.link_types:
            return f"must be a link to a node that outputs {wanted.type}, not a value.", ""
        if isinstance(value, dict) and "__value__" in value:
            value = value["__value__"]
        return check_value(value, wanted.name, wanted, self.manifest)


# -- A value and its input -------------------------------------------------------------------------


def check_value(
    value: object, name: str, wanted: InputSpec, manifest: Manifest
) -> tuple[str, str] | None:
    """What is wrong with `value` for the input `name`, and the remedy; or None.

    Values that the server would silently convert are wrong too: text for a switch (it takes
    "false" for true), a fraction for a whole number.
    """
    if wanted.type == "COMBO":
        return _check_choice(value, name, wanted, manifest)
    if wanted.type in ("INT", "FLOAT"):
        number: float | None = None
        if isinstance(value, int | float | str) and not isinstance(value, bool):
            with suppress(ValueError):  # the server reads texts as numbers too
                number = value if isinstance(value, int) else float(value)
        is_whole = wanted.type == "INT"
        if isinstance(number, float) and not math.isfinite(number):
            number = None
        if number is None or (is_whole and number != int(number)):
            return f"must be a {'whole ' if is_whole else ''}number, not {_shown(value)}.", ""
        low, high = wanted.number("min"), wanted.number("max")
        if low is not None and number < low:
            return f"must be at least {_plain(low)}, not {_plain(number)}.", ""
        if high is not None and number > high:
            return f"must be at most {_plain(high)}, not {_plain(number)}.", ""
        return None
    if wanted.type == "BOOLEAN" and not isinstance(value, bool) and value not in (0, 1):
        return f"must be true or false, not {_shown(value)}.", ""
    # Some nodes keep an object in a text input, and the server accepts that.
    is_object = isinstance(value, dict) and "__value__" not in value
    if wanted.type == "STRING" and not (isinstance(value, str | int | float) or is_object):
        return f"must be text, not {_shown(value)}.", ""
    return None


def _check_choice(
    value: object, name: str, wanted: InputSpec, manifest: Manifest
) -> tuple[str, str] | None:
    if wanted.choices is None or value in wanted.choices:
        return None
    known = [one_line(str(choice)) for choice in wanted.choices]
    model = None
    if isinstance(value, str):
        files = (file for file in manifest.files if base_name(file.file) == base_name(value))
        model = next(files, None)
    if not isinstance(value, str) or (model is None and not names_file(value, name)):
        what = f"cannot be {_shown(value)}.{did_you_mean(str(value), known)}"
        return what, _list_choices(known)
    names = spellings(value, wanted.choices)
    if len(names) == 1:
        return None
    if names:
        return (
            f"the server has {_shown(value)} in several folders.",
            f"Use one of: {', '.join(map(one_line, names))}.",
        )
    folder = model.folder if model else FOLDERS.get(name.rstrip("0123456789"), "")
    where = f" in models/{folder}" if folder else ""
    what = f"the server has no file {_shown(value)}{where}."
    if model is None or not model.source:
        near = did_you_mean(value, known) or did_you_mean(value, map(bare_name, known))
        return what + near, f"Put it into models/{folder}/." if folder else _list_choices(known)
    facts = ", ".join(fact for fact in (model.size, model.licence) if fact)
    shown = f" ({facts})" if facts else ""
    return what, f"Download it from {model.source}{shown} into models/{model.folder}/."


def _list_choices(choices: list[str]) -> str:
    shown = ", ".join(choices[:20]) + (", …" if len(choices) > 20 else "")
    return f"Known: {shown}." if choices else "The server has none."


def _shown(value: object) -> str:
    return one_line(repr(value), limit=80)


def _plain(number: float) -> str:
    return one_line(str(number), limit=80) if isinstance(number, int) else f"{number:g}"
