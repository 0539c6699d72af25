"""Who a request comes from, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Scope = Literal["read", "generate", "admin"]
"""See jobs and images; also submit, cancel, mark and delete; also change the server."""
SCOPES: tuple[Scope, ...] = get_args(Scope)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A client of the server."""

    name: str = ""
    """The name of its token, which is the caller of its jobs in the ledger; empty for the user of
    this machine."""
    scopes: frozenset[Scope] = frozenset(SCOPES)
    is_local: bool = False
    """Whether it is the user of this machine, who may learn of its paths; others may not."""


def scopes_up_to(scope: str) -> tuple[Scope, ...]:
    """A scope, and those that it includes."""
    last = next(n for n, one in enumerate(SCOPES) if one == scope)
    return SCOPES[: last + 1]


LOCAL = Caller(is_local=True)
"""The user of this machine, who may do everything."""
OWNER = Caller()
"""The user of this machine somewhere else, with the token of the server's own."""
ANONYMOUS = Caller(scopes=frozenset())
"""Somebody without a token, where one is needed."""
