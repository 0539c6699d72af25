"""ComfyUI's own nodes that it leaves out where a package they need is not installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

# https://github.com/comfyanonymous/ComfyUI/tree/master/comfy_extras imports these at its top.
_NEEDS: Mapping[str, str] = {
    **dict.fromkeys(("Canny", "Morphology", "ImageRGBToYUV", "ImageYUVToRGB"), "kornia"),
    **dict.fromkeys(("UpscaleModelLoader", "ImageUpscaleWithModel"), "spandrel"),
}


def own_remedy(kinds: Collection[str]) -> str:
    """What to do where one of these classes is missing; "" where it is none of these nodes."""
    kind = next((kind for kind in kinds if kind in _NEEDS), None)
    if kind is None:
        return ""
    return (
        f"{kind} is ComfyUI's own and needs {_NEEDS[kind]}. In ComfyUI's folder, with its Python: "
        "pip install -r requirements.txt. Then restart it; if that does not help, update it."
    )
