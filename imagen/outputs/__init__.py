"""The only door to disk: `save` puts pictures where they belong, `read` says how one was made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagen.outputs.files import refuse_unwritable
from imagen.outputs.naming import check
from imagen.outputs.record import without_folders
from imagen.outputs.saving import Saved, save

if TYPE_CHECKING:
    from imagen.outputs.reading import Record, read, texts
else:

    def __getattr__(name: str) -> object:
        """What only reading needs is loaded when it is asked for."""
        if name not in ("Record", "read", "texts"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from imagen.outputs import reading

        return getattr(reading, name)


__all__ = [
    "Record",
    "Saved",
    "check",
    "read",
    "refuse_unwritable",
    "save",
    "texts",
    "without_folders",
]
