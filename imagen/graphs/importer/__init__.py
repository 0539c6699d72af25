"""Workflows made elsewhere, taken over: recognised, converted, and given tokens and a manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imagen.errors import WorkflowError
from imagen.graphs.importer.convert import Converted, converted
from imagen.graphs.importer.holding import refuse_unfed, refuse_unsuited
from imagen.graphs.importer.propose import Proposal, Token, propose
from imagen.graphs.importer.recognise import Found, of_json, of_text, of_texts
from imagen.graphs.importer.shelving import name_of, put, shelf_name, written
from imagen.graphs.model_names import match_model_names
from imagen.graphs.preflight import check
from imagen.graphs.review import faults
from imagen.graphs.workflow import Workflow

if TYPE_CHECKING:
    from collections.abc import Mapping

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
            refuse_unsuited(result.graph, known, found.source)
    if is_held_to:
        refuse_unfed(result.graph, known, found.source)
    proposal = propose(result, object_info=known, title=title, description=description)
    _refuse_faults(proposal, found.source)
    return proposal


def lacking(proposal: Proposal, object_info: Mapping[str, Any]) -> list[Fault]:
    """What a server of this catalogue lacks to run it, or would refuse."""
    workflow = Workflow("", proposal.graph, proposal.manifest, "")
    graph = match_model_names(workflow.sample(), object_info)
    return check(graph, object_info, manifest=proposal.manifest)


def _refuse_faults(proposal: Proposal, source: str) -> None:
    workflow = Workflow("", proposal.graph, proposal.manifest, "")
    found = [fault.sentence for fault in faults(workflow)]
    if found:
        raise WorkflowError("\n  ".join([f"{source} can't run:", *found]))
