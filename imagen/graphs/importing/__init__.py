"""Workflows made elsewhere, taken over: recognised, converted, and given tokens and a manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imagen.errors import WorkflowError
from imagen.graphs.importing.convert import Converted, converted, wrong_types
from imagen.graphs.importing.declared import declared
from imagen.graphs.importing.propose import Proposal, Token, propose
from imagen.graphs.importing.recognise import Found, of_json, of_text, of_texts
from imagen.graphs.importing.shelving import name_of, put, shelf_name, written
from imagen.graphs.preflight import check
from imagen.graphs.review import faults
from imagen.graphs.spelling import localise
from imagen.graphs.tokens import inputs_of, label
from imagen.graphs.workflow import Workflow
from imagen.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imagen.graphs.structure import Fault

__all__ = [
    "Found",
    "Proposal",
    "Token",
    "lacking",
    "name_of",
    "of_json",
    "of_text",
    "of_texts",
    "put",
    "shelf_name",
    "take_over",
    "written",
]

_CATALOGUE = "Name a server (--backend, --url), or a saved catalogue (--catalogue)."


def take_over(
    found: Found,
    object_info: Mapping[str, Any] | None = None,
    *,
    title: str,
    description: str = "",
    is_held_to: bool = True,
) -> Proposal:
    """The workflow that was found, as one of ours; `object_info` is a server's catalogue.

    The editor's format can't be read without one; a graph in API format needs none, and
    `is_held_to` says whether a class or a value that the catalogue has not is refused.
    Raises WorkflowError for what can't be taken over.
    """
    if found.form == "editor" and object_info is None:
        raise WorkflowError(
            f"{found.source} is in the format of ComfyUI's editor: to read it, the catalogue "
            "of a server's nodes is needed.",
            remedy=_CATALOGUE,
        )
    known = {kind: said for kind, said in (object_info or {}).items() if isinstance(said, dict)}
    if found.form == "editor":
        result = converted(found, known)
    else:
        result = Converted(graph=dict(found.document))
        if object_info is not None and is_held_to:
            _hold_to(found, known)
    proposal = propose(result, object_info=known, title=title, description=description)
    _refuse_faults(proposal, found.source)
    return proposal


def lacking(proposal: Proposal, object_info: Mapping[str, Any]) -> list[Fault]:
    """What a server of this catalogue lacks to run it, or would refuse."""
    workflow = Workflow("", proposal.graph, proposal.manifest, "")
    graph = localise(workflow.sample(), object_info)
    return check(graph, object_info, manifest=proposal.manifest)


def _hold_to(found: Found, object_info: Mapping[str, Any]) -> None:
    lines = list(_against(found.document, object_info))
    if lines:
        said = "\n  ".join(lines)
        raise WorkflowError(
            f"{found.source} does not suit the catalogue:\n  {said}",
            remedy="Take the catalogue of the server that shall run it.",
        )


def _against(graph: Mapping[str, Any], object_info: Mapping[str, Any]) -> Iterator[str]:
    for key, node in graph.items():
        place = f"node {one_line(key, limit=60)} ({label(graph, key)})"
        said = object_info.get(node["class_type"])
        if not isinstance(said, dict):
            yield f"{place}: the catalogue has no such node."
            continue
        for name, what in wrong_types(inputs_of(node), declared(said)):
            yield f"{place}, {name}: {what}"


def _refuse_faults(proposal: Proposal, source: str) -> None:
    workflow = Workflow("", proposal.graph, proposal.manifest, "")
    found = [fault.sentence for fault in faults(workflow)]
    if found:
        raise WorkflowError("\n  ".join([f"{source} can't run:", *found]))
