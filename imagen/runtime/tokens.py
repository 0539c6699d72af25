"""Who a request comes from: tokens and sessions, looked up in memory."""

from __future__ import annotations

import hashlib
import hmac
import re
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imagen.errors import LibraryError
from imagen.library.tokens import hash_secret, list_tokens, note_uses
from imagen.runtime.caller import LOCAL, OWNER, SCOPES, Caller

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imagen.library import Library
    from imagen.library.tokens import AccessToken

SESSION_SECONDS = 30 * 24 * 3600
"""How long a session lasts at most."""
_FRESH_SECONDS = 2.0
"""How soon a revoked token is noticed."""
_OUTAGE_SECONDS = 60.0
"""How long known tokens are valid while the library cannot be read."""
_USE_SECONDS = 300.0
"""How exactly it is stored when a token was used."""
_SESSION = re.compile(r"(\d{1,12})\.([A-Za-z0-9._-]{0,64})\.([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Grant:
    """A caller who was recognised, and by which token."""

    caller: Caller
    sha256: str
    """Of its token; empty for one that needs none."""
    expires: float | None = None
    """In seconds since 1970; None: never."""


LOCAL_GRANT = Grant(LOCAL, "")


class TokenCache:
    """The tokens of a library, and one of this process alone. Threads may share it."""

    def __init__(self, library: Library, secret: str = "") -> None:
        self._library = library
        self._own = (Grant(OWNER, hash_secret(secret)),) if secret else ()
        self._grants: Sequence[Grant] = self._own
        self._read_at = float("-inf")
        self._used: dict[str, float] = {}
        """When each token was last used, by its name; stored at times."""
        self._stored: dict[str, float] = {}
        self._turn = threading.Lock()

    def is_stale(self, seconds: float = _FRESH_SECONDS) -> bool:
        """Whether it is time to call `refresh`, which may take a moment."""
        return time.monotonic() - self._read_at > seconds

    def refresh(self, seconds: float = _FRESH_SECONDS) -> None:
        """Read the tokens, unless that was done within so many seconds. Raises LibraryError."""
        with self._turn:
            if not self.is_stale(seconds):
                return
            now = time.monotonic()
            try:
                known = list_tokens(self._library)
            except LibraryError:
                if now - self._read_at > _OUTAGE_SECONDS:
                    self._grants = self._own
                    raise
                return
            self._grants = (*self._own, *map(_grant_of, known))
            self._read_at = now
            self._store_uses(known)

    def find(self, secret: str) -> Grant | None:
        """Who has this token, as far as it is valid."""
        digest, found = hash_secret(secret), None
        for grant in self._grants:
            if hmac.compare_digest(grant.sha256, digest):
                found = grant
        return self._use(found)

    def find_session(self, text: str) -> Grant | None:
        """Who has this session, as far as it and its token are valid."""
        match = _SESSION.fullmatch(text)
        if match is None or int(match[1]) < time.time():
            return None
        found = None
        for grant in self._grants:
            is_its = hmac.compare_digest(_sign(grant, match[1]), match[3])
            if is_its and grant.caller.name == match[2]:
                found = grant
        return self._use(found)

    def create_session(self, grant: Grant) -> tuple[str, int]:
        """A text by which `find_session` finds the caller again, and for how many seconds.

        It is derived from the hash of the token, and ends with it.
        """
        ends = time.time() + SESSION_SECONDS
        ends = int(ends if grant.expires is None else min(ends, grant.expires))
        text = f"{ends}.{grant.caller.name}.{_sign(grant, str(ends))}"
        return text, max(0, ends - int(time.time()))

    def is_valid(self, grant: Grant) -> bool:
        """Whether the token of a caller is still valid."""
        is_known = grant.sha256 == "" or any(g.sha256 == grant.sha256 for g in self._grants)
        return is_known and not _is_over(grant)

    def _use(self, grant: Grant | None) -> Grant | None:
        if grant is None or _is_over(grant):
            return None
        if grant.caller.name:
            self._used[grant.caller.name] = time.time()
        return grant

    def _store_uses(self, known: Sequence[AccessToken]) -> None:
        uses: dict[str, int] = {}
        for token in known:
            used = self._used.get(token.name, 0.0)
            stored = self._stored.get(token.name, token.used.timestamp() if token.used else 0.0)
            if used > stored + _USE_SECONDS:
                self._stored[token.name] = used
                uses[token.name] = round(used * 1000)
        if uses and not self._library.is_read_only:
            note_uses(self._library, uses)


def _grant_of(token: AccessToken) -> Grant:
    scopes = frozenset(scope for scope in SCOPES if scope in token.scopes)
    expires = None if token.expires is None else token.expires.timestamp()
    return Grant(Caller(name=token.name, scopes=scopes), token.sha256, expires)


def _is_over(grant: Grant) -> bool:
    return grant.expires is not None and grant.expires <= time.time()


def _sign(grant: Grant, ends: str) -> str:
    """What only a server with this token in its library can derive."""
    text = f"imagen session\n{grant.caller.name}\n{ends}"
    return hmac.new(grant.sha256.encode(), text.encode(), hashlib.sha256).hexdigest()
