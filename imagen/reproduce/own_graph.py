"""A backend that sends the very graph that made a picture, in place of its own workflow."""

from __future__ import annotations

import json
import os
from hashlib import sha256
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, Any

from imagen.core.text import one_line
from imagen.errors import RequestError
from imagen.graphs import list_workflow_names
from imagen.outputs.provenance import is_graph

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.config import Settings
    from imagen.outputs import ImageRecord

_FOLDER = "again"
IMPORTED = "workflows"
"""The folder in `state_dir` of workflows that were imported for a single run."""


def with_its_workflow(settings: Settings, backend: str, record: ImageRecord) -> Settings:
    """Settings in which this backend runs the workflow that made the record's image.

    Unchanged where that is not known. Raises RequestError for a backend that has no block, if its
    workflow is gone.
    """
    name = record.workflow
    if not name:
        return settings
    imported = settings.state_dir / IMPORTED / f"{name}.json"
    if PureWindowsPath(name).name == name and os.path.isfile(imported):
        return settings.with_workflow(backend, str(imported.absolute()))
    if name in list_workflow_names(settings.workflow_dirs):
        return settings.with_workflow(backend, name)
    if backend not in settings.backends:
        raise RequestError(
            f"The image was made with the workflow {one_line(name)!r}, which is not there.",
            remedy="Name its file with --workflow, or send the graph that made it with --graph.",
        )
    return settings


def with_own_graph(settings: Settings, backend: str, graph: Mapping[str, Any]) -> Settings:
    """Settings in which this backend's workflow is that graph, with tokens for what it takes.

    Run without any flag it is the graph as it was. It is kept in `state_dir`, by its content.
    Raises RequestError where it is none, or the backend drives no ComfyUI; WorkflowError for one
    that can't run.
    """
    block = dict(settings.backends.get(backend, {}))
    if not is_graph(graph):
        raise RequestError(
            "There is no graph of this picture: it was not made by ComfyUI, or does not tell.",
            remedy="Leave --graph out.",
        )
    if block.get("type", backend) != "comfyui":
        raise RequestError(
            f"{backend} drives no ComfyUI, and can't be sent a graph.",
            remedy="Name a backend of type comfyui with --backend, or leave --graph out.",
        )
    kept = _kept(settings, graph)
    return settings.with_workflow(backend, kept)


def _kept(settings: Settings, graph: Mapping[str, Any]) -> str:
    """The path of the workflow that is made of the graph."""
    from imagen.graphs.importer import detect_in_text, import_workflow, write_workflow

    text = json.dumps(graph, sort_keys=True)
    name = sha256(text.encode()).hexdigest()[:16]
    proposal = import_workflow(
        detect_in_text(text, "The picture's graph"), title="A picture's own graph"
    )
    path, _ = write_workflow(
        settings.state_dir / _FOLDER, name, proposal, force=True, is_private=True
    )
    return str(path.absolute())
