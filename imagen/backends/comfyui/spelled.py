"""Files that a server would not look for before it runs: found in its catalogue beforehand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imagen.errors import Rejected
from imagen.graphs.graph import inputs_of
from imagen.graphs.model_names import is_model_file, match_model_names, names_file
from imagen.graphs.node_catalog import read_catalog
from imagen.graphs.validate import check_value, fault_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imagen.backends.comfyui.client import ComfyClient
    from imagen.graphs import Manifest, WorkflowFault

_UNCHECKED = ("UpscaleModelLoader", "TripleCLIPLoader", "QuadrupleCLIPLoader")
"""Loaders declared in the newer way, whose choices ComfyUI 0.3.64 does not hold a graph to."""


def spelled(client: ComfyClient, graph: Mapping[str, Any], manifest: Manifest) -> dict[str, Any]:
    """A copy that calls such files, and those given without their ending, what the server does.

    Asks only for the nodes in question. Raises Rejected for a file that isn't there.
    """
    nodes = {node_id: node for node_id, node in graph.items() if _is_in_question(node)}
    kinds = {str(node["class_type"]) for node in nodes.values()}
    if not kinds:
        return dict(graph)
    object_info: dict[str, Any] = {}
    for kind in sorted(kinds):
        object_info |= client.node_info(kind)
    local = match_model_names(nodes, object_info)
    faults = [
        fault for node_id in local for fault in _faults(local, node_id, object_info, manifest)
    ]
    if faults:
        lines = "\n  ".join(fault.sentence for fault in faults)
        remedy = "\n".join(dict.fromkeys(fault.remedy for fault in faults if fault.remedy))
        raise Rejected(f"ComfyUI can't run the workflow: {lines}", remedy=remedy)
    return {**graph, **local}


def _is_in_question(node: Any) -> bool:
    kind = node.get("class_type") if isinstance(node, dict) else None
    if not isinstance(kind, str):
        return False
    inputs = inputs_of(node).items()
    return kind in _UNCHECKED or any(
        names_file(value, name) and not is_model_file(value) for name, value in inputs
    )


def _faults(
    graph: Mapping[str, Any], node_id: str, object_info: Mapping[str, Any], manifest: Manifest
) -> Iterator[WorkflowFault]:
    spec = read_catalog(object_info).get(str(graph[node_id]["class_type"]))
    for name, value in inputs_of(graph[node_id]).items():
        wanted = spec.inputs.get(name) if spec else None
        wrong = (
            check_value(value, name, wanted, manifest)
            if wanted is not None and names_file(value, name)
            else None
        )
        if wrong is not None:
            yield fault_at(graph, node_id, name, *wrong)
