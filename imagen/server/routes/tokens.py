"""Sessions of browsers, and the tokens of the server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from pydantic import Field, field_validator

from imagen.backends.base import parse_rate
from imagen.library.tokens import add_token, list_tokens, revoke_tokens
from imagen.runtime.caller import SCOPES, scopes_up_to
from imagen.server.security import COOKIE
from imagen.server.state import CallerOf, RuntimeOf, State, require
from imagen.views.base import View
from imagen.views.tokens import NewTokenView, SessionView, TokensView, TokenView

router = APIRouter(tags=["access"])
_IS_OPEN = [Depends(require(None))]
_FOR_ADMIN = [Depends(require("admin"))]
_LONGEST_DAYS = 3650


class SessionBody(View):
    """A token to exchange for a cookie."""

    token: str = Field(max_length=500)


class NewTokenBody(View):
    """A token to create."""

    name: str = Field(description="The caller of its jobs.")
    scope: Literal["read", "generate", "admin"] = Field(
        "generate", description="What it allows; each one includes those before it."
    )
    rate: str = Field("", description="How many jobs it may submit in a time, such as `10/1m`.")
    budget_usd: float | None = Field(
        None, ge=0, allow_inf_nan=False, description="What its jobs may cost in a period."
    )
    budget_per: Literal["day", "month"] = "month"
    days: float | None = Field(
        None, gt=0, le=_LONGEST_DAYS, description="After so many days it expires."
    )

    @field_validator("rate")
    @classmethod
    def _check_rate(cls, rate: str) -> str:
        if rate:
            parse_rate(rate)
        return rate


@router.get("/session", dependencies=_IS_OPEN)
def get_session(caller: CallerOf) -> SessionView:
    """Who the server takes this client for."""
    scopes = (scope for scope in SCOPES if scope in caller.scopes)
    return SessionView(name=caller.name, scopes=tuple(scopes))


@router.post("/session", status_code=204, dependencies=_IS_OPEN)
def start_session(body: SessionBody, state: State, http: Request, response: Response) -> None:
    """Exchange a token for a cookie, which browsers send by themselves."""
    state.tokens.refresh(0.0)
    grant = state.tokens.find(body.token.strip())
    if grant is None:
        raise HTTPException(401, "This token is not valid.")
    value, seconds = state.tokens.create_session(grant)
    response.set_cookie(
        COOKIE,
        value,
        max_age=seconds,
        path=http.scope.get("root_path") or "/",
        secure=http.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )


@router.delete("/session", status_code=204, dependencies=_IS_OPEN)
def end_session(http: Request, response: Response) -> None:
    """Forget the cookie."""
    response.delete_cookie(
        COOKIE,
        path=http.scope.get("root_path") or "/",
        secure=http.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )


@router.get("/tokens", dependencies=_FOR_ADMIN)
def get_tokens(runtime: RuntimeOf) -> TokensView:
    """The tokens of the server."""
    return TokensView(tokens=tuple(map(TokenView.of, list_tokens(runtime.library))))


@router.post("/tokens", status_code=201, dependencies=_FOR_ADMIN)
def create_token(body: NewTokenBody, runtime: RuntimeOf) -> NewTokenView:
    """Create a token."""
    expires = None if body.days is None else datetime.now(UTC) + timedelta(days=body.days)
    scopes = scopes_up_to(body.scope)
    secret = add_token(
        runtime.library,
        body.name,
        scopes,
        rate=body.rate,
        budget_usd=body.budget_usd,
        budget_per=body.budget_per,
        expires=expires,
    )
    return NewTokenView(token=secret, name=body.name, scopes=scopes)


@router.delete("/tokens/{name}", status_code=204, dependencies=_FOR_ADMIN)
def revoke_token(name: str, runtime: RuntimeOf) -> None:
    """Revoke a token: it is refused within two seconds, and its sessions and streams end."""
    revoke_tokens(runtime.library, [name])
