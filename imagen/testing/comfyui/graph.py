"""Read a graph in API format: its links, its order, and what is upstream of a node."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha1
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Graph = Mapping[str, Mapping[str, Any]]
T = TypeVar("T")


def is_link(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)


def node_inputs(graph: Graph, node: str) -> Mapping[str, Any]:
    inputs = graph[node].get("inputs")
    return inputs if isinstance(inputs, dict) else {}


def node_links(graph: Graph, node: str) -> dict[str, str]:
    """The linked inputs of a node: the node that each comes from, by input name."""
    inputs = node_inputs(graph, node).items()
    return {name: value[0] for name, value in inputs if is_link(value) and value[0] in graph}


def execution_order(graph: Graph, outputs: Iterable[str]) -> list[str]:
    """The nodes that these outputs need, each after the nodes that it needs."""
    order: dict[str, None] = {}

    def visit(node: str) -> None:
        if node not in order:
            for source in node_links(graph, node).values():
                visit(source)
            order[node] = None

    for output in outputs:
        visit(output)
    return list(order)


def upstream(graph: Graph, node: str) -> Iterator[str]:
    """The node and all nodes it depends on, the nearest first."""
    waiting, seen = [node], {node}
    while waiting:
        current = waiting.pop(0)
        yield current
        for source in node_links(graph, current).values():
            if source not in seen:
                seen.add(source)
                waiting.append(source)


def find_source(graph: Graph, node: str, *names: str) -> str | None:
    """The node that feeds the nearest linked input of one of these names."""
    for current in upstream(graph, node):
        links = node_links(graph, current)
        for name in names:
            if name in links:
                return links[name]
    return None


def find_value(graph: Graph, node: str | None, kind: type[T], *names: str) -> T | None:
    """The nearest literal input of one of these names and this type."""
    for current in upstream(graph, node) if node else ():
        inputs = node_inputs(graph, current)
        for name in names:
            value = inputs.get(name)
            if isinstance(value, kind):
                return value
    return None


def node_signatures(
    graph: Graph, order: Iterable[str], file_state: Callable[[str], str]
) -> dict[str, str]:
    """What each node computes: equal for equal classes and inputs, whatever the node's id.

    `order` is an execution order; `file_state` gives the state of the file that a node reads.
    """
    signatures: dict[str, str] = {}
    for node in order:
        inputs = {
            name: [signatures[value[0]], value[1]]
            if is_link(value) and value[0] in signatures
            else value
            for name, value in sorted(node_inputs(graph, node).items())
        }
        text = json.dumps([graph[node]["class_type"], inputs, file_state(node)])
        signatures[node] = sha1(text.encode(), usedforsecurity=False).hexdigest()
    return signatures
