"""What a person can start with a command of the host, such as `/tidy_imports`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, cast

from mcp.server.context import CallNext, HandlerResult, ServerMiddleware, ServerRequestContext
from mcp.server.mcpserver.prompts import Prompt
from mcp.shared.exceptions import MCPError
from mcp.types import INVALID_PARAMS
from pydantic import Field

from ..neptun.errors import quoted


def tidy_imports(project_id: Annotated[str, Field(description="Leave out to be asked which project")] = "") -> str:
    chosen = project_id.strip()
    which = f"project {chosen if chosen.isdecimal() else quoted(chosen)}" if chosen else "one of my projects"
    return f"""Help me tidy the imports of {which} in Neptun.

1. Call list_imports, and again with next_offset until you have all of them.
2. Look for imports that failed, for duplicates (the same kind, path and branch: keep the newest that was completed), \
and for stale ones (still pending after a day, or not changed for half a year).
3. Show me these in a table: id, kind, path, status, date, and why each could go. If there are none, say so and stop.
4. Propose the deletions one by one, the surest first. Call delete_import only for an import that I have just agreed \
to delete; if I say no, it stays. Do not delete anything else."""


def create_prompts() -> list[Prompt]:
    """The prompts to publish where imports can be deleted."""
    return [
        Prompt.from_function(
            tidy_imports,
            title="Tidy imports",
            description="Find failed, duplicate and stale imports of a Neptun project, and delete them one by one",
        )
    ]


def prompt_reader(prompts: Sequence[Prompt]) -> ServerMiddleware[Any]:
    """Middleware of the MCP server that refuses prompts, and arguments of prompts, that do not exist.

    The specification wants -32602 for them ("Prompts", "Error Handling"); the SDK answers with 0 and logs a traceback.
    """
    known = {prompt.name: [argument.name for argument in prompt.arguments or ()] for prompt in prompts}

    async def read_prompt(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        params: Mapping[str, Any] = ctx.params or {}
        name, arguments = params.get("name"), params.get("arguments")
        if ctx.method != "prompts/get" or ctx.request_id is None or not isinstance(name, str):
            return await call_next(ctx)
        if name not in known:
            has = f"The prompts are: {', '.join(known)}." if known else "There are none here."
            raise MCPError(INVALID_PARAMS, f"There is no prompt {quoted(name)}. {has}")
        if isinstance(arguments, dict):
            unknown = [quoted(other) for other in cast("dict[str, Any]", arguments) if other not in known[name]]
            if unknown:
                its = f"Its arguments are: {', '.join(known[name])}."
                raise MCPError(INVALID_PARAMS, f"{name} has no argument {', '.join(unknown[:5])}. {its}")
        return await call_next(ctx)

    return read_prompt
