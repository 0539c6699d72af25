"""Prepare all images of one request: the initial image, mask, references, control images."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

from imagen.core.text import did_you_mean
from imagen.errors import RequestError
from imagen.inputs import PreparedInputs
from imagen.inputs.cache import cache_image, prune_cache
from imagen.inputs.decode import as_png_file, cover, decode_file, describe_input, flatten
from imagen.inputs.init_image import prepare_init_image
from imagen.inputs.outpaint import prepare_outpainting
from imagen.inputs.requirements import image_parameters, upscales_before_img2img
from imagen.inputs.sizes import ImageSize, SizeRules, find_size_rules

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from PIL import Image

    from imagen.core.capabilities import Capabilities, Receipt
    from imagen.core.request import Control, Request
    from imagen.core.ticket import InputImage
    from imagen.inputs.decode import DecodedImage

_ASPECT_TOLERANCE = 0.05
_MOST_PREPROCESSED_PIXELS = 2048 * 2048
_SIZE_PRESERVING_TASKS = ("upscale", "restore", "preprocess")
"""Tasks whose result has a size that follows from the image's own."""


class InputPreparation:
    """The images of one request while they are prepared: where they go, and what was done."""

    def __init__(
        self, request: Request, capabilities: Capabilities, folder: Path, rules: SizeRules | None
    ) -> None:
        self.request = request
        self.capabilities = capabilities
        self.rules = rules
        self.receipt: Receipt = {}
        self.warnings: list[str] = []
        self.inputs: list[InputImage] = []
        self._folder = folder

    def read(self, path: str, parameter: str) -> DecodedImage:
        """Decode a file and add it to the inputs."""
        file = decode_file(path, parameter)
        self.warnings += file.warnings
        self.inputs.append(describe_input(file, parameter))
        return file

    def flatten(self, file: DecodedImage, parameter: str, colour: str = "white") -> Image.Image:
        """The image on a background where it is transparent, with a warning."""
        if file.is_transparent:
            self.warnings.append(
                f"{parameter}: {file.source.name} is partly transparent and was placed on {colour}."
            )
        return flatten(file.image, colour)

    def store(self, file: DecodedImage, image: Image.Image) -> str:
        """Store the image, as the file's own bytes if they show just this; returns the path."""
        if image is file.image and file.is_untouched:
            return self.store_bytes(file.source.data, file.source.name)
        encoded = as_png_file(image, file.source.name)
        return self.store_bytes(encoded.data, encoded.name)

    def store_bytes(self, data: bytes, name: str) -> str:
        return str(cache_image(data, name, self._folder))


def prepare_images(
    request: Request, capabilities: Capabilities, folder: Path, largest: tuple[int, int]
) -> PreparedInputs:
    """Prepare every image of the request; see `prepare_inputs`."""
    known = capabilities.controls
    used = request.controls if "controls" in capabilities.parameters else ()
    for control in used:
        if known and control.kind not in known:
            raise RequestError(
                f"This backend has no control {control.kind!r}."
                + did_you_mean(control.kind, known),
                remedy=f"It has: {', '.join(known)}.",
            )
    rules = find_size_rules(capabilities, largest)
    work = InputPreparation(request, capabilities, folder, rules)
    values, size = _prepare_initial_image(work)
    references = [work.read(path, f"references.{n}") for n, path in enumerate(request.references)]
    controls = [work.read(control.image, f"controls.{n}") for n, control in enumerate(used)]
    if request.task not in _SIZE_PRESERVING_TASKS and rules is not None:
        # Without an initial image: the first reference's size, or the first control's shape.
        first = next(iter([*references, *controls]), None)
        if size is None and first is not None:
            if request.width is not None or request.height is not None:
                size = rules.requested(request.width, request.height, first.size)
            else:
                size = rules.own(first.size) if references else rules.shaped(first.size)
        for name, side in zip(("width", "height"), size or (), strict=False):
            # A size that was given stays: the backend reports what it makes of it.
            if request.outpaint is not None or getattr(request, name) is None:
                values[name] = side
    if references:
        values["references"] = tuple(work.store(file, file.image) for file in references)
    if controls:
        values["controls"] = _prepare_controls(work, controls, size)
    for name, path in image_parameters(request, capabilities).items():
        file = work.read(path, name)
        values[name] = work.store(file, file.image)
    prune_cache(folder)
    return PreparedInputs(
        request=request.with_values(values),
        receipt=work.receipt,
        warnings=tuple(dict.fromkeys(work.warnings)),
        inputs=tuple(work.inputs),
    )


def _prepare_initial_image(work: InputPreparation) -> tuple[dict[str, object], ImageSize | None]:
    """The values for the initial image and its mask, and the size that they determine."""
    request = work.request
    if request.image is None:
        return {}, None
    file = work.read(request.image, "image")
    backend_upscales = request.upscale is not None and "upscale" in work.capabilities.parameters
    if request.task in _SIZE_PRESERVING_TASKS or backend_upscales:
        image = file.image
        factor = sqrt(_MOST_PREPROCESSED_PIXELS / file.size.pixels)
        if request.task == "preprocess" and factor < 1:  # edges and depth do not need more
            size = file.size.times(factor)
            work.warnings.append(f"image: {file.source.name} ({file.size}) was scaled to {size}.")
            image = cover(image, size)
        return {"image": work.store(file, image)}, None
    if request.outpaint is not None:
        return prepare_outpainting(work, file, request.outpaint)
    upscale = request.upscale if upscales_before_img2img(request, work.capabilities) else None
    return prepare_init_image(work, file, upscale)


def _prepare_controls(
    work: InputPreparation, files: Sequence[DecodedImage], size: ImageSize | None
) -> tuple[Control, ...]:
    """The controls with their images at the size that is generated."""
    prepared = []
    for n, (control, file) in enumerate(zip(work.request.controls, files, strict=True)):
        image = work.flatten(file, f"controls.{n}", "black")
        if size is not None:
            if file.size.differs_in_shape(size, _ASPECT_TOLERANCE):
                work.warnings.append(
                    f"controls.{n}: {file.source.name} ({file.size}) was cropped to the aspect "
                    f"ratio of {size}."
                )
            image = cover(image, size)
        prepared.append(control.model_copy(update={"image": work.store(file, image)}))
    return tuple(prepared)
