"""The arguments of a pipeline's call, of a plan and its pictures."""

from __future__ import annotations

from inspect import signature
from typing import TYPE_CHECKING, Any

from PIL import Image

from imagen.backends.diffusers import noise
from imagen.core.image_file import read_image_file

if TYPE_CHECKING:
    from imagen.backends.diffusers.families import Family
    from imagen.backends.diffusers.plan import Plan
    from imagen.core.request import Request

Size = tuple[int, int]


def arguments(plan: Plan, family: Family, pipe: Any, dtype: Any) -> dict[str, Any]:
    """All but the callback; what this pipeline's call doesn't take is not among them."""
    request = plan.request
    drawing = noise.generators(request)
    latents = noise.varied(request, family, pipe, drawing, dtype)
    given = {
        **_texts(request),
        **_numbers(request, family),
        **_pictures(plan, pipe),
        "num_images_per_prompt": request.count or 1,
        "generator": drawing,
        "latents": latents,
    }
    taken = signature(pipe.__call__).parameters
    return {name: value for name, value in given.items() if name in taken and value is not None}


def initial(request: Request) -> Image.Image | None:
    """The initial image at the size that is drawn."""
    return _read(request.image, "image", _size(request), "RGB") if request.image else None


def mask(request: Request) -> Image.Image | None:
    """The mask at the size that is drawn: white is drawn anew."""
    return _read(request.mask, "mask", _size(request), "L") if request.mask else None


def _texts(request: Request) -> dict[str, str | None]:
    # A cfg without a negative counts against nothing: FLUX wants to be told so.
    is_guided = request.cfg is not None and request.cfg > 1
    return {
        "prompt": request.prompt,
        "prompt_2": request.prompt_2,
        "negative_prompt": request.negative or ("" if is_guided else None),
        "negative_prompt_2": request.negative_2,
    }


def _numbers(request: Request, family: Family) -> dict[str, Any]:
    found: dict[str, Any] = {
        "width": request.width,
        "height": request.height,
        "num_inference_steps": request.steps,
        "strength": request.strength,
    }
    if request.guidance is not None:
        found["guidance_scale"] = request.guidance
    if request.cfg is not None:
        found[family.cfg_key] = request.cfg
    return found


def _pictures(plan: Plan, pipe: Any) -> dict[str, Any]:
    request = plan.request
    found: dict[str, Any] = {"image": initial(request), "mask_image": mask(request)}
    if plan.job == "edit":
        found["image"] = [_as_it_is(path) for path in request.references]
    if not request.controls:
        return found
    name = "control_image" if "control_image" in signature(pipe.__call__).parameters else "image"
    size = _size(request)
    found[name] = _all([_read(c.image, "controls", size, "RGB") for c in request.controls])
    return found | {
        "controlnet_conditioning_scale": _all([float(c.strength) for c in request.controls]),
        "control_guidance_start": _all([c.start for c in request.controls]),
        "control_guidance_end": _all([c.end for c in request.controls]),
    }


def _all(values: list[Any]) -> Any:
    """One net is given one value, several are given a list."""
    return values[0] if len(values) == 1 else values


def _size(request: Request) -> Size:
    return request.width or 0, request.height or 0


def _as_it_is(path: str) -> Image.Image:
    return read_image_file(path, "references").opened().convert("RGB")


def _read(path: str, what: str, size: Size, mode: str) -> Image.Image:
    picture = read_image_file(path, what).opened().convert(mode)
    return picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS)
