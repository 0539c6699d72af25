"""Tokens of the server and sessions as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from imagen.views.base import Moment, View

if TYPE_CHECKING:
    from imagen.library.tokens import AccessToken

Period = Literal["day", "month"]


class TokenView(View):
    """A token of the server, without its secret."""

    name: str = Field(description="The caller of its jobs.")
    scopes: tuple[str, ...] = Field(description="What it allows: `read`, `generate`, `admin`.")
    rate: str = Field(description="How many jobs it may submit in a time, such as `10/1m`.")
    budget_usd: float | None = Field(description="What its jobs may cost in a period.")
    budget_per: Period | None = Field(description="The period: `day` or `month`.")
    created: Moment
    expires: Moment | None
    used: Moment | None = Field(description="When it was last used, to about five minutes.")

    @classmethod
    def of(cls, token: AccessToken) -> TokenView:
        return cls(
            name=token.name,
            scopes=token.scopes,
            rate=token.rate,
            budget_usd=token.budget_usd,
            budget_per=None if token.budget_usd is None else token.budget_per,
            created=token.created,
            expires=token.expires,
            used=token.used,
        )


class TokensView(View):
    """The tokens of the server."""

    tokens: tuple[TokenView, ...]


class NewTokenView(View):
    """A token that was created."""

    token: str = Field(description="The secret, which is shown this once.")
    name: str
    scopes: tuple[str, ...]


class SessionView(View):
    """Who the server takes a client for."""

    name: str = Field(description="Of the token; empty for the user of the server's machine.")
    scopes: tuple[str, ...] = Field(description="What it allows; empty if a token is needed.")
