"""Write answers that have several parts."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Literal, NamedTuple

from fastapi import Response

if TYPE_CHECKING:
    from collections.abc import Iterable

MultipartKind = Literal["mixed", "form-data"]


class ResponsePart(NamedTuple):
    """One part of an answer."""

    name: str
    media_type: str
    data: bytes
    filename: str = ""
    """Only of safe characters."""


def multipart_response(parts: Iterable[ResponsePart], kind: MultipartKind) -> Response:
    """The answer with these parts (RFC 2046, RFC 7578)."""
    boundary = secrets.token_hex(16)
    disposition = "form-data" if kind == "form-data" else "attachment"
    chunks: list[bytes] = []
    for part in parts:
        filename = f'; filename="{part.filename}"' if part.filename else ""
        head = (
            f"--{boundary}\r\n"
            f'Content-Disposition: {disposition}; name="{part.name}"{filename}\r\n'
            f"Content-Type: {part.media_type}\r\n"
            f"Content-Length: {len(part.data)}\r\n\r\n"
        )
        chunks += [head.encode("ascii"), part.data, b"\r\n"]
    body = b"".join([*chunks, f"--{boundary}--\r\n".encode("ascii")])
    return Response(body, media_type=f"multipart/{kind}; boundary={boundary}")
