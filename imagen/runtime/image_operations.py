"""Operations on the images that clients name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from imagen.core.image_file import media_type, parse_blob_name
from imagen.core.text import did_you_mean, one_line
from imagen.core.validation import sentences
from imagen.errors import NotFound, OutputError, RequestError
from imagen.outputs import metadata
from imagen.outputs.operations import OPERATIONS, Composite, apply_operation
from imagen.runtime.client_requests import resolve_input, safe_name
from imagen.views.uploads import ChangedImageView

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.outputs.operations import OutputFormat
    from imagen.runtime.runtime import Runtime


def run_operation(
    name: str,
    image: str,
    parameters: Mapping[str, object],
    runtime: Runtime,
    *,
    format: OutputFormat | None = None,
    quality: int | None = None,
) -> ChangedImageView:
    """Store the result of an operation on an image that a client names.

    Raises NotFound for an unknown operation or image, RequestError for what cannot be done.
    """
    kind = OPERATIONS.get(name)
    if kind is None:
        raise NotFound(
            f"There is no operation {one_line(name, limit=40)!r}.{did_you_mean(name, OPERATIONS)}",
            remedy=f"Known: {', '.join(OPERATIONS)}.",
        )
    try:
        operation = kind.model_validate(dict(parameters))
    except ValidationError as error:
        raise RequestError(sentences(error, model=kind)) from error
    words = {"image": image}
    if isinstance(operation, Composite):
        words["overlay"] = operation.overlay
        if operation.mask is not None:
            words["mask"] = operation.mask
    blobs = {
        parameter: parse_blob_name(resolve_input(word, parameter, runtime)) or ("", "")
        for parameter, word in words.items()
    }
    images = {parameter: runtime.blobs.get(digest) for parameter, (digest, _) in blobs.items()}
    try:
        result = apply_operation(operation, images["image"], images, format=format, quality=quality)
    except OutputError as error:
        raise RequestError(f"image: {error.message}", remedy=error.remedy) from error
    width, height = metadata.size(result.data)
    digest = runtime.blobs.put(result.data)
    file_kind = media_type(result.data) or ""
    ending = file_kind.removeprefix("image/").replace("jpeg", "jpg")
    stem = blobs["image"][1].rpartition(".")[0] or "image"
    return ChangedImageView(
        image=f"blob:{digest}/{safe_name(f'{stem}-{name}.{ending}')}",
        sha256=digest,
        width=width or 0,
        height=height or 0,
        media_type=file_kind,
        size_bytes=len(result.data),
        warnings=result.remarks,
    )
