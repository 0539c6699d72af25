"""Further reference pictures chained onto a graph that takes one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imagen.errors import RequestError
from imagen.graphs.edits.links import Link, free_ids, link_at, repointed, with_inputs
from imagen.graphs.structure import ancestors
from imagen.graphs.tokens import inputs_of, is_link

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_TAKES = "ReferenceLatent"


def with_references(graph: Mapping[str, Any], first: str, images: Sequence[str]) -> dict[str, Any]:
    """A copy that takes these pictures besides the one that the node `first` loads.

    The way of the first picture to its latent is gone again with each further one, and each
    ReferenceLatent that takes it is followed by one more. Raises RequestError where there is none.
    """
    found = dict(graph)
    takers = [node_id for node_id in graph if _takes(graph, node_id, first)]
    if images and not takers:
        raise RequestError(
            f"references: this workflow takes one picture, not {len(images) + 1}.",
            remedy="Give it one, or put them into one picture side by side.",
        )
    last = {taker: taker for taker in takers}
    for image in images:
        found = _chained(found, graph, first, image, last)
    return found


def _chained(
    found: dict[str, Any], graph: Mapping[str, Any], first: str, image: str, last: dict[str, str]
) -> dict[str, Any]:
    """One picture more; `last` is told which node now ends the chain of each taker."""
    ids = free_ids(found)
    way = {node_id: next(ids) for node_id in _way(graph, first, last)}
    copies = {new: _copied(graph[old], way) for old, new in way.items()}
    found = with_inputs({**found, **copies}, way[first], image=image)
    for taker, end in last.items():
        node_id = next(ids)
        latent = link_at(graph, taker, "latent")
        found = repointed(found, {(end, 0): (node_id, 0)})
        found[node_id] = _taker(graph[taker], (end, 0), latent, way)
        last[taker] = node_id
    return found


def _way(graph: Mapping[str, Any], first: str, takers: Mapping[str, str]) -> Iterator[str]:
    """The nodes by which the first picture becomes a latent."""
    links = [link_at(graph, taker, "latent") for taker in takers]
    needed = ancestors(graph, [link[0] for link in links if link])
    return (node_id for node_id in graph if node_id in needed and _needs(graph, node_id, first))


def _takes(graph: Mapping[str, Any], node_id: str, first: str) -> bool:
    node = graph[node_id]
    link = link_at(graph, node_id, "latent")
    is_taker = isinstance(node, dict) and node.get("class_type") == _TAKES
    return is_taker and link is not None and _needs(graph, link[0], first)


def _needs(graph: Mapping[str, Any], node_id: str, source: str) -> bool:
    return source in ancestors(graph, [node_id])


def _copied(node: Any, way: Mapping[str, str]) -> dict[str, Any]:
    inputs = {
        name: [way.get(value[0], value[0]), value[1]] if is_link(value) else value
        for name, value in inputs_of(node).items()
    }
    copied: dict[str, Any] = node | {"inputs": inputs}
    return copied


def _taker(node: Any, before: Link, latent: Link | None, way: Mapping[str, str]) -> dict[str, Any]:
    copied = _copied(node, way)
    if latent is not None:
        copied["inputs"] |= {"conditioning": list(before), "latent": [way[latent[0]], latent[1]]}
    return copied
