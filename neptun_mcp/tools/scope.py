"""What one connection may do: never more than the settings of the server allow.

Over HTTP a connection may narrow itself by its address, and a person narrows it when signing in.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from mcp.server.context import CallNext, HandlerResult, ServerMiddleware, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.types import INVALID_PARAMS

from .arguments import is_given, refusal
from .not_done import NotAllowed

PROJECT_ARGUMENTS = {"project": {"type": "string"}, "project_id": {"type": "integer"}}
"""The arguments that name a project, with what tells whether they are given."""


@dataclass(frozen=True)
class Scope:
    """What a connection may do.

    Attributes:
        project_id: the only project; None for all of the person's.
        no_deletion: why nothing is deleted, and what the person can do, two sentences; empty if imports can be deleted.
        always_ask: nothing is deleted unless the person was asked.
    """

    project_id: int | None = None
    no_deletion: str = ""
    always_ask: bool = False


EVERYTHING = Scope()


def narrow(deleting: Collection[str]) -> ServerMiddleware[Any]:
    """Middleware of the MCP server: to a connection, what is outside its scope is not there.

    Args:
        deleting: the names of the tools that delete. A prompt is about deleting, too.
    """

    async def narrowed(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        scope: Scope = ctx.lifespan_context.scope_for(ctx.request)
        is_notification = ctx.request_id is None  # nothing runs, and nobody is answered
        if is_notification or (scope.project_id is None and not scope.no_deletion):
            return await call_next(ctx)
        params: Mapping[str, Any] = ctx.params or {}
        arguments: object = params.get("arguments") or {}
        if ctx.method in ("tools/list", "prompts/list"):
            answer = cast("dict[str, Any]", await call_next(ctx))
            return _list_within(scope, deleting, answer)
        if ctx.method in ("tools/call", "prompts/get") and isinstance(arguments, dict):
            given = cast("dict[str, Any]", arguments)
            if scope.no_deletion and ctx.method == "prompts/get":
                raise MCPError(INVALID_PARAMS, scope.no_deletion)
            if scope.no_deletion and params.get("name") in deleting:
                return refusal(ctx, NotAllowed(f"{scope.no_deletion} Nothing was deleted."))
            if scope.project_id is not None:
                named = [name for name, schema in PROJECT_ARGUMENTS.items() if is_given(given.get(name), schema)]
                outside = [name for name in named if str(given[name]).strip() != str(scope.project_id)]
                if outside:
                    words = f"{params.get('name')} has no argument {outside[0]} here. Call it without."
                    if ctx.method == "prompts/get":
                        raise MCPError(INVALID_PARAMS, words)
                    return refusal(ctx, NotAllowed(words))
                others = {name: value for name, value in given.items() if name not in PROJECT_ARGUMENTS}
                project: object = scope.project_id if ctx.method == "tools/call" else str(scope.project_id)
                ctx = replace(ctx, params={**params, "arguments": {**others, "project_id": project}})
        return await call_next(ctx)

    return narrowed


def _list_within(scope: Scope, deleting: Collection[str], answer: dict[str, Any]) -> HandlerResult:
    """The list of tools or prompts, as far as a connection has them."""
    kind = "tools" if "tools" in answer else "prompts"
    kept: list[dict[str, Any]] = answer[kind]
    if scope.no_deletion:
        kept = [entry for entry in kept if kind == "tools" and entry["name"] not in deleting]
    if scope.project_id is not None:
        kept = [_without_project(entry) for entry in kept]
    return {**answer, kind: kept}


def _without_project(entry: dict[str, Any]) -> dict[str, Any]:
    """A tool or a prompt without the arguments that name a project."""
    if schema := entry.get("inputSchema"):
        properties = {name: value for name, value in schema["properties"].items() if name not in PROJECT_ARGUMENTS}
        return {**entry, "inputSchema": {**schema, "properties": properties}}
    others = [argument for argument in entry.get("arguments") or () if argument["name"] not in PROJECT_ARGUMENTS]
    return {**entry, "arguments": others}
