"""The pictures of the mock: a landscape, and all that is done with the pictures it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image

from imagen.backends.mock.abilities import CHECKPOINTS, MASKED_STRENGTH, STRENGTH, UPSCALERS
from imagen.backends.mock.painting import paint
from imagen.core.image_file import read_image_file
from imagen.core.request import USUAL_SIDE, Upscale

if TYPE_CHECKING:
    from imagen.core.request import Request


def picture(request: Request, look: str, index: int) -> Image.Image:
    """The picture of this number, the same for the same request; RGB."""
    if request.image is not None and request.task in ("preprocess", "restore", "upscale"):
        return _remade(_read(request.image, "image"), request)
    begun = _begun(request, look, index)
    return _finished(begun, request) if request.loras or request.controls else begun


def seed_of(request: Request, index: int) -> int:
    """The seed of the picture of this number; after the greatest comes 0."""
    return ((request.seed or 0) + index) % 2**64


def _remade(image: Image.Image, request: Request) -> Image.Image:
    from imagen.backends.mock import retouching  # more of Pillow than a landscape needs

    if request.preprocess is not None:
        return retouching.preprocessed(image, request.preprocess)
    if request.restore is not None:
        return retouching.restored(image, request.restore.fidelity)
    return _upscaled(image, request.upscale or Upscale())


def _begun(request: Request, look: str, index: int) -> Image.Image:
    """The painting, within or over the pictures that were given."""
    painted = _painted(request, look, index)
    for reference in request.references:
        painted = Image.blend(painted, _fitted(reference, "references", painted.size), 0.5)
    if request.image is None:
        return painted
    image = _fitted(request.image, "image", painted.size)
    mixed = Image.blend(image, painted, _strength(request))
    if request.mask is None:
        return mixed
    mask = read_image_file(request.mask, "mask").opened().convert("L").resize(painted.size)
    return Image.composite(mixed, image, mask)


def _strength(request: Request) -> float:
    if request.references:
        return 0.5
    usual = STRENGTH if request.mask is None else MASKED_STRENGTH
    return usual if request.strength is None else request.strength


def _painted(request: Request, look: str, index: int) -> Image.Image:
    """The landscape of the seed, with as much of the second seed's as is asked."""
    first = _landscape(request, look, seed_of(request, index))
    if not request.variation_strength:
        return first
    second = _landscape(request, look, ((request.variation_seed or 0) + index) % 2**64)
    return Image.blend(first, second, request.variation_strength)


def _landscape(request: Request, look: str, seed: int) -> Image.Image:
    is_other = request.model not in (None, CHECKPOINTS[0])
    return paint(
        prompt=request.prompt or "",
        negative=request.negative or "",
        seed=seed,
        width=request.width or USUAL_SIDE,
        height=request.height or USUAL_SIDE,
        steps=request.steps or 1,
        variant=f"{look} {request.model}" if is_other else look,
    )


def _finished(begun: Image.Image, request: Request) -> Image.Image:
    """With the control pictures' lines over it, and the tints of the LoRAs."""
    from imagen.backends.mock import retouching

    for lora in request.loras:
        begun = retouching.tinted(begun, lora.name, lora.strength)
    for control in request.controls:
        lines = _fitted(control.image, "controls", begun.size).convert("L")
        share = min(1.0, control.strength * max(0.0, control.end - control.start))
        begun = retouching.drawn_over(begun, lines, share)
    return begun


def _upscaled(image: Image.Image, upscale: Upscale) -> Image.Image:
    """Enlarged as often as the upscaler does it, then brought to the factor asked for."""
    times = UPSCALERS.get(upscale.method or "", 2)
    larger = image.resize((image.width * times, image.height * times), Image.Resampling.BICUBIC)
    wanted = round(image.width * upscale.factor), round(image.height * upscale.factor)
    return larger.resize(wanted, Image.Resampling.LANCZOS)


def _fitted(path: str, what: str, size: tuple[int, int]) -> Image.Image:
    from PIL import ImageOps

    image = _read(path, what)
    return image if image.size == size else ImageOps.fit(image, size)


def _read(path: str, what: str) -> Image.Image:
    return read_image_file(path, what).opened().convert("RGB")
