"""Where two graphs for ComfyUI differ: which nodes, and which of their inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imagen.graphs.graph import describe_node, inputs_of
from imagen.graphs.model_names import base_name, is_model_file
from imagen.reproduce.drifts import Drift

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def workflow_drift(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[Drift]:
    """Each node that came, went or became another, and each input that is wired or set otherwise.

    Titles don't count, nor does the folder that a server has a model's file in.
    """
    nodes = dict.fromkeys((*then, *now))
    return [one for node_id in nodes for one in _node(then, now, node_id)]


def _node(then: Mapping[str, Any], now: Mapping[str, Any], node_id: str) -> Iterator[Drift]:
    before, after = _class(then, node_id), _class(now, node_id)
    if before != after:
        yield _drift(
            f"node {node_id}",
            describe_node(then, node_id) or None,
            describe_node(now, node_id) or None,
        )
        return
    old, new = inputs_of(then.get(node_id)), inputs_of(now.get(node_id))
    for name in dict.fromkeys((*old, *new)):
        if not _same(old.get(name), new.get(name)):
            place = f"node {node_id} ({describe_node(now, node_id)}), {name}"
            yield _drift(place, old.get(name), new.get(name))


def _drift(name: str, then: Any, now: Any) -> Drift:
    return Drift(what="workflow", name=name, then=then, now=now)


def _class(graph: Mapping[str, Any], node_id: str) -> str | None:
    node = graph.get(node_id)
    return str(node.get("class_type")) if isinstance(node, dict) else None


def _same(old: Any, new: Any) -> bool:
    if is_model_file(old) and is_model_file(new):
        return base_name(old) == base_name(new)
    return bool(old == new)
