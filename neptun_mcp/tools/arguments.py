"""What hosts send as arguments of a tool, brought into the form of the protocol, or refused in words."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, cast

from mcp.server.context import CallNext, HandlerResult, ServerMiddleware, ServerRequestContext
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from mcp.types import CallToolResult, TextContent
from pydantic import ValidationError
from pydantic_core import from_json

from ..neptun.errors import quoted
from .not_done import NotAllowed, NotDone
from .parameters import REFUSED
from .schema import Schema, flat_schema
from .words import Reader


def call_reader(tools: Collection[str], withheld: Collection[str]) -> ServerMiddleware[Any]:
    """Middleware of the MCP server that reads arguments as some hosts send them: as a JSON string, or as `[]` for none.

    Args:
        tools: the names of the tools that there are.
        withheld: the names of those that there would be without NEPTUN_READ_ONLY.
    """

    async def read_call(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        params: Mapping[str, Any] = ctx.params or {}
        name, arguments = params.get("name"), params.get("arguments")
        if ctx.method != "tools/call" or not isinstance(name, str):
            return await call_next(ctx)
        if name not in tools:
            return refusal(ctx, _unknown(name, tools, withheld, ctx.lifespan_context.reader))
        if arguments is not None and not isinstance(arguments, dict):
            arguments = parsed_arguments(arguments)
            if arguments is None:
                return refusal(ctx, NotDone(f"The arguments of {name} must be a JSON object. Pass none as {{}}."))
            ctx = replace(ctx, params={**params, "arguments": arguments})
        return await call_next(ctx)

    return read_call


def parsed_arguments(arguments: Any) -> dict[str, Any] | None:
    """The arguments of a call in any form in which hosts send them; None if they are no object."""
    if isinstance(arguments, str):
        try:
            arguments = from_json(arguments.strip() or "{}")
        except ValueError:
            return None
    if arguments in (None, []):
        return {}
    return cast("dict[str, Any]", arguments) if isinstance(arguments, dict) else None


def _unknown(name: str, tools: Collection[str], withheld: Collection[str], reader: Reader) -> NotDone:
    if name in withheld:
        return NotAllowed(
            f"{name} is switched off. The person can do it on the Neptun website, or "
            f"{reader.told_to_set('unset NEPTUN_READ_ONLY')}."
        )
    return NotDone(f"There is no tool {quoted(name)}. The tools are: {', '.join(tools)}.")


def refusal(ctx: ServerRequestContext[Any, Any], error: NotDone) -> dict[str, Any]:
    """A failure in the form of the wire, which nothing else gives it here, reported as if a tool had raised it."""
    ctx.lifespan_context.report_for(ctx.request).outcome = error
    result = CallToolResult(content=[TextContent(type="text", text=str(error))], is_error=True)
    return result.model_dump(mode="json", by_alias=True, exclude_none=True)


def is_given(value: Any, schema: Schema) -> bool:
    """Whether an optional argument counts as given: strict hosts send every argument, null, "" or 0 for none."""
    is_number = schema["type"] == "integer"
    if isinstance(value, str):
        value = value.strip()
        return value not in ("", "0") if is_number else bool(value)
    return value is not None and (value is False or value != 0 or not is_number)


def given_arguments(tool: Tool, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that count as given.

    Raises:
        ToolError: there are others than the tool's.
    """
    properties: dict[str, Any] = tool.parameters["properties"]
    if unknown := [quoted(name) for name in arguments if name not in properties]:
        raise ToolError(
            f"{tool.name} has no argument {', '.join(unknown[:5])}. Its arguments are: {', '.join(properties)}."
        )
    required = tool.parameters.get("required", ())
    return {name: value for name, value in arguments.items() if name in required or is_given(value, properties[name])}


def misuse(tool: Tool, arguments: Mapping[str, Any]) -> str:
    """What is wrong with arguments by themselves, in words; empty if nothing is. Nothing is called."""
    try:
        tool.fn_metadata.validate_arguments(given_arguments(tool, arguments))
    except ToolError as error:
        return str(error)
    except ValidationError as error:
        return wrong_values(tool, error)
    return ""


_INSTEAD = {
    "project_id": "A name goes into project.",
    "resource_id": "To find a resource by its name, pass query.",
    "import_id": "Pass one id that list_imports shows.",
}
"""What to do if a name, or several ids, were meant to be an id."""


def wrong_values(tool: Tool, error: ValidationError) -> str:
    """What is wrong with the arguments of a tool, in words."""
    limits = flat_schema(tool.fn_metadata.arg_model.model_json_schema())["properties"]
    details = error.errors(include_input=False, include_url=False)
    wrong = dict.fromkeys(str(detail["loc"][0]) for detail in details if detail["type"] != REFUSED)
    values = "; ".join(_allowed(name, limits[name]) for name in wrong)
    refused = [detail["ctx"]["words"] for detail in details if detail["type"] == REFUSED and "ctx" in detail]
    instead = [words for name, words in _INSTEAD.items() if name in wrong]
    return " ".join([*([f"{values}."] if values else []), *instead, *refused])


def _allowed(name: str, schema: Schema) -> str:
    """What an argument may be, in words: "limit must be a whole number from 1 to 100"."""
    if "enum" in schema:
        return f"{name} must be one of {', '.join(schema['enum'])}"
    if schema["type"] == "integer":
        low, high = schema.get("minimum"), schema.get("maximum")
        return f"{name} must be a whole number" + (f" from {low} to {high}" if high else f", {low} or more")
    return f"{name} must be text" + (f" of at most {schema['maxLength']} characters" if "maxLength" in schema else "")
