"""Workflows as data: find one, bind it to values, and say what is wrong with it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from imagen.graphs.manifest import ControlNet, Manifest, Model, NodePack
from imagen.graphs.shelves import BUNDLED, ListedWorkflow, entries, find, listing, names
from imagen.graphs.tokens import bind
from imagen.graphs.workflow import Workflow

if TYPE_CHECKING:
    from imagen.graphs.model_names import match_model_names
    from imagen.graphs.preflight import check
    from imagen.graphs.review import faults, missing_values
    from imagen.graphs.structure import Fault
else:
    # What making a picture does not need is loaded when it is asked for.
    _LATER = {
        "Fault": "structure",
        "check": "preflight",
        "faults": "review",
        "match_model_names": "model_names",
        "missing_values": "review",
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
    "Fault",
    "ListedWorkflow",
    "Manifest",
    "Model",
    "NodePack",
    "Workflow",
    "bind",
    "check",
    "entries",
    "faults",
    "find",
    "listing",
    "match_model_names",
    "missing_values",
    "names",
]
