"""The files of images: whole or in ranges, thumbnails, and an index of all images."""

from __future__ import annotations

import asyncio
import gzip
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from hashlib import sha256
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse
from pydantic import Field

from imagen.errors import NotFound
from imagen.library import Library, LibraryImage, find_image_by_id
from imagen.library import Query as ImageQuery
from imagen.library.image_index import MAX_IMAGES, build_index, read_revision
from imagen.runtime import Runtime
from imagen.runtime.client_requests import safe_name
from imagen.runtime.image_files import find_shown_file
from imagen.server.caching import answer_unchanged, cache_headers, is_version
from imagen.server.routes.images import MOST_IMAGES, After, ImageFilters, find_key, split_ids
from imagen.server.state import RuntimeOf

router = APIRouter(tags=["images"])

Responses = dict[int | str, dict[str, Any]]

_INDEX_TYPE = "application/vnd.imagen.index"
_INDEX_BUILDER = ThreadPoolExecutor(1, "index")
"""One at a time: many clients ask for the same one after a change."""
_FASTEST = 1
"""The level of gzip: higher ones take many times as long for a few percent."""
IMAGE_ANSWER: Responses = {200: {"content": {"image/*": {}}, "description": "The file."}}
_THUMBNAIL: Responses = {200: {"content": {"image/webp": {}}, "description": "The thumbnail."}}
_INDEX: Responses = {200: {"content": {_INDEX_TYPE: {}}, "description": "The index."}}

Version = Annotated[
    str,
    Query(
        max_length=64,
        description="The first 8 or more digits of the image's SHA-256: the answer is then kept "
        "for a year.",
    ),
]


class IndexedImages(ImageFilters):
    """Which images are in the index."""

    limit: Annotated[int, Query(ge=1, le=MAX_IMAGES)] = 100_000
    after: After = None
    ids: str | None = Field(
        None,
        max_length=60 * MOST_IMAGES,
        description="Only those of these images that match, by their unique ids with commas "
        "between them.",
    )


@router.get("/images/index", response_class=Response, responses=_INDEX)
async def get_index(
    indexed: Annotated[IndexedImages, Query()], http: Request, runtime: RuntimeOf
) -> Response:
    """A binary index of many images, newest first: see docs/reference/image-index.md."""
    library, query = runtime.library, indexed.query()
    revision = await asyncio.to_thread(read_revision, library)
    after = await asyncio.to_thread(find_key, indexed.after, library)
    takes_gzip = "gzip" in http.headers.get("accept-encoding", "")
    uids = None if indexed.ids is None else split_ids(indexed.ids)
    asked = sha256(repr((query, after, indexed.limit, uids)).encode()).hexdigest()[:16]
    tag = f"{revision}-{asked}" + "-gzip" * takes_gzip
    headers = cache_headers(tag) | {"Vary": "Accept-Encoding"}
    if (unchanged := answer_unchanged(http, headers)) is not None:
        return unchanged
    if uids is not None:
        data = await asyncio.to_thread(build_index, library, query, uids=uids)
        return Response(data, media_type=_INDEX_TYPE, headers=headers)
    if takes_gzip:
        headers["Content-Encoding"] = "gzip"
    read = partial(_read_index, library, revision, query, after, indexed.limit, takes_gzip)
    data = await asyncio.get_running_loop().run_in_executor(_INDEX_BUILDER, read)
    return Response(data, media_type=_INDEX_TYPE, headers=headers)


@lru_cache(maxsize=4)
def _read_index(
    library: Library,
    _revision: str,
    query: ImageQuery,
    after: int | None,
    limit: int,
    is_compressed: bool,
) -> bytes:
    """The same until an image changes: then its revision is another one."""
    data = build_index(library, query, after, limit)
    return gzip.compress(data, _FASTEST, mtime=0) if is_compressed else data


@router.get("/images/{id}/thumbnail", response_class=Response, responses=_THUMBNAIL)
async def get_thumbnail(
    id: str,
    http: Request,
    runtime: RuntimeOf,
    size: Annotated[
        Literal["320", "640"], Query(description="Pixels of the longer side, at most.")
    ] = "320",
    v: Version = "",
) -> Response:
    """A WebP thumbnail of an image."""
    side = int(size)
    image, data = await asyncio.to_thread(_find_thumbnail, id, side, runtime)
    headers = cache_headers(f"{image.sha256[:32]}-{size}", is_versioned=is_version(v, image.sha256))
    if (unchanged := answer_unchanged(http, headers)) is not None:
        return unchanged
    if data is None:
        making = runtime.thumbnails.make(image, side)
        data = await asyncio.shield(asyncio.wrap_future(making))  # others may wait for it too
    if data is None:
        raise NotFound(f"{image.id} has no thumbnail: its file cannot be shown.")
    return Response(data, media_type="image/webp", headers=headers)


def _find_thumbnail(id: str, side: int, runtime: Runtime) -> tuple[LibraryImage, bytes | None]:
    image = find_image_by_id(runtime.library, id)
    return image, runtime.thumbnails.find(image, side)


@router.head("/images/{id}/file", include_in_schema=False)
@router.get("/images/{id}/file", response_class=Response, responses=IMAGE_ANSWER)
def get_file(
    id: str,
    http: Request,
    runtime: RuntimeOf,
    v: Version = "",
    download: Annotated[bool, Query(description="Save it instead of showing it.")] = False,
) -> Response:
    """The file of an image, or a range of it."""
    return send_image(find_image_by_id(runtime.library, id), http, runtime, v=v, download=download)


def send_image(
    image: LibraryImage, http: Request, runtime: Runtime, *, v: str = "", download: bool = False
) -> Response:
    """The file of an image as an answer. Raises NotFound."""
    path, media_type = find_shown_file(image, runtime.library, runtime.settings)
    now = path.stat()
    is_original = now.st_size == image.size_bytes
    tag = image.sha256 if is_original else f"{now.st_mtime_ns:x}-{now.st_size:x}"
    headers = cache_headers(tag, is_versioned=is_original and is_version(v, image.sha256))
    if (unchanged := answer_unchanged(http, headers)) is not None:
        return unchanged
    return FileResponse(
        path,
        headers=headers,
        media_type=media_type,
        filename=safe_name(image.path.name),
        stat_result=now,
        content_disposition_type="attachment" if download else "inline",
    )
