"""Caching of what never changes under its hash: ETags and Cache-Control."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import Response

if TYPE_CHECKING:
    from fastapi import Request

_YEAR_SECONDS = 365 * 24 * 3600
_FEWEST_DIGITS = 8


def cache_headers(tag: str, *, is_versioned: bool = False) -> dict[str, str]:
    """The headers of an answer with this ETag; one whose URL has its version is kept for a year."""
    control = f"max-age={_YEAR_SECONDS}, immutable" if is_versioned else "no-cache"
    return {"ETag": f'"{tag}"', "Cache-Control": f"private, {control}"}


def is_version(word: str, sha256: str) -> bool:
    """Whether the parameter `v` of a URL is the beginning of this hash."""
    return len(word) >= _FEWEST_DIGITS and sha256.startswith(word)


def answer_unchanged(http: Request, headers: dict[str, str]) -> Response | None:
    """The answer 304 if the client has what has these headers already, else None."""
    known = http.headers.get("if-none-match")
    if known is None:
        return None
    tags = {tag.strip().removeprefix("W/") for tag in known.split(",")}
    is_known = known.strip() == "*" or headers["ETag"] in tags
    return Response(status_code=304, headers=headers) if is_known else None
