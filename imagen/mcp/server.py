"""The MCP server on a runtime: its tools with their hints, and the images as resources."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import wraps
from typing import Any

from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ResourceError
from mcp.types import CallToolResult, InputRequiredResult, TextContent, ToolAnnotations
from pydantic import AnyUrl

from imagen import __version__
from imagen.core.image_file import media_type
from imagen.errors import ImagenError
from imagen.mcp.tools import CallerOf, ImageTools, is_cloud
from imagen.outputs.redact import strip_paths
from imagen.runtime import Runtime
from imagen.runtime.caller import LOCAL, Caller

_INSTRUCTIONS = (
    "Generates images with the user's own engines: ComfyUI, local models, cloud APIs. Call "
    "list_models first if the user names a model. Show the user the path of each image. Jobs that "
    "take longer than wait_seconds go on: ask for them with get_job. Cloud backends cost money: "
    "estimate_cost says how much."
)


class ImageServer(MCPServer):
    """An MCP server whose resources are images, each with its own media type."""

    async def read_resource(
        self, uri: AnyUrl | str, context: Context | None = None
    ) -> Iterable[ReadResourceContents] | InputRequiredResult:
        found = await super().read_resource(uri, context)
        if isinstance(found, InputRequiredResult):
            return found
        return [
            ReadResourceContents(content=one.content, mime_type=media_type(one.content))
            for one in found
            if isinstance(one.content, bytes)
        ]


def create_mcp_server(
    runtime: Runtime, *, is_local: bool, caller_of: CallerOf | None = None
) -> MCPServer:
    """The server on an open runtime.

    `is_local` says that the host runs on this machine as this user, and may name its files.
    """
    server = ImageServer(
        "imagen",
        title="imagen",
        version=__version__,
        instructions=_INSTRUCTIONS,
        log_level="WARNING",
        subscriptions=False,
    )
    caller_of = caller_of or _local_caller
    tools = ImageTools(runtime, is_local=is_local, caller_of=caller_of)
    names = runtime.settings.backends or {"mock": {}}
    leaves = any(is_cloud(name, runtime.settings) for name in names)
    makes = ToolAnnotations(
        read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=leaves
    )
    reads = ToolAnnotations(read_only_hint=True, open_world_hint=False)
    cancels = ToolAnnotations(
        read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False
    )
    for tool, title, hints in (
        (tools.generate_image, "Generate images", makes),
        (tools.edit_image, "Edit an image", makes),
        (tools.upscale_image, "Enlarge an image", makes),
        (tools.compare_models, "Compare backends", makes),
        (tools.regenerate, "Make an image again", makes),
        (tools.get_job, "Look at a job", reads),
        (tools.cancel_job, "Cancel a job", cancels),
        (tools.list_images, "List images", reads),
        (tools.view_image, "Look at an image", reads),
        (tools.list_models, "List models", reads),
        (tools.estimate_cost, "Estimate the cost", reads),
    ):
        server.add_tool(_with_sentences(tool, caller_of), title=title, annotations=hints)

    @server.resource(
        "imagen://images/{id}",
        name="image",
        title="An image of the library",
        description="The whole file of an image, by its id.",
        mime_type="image/png",
    )
    async def read_image(id: str) -> bytes:
        try:
            return await tools.read_image(id)
        except ImagenError as error:
            raise ResourceError(str(error)) from error

    return server


def run_stdio(runtime: Runtime) -> None:
    """Serve the host that has started this process, until it closes stdin."""
    create_mcp_server(runtime, is_local=True).run("stdio")


def _local_caller(_: Context) -> Caller:
    return LOCAL


def _with_sentences(
    tool: Callable[..., Awaitable[CallToolResult]], caller_of: CallerOf
) -> Callable[..., Awaitable[CallToolResult]]:
    """The tool, whose errors are results that a model can read; without paths for others."""

    @wraps(tool)
    async def run(ctx: Context, **arguments: Any) -> CallToolResult:
        try:
            return await tool(ctx=ctx, **arguments)
        except ImagenError as error:
            sentence = str(error) if caller_of(ctx).is_local else strip_paths(str(error))
            return CallToolResult(content=[TextContent(type="text", text=sentence)], is_error=True)

    return run
