"""Tokens: who may use the HTTP server, what for, and within which limits."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, insert, select, update

from imagen.config.settings import Budget
from imagen.core.text import did_you_mean, one_line
from imagen.errors import NotFound, RequestError
from imagen.library.schema import datetime_of, milliseconds, tokens

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from typing import Literal

    from sqlalchemy import Connection, Row

    from imagen.library.database import Library

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PREFIX = "imagen_"
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """A token, without its secret."""

    name: str
    """The caller of its jobs in the queue and in the ledger."""
    scopes: tuple[str, ...]
    rate: str = ""
    """How many images it may request in a time, such as 10/1m; empty: any number."""
    budget_usd: float | None = None
    """What its jobs may cost in a period."""
    budget_per: Literal["day", "month"] = "month"
    created: datetime
    expires: datetime | None = None
    used: datetime | None = None
    """About when it was last used; None: never."""
    sha256: str = field(repr=False)
    """The hash of the secret, in hexadecimal."""

    @property
    def budget(self) -> Budget | None:
        """Its budget, as one of the configuration would be."""
        if self.budget_usd is None:
            return None
        return Budget(amount=self.budget_usd, per=self.budget_per, caller=self.name)


def hash_secret(secret: str) -> str:
    """The hash of a token as it is stored."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def add_token(
    library: Library,
    name: str,
    scopes: Sequence[str],
    *,
    rate: str = "",
    budget_usd: float | None = None,
    budget_per: str = "month",
    expires: datetime | None = None,
) -> str:
    """Create a token; its secret, which is not stored. Raises RequestError."""
    if not _NAME.fullmatch(name):
        raise RequestError(
            f"{one_line(name, limit=80)!r} is not a name for a token: expected letters, digits, "
            "`.`, `_` and `-`, at most 64."
        )
    secret = _PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
    row = {
        "name": name,
        "sha256": hash_secret(secret),
        "scopes": [*scopes],
        "rate": rate,
        "budget_usd": budget_usd,
        "budget_per": budget_per,
        "created_ms": round(time.time() * 1000),
        "expires_ms": None if expires is None else milliseconds(expires),
        "used_ms": None,
    }
    with library.writing() as connection:
        if connection.scalar(select(func.count()).where(tokens.c.name == name)):
            raise RequestError(
                f"There is a token named {name} already.",
                remedy=f"Choose another name, or revoke it first: imagen tokens revoke {name}",
            )
        connection.execute(insert(tokens).values(**row))
    return secret


def list_tokens(library: Library) -> list[AccessToken]:
    """All tokens, also those that have expired, by name."""
    with library.reading() as connection:
        return [*map(_token, connection.execute(select(tokens).order_by(tokens.c.name)))]


def find_token(connection: Connection, name: str) -> AccessToken | None:
    """The token with this name."""
    row = connection.execute(select(tokens).where(tokens.c.name == name)).first() if name else None
    return None if row is None else _token(row)


def revoke_tokens(library: Library, names: Iterable[str]) -> None:
    """Delete tokens, all or none. Raises NotFound."""
    with library.writing() as connection:
        for name in names:
            if not connection.execute(delete(tokens).where(tokens.c.name == name)).rowcount:
                known = connection.scalars(select(tokens.c.name)).all()
                shown = one_line(name, limit=80)
                raise NotFound(
                    f"There is no token named {shown!r}.{did_you_mean(shown, known)}",
                    remedy="List the tokens with: imagen tokens list",
                )


def note_uses(library: Library, uses: Mapping[str, int]) -> None:
    """Store when tokens were last used, in milliseconds since 1970."""
    with library.writing() as connection:
        for name, used_ms in uses.items():
            its = tokens.c.name == name
            connection.execute(update(tokens).where(its).values(used_ms=used_ms))


def _token(row: Row[Any]) -> AccessToken:
    return AccessToken(
        name=row.name,
        scopes=tuple(row.scopes),
        rate=row.rate,
        budget_usd=row.budget_usd,
        budget_per=row.budget_per,
        created=datetime_of(row.created_ms),
        expires=None if row.expires_ms is None else datetime_of(row.expires_ms),
        used=None if row.used_ms is None else datetime_of(row.used_ms),
        sha256=row.sha256,
    )
