"""The only door to disk: `save` puts pictures where they belong, `read` says how one was made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagen.outputs.files import refuse_unwritable
from imagen.outputs.naming import check
from imagen.outputs.save import SavedImage, save
from imagen.outputs.sidecar import without_folders

if TYPE_CHECKING:
    from imagen.outputs.read import Record, read, read_fully, texts
    from imagen.outputs.recovering import recovered
    from imagen.outputs.redact import Policy, disclosed, disclosed_record
else:
    _LATE = {
        **dict.fromkeys(("Policy", "disclosed", "disclosed_record"), "redact"),
        **dict.fromkeys(("Record", "read", "read_fully", "texts"), "read"),
        "recovered": "recovering",
    }

    def __getattr__(name: str) -> object:
        """What only reading and telling others need is loaded when it is asked for."""
        if name not in _LATE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(f"imagen.outputs.{_LATE[name]}"), name)


__all__ = [
    "Policy",
    "Record",
    "SavedImage",
    "check",
    "disclosed",
    "disclosed_record",
    "read",
    "read_fully",
    "recovered",
    "refuse_unwritable",
    "save",
    "texts",
    "without_folders",
]
