"""The three tools: a signature and a few lines each, and how a call of one begins and ends.

`projects` finds out which project is meant, and `questions` asks the person before a deletion.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any, cast

from mcp.server.mcpserver import Context, Resolve
from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp.server.mcpserver.tools import Tool
from mcp.shared.exceptions import MCPError
from mcp.types import PARSE_ERROR, CallToolResult, InputRequiredResult, TextContent, ToolAnnotations
from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from ..neptun.errors import NeptunError
from ..neptun.models import RESOURCE_MODELS, ProjectImport, ResourceType
from .arguments import (
    AnyProject,
    ImportId,
    ImportsQuery,
    Limit,
    Offset,
    ProjectId,
    ProjectName,
    ResourceId,
    ResourcesQuery,
    SourceType,
    TextOffset,
    given_arguments,
    wrong_values,
)
from .context import Call, Scope, Shared
from .fitting import single
from .lists import Wanted, list_page, single_resource
from .progress import with_progress
from .projects import InProject
from .query import parse_query
from .questions import UNTOUCHED, Found, ask_deletion, decide
from .schema import BOUNDS, DeletionResult, ImportsPage, ResourcesPage, flat_schema
from .words import NOTHING_DELETED, NotDone, explained


async def list_imports(
    call: InProject,
    project: AnyProject = "",
    project_id: ProjectId = None,
    source_type: SourceType = "",
    query: ImportsQuery = "",
    limit: Limit = 50,
    offset: Offset = 0,
) -> dict[str, Any]:
    wanted = Wanted("imports", parse_query(query, ProjectImport), limit, offset, kind=source_type.strip().lower())
    fields = await list_page(call, wanted)
    items = fields.pop("items")
    return {**fields, "imports": items}


async def list_resources(
    call: InProject,
    resource_type: ResourceType,
    project: AnyProject = "",
    project_id: ProjectId = None,
    resource_id: ResourceId = None,
    query: ResourcesQuery = "",
    limit: Limit = 50,
    offset: Offset = 0,
    text_offset: TextOffset = 0,
) -> dict[str, Any]:
    if resource_id:
        fields = await single_resource(call, resource_type, resource_id, text_offset, query, offset)
    else:
        wanted = Wanted(resource_type, parse_query(query, RESOURCE_MODELS[resource_type]), limit, offset)
        fields = await list_page(call, wanted)
    items = fields.pop("items")
    return {**fields, "resource_type": resource_type, "resources": items}


async def delete_import(
    call: InProject,
    found: Found,
    refused: Annotated[str, Resolve(decide)],
    import_id: ImportId,
    project: ProjectName = "",
    project_id: ProjectId = None,
) -> dict[str, Any]:
    message = refused or await _delete(call, import_id)
    head = {"deleted": not refused, "import_id": found.id, "project_id": call.project_id}
    return {**head, "message": message, "import": single(found)}


async def _delete(call: Call, import_id: int) -> str:
    """Delete an import that was there a moment ago. Returns what became of it, in words for the assistant."""
    certain = None
    try:
        deletion = await call.neptun.delete_import(call.project_id, import_id, known_to_exist=True)
        certain, call.report.gone_before = import_id, deletion.gone_before
    finally:
        call.shared.pages.forget(call.neptun.session, call.project_id, certain)
    if deletion.confirmed:
        happened = f"Import {import_id} was deleted."
    elif deletion.gone_before:
        happened = f"Import {import_id} was gone already: it was deleted by another call, or on the Neptun website."
    else:
        happened = f"Import {import_id} is gone. Neptun's answer was lost or unclear, so the list was checked."
    return happened if call.report.asked else f"{happened} This server did not ask anyone."


OF_ALL = ", or of all"
ASKING = (
    " The person is asked first, if the host can ask; a refusal is not an error (deleted: false), so do not try again."
)
"""Parts of the tools' descriptions that are not true for every connection."""

NOT_UNDERSTOOD = (
    "The host's answer to the question could not be understood. Nothing was changed; make the call again, and the "
    "person is asked again."
)

_UNASKED = {
    False: "Pass the project by its name or as project_id.",
    True: f"{NOTHING_DELETED} The Neptun website can delete the import, or a host that asks.",
}


class NeptunTool(Tool):
    """A tool that refuses unknown arguments by name, and whose failures are words for the assistant."""

    @property
    def changes_something(self) -> bool:
        return self.annotations is None or not self.annotations.read_only_hint

    async def run(self, arguments: dict[str, Any], context: Context[Any, Any], convert_result: bool = False) -> Any:
        given = given_arguments(self, arguments)
        shared: Shared = context.request_context.lifespan_context
        request = context.request_context.request
        report = shared.report_for(request)
        try:
            result = await with_progress(context, super().run(given, context))
        except (ToolError, MCPError) as error:
            report.outcome = error.__cause__ or error
            raise self._in_words(error, shared, shared.scope_of(request), given) from report.outcome
        if isinstance(result, InputRequiredResult):
            return result
        report.outcome = result
        # The same object twice, as compact JSON for hosts that show the text alone.
        text = TextContent(type="text", text=to_json(result).decode())
        return CallToolResult(content=[text], structured_content=result)

    def _in_words(
        self, error: ToolError | MCPError, shared: Shared, scope: Scope, given: Mapping[str, Any]
    ) -> ToolError:
        """The one place that turns an error into words: what happened, and what to do."""
        cause = error.__cause__
        if isinstance(cause, NeptunError):
            by_setting = shared.project_id and given.keys().isdisjoint({"project", "project_id"})
            chosen_by = "connection" if scope.project_id is not None else "setting" if by_setting else ""
            return ToolError(explained(cause, shared.reader, deleting=self.changes_something, chosen_by=chosen_by))
        if isinstance(cause, NotDone):
            return ToolError(str(cause))
        if isinstance(error, UnexpectedToolError):
            return UnexpectedToolError(
                f"{self.name} failed unexpectedly. The log of this server (stderr) has the details; please report them."
            )
        if isinstance(cause, ValidationError):
            return ToolError(wrong_values(self, cause))
        # Until 2025-11-25 the host's answer to a question may be an error; as stdio says of one that is no answer.
        if isinstance(error, MCPError) and error.error.code != PARSE_ERROR:
            happened = f"The host answered the question to the person with an error ({error.error.code})"
            return ToolError(f"{happened}, so nobody was asked. {_UNASKED[self.changes_something]}")
        # What remains is an answer that does not fit the form. The SDK says so in words alone if it was accepted
        # without content (`mcp/server/mcpserver/resolve.py`, as read in mcp 2.3).
        is_empty = all(words in str(error) for words in (ask_deletion.__name__, "with no content"))
        return ToolError(UNTOUCHED if is_empty else NOT_UNDERSTOOD)


@cache
def create_tools() -> list[NeptunTool]:
    """All tools, with schemas that every host accepts: made once, as nobody changes them, and it takes time.

    Whether a connection that may not delete has one, and whether it is audited, follows from its hints.
    """
    return [
        _tool(
            list_imports,
            "List imports",
            f"List the imports of a Neptun project{OF_ALL}: the folders and GitHub repositories that were read into "
            "it, newest first.",
            ImportsPage,
        ),
        _tool(
            list_resources,
            "List resources",
            f"List the resources of one type of a Neptun project{OF_ALL}, newest first: files (with the lines that "
            "match the query, or their beginning), template collections, GitHub installations or chats. Pass "
            "resource_id to read a whole file.",
            ResourcesPage,
        ),
        _tool(
            delete_import,
            "Delete an import",
            "Delete one import of a Neptun project for good, with the files that came with it. Only for an import that "
            f"the person wants gone.{ASKING}",
            DeletionResult,
            deletes=True,
        ),
    ]


def _tool(
    function: Callable[..., Any], title: str, description: str, result: type[BaseModel], *, deletes: bool = False
) -> NeptunTool:
    """A tool as hosts see it."""
    hints = ToolAnnotations(
        title=title, read_only_hint=not deletes, destructive_hint=deletes, idempotent_hint=True, open_world_hint=True
    )
    made = NeptunTool.from_function(
        function, title=title, description=description, annotations=hints, structured_output=False
    )
    tool = cast(NeptunTool, made)
    tool.parameters = {**flat_schema(tool.parameters, BOUNDS), "additionalProperties": False}
    tool.fn_metadata.output_schema = flat_schema(result.model_json_schema(mode="serialization"))
    return tool


def audited_tools() -> list[str]:
    """The names of the tools that do more than read."""
    return [tool.name for tool in create_tools() if tool.changes_something]
