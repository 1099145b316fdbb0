"""What all tools have in common: how a call of one begins, and how it ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, cast

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp.server.mcpserver.tools import Tool
from mcp.shared.exceptions import MCPError
from mcp.types import InputRequiredResult
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, ValidationInfo
from pydantic_core import PydanticCustomError

from ..neptun.errors import NeptunError, quoted
from .arguments import is_given
from .context import Shared
from .not_done import NotDone
from .progress import with_progress
from .results import tool_result
from .schema import Schema, allowed
from .words import NOTHING_DELETED, explained

Given: TypeAlias = Mapping[str, Any]
"""The arguments of a call that were read before one, and were right."""

_REFUSED = "refused"


def refused_by(check: Callable[[Any, Given], None]) -> AfterValidator:
    """Refuses an argument in the words of a `NotDone`, before Neptun or the person is asked.

    Args:
        check: looks at the argument, and at those before it.
    """

    def checked(value: Any, info: ValidationInfo) -> Any:
        try:
            check(value, info.data)
        except NotDone as error:
            raise PydanticCustomError(_REFUSED, "{words}", {"words": str(error)}) from None
        return value

    return AfterValidator(checked)


def _not_a_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("not a number")
    return value


NO_BOOLEAN = BeforeValidator(_not_a_boolean)
"""Refuses `true`, which pydantic takes for 1."""


class NeptunTool(Tool):
    """A tool that refuses unknown arguments by name, and whose failures are words for the assistant."""

    bounded: Schema = Field(default_factory=dict[str, Any], exclude=True)
    """The schema of the arguments with their limits, which hosts do not get."""

    async def run(self, arguments: dict[str, Any], context: Context[Any, Any], convert_result: bool = False) -> Any:
        given = _given(self, arguments)
        current = context.request_context
        app: Shared = current.lifespan_context
        try:
            result = await with_progress(context, lambda: super(NeptunTool, self).run(given, context))
        except ToolError as error:
            app.report_for(current.request).outcome = error.__cause__ or error
            raise self._in_words(error, app, current.request) from error.__cause__
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
        if changes_something(self):
            return f"{happened} {NOTHING_DELETED} It can be deleted on the Neptun website, or from a host that asks."
        return f"{happened} Pass the project by its name or as project_id."

    def _in_words(self, error: ToolError, shared: Shared, request: Any) -> ToolError:
        """The one place that turns an error into words: what happened, and what to do."""
        cause = error.__cause__
        if isinstance(cause, NeptunError):
            return ToolError(
                explained(
                    cause,
                    shared.reader,
                    deleting=changes_something(self),
                    only_project=shared.scope_for(request).project_id is not None,
                )
            )
        if isinstance(cause, NotDone):
            return ToolError(str(cause))
        if isinstance(error, UnexpectedToolError):
            return UnexpectedToolError(
                f"{self.name} failed unexpectedly. Its log (stderr) has the details; please report them."
            )
        if isinstance(cause, ValidationError):
            return ToolError(_wrong_values(self, cause))
        # What remains is an answer to a question to the person that does not fit the form.
        return ToolError("The host's answer to the question could not be understood. Nothing was changed.")


def misuse(tool: Tool, arguments: dict[str, Any]) -> str:
    """What is wrong with arguments by themselves, in words; empty if nothing is. Nothing is called."""
    try:
        tool.fn_metadata.validate_arguments(_given(tool, arguments))
    except ToolError as error:
        return str(error)
    except ValidationError as error:
        return _wrong_values(cast(NeptunTool, tool), error)
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


def _wrong_values(tool: NeptunTool, error: ValidationError) -> str:
    details = error.errors(include_input=False, include_url=False)
    wrong = dict.fromkeys(str(detail["loc"][0]) for detail in details if detail["type"] != _REFUSED)
    values = "; ".join(allowed(name, tool.bounded["properties"][name]) for name in wrong)
    refused = [detail["ctx"]["words"] for detail in details if detail["type"] == _REFUSED and "ctx" in detail]
    return " ".join([*([f"{values}."] if values else []), *refused])


def changes_something(tool: Tool) -> bool:
    """Whether a tool does more than read: it is audited, and not there in read-only mode."""
    return tool.annotations is None or not tool.annotations.read_only_hint
