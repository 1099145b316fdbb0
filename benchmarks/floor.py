"""The floor: the least MCP server over Neptun that the SDK allows, to compare against.

Three untyped tools over one HTTPX client; each returns Neptun's JSON as it came: no checks, no pages, no
schemas of results. Settings: NEPTUN_BASE_URL, NEPTUN_SESSION_COOKIE, NEPTUN_USER_ID.
"""

# Untyped on purpose, and HTTPX need not be installed where this is only checked.
# pyright: basic, reportMissingImports=false

import os

import httpx
from mcp.server.mcpserver import MCPServer

server = MCPServer("floor")
client = httpx.AsyncClient(
    base_url=f"{os.environ['NEPTUN_BASE_URL']}/api/users/{os.environ['NEPTUN_USER_ID']}/projects",
    headers={"Accept": "application/json", "Cookie": f"neptun-session={os.environ['NEPTUN_SESSION_COOKIE']}"},
    timeout=60,
)


@server.tool()
async def list_imports(project_id):
    """List the imports of a project."""
    response = await client.get(f"/{project_id}/resources/imports")
    return response.json()


@server.tool()
async def list_resources(project_id, resource_type):
    """List the resources of one type of a project."""
    response = await client.get(f"/{project_id}/resources/{resource_type}")
    return response.json()


@server.tool()
async def delete_import(project_id, import_id):
    """Delete an import of a project."""
    response = await client.delete(f"/{project_id}/resources/imports/{import_id}")
    return response.json()


def http_app():
    """The same over HTTP, for `uvicorn --factory`."""
    return server.streamable_http_app(stateless_http=True, json_response=True)


if __name__ == "__main__":
    server.run("stdio")
