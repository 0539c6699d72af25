"""The only door to disk: `save` puts pictures where they belong, `read` says how one was made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagen.outputs.files import refuse_unwritable
from imagen.outputs.naming import check_output_settings
from imagen.outputs.save import SavedImage, save_outputs
from imagen.outputs.sidecar import strip_folders

if TYPE_CHECKING:
    from imagen.outputs.read import ImageRecord, read_full_record, read_record, texts
    from imagen.outputs.recovering import find_saved
    from imagen.outputs.redact import RedactionPolicy, redact_file, redact_record
else:
    _LATE = {
        **dict.fromkeys(("RedactionPolicy", "redact_file", "redact_record"), "redact"),
        **dict.fromkeys(("ImageRecord", "read_record", "read_full_record", "texts"), "read"),
        "find_saved": "recovering",
    }

    def __getattr__(name: str) -> object:
        """What only reading and telling others need is loaded when it is asked for."""
        if name not in _LATE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(f"imagen.outputs.{_LATE[name]}"), name)


__all__ = [
    "ImageRecord",
    "RedactionPolicy",
    "SavedImage",
    "check_output_settings",
    "find_saved",
    "read_full_record",
    "read_record",
    "redact_file",
    "redact_record",
    "refuse_unwritable",
    "save_outputs",
    "strip_folders",
    "texts",
]
