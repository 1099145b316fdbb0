"""`neptun-mcp call`: calls one tool through an MCP client in this process, which asks the person at the keyboard."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import anyio
import anyio.to_thread
from mcp.client.client import Client
from mcp.client.session import ClientRequestContext
from mcp.server.mcpserver.tools import Tool
from mcp.types import CallToolResult, ElicitRequestFormParams, ElicitRequestParams, ElicitResult
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Column, Table

from ..neptun.errors import quoted
from ..server import create_server
from ..settings import Settings
from ..tools import create_tools, misuse
from ..tools.words import TERMINAL
from . import end_at_once, fail, nearest, refuse, say, settings_or_exit, show, tell
from .console import as_text, render


def run(options: argparse.Namespace) -> None:
    """Call the tool and print what it returns; without a tool, list them all."""
    end_at_once()
    tools = {tool.name: tool for tool in create_tools()}
    name: str = options.tool
    if name and name not in tools:
        hint = nearest(name, tools) or f"The tools are: {', '.join(tools)}."
        refuse(f"There is no tool {quoted(name)}. {hint}")
    if options.help or not name:
        shown = [part for tool in ([tools[name]] if name else tools.values()) for part in ("", _help(tool))]
        say(*shown[1:])
        return
    arguments = dict[str, str]()
    for word in options.arguments:
        argument, equals, value = word.partition("=")
        if not equals:
            refuse(f"{quoted(word)} has no value. An argument of a tool has the form name=value.")
        if argument in arguments:
            refuse(f"{argument} is given twice. Give it once.")
        arguments[argument] = value
    if wrong := misuse(tools[name], arguments):
        refuse(wrong)
    settings = settings_or_exit(options)
    result = anyio.run(call, settings, name, arguments)
    if result.is_error:
        fail(*(block.text for block in result.content if block.type == "text"))
    content: dict[str, Any] = result.structured_content or {}
    done: str = content.get("message", "")  # of a deletion
    if options.json:
        show(json.dumps(content), done)
    else:
        say(render(content), done=done)


def _help(tool: Tool) -> RenderableType:
    """What a tool does, and its arguments."""
    arguments = Table.grid("", Column(overflow="fold"), padding=(0, 2, 0, 0))
    required = tool.parameters.get("required", [])
    for name, schema in tool.parameters["properties"].items():
        notes = [
            "required" if name in required else "",
            ", ".join(schema.get("enum", [])),
            schema.get("description", ""),
            f"default {schema['default']}" if "default" in schema else "",
        ]
        arguments.add_row(f"{name}=", as_text("; ".join(filter(None, notes))))
    return Group(tool.name, Padding(as_text(tool.description), (0, 0, 0, 2)), Padding(arguments, (0, 0, 0, 4)))


async def call(settings: Settings, tool: str, arguments: dict[str, Any]) -> CallToolResult:
    """What the tool returns. The server can ask the person if stdin is a terminal; progress is shown if stderr is."""
    console = Console(stderr=True, force_terminal=None if sys.stderr.isatty() else False)

    async def ask(context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        waiting.stop()
        return await anyio.to_thread.run_sync(_asked, params, abandon_on_cancel=True)

    async def show_progress(progress: float, total: float | None, message: str | None) -> None:
        waiting.update(as_text(message or ""))

    server, can_ask = create_server(settings, reader=TERMINAL), sys.stdin.isatty()
    # In the older era the progress token reaches a server in this process, too.
    async with Client(server, mode="legacy", elicitation_callback=ask if can_ask else None) as client:
        with console.status("Waiting for Neptun …") as waiting:
            return await client.call_tool(tool, arguments, progress_callback=show_progress)


def _asked(params: ElicitRequestParams) -> ElicitResult:
    """Ask for each field of the form: a number for a choice from a list, or yes or no."""
    tell(params.message)
    answers: dict[str, Any] = {}
    form: dict[str, Any] = params.requested_schema if isinstance(params, ElicitRequestFormParams) else {}
    fields: dict[str, dict[str, Any]] = form.get("properties", {})
    for name, field in fields.items():
        choices: list[str] = field.get("enum", [])
        tell(*(f"  {number}  {choice}" for number, choice in enumerate(choices, 1)))
        print(f"{field['title']} ({'number' if choices else 'y/N'}): ", end="", file=sys.stderr, flush=True)
        answer = sys.stdin.readline().strip()
        if choices:
            if not (answer.isdecimal() and 1 <= int(answer) <= len(choices)):
                return ElicitResult(action="cancel")
            answers[name] = choices[int(answer) - 1]
        elif answer.lower() in ("y", "yes"):
            answers[name] = True
        else:
            return ElicitResult(action="decline")
    return ElicitResult(action="accept", content=answers)
