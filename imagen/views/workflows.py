"""Workflows of ComfyUI as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import ConfigDict, Field, JsonValue

from imagen.graphs.manifest import ControlNet, ManifestModel, NodePack
from imagen.views.base import View
from imagen.views.parameters import ParameterView, describe_parameters

if TYPE_CHECKING:
    from imagen.graphs import Workflow
    from imagen.graphs.workflow import ListedWorkflow


class WorkflowSummaryView(View):
    """A workflow in a list."""

    name: str
    source: str = Field(description="`bundled`, or the file.")
    title: str = ""
    task: str = ""
    licence: str = ""
    hidden_by: str = Field(description="The source of another workflow of this name that is used.")
    error: str = Field(description="Why it cannot be read.")

    @classmethod
    def of(cls, listed: ListedWorkflow) -> WorkflowSummaryView:
        manifest = listed.workflow.manifest if listed.workflow else None
        return cls(
            name=listed.name,
            source=listed.source,
            title=manifest.title if manifest else "",
            task=manifest.task if manifest else "",
            licence=manifest.licence if manifest else "",
            hidden_by=listed.hidden_by,
            error=str(listed.error) if listed.error else "",
        )


class WorkflowView(View):
    """A workflow: its parameters, and what it needs."""

    name: str
    source: str = Field(description="`bundled`, or the file.")
    title: str
    description: str
    licence: str
    task: str
    family: str = Field(description="The family of models, such as sdxl.")
    tasks: dict[str, str] = Field(description="The workflow of each further task, by name.")
    comfyui: str = Field(description="The oldest version of ComfyUI that can run it.")
    parameters: dict[str, ParameterView]
    models: tuple[ManifestModel, ...] = Field(description="Each file that it loads.")
    controls: dict[str, ControlNet] = Field(
        description="The ControlNet of each kind of control image."
    )
    nodes: tuple[NodePack, ...] = Field(description="Each pack of custom nodes that it needs.")
    output: tuple[str, ...] = Field(
        description="The ids of the nodes whose images are kept; empty for all that save."
    )
    without: dict[str, str] = Field(description="For each unsupported parameter: why.")

    @classmethod
    def of(cls, workflow: Workflow) -> WorkflowView:
        manifest = workflow.manifest
        return cls(
            name=workflow.name,
            source=workflow.source,
            title=manifest.title,
            description=manifest.description,
            licence=manifest.licence,
            task=manifest.task,
            family=manifest.family,
            tasks={str(task): name for task, name in manifest.tasks.items()},
            comfyui=manifest.comfyui,
            parameters=describe_parameters(workflow.parameters),
            models=manifest.models,
            controls=manifest.controls,
            nodes=manifest.nodes,
            output=manifest.output,
            without=manifest.without,
        )


class WorkflowFaultView(View):
    """One thing that is wrong with a workflow."""

    node: str = Field(description="The node's id; empty for a fault of the whole graph.")
    title: str = Field(description="The node's class, with its title if it has one.")
    input: str
    what: str
    remedy: str


class WorkflowCheckView(View):
    """Everything that is wrong with a workflow."""

    workflow: str
    source: str
    ok: bool
    faults: tuple[WorkflowFaultView, ...]


class WorkflowTokenView(View):
    """A value of a graph that a request can set."""

    model_config = ConfigDict(populate_by_name=True)

    token: str
    node: str
    class_: str = Field(alias="class", description="The class of the node.")
    input: str
    default: JsonValue


class MissingOnServerView(View):
    """What the server of the node catalog lacks, or would refuse."""

    what: str
    remedy: str


class AddedWorkflowView(View):
    """A workflow that was added."""

    name: str
    source: str = Field(description="Where it came from.")
    format: Literal["api", "editor"]
    files: tuple[str, ...] = Field(description="The files that were written.")
    tokens: tuple[WorkflowTokenView, ...]
    task: str
    models: tuple[ManifestModel, ...]
    output: tuple[str, ...]
    notes: tuple[str, ...]
    faults: tuple[MissingOnServerView, ...]
    backend: dict[str, dict[str, JsonValue]] = Field(
        description="The block for the configuration with which a backend runs it."
    )
    configuration: str | None = Field(None, description="The file to which that was added.")
