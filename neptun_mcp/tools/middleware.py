"""What a message meets before a tool: middleware of the MCP server, in the order in which `server` names it."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.types import INVALID_PARAMS, CallToolResult, TextContent
from pydantic import ValidationError

from ..neptun.errors import quoted
from .arguments import is_given, parsed_arguments, refuse_unknown
from .context import EVERYTHING, Scope, Shared
from .prompts import create_prompts
from .tools import ASKING, OF_ALL, audited_tools, create_tools
from .words import NOTHING_DELETED, NotAllowed, NotDone

DELETING = ", and delete imports that they no longer want"
CHOOSING = " Projects go by name, or * for all at once."
"""Parts of the server's instructions that are not true for every connection."""

MAX_ANSWERS = 10_000
ANSWER_SECONDS = 660.0
"""How long a used answer is remembered: a little longer than the SDK takes it."""

REFUSED = {"reason": "invalid_request_state"}
"""How the SDK marks its refusal of an answer: a literal in `mcp/server/request_state.py`, as read in mcp 2.3. It has no
error class for it. Without this mark nobody would learn from its words that the call has to be made again."""

_PROJECT = {"project": {"type": "string"}, "project_id": {"type": "integer"}}
"""The arguments that name a project, with the types that `is_given` needs."""


class AnswersOnce:
    """Sends a deletion once, however often the same yes arrives (MCP 2026-07-28 and later).

    An answer comes with the sealed state of its question, which no other question has. It stands outside of the SDK's
    check of that state. Another process knows nothing of a used answer: there, a second one looks for the import, and
    does not find it once the first has deleted it.
    """

    def __init__(self) -> None:
        self._used = OrderedDict[str, float]()  # when, the oldest first

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        given = ctx.params or {}
        counts = ctx.method == "tools/call" and given.get("name") in audited_tools()
        state = given.get("requestState") if counts else None
        if isinstance(state, str):
            self._use(state)
        try:
            return await call_next(ctx)
        except MCPError as error:  # nothing ran: somebody else's state, or a malformed call
            if isinstance(state, str):
                self._used.pop(state, None)
            if error.error.data != REFUSED:
                raise
            raise MCPError(
                error.error.code,
                "This answer belongs to a question that was asked too long ago, in another call, or by a server that "
                "has restarted since or has another NEPTUN_MCP_STATE_KEY. "
                "Nothing was done; make the call again, and the person is asked again.",
                REFUSED,
            ) from None

    def _use(self, state: str) -> None:
        if state in self._used:
            raise MCPError(
                INVALID_PARAMS,
                "This answer was used already, and counts once. Call list_imports to see what became of the import; "
                "if it is still there, call delete_import without the answer, and the person is asked again.",
            )
        now = time.monotonic()
        self._used[state] = now
        while len(self._used) > MAX_ANSWERS or next(iter(self._used.values())) < now - ANSWER_SECONDS:
            self._used.popitem(last=False)


async def explain_malformed(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Says what is wrong with parameters. The SDK says "Invalid request parameters" alone."""
    try:
        return await call_next(ctx)
    except ValidationError as error:
        detail = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = quoted(".".join(map(str, detail["loc"])) or "params")[1:-1]
        raise MCPError(INVALID_PARAMS, f"{ctx.method} cannot be read: {place}: {detail['msg']}.") from None


async def keep_to_scope(ctx: ServerRequestContext[Shared, Any], call_next: CallNext) -> HandlerResult:
    """To a connection, what is outside its scope is not there. Calls are read as some hosts send them."""
    if ctx.request_id is None:  # a notification: nothing runs, and nobody is answered
        return await call_next(ctx)
    shared = ctx.lifespan_context
    scope = shared.scope_of(ctx.request)
    if ctx.method in ("tools/call", "prompts/get") and isinstance((ctx.params or {}).get("name"), str):
        try:
            params = _params_within(scope, ctx.params or {}, is_tool=ctx.method == "tools/call")
        except NotDone as error:
            return _refusal(ctx, error)
        return await call_next(replace(ctx, params=params))
    answer = cast("dict[str, Any]", await call_next(ctx))
    if ctx.method in ("initialize", "server/discover"):
        # The SDK announces resources though there are none. Claude Code would offer the model three tools for reading
        # them, easily taken for `list_resources`.
        answer["capabilities"].pop("resources", None)
        return {**answer, "instructions": _true_here(answer["instructions"], shared, scope)}
    if ctx.method in ("tools/list", "prompts/list"):
        kind = ctx.method.partition("/")[0]
        there = _names(scope, is_tool=kind == "tools")
        entries = [_entry_within(entry, shared, scope) for entry in answer[kind] if entry["name"] in there]
        return {**answer, kind: entries}
    return answer


def _names(scope: Scope, *, is_tool: bool) -> list[str]:
    """The names of the tools, or the prompts, that a connection has. A prompt is about deleting."""
    if is_tool:
        return [tool.name for tool in create_tools() if not (scope.no_deletion and tool.name in audited_tools())]
    return [] if scope.no_deletion else [prompt.name for prompt in create_prompts()]


def _true_here(words: str, shared: Shared, scope: Scope) -> str:
    """What the server says of itself and of its tools, without what a connection lacks."""
    unasked = shared.confirm_delete == "off" and not scope.always_ask
    one = scope.project_id is not None
    for said, lacks in ((DELETING, scope.no_deletion), (CHOOSING, one), (OF_ALL, one), (ASKING, unasked)):
        words = words.replace(said, "") if lacks else words
    return words


def _entry_within(entry: dict[str, Any], shared: Shared, scope: Scope) -> dict[str, Any]:
    """A tool or a prompt as a connection sees it; one for a single project has no argument that names another."""
    entry = {**entry, "description": _true_here(entry["description"], shared, scope)}
    if scope.project_id is None:
        return entry
    if schema := entry.get("inputSchema"):
        properties = {name: value for name, value in schema["properties"].items() if name not in _PROJECT}
        return {**entry, "inputSchema": {**schema, "properties": properties}}
    return {**entry, "arguments": [argument for argument in entry["arguments"] if argument["name"] not in _PROJECT]}


def _params_within(scope: Scope, params: Mapping[str, Any], *, is_tool: bool) -> dict[str, Any]:
    """The parameters of a call of a tool or a prompt, in the form of the protocol and in the scope's project."""
    name, there, kind = params["name"], _names(scope, is_tool=is_tool), "tool" if is_tool else "prompt"
    if name not in there and name in _names(EVERYTHING, is_tool=is_tool):
        raise NotAllowed(f"{scope.no_deletion} {NOTHING_DELETED}")
    if name not in there:
        has = f"The {kind}s are: {', '.join(there)}." if there else "There are none here."
        raise NotDone(f"There is no {kind} {quoted(name)}. {has}")
    arguments = parsed_arguments(params.get("arguments"))
    if arguments is None:
        raise NotDone(f"The arguments of {name} must be a JSON object. Pass none as {{}}.")
    if not is_tool:
        (prompt,) = (prompt for prompt in create_prompts() if prompt.name == name)
        refuse_unknown(name, arguments, [argument.name for argument in prompt.arguments or ()])
    if scope.project_id is not None:
        for argument, schema in _PROJECT.items():
            if is_given(value := arguments.pop(argument, None), schema) and str(value).strip() != str(scope.project_id):
                raise NotAllowed(
                    f"This connection is for project {scope.project_id} alone. "
                    f"Call {name} without {argument} if that project is meant."
                )
        arguments["project_id"] = scope.project_id if is_tool else str(scope.project_id)
    return {**params, "arguments": arguments}


def _refusal(ctx: ServerRequestContext[Shared, Any], error: NotDone) -> dict[str, Any]:
    """The result of a refused call, in the form of the wire, and in its report as if the tool had raised it.

    Raises:
        MCPError: the call is of a prompt. The specification wants -32602 ("Prompts", "Error Handling"); the SDK
            answers with 0, and logs a traceback.
    """
    if ctx.method != "tools/call":
        raise MCPError(INVALID_PARAMS, str(error)) from None
    ctx.lifespan_context.report_for(ctx.request).outcome = error
    result = CallToolResult(content=[TextContent(type="text", text=str(error))], is_error=True)
    return result.model_dump(mode="json", by_alias=True, exclude_none=True)
