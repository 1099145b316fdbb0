"""The SDK alone: three tools that ask nobody and return nothing, to see what no server built on it can do without."""

from mcp.server.mcpserver import MCPServer

server = MCPServer("bare")


@server.tool()
async def list_imports(project_id: int) -> None:
    """List the imports of a project."""


@server.tool()
async def list_resources(project_id: int, resource_type: str) -> None:
    """List the resources of one type of a project."""


@server.tool()
async def delete_import(project_id: int, import_id: int) -> None:
    """Delete an import of a project."""


if __name__ == "__main__":
    server.run("stdio")
