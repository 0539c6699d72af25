"""Follow links in a graph, redirect them, and create nodes."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from imagen.graphs.graph import Link, Node, ancestors, inputs_of, is_output_node, parse_link

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imagen.graphs.graph import Graph


def link_at(graph: Graph, node_id: str, name: str) -> Link | None:
    """The link at an input, or None if there is none."""
    return parse_link(inputs_of(graph.get(node_id)).get(name))


def used_nodes(graph: Graph) -> list[str]:
    """The nodes that outputs depend on, in the graph's order; all nodes if it has no output."""
    used = ancestors(graph, [node_id for node_id, node in graph.items() if is_output_node(node)])
    return [node_id for node_id in graph if node_id in used or not used]


def links_named(graph: Graph, name: str) -> dict[str, Link]:
    """The link at the input of this name, for each used node that has one."""
    links = {node_id: link_at(graph, node_id, name) for node_id in used_nodes(graph)}
    return {node_id: link for node_id, link in links.items() if link is not None}


def chain_start(graph: Graph, link: Link, name: str) -> Link:
    """Follow the inputs of this name upstream, to the output of the node without one."""
    seen: set[str] = set()
    while (before := link_at(graph, link.node, name)) is not None and link.node not in seen:
        seen.add(link.node)
        link = before
    return link


def redirect_links(graph: Graph, moves: Mapping[Link, Link]) -> dict[str, Node]:
    """A copy in which each link that is a key of `moves` is replaced by its value."""

    def redirect(value: object) -> object:
        link = parse_link(value)
        return list(moves[link]) if link is not None and link in moves else value

    redirected = dict(graph)
    for node_id, node in graph.items():
        if inputs := inputs_of(node):
            redirected[node_id] = {
                **node,
                "inputs": {name: redirect(value) for name, value in inputs.items()},
            }
    return redirected


def with_inputs(graph: Graph, node_id: str, **inputs: object) -> dict[str, Node]:
    """A copy in which this node has these inputs."""
    node = graph[node_id]
    return {**graph, node_id: {**node, "inputs": {**inputs_of(node), **inputs}}}


def free_ids(graph: Graph) -> Iterator[str]:
    """Unused node ids. They are numbers, since the editor accepts nothing else."""
    taken = [int(node_id) for node_id in graph if node_id.isdecimal()]
    return map(str, count(max(taken, default=0) + 1))


def new_node(kind: str, title: str, **inputs: object) -> Node:
    """A node of this class; each input may be a Link."""
    values = {n: list(v) if isinstance(v, Link) else v for n, v in inputs.items()}
    return {"class_type": kind, "inputs": values, "_meta": {"title": title}}
