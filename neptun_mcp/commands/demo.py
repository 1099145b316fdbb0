"""`neptun-mcp demo`: a chat as a person has it with an assistant that has this server, on sample data.

The person's words and the calls that an assistant makes of them stand here; everything else is the real server's.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any

import anyio
from mcp.client.client import Client
from mcp.client.session import ClientRequestContext
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.types import ElicitRequestParams, ElicitResult
from rich.console import RenderableType
from rich.table import Column, Table
from rich.text import Text

from ..command_line import command_line
from . import end_at_once, say
from .console import as_text, render

CHAT: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("Which imports of the webshop failed?", "list_imports", {"project": "webshop", "query": "status:failed"}),
    ("The repository is gone. Delete that one.", "delete_import", {"project": "webshop", "import_id": 105}),
    (
        "What does the runbook say about certificates?",
        "list_resources",
        {"project": "webshop", "resource_type": "user-files", "query": "title:runbook certificate"},
    ),
)
"""What the person says, and the call that an assistant makes of it."""


def run(options: argparse.Namespace) -> None:
    """Show the chat, and what to do next."""
    end_at_once()
    say(as_text("A chat on sample data: an assistant turns what you say into calls.\n", "dim"))
    anyio.run(demo, say)
    command = command_line()
    say(
        f"\nThat was sample data. For your own: {command} login, then {command} install. "
        f"To try it without an account in your host: {command} install --sandbox."
    )


async def demo(show: Callable[[RenderableType], None]) -> None:
    """Start the server on sample data in a process of its own, as a host does, and show the chat bit by bit."""

    async def agree(context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        show(_line("asks you", params.message, "yellow"))
        show(_line("you", "yes", "green"))
        return ElicitResult(action="accept", content={"delete": True})

    server = StdioServerParameters(command=sys.executable, args=["-m", "neptun_mcp", "--sandbox"])
    async with Client(stdio_client(server), elicitation_callback=agree) as client:
        for number, (words, tool, arguments) in enumerate(CHAT):
            if number:
                show("")
            show(_line("you", words, "green"))
            given = ", ".join(f"{name}={json.dumps(value)}" for name, value in arguments.items())
            show(_line("assistant", f"{tool}({given})", "cyan"))
            result: dict[str, Any] = (await client.call_tool(tool, arguments)).structured_content or {}
            show(as_text(result["message"], "bold") if "message" in result else render(result))


def _line(who: str, words: str, colour: str) -> RenderableType:
    """What somebody says, indented below their name."""
    line = Table.grid(Column(width=len("assistant")), Column(overflow="fold"), padding=(0, 2, 0, 0))
    line.add_row(Text(who, f"bold {colour}"), as_text(words, colour))
    return line
