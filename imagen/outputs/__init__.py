"""Image files with their metadata: save outputs, read how an image was made, redact records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagen.outputs.naming import check_output_settings
from imagen.outputs.save import SavedImage, find_saved, refuse_unwritable, save_outputs
from imagen.outputs.sidecar import strip_folders

if TYPE_CHECKING:
    from imagen.outputs.read import ImageRecord, read_full_record, read_record, read_texts
    from imagen.outputs.redact import RedactionPolicy, redact_file, redact_record
else:
    _MODULES = {
        **dict.fromkeys(("RedactionPolicy", "redact_file", "redact_record"), "redact"),
        **dict.fromkeys(("ImageRecord", "read_full_record", "read_record", "read_texts"), "read"),
    }

    def __getattr__(name: str) -> object:
        """Load what only reading and redacting need on first access."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(f"imagen.outputs.{_MODULES[name]}"), name)


__all__ = [
    "ImageRecord",
    "RedactionPolicy",
    "SavedImage",
    "check_output_settings",
    "find_saved",
    "read_full_record",
    "read_record",
    "read_texts",
    "redact_file",
    "redact_record",
    "refuse_unwritable",
    "save_outputs",
    "strip_folders",
]
