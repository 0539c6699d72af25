"""The only door to disk: `save` puts pictures where they belong, `read` says how one was made."""

from imagen.outputs.naming import check
from imagen.outputs.reading import read
from imagen.outputs.record import Record
from imagen.outputs.saving import Saved, save

__all__ = ["Record", "Saved", "check", "read", "save"]
