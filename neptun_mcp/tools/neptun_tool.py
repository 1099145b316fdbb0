"""What all tools have in common: how a call of one begins, and how it ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp.server.mcpserver.tools import Tool
from mcp.shared.exceptions import MCPError
from mcp.types import InputRequiredResult
from pydantic import Field, ValidationError

from ..neptun.errors import NeptunError, quoted
from .arguments import is_given
from .context import Shared
from .not_done import NotDone
from .parameters import wrong_values
from .progress import with_progress
from .results import tool_result
from .schema import Schema
from .words import NOTHING_DELETED, explained

NOT_UNDERSTOOD = (
    "The host's answer to the question could not be understood. Nothing was changed; make the call again, and the "
    "person is asked again."
)


class NeptunTool(Tool):
    """A tool that refuses unknown arguments by name, and whose failures are words for the assistant."""

    bounded: Schema = Field(default_factory=dict[str, Any], exclude=True)
    """The schema of the arguments with their limits, which hosts do not get."""

    @property
    def changes_something(self) -> bool:
        return self.annotations is None or not self.annotations.read_only_hint

    async def run(self, arguments: dict[str, Any], context: Context[Any, Any], convert_result: bool = False) -> Any:
        given = _given(self, arguments)
        current = context.request_context
        app: Shared = current.lifespan_context
        try:
            result = await with_progress(context, lambda: super(NeptunTool, self).run(given, context))
        except ToolError as error:
            app.report_for(current.request).outcome = error.__cause__ or error
            raise self._in_words(error, app, current.request, given) from error.__cause__
        except MCPError as error:
            # Until 2025-11-25 the host's answer to a question may be an error.
            unasked = ToolError(self._unasked(error))
            app.report_for(current.request).outcome = unasked
            raise unasked from error
        if isinstance(result, InputRequiredResult):
            return result
        app.report_for(current.request).outcome = result
        return tool_result(result)

    def _unasked(self, error: MCPError) -> str:
        happened = (
            f"The host answered the question to the person with an error ({error.error.code}), so nobody was asked."
        )
        if self.changes_something:
            return f"{happened} {NOTHING_DELETED} It can be deleted on the Neptun website, or from a host that asks."
        return f"{happened} Pass the project by its name or as project_id."

    def _in_words(self, error: ToolError, shared: Shared, request: Any, given: Mapping[str, Any]) -> ToolError:
        """The one place that turns an error into words: what happened, and what to do."""
        cause = error.__cause__
        if isinstance(cause, NeptunError):
            only_project = shared.scope_for(request).project_id is not None
            by_setting = not only_project and given.keys().isdisjoint({"project", "project_id"})
            return ToolError(
                explained(
                    cause,
                    shared.reader,
                    deleting=self.changes_something,
                    only_project=only_project,
                    set_project=shared.project_id if by_setting else None,
                )
            )
        if isinstance(cause, NotDone):
            return ToolError(str(cause))
        if isinstance(error, UnexpectedToolError):
            return UnexpectedToolError(
                f"{self.name} failed unexpectedly. Its log (stderr) has the details; please report them."
            )
        if isinstance(cause, ValidationError):
            return ToolError(wrong_values(cause, self.bounded))
        # What remains is an answer to a question to the person that does not fit the form.
        return ToolError(NOT_UNDERSTOOD)


def misuse(tool: Tool, arguments: dict[str, Any]) -> str:
    """What is wrong with arguments by themselves, in words; empty if nothing is. Nothing is called."""
    try:
        tool.fn_metadata.validate_arguments(_given(tool, arguments))
    except ToolError as error:
        return str(error)
    except ValidationError as error:
        return wrong_values(error, cast(NeptunTool, tool).bounded)
    return ""


def _given(tool: Tool, arguments: dict[str, Any]) -> dict[str, Any]:
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
