"""`neptun-mcp demo`: a conversation with the server over stdio, as a host has it, on sample data."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, TypeAlias, get_args

import anyio
from mcp.client.client import Client
from mcp.client.session import ClientRequestContext
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.types import ElicitRequestParams, ElicitResult
from rich.console import Console
from rich.text import Text

from ..neptun.models import ResourceType
from . import SUCCESS, end_at_once, show
from .console import is_plain, plain, render

Call: TypeAlias = tuple[str, dict[str, Any]]

IMPORTS: Call = ("list_imports", {"project_id": 1})
DELETION: Call = ("delete_import", {"project_id": 1, "import_id": 105})
RESOURCES: list[Call] = [
    ("list_resources", {"project_id": 1, "resource_type": resource_type, "limit": 2})
    for resource_type in get_args(ResourceType)
]


def run(options: argparse.Namespace) -> int:
    """Show the conversation."""
    end_at_once()
    anyio.run(demo, Console(), is_plain())
    return SUCCESS


async def demo(
    console: Console, plainly: bool, calls: Sequence[Call] = (IMPORTS, *RESOURCES, DELETION, IMPORTS)
) -> None:
    """Start the server on the embedded sandbox in a process of its own, and use its tools.

    Args:
        console: where the conversation is shown.
        plainly: as text without colours and tables.
        calls: the tools to call, with their arguments.
    """

    def say(text: str, style: str = "") -> None:
        if plainly:
            show(text)
        else:
            console.print(Text(text, style=style))

    async def agree(context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        say(f"\nthe person is asked: {params.message}\nthe person answers:  yes", "bold yellow")
        return ElicitResult(action="accept", content={"delete": True})

    server = StdioServerParameters(command=sys.executable, args=["-m", "neptun_mcp", "--sandbox"])
    async with Client(stdio_client(server), elicitation_callback=agree) as client:
        say(f"connected to neptun-mcp, MCP {client.protocol_version}; its tools:\n")
        for tool in (await client.list_tools()).tools:
            say(f"  {tool.name}: {tool.description}", "dim")

        for name, arguments in calls:
            say(f"\n>>> {name}({', '.join(f'{k}={v!r}' for k, v in arguments.items())})", "bold cyan")
            result: dict[str, Any] = (await client.call_tool(name, arguments)).structured_content or {}
            if plainly:
                show(plain(result))
            else:
                console.print(render(result))
