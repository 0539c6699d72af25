"""One request to the simulated Supabase."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

_PARTS = ("/storage/v1", "/rest/v1")


class SupabaseRequest(NamedTuple):
    """One request; headers go by lower-case name."""

    method: str
    path: str
    """With its query."""
    headers: Mapping[str, str]
    body: bytes

    @property
    def part(self) -> str:
        """`/storage/v1` or `/rest/v1`; empty for other paths."""
        return next((part for part in _PARTS if self.path.startswith(f"{part}/")), "")

    @property
    def below(self) -> str:
        """The path within its part, without the query and still percent-encoded."""
        return urlsplit(self.path).path.removeprefix(self.part)

    @property
    def is_upload(self) -> bool:
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
        """The bearer token."""
        return self.headers.get("authorization", "").removeprefix("Bearer ")

    def with_token(self, token: str) -> SupabaseRequest:
        return self._replace(headers={**self.headers, "authorization": f"Bearer {token}"})
