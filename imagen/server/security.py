"""What is checked and added around every route: names, origins, tokens, limits and headers.

Pure ASGI: neither bodies nor streams are collected.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, cookie_parser

from imagen.core.text import one_line
from imagen.errors import LibraryError
from imagen.runtime.caller import ANONYMOUS
from imagen.runtime.tokens import LOCAL_GRANT, Grant
from imagen.server.problems import error_response, problem_response
from imagen.server.routes.page import is_page_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import FastAPI
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from imagen.config import ServerSettings
    from imagen.runtime.tokens import TokenCache

    Log = Callable[[Scope, int, float], None]

COOKIE = "imagen_session"
_OPEN_PATHS = ("/health", "/api/v1/session")
"""Paths that need no token, besides those of the page."""
_OPEN_FOLDERS = ("/v1/images/files/",)
"""All paths below these need no token either."""
_HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' data: blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
"""Of every answer that has no such header of its own."""
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")
_MOST_JSON_VALUES = 500_000
_BODY_SECONDS = 30.0
"""How long a client may send nothing of a body that it began."""
_END_SECONDS = 2.0
"""How long requests may go on once the server is to stop."""


@dataclass(frozen=True, kw_only=True)
class AccessPolicy:
    """Who may use the server, by which names, and how much they may send."""

    needs_token: bool
    """Whether every client needs a token; else only those that come from elsewhere."""
    is_public: bool
    """Whether other machines can reach it directly."""
    hosts: frozenset[str]
    """The names of the server, in lower case, some with a port."""
    origins: frozenset[str]
    base_path: str
    most_bytes: int

    @classmethod
    def of(cls, settings: ServerSettings, *, is_public: bool, has_secret: bool) -> AccessPolicy:
        return cls(
            needs_token=bool(
                is_public or has_secret or settings.require_token or settings.trusted_proxies
            ),
            is_public=is_public,
            hosts=frozenset(settings.allowed_hosts),
            origins=frozenset(settings.cors_origins),
            base_path=settings.base_path,
            most_bytes=settings.max_body_mb * 1_000_000,
        )

    def is_own_host(self, host: str) -> bool:
        """Whether a Host header names this server.

        An address cannot be that of somebody else's name, so that each one will do where other
        machines can reach the server.
        """
        name = host_of(host)
        if is_loopback(name) or host in self.hosts or name in self.hosts:
            return True
        if any(one.startswith("*.") and name.endswith(one[1:]) for one in self.hosts):
            return True
        if self.is_public:
            with suppress(ValueError):
                ip_address(name.strip("[]"))
                return True
        return False

    def is_own_origin(self, origin: str, host: str) -> bool:
        """Whether a page of this origin is one of this server, or was allowed to use it."""
        place = urlsplit(origin).netloc.lower()
        return origin in self.origins or (bool(place) and (place == host or place in self.hosts))


def host_of(host: str) -> str:
    """The name or address in a Host header, without its port."""
    return re.sub(r":\d*$", "", host).rstrip(".")


def is_loopback(name: str) -> bool:
    """Whether a host name or address is that of this machine for itself."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    with suppress(ValueError):
        return ip_address(name.strip("[]")).is_loopback
    return False


def protect_app(app: FastAPI, policy: AccessPolicy, tokens: TokenCache, log: Log | None) -> None:
    """Check every request to an app that has all of its routes."""
    requests = app.state.requests = OpenRequests()
    app.add_middleware(SecurityMiddleware, policy=policy, tokens=tokens, requests=requests, log=log)
    if policy.origins:
        from starlette.middleware.cors import CORSMiddleware

        app.add_middleware(
            CORSMiddleware,
            allow_origins=[*policy.origins],
            allow_methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["*"],
        )


class OpenRequests:
    """The requests that are being answered, so that the server can end them."""

    def __init__(self) -> None:
        self.is_stopping = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self.streams: set[asyncio.Task[Any]] = set()
        """Those that have begun to answer."""

    def __len__(self) -> int:
        return len(self._tasks)

    def enter(self) -> asyncio.Task[Any]:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        return task

    def leave(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        self.streams.discard(task)

    async def end(self) -> None:
        """End streams at once, and all others soon; jobs that they wait for go on."""
        self.is_stopping = True
        for task in self.streams:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_END_SECONDS)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_END_SECONDS / 2)


class SecurityMiddleware:
    """Checks each request before a route sees it."""

    def __init__(
        self,
        app: ASGIApp,
        policy: AccessPolicy,
        tokens: TokenCache,
        requests: OpenRequests,
        log: Log | None = None,
    ) -> None:
        self._app = app
        self._policy = policy
        self._tokens = tokens
        self._requests = requests
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        task = self._requests.enter()
        exchange = _Exchange(scope, receive, send, self._policy.most_bytes)
        began = time.monotonic()
        try:
            await self._answer(exchange, task)
        except asyncio.CancelledError:
            if not self._requests.is_stopping:
                raise
            task.uncancel()
            await exchange.finish(503, "stopping", "The server is stopping; its jobs go on.")
        except ClientDisconnect:
            pass
        except HTTPException as refusal:
            code = {401: "unauthenticated", 403: "forbidden"}.get(refusal.status_code, "http")
            await exchange.finish(
                refusal.status_code, code, refusal.detail, headers=dict(refusal.headers or {})
            )
        except LibraryError as error:
            await exchange.respond(error_response(error, scope))
        except Exception:
            logging.getLogger("imagen.server").exception("An unexpected error")
            await exchange.finish(500, "internal", "An unexpected error: a bug of imagen.")
        finally:
            self._requests.leave(task)
            if self._log is not None:
                self._log(scope, exchange.status, time.monotonic() - began)

    async def _answer(self, exchange: _Exchange, task: asyncio.Task[Any]) -> None:
        scope = exchange.scope
        if self._requests.is_stopping:
            raise HTTPException(503, "The server is stopping.", headers={"Retry-After": "5"})
        scope.setdefault("state", {})["caller"] = ANONYMOUS
        apply_base_path(scope, self._policy.base_path)
        headers = Headers(scope=scope)
        host = headers.get("host", "").lower()
        if not self._policy.is_own_host(host):
            raise HTTPException(
                421,
                f"This server is not {one_line(host_of(host), limit=80)!r}: add the name to "
                "server.allowed_hosts.",
            )
        if self._tokens.is_stale():
            await asyncio.to_thread(self._tokens.refresh)
        grant, is_ambient = self._recognise(headers, host)
        is_unknown = grant is None and ("authorization" in headers or "cookie" in headers)
        if is_unknown:  # perhaps it is new
            await asyncio.to_thread(self._tokens.refresh, 0.0)
            grant, is_ambient = self._recognise(headers, host)
        self._check_origin(scope, headers, host, is_ambient=is_ambient)
        path = str(scope["path"]).removeprefix(scope.get("root_path", ""))
        if grant is None and not is_open(path):
            raise HTTPException(
                401,
                "A token is needed: send it as `Authorization: Bearer TOKEN`.",
                headers={"WWW-Authenticate": 'Bearer realm="imagen"'},
            )
        scope["state"]["caller"] = ANONYMOUS if grant is None else grant.caller
        scope["state"]["grant"] = grant
        if scope["type"] == "websocket":
            await self._app(scope, exchange.receive_message, exchange.send_message)
            return
        exchange.check_length(headers)

        async def send(message: Message) -> None:
            if message["type"] == "http.response.body" and message.get("more_body"):
                self._requests.streams.add(task)
                # A stream that is cancelled since the server ends cannot wait, only say so.
                if self._tokens.is_stale() and not self._requests.is_stopping:
                    await asyncio.to_thread(self._tokens.refresh)
                if grant is not None and not self._tokens.is_valid(grant):
                    await exchange.finish(401, "", "")
                    raise ClientDisconnect
            await exchange.send(message)

        await self._app(scope, exchange.receive, send)

    def _recognise(self, headers: Headers, host: str) -> tuple[Grant | None, bool]:
        """Who sends a request; and whether a browser may do so without its user's intent."""
        secret = _secret_of(headers.get("authorization", ""))
        if secret and (grant := self._tokens.find(secret)) is not None:
            return grant, False
        cookie = cookie_parser(headers.get("cookie", "")).get(COOKIE, "")
        if cookie and (grant := self._tokens.find_session(cookie)) is not None:
            return grant, True
        # A proxy on this machine passes requests of others on.
        is_from_here = is_loopback(host_of(host)) and not any(one in headers for one in _FORWARDED)
        is_free = not self._policy.needs_token and is_from_here
        return (LOCAL_GRANT if is_free else None), True

    def _check_origin(self, scope: Scope, headers: Headers, host: str, *, is_ambient: bool) -> None:
        """Refuse what a page of another server makes a browser do."""
        method = str(scope.get("method", "GET"))
        is_safe = scope["type"] == "http" and method in _SAFE_METHODS
        if is_safe and not is_ambient:
            return
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
        if origin is not None:
            is_own = self._policy.is_own_origin(origin, host)
        elif is_safe and headers.get("sec-fetch-mode") == "navigate":
            is_link = headers.get("sec-fetch-dest") == "document"  # which the user followed
            is_own = is_link or site in ("none", "same-origin")
        else:
            is_own = site in ("none", "same-origin")
        if not is_own:
            raise HTTPException(
                403,
                "Refused, since it comes from a page of another server. To allow that page, add "
                "its origin to server.cors_origins.",
            )


class _Exchange:
    """One request and its answer: with limits on what is read, and headers on what is sent."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, most_bytes: int) -> None:
        self.scope = scope
        self.receive_message = receive
        self.send_message = send
        self.status = 0
        """Of the answer; 0 as long as there is none."""
        self._most_bytes = most_bytes
        self._bytes = self._values = 0
        self._is_json = False
        self._is_read = self._is_ended = False

    def check_length(self, headers: Headers) -> None:
        """Refuse a body that says that it is too large."""
        kind = headers.get("content-type", "text/plain")
        self._is_json = "json" in kind or kind.startswith("text/plain")
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._most_bytes:
            self._refuse_large()

    async def receive(self) -> Message:
        """The next part of the body. Raises HTTPException for one that is too large or slow."""
        if self._is_read:
            return await self.receive_message()
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                message = await self.receive_message()
        except TimeoutError:
            raise HTTPException(408, "The body of the request did not arrive in time.") from None
        self._is_read = message["type"] != "http.request" or not message.get("more_body")
        body: bytes = message.get("body", b"")
        self._bytes += len(body)
        if self._bytes > self._most_bytes:
            self._refuse_large()
        if self._is_json:
            self._values += sum(map(body.count, (b",", b"[", b"{")))
            if self._values > _MOST_JSON_VALUES:
                raise HTTPException(413, f"The body has more than {_MOST_JSON_VALUES:,} values.")
        return message

    def _refuse_large(self) -> None:
        raise HTTPException(
            413,
            f"The body is larger than {self._most_bytes // 1_000_000} MB: see server.max_body_mb.",
        )

    async def send(self, message: Message) -> None:
        if self._is_ended:
            return
        if message["type"] == "http.response.start":
            self.status = message["status"]
            raw = [(name, _CONTROL.sub(b" ", value)) for name, value in message["headers"]]
            message = {**message, "headers": raw}
            headers = MutableHeaders(raw=raw)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        elif message["type"] == "http.response.body":
            self._is_ended = not message.get("more_body")
        await self.send_message(message)

    async def respond(self, response: Response) -> None:
        await response(self.scope, self.receive_message, self.send)

    async def finish(
        self, status: int, code: str, detail: str, *, headers: dict[str, str] | None = None
    ) -> None:
        """Answer with an error, or end the answer that has begun."""
        if self.scope["type"] == "websocket":
            if self.status == 0:
                await self.send_message({"type": "websocket.close", "code": 1008})
        elif self.status == 0:
            problem = problem_response(status, code, detail, scope=self.scope, headers=headers)
            await self.respond(problem)
        else:
            await self.send({"type": "http.response.body", "body": b""})


def is_open(path: str) -> bool:
    """Whether a path, without the base path, needs no token."""
    return path in _OPEN_PATHS or path.startswith(_OPEN_FOLDERS) or is_page_path(path)


def apply_base_path(scope: Scope, base: str) -> None:
    """Let the routes see the same path whether or not the proxy removed its own."""
    path = str(scope["path"])
    if not base:
        return
    scope["root_path"] = base
    if path == base or not path.startswith(f"{base}/"):
        scope["path"] = f"{base}/" if path == base else base + path


def _secret_of(authorization: str) -> str:
    """The token in an Authorization header: of a Bearer, or the password of a user."""
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        with suppress(binascii.Error, ValueError):
            decoded = base64.b64decode(value.strip(), validate=True)
            return decoded.decode("utf-8", "replace").partition(":")[2]
    return ""
