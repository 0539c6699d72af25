"""All pictures of one request, one after the other."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, Any

from imagen.core.text import did_you_mean
from imagen.errors import RequestError
from imagen.inputs.beyond import outpainted
from imagen.inputs.cache import prune_cache
from imagen.inputs.desk import InputPreparation, covering
from imagen.inputs.init_image import redrawn
from imagen.inputs.requirements import upscales_before_img2img
from imagen.inputs.sizes import ImageSize, SizeRules, find_size_rules
from imagen.inputs.staging import PreparedInputs, image_parameters

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from PIL import Image

    from imagen.core.capabilities import Capabilities
    from imagen.core.request import Control, Request
    from imagen.inputs.decode import DecodedImage

_SHAPE_DIFFERS = 0.05
_PLENTY = 2048 * 2048
_AS_IT_IS = ("upscale", "restore", "preprocess")
"""Tasks whose result follows from the picture's own size."""


def staged(
    request: Request, capabilities: Capabilities, folder: Path, largest: tuple[int, int]
) -> PreparedInputs:
    """The request with every picture on the shelf; see `stage`."""
    _refuse_unknown_controls(request, capabilities)
    desk, frame = InputPreparation(folder), find_size_rules(capabilities, largest)
    values, size = _image(request, desk, frame, capabilities)
    references = _read(request.references, "references", desk)
    controls = _read(_control_files(request, capabilities), "controls", desk)
    if request.task not in _AS_IT_IS and frame is not None:
        size = size or _size_by(request, references, controls, frame)
        values |= _sides(request, size) if size else {}
    if references:
        values["references"] = tuple(desk.keep(file, file.image) for file in references)
    if controls:
        values["controls"] = _steering(request, controls, size, desk)
    values |= _own(request, capabilities, desk)
    prune_cache(folder)
    return PreparedInputs(
        request=request.with_values(values),
        receipt=desk.receipt,
        warnings=tuple(dict.fromkeys(desk.warnings)),
        inputs=tuple(desk.inputs),
    )


def _refuse_unknown_controls(request: Request, capabilities: Capabilities) -> None:
    known = capabilities.controls
    for control in request.controls:
        if "controls" in capabilities.parameters and known and control.kind not in known:
            raise RequestError(
                f"This backend has no control of kind {control.kind!r}."
                + did_you_mean(control.kind, known),
                remedy=f"It has: {', '.join(known)}.",
            )


def _image(
    request: Request, desk: InputPreparation, frame: SizeRules | None, capabilities: Capabilities
) -> tuple[dict[str, Any], ImageSize | None]:
    """What stands in the request for the initial image, and the size that it settles."""
    if request.image is None:
        return {}, None
    file = desk.read(request.image, "image")
    if request.task in _AS_IT_IS or _enlarges_itself(request, capabilities):
        image = _sighted(file, desk) if request.task == "preprocess" else file.image
        return {"image": desk.keep(file, image)}, None
    if request.outpaint is not None:
        return outpainted(request, file, desk, frame, capabilities)
    is_enlarged = upscales_before_img2img(request, capabilities)
    return redrawn(request, file, desk, frame, is_enlarged=is_enlarged)


def _enlarges_itself(request: Request, capabilities: Capabilities) -> bool:
    return request.upscale is not None and "upscale" in capabilities.parameters


def _sighted(file: DecodedImage, desk: InputPreparation) -> Image.Image:
    """A giant, as small as is plenty for what looks for its edges and depths."""
    factor = sqrt(_PLENTY / file.size.pixels)
    if factor >= 1:
        return file.image
    size = file.size.times(factor)
    desk.warnings.append(f"image: {file.source.name} ({file.size}) was scaled to {size}.")
    return covering(file.image, size)


def _read(paths: Sequence[str], parameter: str, desk: InputPreparation) -> list[DecodedImage]:
    return [desk.read(path, f"{parameter}.{n}") for n, path in enumerate(paths)]


def _control_files(request: Request, capabilities: Capabilities) -> list[str]:
    """Those that will be used: without the parameter they are dropped."""
    is_taken = "controls" in capabilities.parameters
    return [control.image for control in request.controls if is_taken]


def _size_by(
    request: Request, references: list[DecodedImage], controls: list[DecodedImage], frame: SizeRules
) -> ImageSize | None:
    """Without an initial image: as the first reference is, or of the first control's shape."""
    first = next(iter([*references, *controls]), None)
    if first is None:
        return None
    if request.width is not None or request.height is not None:
        return frame.asked(request.width, request.height, first.size)
    return frame.own(first.size) if references else frame.shaped(first.size)


def _sides(request: Request, size: ImageSize) -> dict[str, int]:
    """The size in the request; one asked for stays, and the backend says what becomes of it."""
    is_settled = request.outpaint is not None
    return {
        name: side if is_settled or getattr(request, name) is None else getattr(request, name)
        for name, side in zip(("width", "height"), size, strict=True)
    }


def _steering(
    request: Request, files: list[DecodedImage], size: ImageSize | None, desk: InputPreparation
) -> tuple[Control, ...]:
    """The controls with their pictures at the size that is drawn."""
    return tuple(
        control.model_copy(update={"image": _control_image(file, n, size, desk)})
        for n, (control, file) in enumerate(zip(request.controls, files, strict=True))
    )


def _control_image(
    file: DecodedImage, number: int, size: ImageSize | None, desk: InputPreparation
) -> str:
    image = desk.opaque(file, f"controls.{number}", "black")
    if size is None:
        return desk.keep(file, image)
    if abs(file.size.width * size.height / (file.size.height * size.width) - 1) > _SHAPE_DIFFERS:
        desk.warnings.append(
            f"controls.{number}: {file.source.name} ({file.size}) was cropped to the shape of "
            f"the {size} that are drawn."
        )
    return desk.keep(file, covering(image, size))


def _own(request: Request, capabilities: Capabilities, desk: InputPreparation) -> dict[str, str]:
    """The pictures of the backend's own parameters, as they are."""
    return {
        name: desk.keep(file, file.image)
        for name, path in image_parameters(request, capabilities).items()
        for file in (desk.read(path, name),)
    }
