"""`neptun-mcp demo`: a conversation with the server over stdio, as a host has it, on sample data."""

from __future__ import annotations

import argparse
import sys
from typing import Any, get_args

import anyio
from mcp.client.client import Client
from mcp.client.session import ClientRequestContext
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.types import ElicitRequestParams, ElicitResult

from ..neptun.models import ResourceType
from . import SUCCESS, end_at_once, show
from .call import readable

PROJECT = 1
DOOMED = 105


def run(options: argparse.Namespace) -> int:
    """Show the conversation."""
    end_at_once()
    anyio.run(demo)
    return SUCCESS


async def _agree(context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
    show(f"\nthe person is asked: {params.message}\nthe person answers:  yes")
    return ElicitResult(action="accept", content={"delete": True})


async def demo() -> None:
    """Start the server on the embedded sandbox in a process of its own, and use its tools."""
    server = StdioServerParameters(command=sys.executable, args=["-m", "neptun_mcp", "--sandbox"])
    async with Client(stdio_client(server), elicitation_callback=_agree) as client:
        show(f"connected to neptun-mcp, MCP {client.protocol_version}; its tools:\n")
        for tool in (await client.list_tools()).tools:
            show(f"  {tool.name}: {tool.description}")

        async def call(name: str, **arguments: Any) -> None:
            show(f"\n>>> {name}({', '.join(f'{k}={v!r}' for k, v in arguments.items())})")
            show(readable((await client.call_tool(name, arguments)).structured_content))

        await call("list_imports", project_id=PROJECT)
        for resource_type in get_args(ResourceType):
            await call("list_resources", project_id=PROJECT, resource_type=resource_type, limit=2)
        await call("delete_import", project_id=PROJECT, import_id=DOOMED)
        await call("list_imports", project_id=PROJECT)
