"""What a long-lived process has open for its clients: the HTTP server, and the MCP server."""

from imagen.runtime.runtime import Runtime, open_runtime

__all__ = ["Runtime", "open_runtime"]
