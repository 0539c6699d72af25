"""The MCP server: tools for language models. Only this folder imports mcp."""
