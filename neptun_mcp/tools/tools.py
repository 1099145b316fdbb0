"""The three tools: a signature and a few lines each. What is asked of the person first is in `questions`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, cast

from mcp.server.mcpserver import Resolve
from mcp.server.mcpserver.tools import Tool
from mcp.types import ToolAnnotations
from pydantic import BaseModel

from ..neptun.models import RESOURCE_MODELS, ProjectImport, ResourceType
from .everywhere import everywhere_page
from .fitting import Row, fitted
from .lists import Wanted, project_page, single_resource
from .neptun_tool import NeptunTool
from .pages import EVERY_PROJECT
from .parameters import (
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
)
from .projects import InProject
from .query import parse_query
from .questions import Found, decide
from .results import DeletionResult, ImportsPage, ResourcesPage
from .schema import flat_schema, unbounded


async def list_imports(
    call: InProject,
    project: AnyProject = "",
    project_id: ProjectId = None,
    source_type: SourceType = "",
    query: ImportsQuery = "",
    limit: Limit = 50,
    offset: Offset = 0,
) -> ImportsPage:
    wanted = Wanted("imports", parse_query(query, ProjectImport), limit, offset, kind=source_type.strip().lower())
    make = everywhere_page if call.project_id == EVERY_PROJECT else project_page
    return ImportsPage(**await make(call, wanted))


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
) -> ResourcesPage:
    if resource_id:
        fields = await single_resource(call, resource_type, resource_id, text_offset)
    else:
        wanted = Wanted(resource_type, parse_query(query, RESOURCE_MODELS[resource_type]), limit, offset)
        make = everywhere_page if call.project_id == EVERY_PROJECT else project_page
        fields = await make(call, wanted)
    return ResourcesPage(resource_type=resource_type, **fields)


async def delete_import(
    call: InProject,
    found: Found,
    refused: Annotated[str, Resolve(decide)],
    import_id: ImportId,
    project: ProjectName = "",
    project_id: ProjectId = None,
) -> DeletionResult:
    message = refused
    if not refused:
        certain = None
        try:
            deletion = await call.neptun.delete_import(call.project_id, import_id, known_to_exist=True)
            certain = import_id
        finally:
            call.pages.forget(call.neptun.session, call.project_id, certain)
        message = (
            f"Import {import_id} was deleted."
            if deletion.confirmed
            else f"Import {import_id} was gone already: it was deleted by another call, or on the Neptun website."
            if deletion.gone_before
            else f"Import {import_id} is gone. Neptun's answer was lost or unclear, so the list was checked."
        )
        if not call.report.asked:
            message += " This server did not ask anyone."
    (shown,) = fitted([Row(found)])
    return DeletionResult(
        deleted=not refused, import_id=found.id, project_id=call.project_id, message=message, deleted_import=shown
    )


@cache
def _tools() -> list[NeptunTool]:
    """All tools, made once: nobody changes them, and their schemas take time.

    Whether one exists in read-only mode, and is audited, follows from its hints.
    """
    return [
        _tool(
            list_imports,
            "List imports",
            "List the imports of a Neptun project, or of all: the folders and GitHub repositories that were read into "
            "it, newest first.",
            ImportsPage,
        ),
        _tool(
            list_resources,
            "List resources",
            "List the resources of one type of a Neptun project, or of all, newest first: files (with the lines that "
            "match the query, or their beginning), template collections, GitHub installations or chats. Pass "
            "resource_id to read a whole file.",
            ResourcesPage,
        ),
        _tool(
            delete_import,
            "Delete an import",
            "Delete one import of a Neptun project for good, with the files that came with it. Only for an import that "
            "the person wants gone. The person is asked first, if the host can ask; a refusal is not an error "
            "(deleted: false), so do not try again.",
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
    tool.bounded = {**flat_schema(tool.parameters), "additionalProperties": False}
    tool.parameters = unbounded(tool.bounded)
    tool.fn_metadata.output_schema = flat_schema(result.model_json_schema(mode="serialization"))
    return tool


def create_tools(*, read_only: bool) -> list[Tool]:
    """The tools to publish, with schemas that every host accepts.

    Args:
        read_only: only those that change nothing.
    """
    return [tool for tool in _tools() if not (read_only and tool.changes_something)]


def audited_tools() -> list[str]:
    """The names of the tools that do more than read, whether they are published or not."""
    return [tool.name for tool in _tools() if tool.changes_something]
