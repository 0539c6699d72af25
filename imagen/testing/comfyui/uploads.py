"""POST /upload/image: a file of a multipart form becomes an input."""

from __future__ import annotations

import re
from email.parser import BytesHeaderParser
from typing import TYPE_CHECKING

from imagen.testing.comfyui.files import FOLDERS
from imagen.testing.comfyui.wire import Answer, as_json, broken

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagen.testing.comfyui.wire import Request
    from imagen.testing.comfyui.world import World

_BOUNDARY = re.compile(r'boundary="?([^";]+)"?')

Part = tuple[str, str | None, bytes]
"""The field, the file name if it has one, the data."""


def post(world: World, request: Request) -> Answer:
    """Store an upload, under the name it was given or another one."""
    fields = {name: (filename, data) for name, filename, data in _parts(request)}
    filename, data = fields.get("image", (None, b""))
    said = {name: value.decode("utf-8", "replace") for name, (_, value) in fields.items()}
    subfolder, folder = said.get("subfolder", ""), said.get("type", "input")
    if not filename or _climbs(filename) or _climbs(subfolder):
        return Answer(status=400)
    if folder not in FOLDERS or "/" in filename:
        return broken()
    if world.hostility.rename_upload:
        world.files.upload(b"somebody else's", folder, subfolder, filename, overwrite=True)
    replaces = said.get("overwrite") in ("true", "1") and not world.hostility.rename_upload
    stored = world.files.upload(data, folder, subfolder, filename, overwrite=replaces)
    return as_json(stored)


def _climbs(path: str) -> bool:
    return ".." in path.split("/") or path.startswith("/")


def _parts(request: Request) -> Iterator[Part]:
    boundary = _BOUNDARY.search(request.headers.get("content-type", ""))
    if boundary is None:
        return
    mark = b"--" + boundary[1].encode()
    for piece in (b"\r\n" + request.body).split(b"\r\n" + mark)[1:-1]:
        head, _, data = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        said = BytesHeaderParser().parsebytes(head + b"\r\n\r\n")
        name = said.get_param("name", header="content-disposition")
        yield str(name), _filename(head), data


def _filename(head: bytes) -> str | None:
    """The file name as it was sent: browsers and clients write UTF-8 there, unmarked."""
    found = re.search(rb'filename="((?:[^"\\]|\\.)*)"', head)
    return found[1].decode("utf-8", "replace").replace('\\"', '"') if found else None
