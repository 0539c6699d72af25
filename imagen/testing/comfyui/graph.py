"""Reading a graph in API format: its links, its order, and what lies upstream."""

from __future__ import annotations

import json
from hashlib import sha1
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    Graph = Mapping[str, Mapping[str, Any]]


def is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)


def inputs(graph: Graph, node: str) -> Mapping[str, Any]:
    found = graph[node].get("inputs")
    return found if isinstance(found, dict) else {}


def links(graph: Graph, node: str) -> Iterator[tuple[str, str]]:
    """The linked inputs of a node: their names, and the nodes they come from."""
    for name, value in inputs(graph, node).items():
        if is_link(value) and value[0] in graph:
            yield name, value[0]


def order(graph: Graph, outputs: Iterable[str]) -> list[str]:
    """The nodes that these outputs need, each after what it needs itself."""
    found: dict[str, None] = {}

    def visit(node: str) -> None:
        if node not in found:
            for _, source in links(graph, node):
                visit(source)
            found[node] = None

    for output in outputs:
        visit(output)
    return list(found)


def upstream(graph: Graph, node: str) -> Iterator[str]:
    """The node, and all it depends on, the nearest first."""
    waiting, seen = [node], {node}
    while waiting:
        current = waiting.pop(0)
        yield current
        for _, source in links(graph, current):
            if source not in seen:
                seen.add(source)
                waiting.append(source)


def branch(graph: Graph, node: str, *names: str) -> str | None:
    """Where the nearest linked input of one of these names comes from."""
    for current in upstream(graph, node):
        found = dict(links(graph, current))
        for name in names:
            if name in found:
                return found[name]
    return None


def value(graph: Graph, node: str | None, kind: type, *names: str) -> Any:
    """The nearest literal input of one of these names and this type; None where there is none."""
    for current in upstream(graph, node) if node else ():
        said = inputs(graph, current)
        for name in names:
            if isinstance(said.get(name), kind):
                return said[name]
    return None


def signatures(graph: Graph, nodes: Iterable[str], mark: Callable[[str], str]) -> dict[str, str]:
    """What each node computes: the same for the same class and inputs, whatever its id.

    The nodes come in `order`; `mark` tells the state of a file that a node reads.
    """
    found: dict[str, str] = {}
    for node in nodes:
        said = {
            name: [found[entry[0]], entry[1]] if is_link(entry) and entry[0] in found else entry
            for name, entry in sorted(inputs(graph, node).items())
        }
        text = json.dumps([graph[node]["class_type"], said, mark(node)])
        found[node] = sha1(text.encode(), usedforsecurity=False).hexdigest()
    return found
