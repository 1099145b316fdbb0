"""The SDK alone: three tools that ask nobody and return nothing, to see what no server built on it can do without."""

from mcp.server.mcpserver import MCPServer
from starlette.applications import Starlette

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


def http_app() -> Starlette:
    """The same over HTTP, for `uvicorn --factory`."""
    return server.streamable_http_app(stateless_http=True, json_response=True)


if __name__ == "__main__":
    server.run("stdio")
