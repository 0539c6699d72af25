"""One request to a simulated Supabase, as it came."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

_PARTS = ("/storage/v1", "/rest/v1")


class Seen(NamedTuple):
    """One request: `path` holds the query too, headers go by lower-case name."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def part(self) -> str:
        """`/storage/v1` or `/rest/v1`; nothing for what is neither."""
        return next((part for part in _PARTS if self.path.startswith(f"{part}/")), "")

    @property
    def below(self) -> str:
        """The path within its part, without the query; percent signs are left."""
        return urlsplit(self.path).path.removeprefix(self.part)

    @property
    def is_upload(self) -> bool:
        """Whether it brings an object."""
        return (
            self.method == "POST"
            and self.path.startswith("/storage/v1/object/")
            and not self.below.startswith("/object/sign/")
        )

    @property
    def query(self) -> str:
        return urlsplit(self.path).query

    @property
    def token(self) -> str:
        """What stands in `Authorization: Bearer`."""
        return self.headers.get("authorization", "").removeprefix("Bearer ")
