"""The Neptun web API. Knows nothing of MCP."""
