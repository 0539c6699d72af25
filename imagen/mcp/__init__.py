"""Tools for MCP hosts: `imagen mcp` over stdio, and `/mcp` on the server."""
