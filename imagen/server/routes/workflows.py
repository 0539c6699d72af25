"""List, show, check and add workflows of ComfyUI."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import Field, JsonValue

from imagen.config import masked
from imagen.core.image_file import parse_blob_name
from imagen.core.text import one_line
from imagen.engines.workflows import check_workflow, find_named_workflow
from imagen.errors import RequestError
from imagen.graphs import list_workflow_files
from imagen.runtime.client_requests import resolve_input
from imagen.server.state import CallerOf, RuntimeOf, require
from imagen.views.base import View
from imagen.views.workflows import (
    AddedWorkflowView,
    WorkflowCheckView,
    WorkflowSummaryView,
    WorkflowView,
)

router = APIRouter(tags=["workflows"])


class WorkflowListView(View):
    """The workflows of the server."""

    workflows: tuple[WorkflowSummaryView, ...]


class NewWorkflowBody(View):
    """A workflow to add: either `workflow` or `image`."""

    name: str = Field(max_length=100, description="The name that it gets.")
    workflow: dict[str, JsonValue] | None = Field(
        None, description="What ComfyUI saved, in the format of its API or of its editor."
    )
    image: str | None = Field(
        None,
        description="An image that ComfyUI made: an upload, `image:ID` of the library, or a data "
        "URL.",
    )
    backend: str | None = Field(
        None,
        max_length=100,
        description="The backend whose server's node catalog is used; by default the first of "
        "type comfyui.",
    )
    title: str = Field("", max_length=200)
    description: str = Field("", max_length=2000)
    force: bool = Field(False, description="Replace a workflow of the same name.")
    dry_run: bool = Field(False, description="Show what would be written, and write nothing.")


@router.get("/workflows")
def list_workflows(runtime: RuntimeOf, caller: CallerOf) -> WorkflowListView:
    """List the bundled workflows, and those of the server's folders."""
    listed = list_workflow_files(runtime.settings.workflow_dirs)
    view = WorkflowListView(workflows=tuple(map(WorkflowSummaryView.of, listed)))
    return view if caller.is_local else view.without_paths()


@router.get("/workflows/{name}")
def show_workflow(name: str, runtime: RuntimeOf, caller: CallerOf) -> WorkflowView:
    """Show the parameters of a workflow and the models it needs."""
    view = WorkflowView.of(find_named_workflow(name, runtime.settings))
    return view if caller.is_local else view.without_paths()


@router.get("/workflows/{name}/check")
def report_workflow_faults(
    name: str,
    runtime: RuntimeOf,
    caller: CallerOf,
    backend: Annotated[
        str | None, Query(description="Also check against this backend's server.")
    ] = None,
) -> WorkflowCheckView:
    """Report everything that is wrong with a workflow."""
    workflow = find_named_workflow(name, runtime.settings)
    report = check_workflow(workflow, runtime.settings, backend)
    return report if caller.is_local else report.without_paths()


@router.post("/workflows", status_code=201, dependencies=[Depends(require("admin"))])
def add_client_workflow(
    body: NewWorkflowBody, runtime: RuntimeOf, caller: CallerOf
) -> AddedWorkflowView:
    """Add a workflow that was saved in ComfyUI: its values become parameters."""
    # Seldom needed, and a tenth of the time until the server listens.
    from imagen.engines.workflow_import import add_workflow, choose_catalog, read_workflow_image
    from imagen.graphs.importer import check_name, detect_in_json

    name = check_name(body.name)
    if (body.workflow is None) == (body.image is None):
        raise RequestError("Send either workflow or image.")
    if body.image is None:
        found = detect_in_json(body.workflow, name)
    else:
        digest, file = parse_blob_name(resolve_input(body.image, "image", runtime)) or ("", "")
        found = read_workflow_image(runtime.blobs.get(digest), file)
    catalog = choose_catalog(
        runtime.settings, body.backend, None, None, is_needed=found.form == "editor"
    )
    added = add_workflow(
        found,
        name,
        catalog,
        runtime.settings,
        title=one_line(body.title) or name,
        description=one_line(body.description, limit=2000),
        force=body.force,
        is_dry_run=body.dry_run,
    )
    view = added.view.model_copy(update={"backend": masked(added.view.backend)})
    return view if caller.is_local else view.without_paths()
