"""The request that generates an image of the library again, as a client can send it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from imagen.core.image_file import blob_name
from imagen.errors import LibraryError, OutputError, RequestError
from imagen.inputs.locate import locate_images, named_files
from imagen.jobs.image_files import find_image_file
from imagen.library import load_record
from imagen.outputs import strip_folders
from imagen.outputs.provenance import read_graph_values
from imagen.reproduce import (
    ImageSource,
    find_input_places,
    refuse_without_content,
    reproduce_request,
)
from imagen.runtime.client_requests import safe_name

if TYPE_CHECKING:
    from imagen.library import LibraryImage
    from imagen.runtime.runtime import Runtime


def build_request_again(
    image: LibraryImage, runtime: Runtime, backend: str = ""
) -> tuple[dict[str, object], str]:
    """The values of the request, and its backend: the named one, or that of the image.

    The images that it was made from are stored, and named as uploads. Raises RequestError if one of
    them was not found, or if nothing is known about how the image was made.
    """
    settings = runtime.settings
    source = load_source(image, runtime)
    record = source.record
    own = record.backend if record.backend in settings.backends else runtime.backend
    backend = backend or own
    again = reproduce_request(record, elsewhere=record.backend not in ("", backend))
    places = find_input_places(source, settings) if record.inputs else []
    try:
        request = locate_images(again.request, record.inputs, source.folder, places)
    except RequestError as error:  # its remedy is for the command line
        raise error.with_remedy("Upload the image, and name it in a request of your own.") from None
    refuse_without_content(image.id, again.request, request)
    stored = {
        path: blob_name(runtime.blobs.put(Path(path)), safe_name(Path(path).name))
        for _, path in named_files(request)
    }
    values = request.model_dump(mode="json", exclude_defaults=True, exclude={"template"})
    named = {name: _replace_texts(value, stored) for name, value in values.items()}
    return strip_folders(named, request), backend  # a model may be named by its path


def load_source(image: LibraryImage, runtime: Runtime) -> ImageSource:
    """The record of an image, and its file if it still exists."""
    file: Path | None = None
    with suppress(LibraryError, OutputError):
        file = find_image_file(image, runtime.library, runtime.settings)
    record = read_graph_values(load_record(runtime.library, image))
    return ImageSource(record=record, told_by="library", image=file, folder=image.path.parent)


def _replace_texts(value: object, texts: dict[str, str]) -> object:
    if isinstance(value, str):
        return texts.get(value, value)
    if isinstance(value, list):
        return [_replace_texts(item, texts) for item in value]
    if isinstance(value, dict):
        return {name: _replace_texts(item, texts) for name, item in value.items()}
    return value
