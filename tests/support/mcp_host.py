"""Calls tools as an MCP host does."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mcp import Client
from mcp.types import CallToolResult, TextContent

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from imagen.runtime import Runtime
    from imagen.runtime.caller import Caller

VERSIONS = ("auto", "legacy")
"""The two ways to negotiate: by discovery, and by the handshake of protocols before 2026."""


@dataclass
class ToolAnswer:
    """The result of one call."""

    result: CallToolResult
    progress: list[tuple[float, float | None, str | None]] = field(default_factory=list)

    @property
    def text(self) -> str:
        first = self.result.content[0]
        assert isinstance(first, TextContent)
        return first.text

    @property
    def data(self) -> dict[str, Any]:
        data: dict[str, Any] | None = self.result.structured_content
        assert data is not None, self.text
        return data

    @property
    def kinds(self) -> list[str]:
        return [block.type for block in self.result.content]


async def call(client: Client, tool: str, **arguments: Any) -> ToolAnswer:
    """Call a tool, and note its progress."""
    reports: list[tuple[float, float | None, str | None]] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        reports.append((progress, total, message))

    result = await client.call_tool(tool, arguments, progress_callback=note)
    return ToolAnswer(result, reports)


def with_host(
    runtime: Runtime,
    use: Callable[[Client], Coroutine[Any, Any, Any]],
    *,
    is_local: bool = True,
    caller: Caller | None = None,
    version: str = "auto",
) -> Any:
    """What `use` returns, with a host that is connected to these tools in memory."""
    from imagen.mcp.server import create_mcp_server

    caller_of = (lambda _: caller) if caller is not None else None
    server = create_mcp_server(runtime, is_local=is_local, caller_of=caller_of)

    async def run() -> Any:
        async with Client(server, mode=version) as client:
            return await use(client)

    return asyncio.run(run())


def call_tool(
    runtime: Runtime, tool: str, *, is_local: bool = True, **arguments: Any
) -> ToolAnswer:
    """The answer of one tool."""

    async def use(client: Client) -> ToolAnswer:
        return await call(client, tool, **arguments)

    answered: ToolAnswer = with_host(runtime, use, is_local=is_local)
    return answered
