"""Download many images as one zip file."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query
from fastapi.responses import StreamingResponse
from pydantic import Field

from imagen.errors import RequestError
from imagen.library import LibraryImage, find_images_by_uid, search_images
from imagen.runtime import Runtime
from imagen.runtime.image_archive import stream_archive
from imagen.server.routes.images import MOST_IMAGES, ImageFilters
from imagen.server.state import RuntimeOf, require

router = APIRouter(tags=["images"])

MOST_ZIPPED = 5_000
_ZIP: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/zip": {}}, "description": "The zip file."}
}


class ZippedImages(ImageFilters):
    """Which images to download: those that match, or those with these ids."""

    ids: str | None = Field(
        None,
        max_length=60 * MOST_IMAGES,
        description="Only these images, by their unique ids with commas between them.",
    )


@router.get("/images/zip", response_class=StreamingResponse, responses=_ZIP)
def get_zip(zipped: Annotated[ZippedImages, Query()], runtime: RuntimeOf) -> StreamingResponse:
    """Download images as one zip file: at most 5,000, with the metadata in their files."""
    if zipped.ids is not None:
        return _answer(_find(zipped.ids, runtime), runtime)
    images, after = search_images(runtime.library, zipped.query(), None, MOST_ZIPPED)
    if after is not None:
        raise RequestError(f"More than {MOST_ZIPPED:,} images match.", remedy="Filter further.")
    return _answer(images, runtime)


@router.post(
    "/images/zip",
    response_class=StreamingResponse,
    responses=_ZIP,
    dependencies=[Depends(require("read"))],
)
def post_zip(
    ids: Annotated[str, Form(max_length=60 * MOST_ZIPPED, description="As in the query.")],
    runtime: RuntimeOf,
) -> StreamingResponse:
    """The same, from a form: for more images than an address can name."""
    return _answer(_find(ids, runtime), runtime)


def _find(ids: str, runtime: Runtime) -> tuple[LibraryImage, ...]:
    uids = [uid for uid in ids.split(",") if uid]
    if len(uids) > MOST_ZIPPED:
        raise RequestError(f"ids: at most {MOST_ZIPPED:,} images at once.")
    return find_images_by_uid(runtime.library, uids)


def _answer(images: tuple[LibraryImage, ...], runtime: Runtime) -> StreamingResponse:
    name = f"imagen-{datetime.now():%Y-%m-%d-%H%M%S}.zip"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    parts = stream_archive(images, runtime)
    return StreamingResponse(parts, media_type="application/zip", headers=headers)
