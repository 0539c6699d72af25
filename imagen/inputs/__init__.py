"""The only door for the pictures that a request names: made ready for every engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagen.inputs.requirements import is_hybrid, sound
from imagen.inputs.sizes import resolve_aspect
from imagen.inputs.staging import Staged, own_pictures, stage

if TYPE_CHECKING:
    from imagen.inputs.cache import shelve
    from imagen.inputs.decode import read_upright
    from imagen.inputs.locate import found_again
    from imagen.inputs.upscale import enlarged, enlarged_file
else:
    _HOMES = {
        "enlarged": "upscale",
        "enlarged_file": "upscale",
        "found_again": "locate",
        "read_upright": "decode",
        "shelve": "cache",
    }

    def __getattr__(name: str) -> object:
        """What needs Pillow, or is seldom needed, is loaded when it is asked for."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(f"imagen.inputs.{_HOMES[name]}"), name)


__all__ = [
    "Staged",
    "enlarged",
    "enlarged_file",
    "found_again",
    "is_hybrid",
    "own_pictures",
    "read_upright",
    "resolve_aspect",
    "shelve",
    "sound",
    "stage",
]
