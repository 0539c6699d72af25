"""Check workflows, and find them by their names."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from imagen.backends.redact import unwrap_backend
from imagen.core.text import did_you_mean, one_line
from imagen.errors import NotFound, RequestError
from imagen.graphs import (
    check_against_server,
    find_faults,
    find_missing_values,
    find_workflow,
    list_workflow_names,
)
from imagen.pipeline.pools import open_named
from imagen.views.workflows import WorkflowCheckView, WorkflowFaultView

if TYPE_CHECKING:
    from imagen.config import Settings
    from imagen.graphs import Workflow, WorkflowFault


def find_named_workflow(name: str, settings: Settings) -> Workflow:
    """The workflow of this name, never of a path. Raises NotFound, WorkflowError."""
    names = list_workflow_names(settings.workflow_dirs)
    if name not in names or name.lower().endswith(".json"):
        raise NotFound(
            f"There is no workflow {one_line(name, limit=80)!r}.{did_you_mean(name, names)}"
        )
    return find_workflow(name, settings.workflow_dirs)


def check_workflow(
    workflow: Workflow, settings: Settings, backend: str | None = None, *, name: str = ""
) -> WorkflowCheckView:
    """What is wrong with a workflow; with a backend, also on its server.

    `name` is how the configuration names it. Raises RequestError if the backend is not a ComfyUI.
    """
    more = (
        find_missing_values(workflow)
        if backend is None
        else _check_on_server(workflow, name or workflow.name, backend, settings)
    )
    found = dict.fromkeys([*find_faults(workflow), *more])
    faults = [
        WorkflowFaultView(
            node=fault.node,
            title=fault.title,
            input=fault.input,
            what=fault.what,
            remedy=fault.remedy,
        )
        for fault in found
    ]
    return WorkflowCheckView(
        workflow=workflow.name, source=workflow.source, ok=not found, faults=tuple(faults)
    )


def _check_on_server(
    workflow: Workflow, name: str, backend: str, settings: Settings
) -> list[WorkflowFault]:
    """The faults on a backend's server, with its own defaults if this is its workflow."""
    from imagen.backends.comfyui import ComfyUIBackend, default_overrides, node_catalog

    with closing(open_named(backend, settings)) as opened, unwrap_backend(opened) as engine:
        if not isinstance(engine, ComfyUIBackend):
            raise RequestError(
                f"Workflows are checked against a ComfyUI server, and the backend {backend!r} is "
                "not one.",
                remedy="Name a backend of type comfyui.",
            )
        object_info, version = node_catalog(engine)
        defaults = default_overrides(engine, name)
    bound = workflow.bind_defaults(defaults)
    return [
        *find_missing_values(workflow, defaults),
        *check_against_server(bound, object_info, manifest=workflow.manifest, version=version),
    ]
