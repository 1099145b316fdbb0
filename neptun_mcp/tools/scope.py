"""To a connection, what is outside its scope is not there: no tool, no argument, no other project."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, cast

from mcp.server.context import CallNext, HandlerResult, ServerMiddleware, ServerRequestContext

from .arguments import CALLS, is_given, refusal
from .context import Scope
from .not_done import NotAllowed

DELETING = ", and delete imports that they no longer want"
CHOOSING = " Projects go by name, or * for all at once."
"""What the server's instructions say of what a connection may lack."""

PROJECT_ARGUMENTS = {"project": {"type": "string"}, "project_id": {"type": "integer"}}
"""The arguments that name a project, with what tells whether they are given."""


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
        if ctx.method in ("initialize", "server/discover"):
            return _announced_within(scope, cast("dict[str, Any]", await call_next(ctx)))
        if ctx.method in ("tools/list", "prompts/list"):
            return _list_within(scope, deleting, cast("dict[str, Any]", await call_next(ctx)))
        if ctx.method not in CALLS:
            return await call_next(ctx)
        try:
            params = _params_within(scope, deleting, ctx.method, ctx.params or {})
        except NotAllowed as error:
            return refusal(ctx, error)
        return await call_next(replace(ctx, params=params))

    return narrowed


def _params_within(scope: Scope, deleting: Collection[str], method: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a call of a tool or a prompt, in the scope's project.

    Raises:
        NotAllowed: it is about a deletion or a project outside the scope.
    """
    if scope.no_deletion and method == "prompts/get":
        raise NotAllowed(scope.no_deletion)
    if scope.no_deletion and params.get("name") in deleting:
        raise NotAllowed(f"{scope.no_deletion} Nothing was deleted.")
    arguments: object = params.get("arguments") or {}
    if scope.project_id is None or not isinstance(arguments, dict):
        return {**params}
    given = cast("dict[str, Any]", arguments)
    for name, schema in PROJECT_ARGUMENTS.items():
        if is_given(given.get(name), schema) and str(given[name]).strip() != str(scope.project_id):
            raise NotAllowed(
                f"This connection is for project {scope.project_id} alone. "
                f"Call {params.get('name')} without {name} if that project is meant."
            )
    others = {name: value for name, value in given.items() if name not in PROJECT_ARGUMENTS}
    project: object = scope.project_id if method == "tools/call" else str(scope.project_id)
    return {**params, "arguments": {**others, "project_id": project}}


def _announced_within(scope: Scope, answer: dict[str, Any]) -> HandlerResult:
    """What a server says of itself, without what a connection lacks."""
    instructions: str = answer["instructions"]
    for said, lacks in ((DELETING, scope.no_deletion), (CHOOSING, scope.project_id is not None)):
        instructions = instructions.replace(said, "") if lacks else instructions
    return {**answer, "instructions": instructions}


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
