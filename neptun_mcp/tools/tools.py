"""The three tools: a signature and a few lines each. What is asked of the person first is in `questions`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

from mcp.server.mcpserver import Context, Resolve
from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp.server.mcpserver.tools import Tool
from mcp.types import InputRequiredResult, ToolAnnotations
from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from ..neptun.client import KNOWN_KINDS
from ..neptun.errors import NeptunError, quoted
from ..neptun.models import MAX_ID, ResourceType
from .arguments import is_given
from .context import NotDone, Shared, shared_by
from .progress import with_progress
from .projects import InProject
from .questions import Decision, decide
from .results import (
    DeletionResult,
    ImportsPage,
    ResourcesPage,
    deletion_result,
    imports_page,
    one_resource,
    resources_page,
    tool_result,
)
from .schema import allowed, closed_schema, flat_schema
from .words import explained


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("not a number")
    return value


_AnyId: TypeAlias = Annotated[int, Field(ge=1, le=MAX_ID), BeforeValidator(_no_bool)]
_Count: TypeAlias = Annotated[int, Field(ge=0, le=MAX_ID), BeforeValidator(_no_bool)]
ProjectId: TypeAlias = Annotated[_AnyId | None, Field(description="Leave out if unknown: it is found or asked for")]
Query: TypeAlias = Annotated[
    str,
    Field(
        max_length=1_000,
        coerce_numbers_to_str=True,
        description="Only items with all these words or parts of words, in any text field or file text",
    ),
]
Limit: TypeAlias = Annotated[int, Field(ge=1, le=100), BeforeValidator(_no_bool)]
Offset: TypeAlias = Annotated[_Count, Field(description="next_offset of the page before")]
TextOffset: TypeAlias = Annotated[
    int,
    Field(
        ge=-MAX_ID,
        le=MAX_ID,
        description="With resource_id: the character to begin at, any; a negative one counts from the end",
    ),
    BeforeValidator(_no_bool),
]


async def list_imports(
    ctx: Context[Shared, Any],
    call: InProject,
    project_id: ProjectId = None,
    source_type: Annotated[
        str,
        Field(
            max_length=100,
            description="local_folder, github_repository_installation, public_github_repository_url, "
            "github (all GitHub kinds), or another kind seen in a result",
        ),
    ] = "",
    query: Query = "",
    limit: Limit = 50,
    offset: Offset = 0,
) -> ImportsPage:
    kind = source_type.strip().lower()
    pages = shared_by(ctx).pages
    key = await pages.key(call.neptun.session, call.project_id, "imports", kind)
    imports = await pages.find(key, offset > 0, lambda: call.neptun.list_imports(call.project_id, kind or None))
    if kind and kind not in KNOWN_KINDS and not imports.items:
        raise NotDone(
            f"source_type must be one of {', '.join(KNOWN_KINDS)}, or another kind that is in the project. "
            "There is no import of the kind that was asked for."
        )
    page = imports_page(call.project_id, imports, query, limit, offset)
    pages.remember(key, imports, page.next_offset is not None)
    return page


async def list_resources(
    ctx: Context[Shared, Any],
    call: InProject,
    resource_type: ResourceType,
    project_id: ProjectId = None,
    resource_id: Annotated[_AnyId | None, Field(description="Only this one, a file with its full text")] = None,
    query: Query = "",
    limit: Limit = 50,
    offset: Offset = 0,
    text_offset: TextOffset = 0,
) -> ResourcesPage:
    if text_offset and not resource_id:
        raise NotDone("text_offset goes with resource_id: pass both, or neither.")
    neptun, pages = call.neptun, shared_by(ctx).pages
    key = await pages.key(neptun.session, call.project_id, resource_type, resource_id)
    if resource_id:
        resource = await pages.find(
            key, text_offset != 0, lambda: neptun.get_resource(call.project_id, resource_type, resource_id)
        )
        page = one_resource(call.project_id, resource_type, resource, text_offset)
        pages.remember(key, resource, any(getattr(item, "next_text_offset", None) for item in page.resources))
        return page
    resources = await pages.find(key, offset > 0, lambda: neptun.list_resources(call.project_id, resource_type))
    page = resources_page(call.project_id, resource_type, resources, query, limit, offset)
    pages.remember(key, resources, page.next_offset is not None)
    return page


async def delete_import(
    ctx: Context[Shared, Any],
    call: InProject,
    decision: Annotated[Decision, Resolve(decide)],
    import_id: Annotated[_AnyId, Field(description="As list_imports shows it")],
    project_id: ProjectId = None,
) -> DeletionResult:
    if decision.why_not:
        message = f"{decision.why_not} Nothing was deleted."
        return deletion_result(False, call.project_id, decision.found, message)
    try:
        deletion = await call.neptun.delete_import(call.project_id, import_id, known_to_exist=True)
    finally:
        shared_by(ctx).pages.forget(call.neptun.session, call.project_id)
    message = (
        f"Import {import_id} was deleted."
        if deletion.confirmed
        else f"Import {import_id} is gone. Neptun's answer was lost or unclear, so the list was checked."
    )
    unasked = "" if decision.asked else " The person was not asked."
    return deletion_result(True, call.project_id, decision.found, message + unasked)


class NeptunTool(Tool):
    """A tool that refuses unknown arguments by name, and whose failures are words for the assistant."""

    async def run(self, arguments: dict[str, Any], context: Context[Any, Any], convert_result: bool = False) -> Any:
        given = _given(self, arguments)
        current = context.request_context
        app: Shared = current.lifespan_context
        try:
            result = await with_progress(context, lambda: super(NeptunTool, self).run(given, context))
        except ToolError as error:
            app.report_for(current.request).outcome = error.__cause__ or error
            raise self._in_words(error, app, current.request) from error.__cause__
        if isinstance(result, InputRequiredResult):
            return result
        app.report_for(current.request).outcome = result
        return tool_result(result)

    def _in_words(self, error: ToolError, shared: Shared, request: Any) -> ToolError:
        """The one place that turns an error into words: what happened, and what to do."""
        cause = error.__cause__
        if isinstance(cause, NeptunError):
            return ToolError(
                explained(
                    cause,
                    deleting=changes_something(self),
                    renewal=shared.renewal,
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
        return _wrong_values(tool, error)
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


def _wrong_values(tool: Tool, error: ValidationError) -> str:
    wrong = dict.fromkeys(str(detail["loc"][0]) for detail in error.errors(include_input=False))
    return "; ".join(allowed(name, tool.parameters["properties"][name]) for name in wrong) + "."


_READS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=True)
_DELETES = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=True)


@dataclass(frozen=True)
class _Declaration:
    """A tool as hosts see it. Whether it exists in read-only mode, and is audited, follows from its hints."""

    function: Callable[..., Any]
    title: str
    description: str
    hints: ToolAnnotations
    result: type[BaseModel]

    @property
    def name(self) -> str:
        return self.function.__name__


_DECLARED = (
    _Declaration(
        list_imports,
        "List imports",
        "List the imports of a Neptun project: the folders and GitHub repositories that were read into it, with "
        "kind, path, status and dates, newest first.",
        _READS,
        ImportsPage,
    ),
    _Declaration(
        list_resources,
        "List resources",
        "List the resources of one type of a Neptun project, newest first: files (with the "
        "beginning of their text, or the place where the query matches), template collections, GitHub "
        "installations or chats. To read a whole file, pass its id as resource_id.",
        _READS,
        ResourcesPage,
    ),
    _Declaration(
        delete_import,
        "Delete an import",
        "Delete one import of a Neptun project for good, with the files that came with it. Only for an import that "
        "the person wants gone. The person is asked first, if the host can ask; a refusal is not an error "
        "(deleted: false), so do not try again.",
        _DELETES,
        DeletionResult,
    ),
)


def create_tools(*, read_only: bool) -> list[Tool]:
    """The tools to publish, with schemas that every host accepts.

    Args:
        read_only: only those that change nothing.
    """
    return [_tool(declared) for declared in _DECLARED if not (read_only and _changes_something(declared.hints))]


def withheld_tools(tools: Iterable[Tool]) -> list[str]:
    """The names of the tools that are not among those to publish."""
    published = {tool.name for tool in tools}
    return [declared.name for declared in _DECLARED if declared.name not in published]


def changes_something(tool: Tool) -> bool:
    """Whether a tool does more than read: it is audited, and not there in read-only mode."""
    return tool.annotations is None or _changes_something(tool.annotations)


def audited_tools() -> list[str]:
    """The names of the tools that do more than read, whether they are published or not."""
    return [declared.name for declared in _DECLARED if _changes_something(declared.hints)]


def _changes_something(hints: ToolAnnotations) -> bool:
    return not hints.read_only_hint


def _tool(declared: _Declaration) -> Tool:
    tool = NeptunTool.from_function(
        declared.function,
        title=declared.title,
        description=declared.description,
        annotations=declared.hints.model_copy(update={"title": declared.title}),
        structured_output=False,
    )
    tool.parameters = closed_schema(tool.parameters)
    tool.fn_metadata.output_schema = flat_schema(declared.result.model_json_schema(mode="serialization"))
    return tool
