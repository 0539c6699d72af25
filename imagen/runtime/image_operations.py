"""Operations on the images that clients name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from imagen.core.image_file import blob_name, media_type, parse_blob_name
from imagen.core.text import did_you_mean, one_line
from imagen.core.validation import sentences
from imagen.errors import NotFound, OutputError, RequestError
from imagen.library import find_image_by_id
from imagen.library.import_files import add_file
from imagen.outputs import metadata
from imagen.outputs.operations import OPERATIONS, Composite, apply_operation
from imagen.outputs.save import find_written, write_numbered
from imagen.runtime.client_requests import resolve_input, safe_name
from imagen.views.images import ImageView
from imagen.views.uploads import ChangedImageView

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.library import LibraryImage
    from imagen.outputs.operations import OutputFormat
    from imagen.runtime.caller import Caller
    from imagen.runtime.runtime import Runtime


def run_operation(
    name: str,
    image: str,
    parameters: Mapping[str, object],
    runtime: Runtime,
    caller: Caller,
    *,
    format: OutputFormat | None = None,
    quality: int | None = None,
    is_saved: bool = False,
) -> ChangedImageView:
    """Store the result of an operation on an image that a client names.

    If it `is_saved`, it is also written to the output folder and added to the library. Raises
    NotFound for an unknown operation or image, RequestError for what cannot be done.
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
    file_name = safe_name(f"{stem}-{name}.{ending}")
    saved = None
    if is_saved:
        image_saved = save_to_library(result.data, file_name, runtime)
        saved = ImageView.of(image_saved, is_local=caller.is_local)
    return ChangedImageView(
        image=blob_name(digest, file_name),
        sha256=digest,
        width=width or 0,
        height=height or 0,
        media_type=file_kind,
        size_bytes=len(result.data),
        warnings=result.remarks,
        saved=saved,
    )


def save_to_library(data: bytes, name: str, runtime: Runtime) -> LibraryImage:
    """Write an image into the output folder and add it to the library, as `library add` does.

    Raises OutputError, LibraryError.
    """
    folder = runtime.settings.output.directory
    try:
        folder.mkdir(parents=True, exist_ok=True)
        known = find_written(data, folder, name, is_ours=lambda _: True)
        path = known or write_numbered(data, folder, name)
    except OSError as error:
        raise OutputError(f"The image cannot be saved: {error.strerror or error}.") from error
    return find_image_by_id(runtime.library, add_file(runtime.library, path))
