"""The MCP server over stdio, in a process of its own, and at /mcp of the HTTP server."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from support.live_server import live_server, server_settings
from support.mcp_host import VERSIONS, ToolAnswer, call

from imagen.library.tokens import add_token
from imagen.net.urls import is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.live_server import LiveServer


_SECRET = "correct-horse-battery-staple"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with live_server(server_settings(folder=tmp_path_factory.mktemp("served"))) as server:
        yield server


@pytest.mark.parametrize("version", VERSIONS)
def test_tools_are_served_over_http(served: LiveServer, version: str) -> None:
    async def run() -> Any:
        async with Client(f"{served.url}/mcp", mode=version) as client:
            return await call(client, "generate_image", prompt="a fox", size="64x48", count=2)

    made = asyncio.run(run())
    assert made.kinds == ["text", "image", "image", "resource_link", "resource_link"]
    assert made.data["state"] == "done"
    assert made.progress


def test_a_host_over_http_names_no_files(served: LiveServer) -> None:
    async def run() -> Any:
        async with Client(f"{served.url}/mcp") as client:
            return await call(client, "edit_image", image=__file__, prompt="x")

    assert "cannot read files of your machine" in asyncio.run(run()).text


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server whose clients need a token."""
    settings = server_settings(folder=tmp_path_factory.mktemp("guarded"))
    with live_server(settings, is_public=True, secret=_SECRET) as server:
        yield server


def test_a_host_needs_a_token_where_others_do(guarded: LiveServer) -> None:
    assert guarded.client.post("/mcp", json={}).status_code == 401


def test_a_token_decides_what_a_host_may_do_and_learns_no_paths(guarded: LiveServer) -> None:
    reader = add_token(guarded.runtime.library, "reader", ("read",))

    async def run(secret: str, tool: str, **arguments: Any) -> ToolAnswer:
        headers = {"Authorization": f"Bearer {secret}"}
        async with httpx2.AsyncClient(headers=headers, timeout=30) as http:
            transport = streamable_http_client(f"{guarded.url}/mcp", http_client=http)
            async with Client(transport) as client:
                return await call(client, tool, **arguments)

    made = asyncio.run(run(_SECRET, "generate_image", prompt="a fox", size="64x48"))
    assert made.data["images"][0]["path"] is None
    assert made.data["images"][0]["uri"] in made.text
    folder = str(guarded.runtime.settings.output.directory.parent)
    assert folder not in made.result.model_dump_json()
    refused = asyncio.run(run(reader, "generate_image", prompt="a fox"))
    assert "needs the scope generate" in refused.text
    listed = asyncio.run(run(reader, "list_images"))
    assert len(listed.data["images"]) == 1
    assert folder not in listed.result.model_dump_json()


def test_what_is_no_mcp_message_is_refused(served: LiveServer) -> None:
    assert is_loopback(served.url)
    assert served.client.get("/mcp").status_code in (400, 406)
    assert served.client.post("/mcp", content=b"{").status_code in (400, 406, 415)


def test_the_server_imports_nothing_of_it_before_the_first_request() -> None:
    code = "import imagen.server.app, imagen.cli, sys; print('mcp' in sys.modules)"
    run = [sys.executable, "-c", code]
    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout == "False\n"


def test_stdout_of_the_command_is_for_the_protocol_alone() -> None:
    """The client reads every line of it; a line that is not a message would be an error."""
    faults: list[object] = []

    async def note(message: object) -> None:
        if isinstance(message, Exception):
            faults.append(message)

    async def run() -> Any:
        place = StdioServerParameters(command=sys.executable, args=["-m", "imagen", "mcp"])
        async with Client(place, message_handler=note) as client:
            made = await call(client, "generate_image", prompt="a fox", size="64x48")
            return made, (await client.list_tools()).tools

    made, tools = asyncio.run(run())
    assert made.kinds == ["text", "image", "resource_link"]
    assert Path(made.data["images"][0]["path"]).is_file()
    assert len(tools) == 11
    assert faults == []
