"""A graph's own faults, seen without a server: its nodes, its links, its outputs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imagen.core.text import did_you_mean, one_line
from imagen.graphs.tokens import inputs_of, is_link, label

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

_MOST_SUGGESTED = _MOST_RINGS = 20
"""Beyond these many the same fault is reported without a suggestion, and rings are not searched."""
_LONGEST_RING = 12
_SAVING = re.compile(r"Save|Preview|VHS_VideoCombine|ETN_SendImage")
_GIVING = re.compile(r"(?i)save|preview|output|send ?image|compare|krita|display|show ?image")
_MIDDLE = re.compile(r"(?i)metadata|bridge|chooser|load")
"""Classes named for saving or showing that are used in the middle of a graph."""
_SAMPLING = re.compile(r"KSampler.*\(Eff")
"""Samplers that show what they made."""
_IMAGES = re.compile(r"(?i)(images?|img|pixels|video|frames|image_[ab])_?\d*")
_WRAP = 'A list that is a value must be wrapped: {"__value__": […]}.'


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that is wrong with a workflow, and what to do about it."""

    what: str
    """What is wrong: a sentence."""
    remedy: str = ""
    node: str = ""
    """The node's id, or "" where the fault is the whole graph's."""
    title: str = ""
    """The node's class, with its title where it has one of its own."""
    input: str = ""

    @property
    def sentence(self) -> str:
        """`node 8 (KSampler), steps: must be at most 10000, not 20000.`"""
        title = f" ({self.title})" if self.title else ""
        place = f"node {self.node}{title}" if self.node else ""
        return ": ".join(part for part in (_join(place, self.input), self.what) if part)


def structural_faults(graph: Mapping[str, Any], outputs: Collection[str] = ()) -> list[Fault]:
    """Everything wrong with the graph by itself; `outputs` are the output nodes a manifest names.

    Without any named, a node counts as an output by its class: SaveImage, PreviewImage, ….
    """
    if not graph:
        return [Fault(what="The graph is empty: it has no nodes.")]
    faults = [fault for node_id in graph for fault in _node_faults(graph, node_id)]
    return (
        faults + list(_link_faults(graph)) + _cycles(graph) + list(_output_faults(graph, outputs))
    )


def at(graph: Mapping[str, Any], node_id: str, name: str, what: str, remedy: str = "") -> Fault:
    """A fault of one node, or of one of its inputs."""
    shown = one_line(node_id, limit=60)
    title = label(graph, node_id)
    return Fault(what=what, remedy=remedy, node=shown, title=title, input=one_line(name, limit=60))


def ancestors(graph: Mapping[str, Any], node_ids: Collection[str]) -> set[str]:
    """These nodes and all that they are made from."""
    seen: set[str] = set()
    waiting = [node_id for node_id in node_ids if node_id in graph]
    while waiting:
        node_id = waiting.pop()
        if node_id not in seen:
            seen.add(node_id)
            waiting += [source for source in _sources(graph, node_id) if source in graph]
    return seen


def _join(place: str, name: str) -> str:
    return f"{place}, {name}" if place and name else place or name


def _node_faults(graph: Mapping[str, Any], node_id: str) -> Iterator[Fault]:
    node = graph[node_id]
    if not isinstance(node, dict):
        yield at(graph, node_id, "", "is not a node.", "Take it out of the file.")
        return
    kind = node.get("class_type")
    if not isinstance(kind, str) or not kind:
        yield at(graph, node_id, "", "has no class_type.", "Export the workflow again.")
    if not isinstance(node.get("inputs"), dict):
        yield at(graph, node_id, "", "has no inputs.", 'Give it "inputs": {}, at the least.')


def _link_faults(graph: Mapping[str, Any]) -> Iterator[Fault]:
    suggestions = 0
    for node_id in graph:
        for name, value in inputs_of(graph[node_id]).items():
            if not isinstance(value, list):
                continue
            what, remedy = _wrong_link(graph, value)
            if what and is_link(value) and value[0] not in graph and suggestions < _MOST_SUGGESTED:
                suggestions += 1
                what += did_you_mean(value[0], graph)
            if what:
                yield at(graph, node_id, name, what, remedy)


def _wrong_link(graph: Mapping[str, Any], value: list[Any]) -> tuple[str, str]:
    if not is_link(value):
        return f"is a list that is not a link: {one_line(repr(value), limit=60)}.", _WRAP
    source, slot = value
    if source not in graph:
        return f"links to node {one_line(repr(source))}, which is not in the graph.", ""
    if slot < 0 or slot % 1:
        return f"links to output {slot} of node {source}; outputs are numbered from 0.", ""
    return "", ""


def _sources(graph: Mapping[str, Any], node_id: str) -> list[str]:
    return [value[0] for value in inputs_of(graph[node_id]).values() if is_link(value)]


def _cycles(graph: Mapping[str, Any]) -> list[Fault]:
    """A fault for each ring of links that a walk through the graph closes."""
    done: set[str] = set()
    found: list[Fault] = []
    for start in graph:
        for ring in _walk(graph, start, done):
            found.append(ring)
            if len(found) >= _MOST_RINGS:
                return list(dict.fromkeys(found))
    return list(dict.fromkeys(found))  # two links may close one ring


def _walk(graph: Mapping[str, Any], start: str, done: set[str]) -> Iterator[Fault]:
    path: dict[str, Iterator[str]] = {}
    waiting: list[str] = [start] if start not in done else []
    while waiting:
        node_id = waiting[-1]
        ahead = path.setdefault(node_id, iter(_sources(graph, node_id)))
        source = next((s for s in ahead if s in graph and s not in done), None)
        if source is None:
            done.add(waiting.pop())
            del path[node_id]
        elif source in path:
            yield _ring(graph, [*waiting[waiting.index(source) :], source])
        else:
            waiting.append(source)


def _ring(graph: Mapping[str, Any], nodes: list[str]) -> Fault:
    # The walk goes from a node to what it is made from; people read the other way.
    shown = [one_line(node, limit=60) for node in reversed(nodes[:_LONGEST_RING])]
    if len(nodes) > _LONGEST_RING:
        shown = [one_line(nodes[-1], limit=60), "…", *shown]
    path = " → ".join(shown)
    return at(graph, nodes[0], "", f"is made from itself: {path}.", "Cut one of these links.")


def _output_faults(graph: Mapping[str, Any], outputs: Collection[str]) -> Iterator[Fault]:
    for node_id in outputs:
        if node_id not in graph:
            hint = did_you_mean(node_id, graph)
            yield Fault(
                what=f"The manifest's output is node {node_id!r}, which is not there.{hint}"
            )
    if not outputs and not any(saves(node) for node in graph.values()):
        yield Fault(
            what="No node gives a picture away.",
            remedy="Add a SaveImage node, or name the node in the manifest: output: [id].",
        )


def saves(node: Any) -> bool:
    """Whether a node outputs images, judging by the name of its class and its inputs."""
    kind = str(node.get("class_type") or "") if isinstance(node, dict) else ""
    shown = str(inputs_of(node).get("image_output", "Hide"))
    if _SAVING.match(kind) or _SAMPLING.match(kind) or shown not in ("Hide", "None", ""):
        return True
    takes = (name for name, value in inputs_of(node).items() if is_link(value))
    return (
        bool(_GIVING.search(kind))
        and not _MIDDLE.search(kind)
        and any(_IMAGES.fullmatch(name) for name in takes)
    )
