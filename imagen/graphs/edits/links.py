"""Links of a graph: where they lead, and pointing them elsewhere."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

from imagen.graphs.structure import ancestors, saves
from imagen.graphs.tokens import inputs_of, is_link

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

Link = tuple[str, int]
"""A node's id, and which of its outputs."""


def link_at(graph: Mapping[str, Any], node_id: str, name: str) -> Link | None:
    """Where an input's value comes from; None where it is no link."""
    value: Any = inputs_of(graph.get(node_id)).get(name)
    return (value[0], int(value[1])) if is_link(value) else None


def used_nodes(graph: Mapping[str, Any]) -> list[str]:
    """What the pictures are made from, in the graph's order; all of it where none is saved."""
    used = ancestors(graph, [node_id for node_id, node in graph.items() if saves(node)])
    return [node_id for node_id in graph if node_id in used or not used]


def links_named(graph: Mapping[str, Any], name: str) -> dict[str, Link]:
    """For each used node whose input of this name is a link, where that leads."""
    found = {node_id: link_at(graph, node_id, name) for node_id in used_nodes(graph)}
    return {node_id: link for node_id, link in found.items() if link is not None}


def beginning(graph: Mapping[str, Any], link: Link, name: str) -> Link:
    """The end of a chain of inputs of this name: the output of the node that has none."""
    seen: set[str] = set()
    while (before := link_at(graph, link[0], name)) is not None and link[0] not in seen:
        seen.add(link[0])
        link = before
    return link


def repointed(
    graph: Mapping[str, Any], moves: Mapping[Link, Link], only: Collection[str] | None = None
) -> dict[str, Any]:
    """A copy in which each link of `moves` leads elsewhere; of `only` these nodes, if any."""
    return {
        node_id: _moved(node, moves) if only is None or node_id in only else node
        for node_id, node in graph.items()
    }


def _moved(node: Any, moves: Mapping[Link, Link]) -> Any:
    inputs = {
        name: list(moves.get((value[0], int(value[1])), value)) if is_link(value) else value
        for name, value in inputs_of(node).items()
    }
    return node | {"inputs": inputs} if inputs else node


def with_inputs(graph: Mapping[str, Any], node_id: str, **inputs: Any) -> dict[str, Any]:
    """A copy in which this node has these inputs."""
    node = graph[node_id]
    return {**graph, node_id: node | {"inputs": {**inputs_of(node), **inputs}}}


def free_ids(graph: Mapping[str, Any]) -> Iterator[str]:
    """Ids that no node has: numbers, since the editor knows no others."""
    taken = [int(node_id) for node_id in graph if node_id.isdecimal()]
    return map(str, count(max(taken, default=0) + 1))


def new_node(kind: str, title: str, **inputs: Any) -> dict[str, Any]:
    """A node of this class; an input that is a Link becomes one."""
    said = {name: list(v) if isinstance(v, tuple) else v for name, v in inputs.items()}
    return {"class_type": kind, "inputs": said, "_meta": {"title": title}}
