"""Import workflows made in ComfyUI: detect the format, convert it, add tokens and a manifest."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from imagen.core.text import one_line
from imagen.errors import WorkflowError
from imagen.graphs.graph import describe_node, inputs_of, link_sources
from imagen.graphs.importer.convert import ConvertedGraph, convert, find_wrong_types
from imagen.graphs.importer.detect import (
    DetectedWorkflow,
    detect_in_image_texts,
    detect_in_json,
    detect_in_text,
    shorten_list,
)
from imagen.graphs.importer.parameters import ProposedToken, ProposedWorkflow, propose_parameters
from imagen.graphs.importer.write import check_name, format_workflow, suggest_name, write_workflow
from imagen.graphs.model_names import match_model_names
from imagen.graphs.node_catalog import EDITOR_TYPE_PREFIX, NodeCatalog, read_catalog
from imagen.graphs.validate import check_against_server, find_faults
from imagen.graphs.workflow import Workflow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.graphs.graph import Graph
    from imagen.graphs.validate import WorkflowFault

__all__ = [
    "DetectedWorkflow",
    "ProposedToken",
    "ProposedWorkflow",
    "check_name",
    "detect_in_image_texts",
    "detect_in_json",
    "detect_in_text",
    "find_server_faults",
    "format_workflow",
    "import_workflow",
    "suggest_name",
    "write_workflow",
]

_MAX_MISSING_SHOWN = 5


def import_workflow(
    detected: DetectedWorkflow,
    object_info: Mapping[str, object] | None = None,
    *,
    title: str,
    description: str = "",
    is_checked: bool = True,
) -> ProposedWorkflow:
    """Turn a detected workflow into one with tokens and a manifest.

    `object_info` is a server's node catalog. The editor's format cannot be read without it. A graph
    in API format needs none, and with `is_checked`, classes and values that the catalog does not
    allow are refused. Raises WorkflowError for a workflow that cannot be imported.
    """
    source, catalog = detected.source, read_catalog(object_info or {})
    if detected.graph is not None:
        converted = ConvertedGraph(graph=dict(detected.graph))
        if object_info is not None and is_checked:
            _refuse_catalog_mismatch(converted.graph, catalog, source)
    elif object_info is None:
        raise WorkflowError(
            f"{source} is in the format of ComfyUI's editor, which cannot be read without the node "
            "catalog of a server.",
            remedy="Name a server (--backend, --url), or a saved catalog (--catalog).",
        )
    else:
        converted = convert(detected, catalog)
    if is_checked:
        _refuse_missing_inputs(converted.graph, catalog, source)
    proposal = propose_parameters(converted, catalog, title=title, description=description)
    faults = find_faults(Workflow("", proposal.graph, proposal.manifest, ""))
    if faults:
        lines = [fault.sentence for fault in faults]
        raise WorkflowError("\n  ".join([f"{source} cannot run:", *lines]))
    return proposal


def find_server_faults(
    proposal: ProposedWorkflow, object_info: Mapping[str, object]
) -> list[WorkflowFault]:
    """What a server of this `/object_info` lacks or would refuse of an imported workflow."""
    workflow = Workflow("", proposal.graph, proposal.manifest, "")
    graph = match_model_names(workflow.bind_defaults(), object_info)
    return check_against_server(graph, object_info, manifest=proposal.manifest)


def _refuse_catalog_mismatch(graph: Graph, catalog: NodeCatalog, source: str) -> None:
    """Raise WorkflowError that names each class that the catalog lacks, and each wrong type."""
    lines: list[str] = []
    for node_id, node in graph.items():
        place = f"node {one_line(node_id, limit=60)} ({describe_node(graph, node_id)})"
        spec = catalog.get(node["class_type"])
        if spec is None:
            lines.append(f"{place}: the catalog has no such node.")
            continue
        faults = find_wrong_types(inputs_of(node), spec.inputs.values())
        lines += [f"{place}, {name}: {what}" for name, what in faults]
    if lines:
        raise WorkflowError(
            "\n  ".join([f"{source} does not match the catalog:", *lines]),
            remedy="Use the catalog of the server that will run it.",
        )


def _refuse_missing_inputs(graph: Graph, catalog: NodeCatalog, source: str) -> None:
    """Raise WorkflowError if every output depends on a node without a required input."""
    missing: dict[str, list[str]] = {}
    outputs: set[str] = set()
    users: dict[str, list[str]] = defaultdict(list)
    for node_id, node in graph.items():
        spec, inputs = catalog.get(node["class_type"]), inputs_of(node)
        for name, wanted in spec.inputs.items() if spec else ():
            is_needed = wanted.required and not wanted.type.startswith(EDITOR_TYPE_PREFIX)
            if is_needed and name not in inputs:
                missing.setdefault(node_id, []).append(one_line(name, limit=60))
        if spec is not None and spec.is_output:
            outputs.add(node_id)
        for other in link_sources(node):
            users[other].append(node_id)
    broken: set[str] = set()
    waiting = list(missing)
    while waiting:
        node_id = waiting.pop()
        if node_id not in broken:
            broken.add(node_id)
            waiting += users[node_id]
    if not outputs or not outputs <= broken:
        return
    lines = [
        f"node {one_line(node_id, limit=60)} ({describe_node(graph, node_id)}), "
        f"{', '.join(names)}: is missing."
        for node_id, names in missing.items()
    ]
    shown = shorten_list(lines, _MAX_MISSING_SHOWN)
    raise WorkflowError(
        "\n  ".join([f"{source} would produce no output:", *shown]),
        remedy="Run it once in ComfyUI, and save it when it works.",
    )
