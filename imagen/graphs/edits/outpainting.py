"""A graph that repaints a part, made to go on beyond the picture's sides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imagen.graphs.edits.links import free_ids, new_node, repointed
from imagen.graphs.tokens import inputs_of, is_link

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.core.request import Outpaint


def with_padding(
    graph: Mapping[str, Any], image: str, mask: str, sides: Outpaint, feather: int
) -> dict[str, Any]:
    """A copy in which the picture of the node `image` is padded, and the padding is repainted.

    The node `mask`, which loaded what to repaint, is taken out.
    """
    padded = next(free_ids(graph))
    pad = new_node(
        "ImagePadForOutpaint",
        "Beyond the sides",
        image=(image, 0),
        **dict(sides),
        feathering=feather,
    )
    kept = {node_id: node for node_id, node in graph.items() if node_id != mask}
    moves = {(image, 0): (padded, 0)} | dict.fromkeys(_links_to(graph, mask), (padded, 1))
    return repointed(kept, moves) | {padded: pad}


def _links_to(graph: Mapping[str, Any], node_id: str) -> set[tuple[str, int]]:
    values = (value for node in graph.values() for value in inputs_of(node).values())
    return {(v[0], int(v[1])) for v in values if is_link(v) and v[0] == node_id}
