"""The only door for the pictures that a request names: made ready for every engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagen.inputs.requirements import check_request, upscales_before_img2img
from imagen.inputs.sizes import resolve_aspect
from imagen.inputs.staging import PreparedInputs, image_parameters, prepare_inputs

if TYPE_CHECKING:
    from imagen.inputs.cache import cache_image
    from imagen.inputs.decode import decode_file
    from imagen.inputs.locate import locate_images
    from imagen.inputs.upscale import upscale_file, upscale_image
else:
    _HOMES = {
        "upscale_image": "upscale",
        "upscale_file": "upscale",
        "locate_images": "locate",
        "decode_file": "decode",
        "cache_image": "cache",
    }

    def __getattr__(name: str) -> object:
        """What needs Pillow, or is seldom needed, is loaded when it is asked for."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(f"imagen.inputs.{_HOMES[name]}"), name)


__all__ = [
    "PreparedInputs",
    "cache_image",
    "check_request",
    "decode_file",
    "image_parameters",
    "locate_images",
    "prepare_inputs",
    "resolve_aspect",
    "upscale_file",
    "upscale_image",
    "upscales_before_img2img",
]
