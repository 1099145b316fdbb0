"""The three tools: a signature and a few lines each. What is asked of the person first is in `questions`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias, cast

from mcp.server.mcpserver import Context, Resolve
from mcp.server.mcpserver.tools import Tool
from mcp.types import ToolAnnotations
from pydantic import BaseModel, Field

from ..neptun.models import MAX_ID, RESOURCE_MODELS, ProjectImport, ResourceType
from .context import Shared, shared_by
from .everywhere import everywhere_page
from .lists import Wanted, project_page, single_resource
from .neptun_tool import NO_BOOLEAN, Given, NeptunTool, refused_by
from .not_done import NotDone
from .projects import ALL, Call, InProject
from .query import parse_query
from .questions import Decision, decide
from .results import DeletionResult, ImportsPage, ResourcesPage, deletion_result
from .schema import closed_schema, flat_schema, unbounded
from .words import NOTHING_DELETED

_AnyId: TypeAlias = Annotated[int, Field(ge=1, le=MAX_ID), NO_BOOLEAN]
_Whole: TypeAlias = Annotated[int, Field(ge=-MAX_ID, le=MAX_ID), NO_BOOLEAN]
_NAME = "Name, a part of it, or id"
_QUERY = (
    'Words or parts of words, all of them, in any field or file text. As on GitHub: "a phrase", -without, field:word '
    "(status:failed), before:2026-01-31, after:2026-01-31"
)


def _text(description: str, most: int) -> Any:
    return Field(max_length=most, coerce_numbers_to_str=True, description=description)


def _one_project(project: str, _: Given) -> None:
    if project.strip() == ALL:
        raise NotDone(f"An import is deleted from one project, never from all. {NOTHING_DELETED} Name the project.")


def _no_other_project(project_id: int | None, given: Given) -> None:
    if project_id and given.get("project", "").strip() == ALL:
        raise NotDone('project "*" means all projects, and project_id one. Pass one of the two.')


def _in_one_project(resource_id: int | None, given: Given) -> None:
    if resource_id and given.get("project", "").strip() == ALL:
        raise NotDone("resource_id goes with one project, which the list shows beside it. Pass that as project_id.")


def _of_one_resource(text_offset: int, given: Given) -> None:
    if text_offset and given.get("resource_id", 0) is None:
        raise NotDone("text_offset goes with resource_id: pass both, or neither.")


def _language(query: str, _: Given) -> None:
    parse_query(query, ProjectImport)


ProjectName: TypeAlias = Annotated[str, _text(_NAME, 200), refused_by(_one_project)]
AnyProject: TypeAlias = Annotated[str, _text(f"{_NAME}; * for all projects", 200)]
ProjectId: TypeAlias = Annotated[
    _AnyId | None, Field(description="Leave out if unknown: it is found or asked for"), refused_by(_no_other_project)
]
ImportsQuery: TypeAlias = Annotated[
    str, _text(f"{_QUERY}, is:duplicate (replaced by a newer one)", 1_000), refused_by(_language)
]
ResourcesQuery: TypeAlias = Annotated[str, _text(_QUERY, 1_000), refused_by(_language)]
Limit: TypeAlias = Annotated[int, Field(ge=1, le=100, description="1 to 100"), NO_BOOLEAN]
Offset: TypeAlias = Annotated[_Whole, Field(description="next_offset of the page before; -1 for the last item")]
ResourceId: TypeAlias = Annotated[
    _AnyId | None, Field(description="Only this one, a file with its full text"), refused_by(_in_one_project)
]
TextOffset: TypeAlias = Annotated[
    _Whole,
    Field(description="With resource_id: the character to begin at, any; a negative one counts from the end"),
    refused_by(_of_one_resource),
]


async def list_imports(
    ctx: Context[Shared, Any],
    call: InProject,
    project: AnyProject = "",
    project_id: ProjectId = None,
    source_type: Annotated[
        str,
        Field(
            max_length=100,
            description="local_folder, github_repository_installation, public_github_repository_url, "
            "github (all GitHub kinds), or another kind seen in a result",
        ),
    ] = "",
    query: ImportsQuery = "",
    limit: Limit = 50,
    offset: Offset = 0,
) -> ImportsPage:
    kind = source_type.strip().lower()
    wanted = Wanted("imports", parse_query(query, ProjectImport), limit, offset, kind)
    return ImportsPage(**await _page(ctx, call, wanted))


async def list_resources(
    ctx: Context[Shared, Any],
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
        pages = shared_by(ctx).pages
        fields = await single_resource(call, pages, resource_type, resource_id, text_offset)
    else:
        query_of_type = parse_query(query, RESOURCE_MODELS[resource_type])
        fields = await _page(ctx, call, Wanted(resource_type, query_of_type, limit, offset))
    return ResourcesPage(resource_type=resource_type, **fields)


async def _page(ctx: Context[Shared, Any], call: Call, wanted: Wanted) -> dict[str, Any]:
    make = everywhere_page if call.everywhere else project_page
    return await make(call, shared_by(ctx).pages, wanted)


async def delete_import(
    ctx: Context[Shared, Any],
    call: InProject,
    decision: Annotated[Decision, Resolve(decide)],
    import_id: Annotated[_AnyId, Field(description="As list_imports shows it")],
    project: ProjectName = "",
    project_id: ProjectId = None,
) -> DeletionResult:
    if decision.why_not:
        return deletion_result(False, call.project_id, decision.found, decision.why_not)
    pages, certain = shared_by(ctx).pages, None
    try:
        deletion = await call.neptun.delete_import(call.project_id, import_id, known_to_exist=True)
        certain = import_id
    finally:
        pages.forget(call.neptun.session, call.project_id, certain)
    message = (
        f"Import {import_id} was deleted."
        if deletion.confirmed
        else f"Import {import_id} was gone already: it was deleted by another call, or on the Neptun website."
        if deletion.gone_before
        else f"Import {import_id} is gone. Neptun's answer was lost or unclear, so the list was checked."
    )
    unasked = "" if decision.asked else " This server did not ask anyone."
    return deletion_result(True, call.project_id, decision.found, message + unasked)


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
        "List the imports of a Neptun project, or of all: the folders and GitHub repositories that were read into it, "
        "newest first.",
        _READS,
        ImportsPage,
    ),
    _Declaration(
        list_resources,
        "List resources",
        "List the resources of one type of a Neptun project, or of all, newest first: files (with the lines that match "
        "the query, or their beginning), template collections, GitHub installations or chats. Pass resource_id to read "
        "a whole file.",
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
    return [_tool(declared) for declared in _DECLARED if not (read_only and not declared.hints.read_only_hint)]


def withheld_tools(tools: Iterable[Tool]) -> list[str]:
    """The names of the tools that are not among those to publish."""
    published = {tool.name for tool in tools}
    return [declared.name for declared in _DECLARED if declared.name not in published]


def audited_tools() -> list[str]:
    """The names of the tools that do more than read, whether they are published or not."""
    return [declared.name for declared in _DECLARED if not declared.hints.read_only_hint]


def _tool(declared: _Declaration) -> Tool:
    tool = cast(
        NeptunTool,
        NeptunTool.from_function(
            declared.function,
            title=declared.title,
            description=declared.description,
            annotations=declared.hints.model_copy(update={"title": declared.title}),
            structured_output=False,
        ),
    )
    tool.bounded = closed_schema(tool.parameters)
    tool.parameters = unbounded(tool.bounded)
    tool.fn_metadata.output_schema = flat_schema(declared.result.model_json_schema(mode="serialization"))
    return tool
