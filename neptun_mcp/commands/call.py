"""`neptun-mcp call`: calls one tool through an MCP client in this process, which asks the person at the keyboard."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from typing import Any, cast

import anyio
import anyio.to_thread
from mcp.client.client import Client
from mcp.client.session import ClientRequestContext
from mcp.types import CallToolResult, ElicitRequestFormParams, ElicitRequestParams, ElicitResult

from ..log import printable
from ..server import create_server
from ..settings import Settings
from . import FAILURE, MISUSE, SUCCESS, end_at_once, settings_or_exit, show, tell


def run(options: argparse.Namespace) -> int:
    """Call the tool and print what it returns."""
    end_at_once()
    settings = settings_or_exit(options)
    arguments: dict[str, Any] = {}
    for word in options.arguments:
        name, equals, value = word.partition("=")
        if not equals:
            tell("An argument of a tool has the form name=value.")
            return MISUSE
        arguments[name] = value
    result = anyio.run(call, settings, options.tool, arguments)
    if result.is_error:
        tell(*(block.text for block in result.content if block.type == "text"))
        return FAILURE
    show(json.dumps(result.structured_content) if options.json else readable(result.structured_content))
    return SUCCESS


async def call(settings: Settings, tool: str, arguments: dict[str, Any]) -> CallToolResult:
    """What the tool returns. The server can ask the person if stdin is a terminal."""
    asking = sys.stdin.isatty()
    async with Client(create_server(settings), elicitation_callback=_ask if asking else None) as client:
        return await client.call_tool(tool, arguments)


async def _ask(context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
    return await anyio.to_thread.run_sync(_asked, params, abandon_on_cancel=True)


def _asked(params: ElicitRequestParams) -> ElicitResult:
    """Ask for each field of the form: a number for a choice from a list, else yes or no."""
    print(params.message, file=sys.stderr)
    answers: dict[str, Any] = {}
    form: dict[str, Any] = params.requested_schema if isinstance(params, ElicitRequestFormParams) else {}
    fields: dict[str, dict[str, Any]] = form.get("properties", {})
    for name, field in fields.items():
        choices: list[str] = field.get("enum", [])
        for number, choice in enumerate(choices, 1):
            print(f"  {number}  {choice}", file=sys.stderr)
        print(f"{field['title']} ({'number' if choices else 'y/N'}): ", end="", file=sys.stderr, flush=True)
        answer = sys.stdin.readline().strip().lower()
        if not choices:
            answers[name] = answer in ("y", "yes")
        elif answer.isdecimal() and 1 <= int(answer) <= len(choices):
            answers[name] = choices[int(answer) - 1]
        else:
            return ElicitResult(action="cancel")
    return ElicitResult(action="accept", content=answers)


def readable(result: Any) -> str:
    """A result for a person: its values, then a block for each item; texts of several lines indented below."""
    return "\n".join(_lines(result, ""))


def _lines(value: dict[str, Any], indent: str) -> list[str]:
    short: list[str] = []
    long: list[str] = []
    for name, field in value.items():
        if isinstance(field, dict):
            long += [f"{indent}{name}:", *_lines(cast("dict[str, Any]", field), indent + "  ")]
        elif isinstance(field, list):
            for item in cast("list[dict[str, Any]]", field):
                first, *others = _lines(item, indent + "  ")
                long += [f"{indent}- {first.lstrip()}", *others]
        elif "\n" in str(field):
            lines = printable(field, kept="\n\t").split("\n")
            long += [f"{indent}{name}:", *(f"{indent}  | {line}" for line in lines)]
        else:
            shown = printable(str(field), kept="\t")
            short.append(f"{name}: {shown}")
    head = textwrap.wrap("   ".join(short), 110, initial_indent=indent, subsequent_indent=indent + "  ")
    return head + long
