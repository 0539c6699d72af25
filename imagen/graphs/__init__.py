"""ComfyUI workflows as data: find, bind, edit and check them without a server."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from imagen.graphs.manifest import ControlNet, Manifest, ManifestModel, NodePack
from imagen.graphs.tokens import bind
from imagen.graphs.workflow import (
    BUNDLED,
    ListedWorkflow,
    Workflow,
    find_workflow,
    list_workflow_files,
    list_workflow_names,
    list_workflows,
)

if TYPE_CHECKING:
    from imagen.graphs.model_names import match_model_names
    from imagen.graphs.validate import (
        WorkflowFault,
        check_against_server,
        find_faults,
        find_missing_values,
    )
else:
    # Loaded on first use: generating an image needs none of these.
    _LATER = {
        "WorkflowFault": "validate",
        "check_against_server": "validate",
        "find_faults": "validate",
        "find_missing_values": "validate",
        "match_model_names": "model_names",
    }

    def __getattr__(name: str) -> Any:
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
        globals()[name] = value
        return value


__all__ = [
    "BUNDLED",
    "ControlNet",
    "ListedWorkflow",
    "Manifest",
    "ManifestModel",
    "NodePack",
    "Workflow",
    "WorkflowFault",
    "bind",
    "check_against_server",
    "find_faults",
    "find_missing_values",
    "find_workflow",
    "list_workflow_files",
    "list_workflow_names",
    "list_workflows",
    "match_model_names",
]
