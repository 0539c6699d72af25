"""Give a graph further images: more reference images, or an image padded for outpainting."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagen.errors import RequestError
from imagen.graphs.edits.links import free_ids, link_at, new_node, redirect_links, with_inputs
from imagen.graphs.graph import Link, Node, ancestors, class_of, inputs_of, parse_link

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from imagen.core.request import Outpaint
    from imagen.graphs.graph import Graph


def with_references(graph: Graph, first: str, images: Sequence[str]) -> dict[str, Node]:
    """A copy that uses these reference images besides the one that the node `first` loads.

    For each further image, the nodes from the first image to its latent are copied, and each
    ReferenceLatent that takes the first one is followed by another. Raises RequestError if there
    is no ReferenceLatent.
    """
    latents = {
        node_id: link
        for node_id in graph
        if class_of(graph[node_id]) == "ReferenceLatent"
        if (link := link_at(graph, node_id, "latent")) and first in ancestors(graph, [link.node])
    }
    if images and not latents:
        raise RequestError(
            f"references: this workflow takes one image, not {len(images) + 1}.",
            remedy="Give it one, or combine them into one image side by side.",
        )
    needed = ancestors(graph, [link.node for link in latents.values()])
    path = [
        node_id for node_id in graph if node_id in needed and first in ancestors(graph, [node_id])
    ]
    extended, last = dict(graph), {node_id: node_id for node_id in latents}
    for image in images:
        ids = free_ids(extended)
        copies = {node_id: next(ids) for node_id in path}
        extended |= {new: _copy_node(graph[old], copies) for old, new in copies.items()}
        extended = with_inputs(extended, copies[first], image=image)
        for node_id, link in latents.items():
            before, added = last[node_id], next(ids)
            extended = redirect_links(extended, {Link(before, 0): Link(added, 0)})
            node = _copy_node(graph[node_id], copies)
            node["inputs"] |= {
                "conditioning": [before, 0],
                "latent": [copies[link.node], link.slot],
            }
            extended[added] = node
            last[node_id] = added
    return extended


def _copy_node(node: Node, copies: Mapping[str, str]) -> Node:
    """The node, with links to the copies of other nodes."""
    inputs = dict(inputs_of(node))
    for name, value in inputs.items():
        link = parse_link(value)
        if link is not None and link.node in copies:
            inputs[name] = [copies[link.node], link.slot]
    return {**node, "inputs": inputs}


def with_padding(
    graph: Graph, image: str, mask: str, sides: Outpaint, feather: int
) -> dict[str, Node]:
    """A copy of an inpainting graph that pads the image of the node `image` and repaints the
    padding. The node `mask`, which loaded the mask, is removed."""
    padded = next(free_ids(graph))
    pad = new_node(
        "ImagePadForOutpaint", "Padding", image=Link(image, 0), **dict(sides), feathering=feather
    )
    values = (value for node in graph.values() for value in inputs_of(node).values())
    mask_links = {link for value in values if (link := parse_link(value)) and link.node == mask}
    moves = {Link(image, 0): Link(padded, 0)} | dict.fromkeys(mask_links, Link(padded, 1))
    kept = {node_id: node for node_id, node in graph.items() if node_id != mask}
    return redirect_links(kept, moves) | {padded: pad}
