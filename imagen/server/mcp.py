"""/mcp: the MCP server over HTTP. Nothing of it is imported before its first request."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from imagen.errors import MissingDependency
from imagen.runtime.caller import LOCAL, Caller

if TYPE_CHECKING:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
    from starlette.types import Receive, Scope, Send

    from imagen.runtime import Runtime

_MOST_SESSIONS = 200
_LARGEST_BODY = 64 << 20
"""Bytes: images may be sent as data URLs."""


class McpEndpoint:
    """The ASGI application at /mcp; its sessions end with `close`."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._turn = asyncio.Lock()
        self._manager: StreamableHTTPSessionManager | None = None
        self._end = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._turn:
            if self._manager is None:
                self._manager = await self._start()
        await self._manager.handle_request(scope, receive, send)

    async def close(self) -> None:
        """End all sessions."""
        self._end.set()
        if self._task is not None:
            with suppress(asyncio.CancelledError):
                await self._task

    async def _start(self) -> StreamableHTTPSessionManager:
        manager = await asyncio.to_thread(_create_manager, self._runtime)
        is_ready = asyncio.Event()

        async def run() -> None:
            async with manager.run():
                is_ready.set()
                await self._end.wait()

        self._task = asyncio.create_task(run())
        await is_ready.wait()
        return manager


def _create_manager(runtime: Runtime) -> StreamableHTTPSessionManager:
    try:
        from mcp.server.transport_security import TransportSecuritySettings

        from imagen.mcp.server import create_mcp_server
    except ModuleNotFoundError as error:
        raise MissingDependency(error.name or "mcp", "mcp", purpose="MCP") from error
    server = create_mcp_server(runtime, is_local=False, caller_of=_caller_of)
    server.streamable_http_app(
        max_request_body_size=_LARGEST_BODY,
        max_sessions=_MOST_SESSIONS,
        # Hosts and origins are checked for all routes alike.
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    return server.session_manager


def _caller_of(context: Any) -> Caller:
    """Whom the security layer has recognised in the HTTP request of a message."""
    http = context.request_context.request
    caller = getattr(http.state, "caller", LOCAL)
    assert isinstance(caller, Caller)
    return caller
