"""Uploads: images that requests can name."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query, Request, Response
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from imagen.core.image_file import media_type
from imagen.errors import NotFound, RequestError
from imagen.runtime.client_requests import store_upload
from imagen.server.caching import answer_unchanged, cache_headers
from imagen.server.state import RuntimeOf
from imagen.views.uploads import UploadView

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

router = APIRouter(tags=["uploads"])

_MEMORY_BYTES = 2**20
"""A larger upload is written to disk while it arrives."""
_FORM_BYTES = 64 * 1024
"""For the headers and other fields of a form."""
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_FORM = {
    "schema": {
        "type": "object",
        "properties": {"file": {"type": "string", "format": "binary"}},
        "required": ["file"],
    }
}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"multipart/form-data": _FORM, "image/*": _BINARY},
    }
}


@router.post("/uploads", status_code=201, openapi_extra=_BODY)
async def upload_image(
    http: Request,
    runtime: RuntimeOf,
    name: Annotated[str, Query(max_length=200, description="Its file name, for the record.")] = "",
) -> UploadView:
    """Upload a PNG, JPEG or WebP image: as the body, or as the only file of a form.

    It is stored for at least 24 hours, and as long as a job needs it.
    """
    most = runtime.settings.server.max_upload_mb * 2**20

    async def store(file: IO[bytes], file_name: str) -> UploadView:
        def run() -> UploadView:
            file.seek(0)
            data = file.read(most + 1)
            if len(data) > most:
                raise _too_large(most)
            return store_upload(data, "upload", runtime, name=name or file_name)

        return await asyncio.get_running_loop().run_in_executor(runtime.image_pool, run)

    if http.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        async with _parse_form(http, most) as form:
            upload = next((one for one in form.values() if isinstance(one, UploadFile)), None)
            if upload is None:
                remedy = "Send the image as the file of the form."
                raise RequestError("The form has no file.", remedy=remedy)
            return await store(upload.file, upload.filename or "")
    with SpooledTemporaryFile(_MEMORY_BYTES) as file:  # many clients may send at once, slowly
        async for part in _read_at_most(http, most):
            file.write(part)
        return await store(file, "")


async def _read_at_most(http: Request, most: int) -> AsyncGenerator[bytes]:
    """The body, in parts. Raises HTTPException if it is larger."""
    declared = http.headers.get("content-length", "")
    size = int(declared) if declared.isdecimal() and len(declared) < 20 else 0
    received = 0
    async for part in http.stream():
        received += len(part)
        if max(size, received) > most:
            raise _too_large(most)
        yield part


def _too_large(most: int) -> HTTPException:
    return HTTPException(413, f"The upload is larger than {most // 2**20} MB.")


@asynccontextmanager
async def _parse_form(http: Request, most: int) -> AsyncIterator[FormData]:
    """A form with at most one file, which is on disk if it is large."""
    parser = MultiPartParser(
        http.headers,
        _read_at_most(http, most + _FORM_BYTES),
        max_files=1,
        max_fields=16,
        max_part_size=_FORM_BYTES,
    )
    try:
        form = await parser.parse()
    except (MultiPartException, ValueError, KeyError) as error:
        reason = error.message if isinstance(error, MultiPartException) else "not a valid form"
        raise RequestError(f"The form cannot be read: {reason.rstrip('.')}.") from error
    try:
        yield form
    finally:
        await form.close()


@router.get(
    "/uploads/{sha256}",
    response_class=Response,
    responses={200: {"content": {"image/*": {}}, "description": "The file."}},
)
def get_upload(
    sha256: Annotated[str, Path(pattern="^[0-9a-f]{64}$")], http: Request, runtime: RuntimeOf
) -> Response:
    """An upload, or the result of an operation, by its hash."""
    headers = cache_headers(sha256, is_versioned=True)
    data = runtime.blobs.get(sha256) if runtime.blobs.has(sha256) else b""
    kind = media_type(data)
    if kind is None:
        raise NotFound(f"There is no upload {sha256[:12]}….")
    return answer_unchanged(http, headers) or Response(data, media_type=kind, headers=headers)
