"""What the assistant calls: three short functions, and the questions to the person that go before them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

from mcp.server.mcpserver import Context, Elicit, Resolve
from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp.server.mcpserver.resolve import AcceptedElicitation, ElicitationResult
from mcp.server.mcpserver.tools import Tool
from mcp.types import InputRequiredResult, ToolAnnotations
from pydantic import BaseModel, BeforeValidator, Field, ValidationError, create_model

from ..neptun.client import KNOWN_KINDS, DeletionFailed, NeptunClient, is_kind
from ..neptun.errors import Denied, ImportNotFound, NeptunError, SessionRefused, known_projects, quoted
from ..neptun.models import Project, ProjectImport, ResourceType
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
from .schema import allowed, flat_schema

MAX_ID = 2**31 - 1
"""PostgreSQL's integer: a running server answers a larger id with 500 (recorded)."""


# The SDK asks for this class with every call, and pydantic forgets one that nobody holds: it would be built each time.
_HELD = AcceptedElicitation[Any]


class Refusal(ToolError):
    """A call that these tools themselves refuse, in words for the assistant."""


@dataclass(frozen=True)
class App:
    """What the tools of one server share.

    Attributes:
        client_of: the client for a call, given the HTTP request that it came with (None on stdio).
        project_id: the project that is meant where a call names none.
        confirm_delete: when the person is asked before a deletion.
        session_advice: what to do about a refused session, where that is not what the settings say.
    """

    client_of: Callable[[Any], NeptunClient]
    project_id: int | None = None
    confirm_delete: Literal["ask", "require", "off"] = "ask"
    session_advice: str = ""


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("not a number")
    return value


_AnyId: TypeAlias = Annotated[int, Field(ge=1, le=MAX_ID), BeforeValidator(_no_bool)]
_Count: TypeAlias = Annotated[int, Field(ge=0, le=MAX_ID), BeforeValidator(_no_bool)]
ProjectId: TypeAlias = Annotated[
    _AnyId | None, Field(description="Leave out unless known: the person's project is found or asked for")
]
Query: TypeAlias = Annotated[
    str, Field(max_length=1_000, coerce_numbers_to_str=True, description="Only items that contain these words")
]
Limit: TypeAlias = Annotated[int, Field(ge=1, le=100, description="Items a page"), BeforeValidator(_no_bool)]
Offset: TypeAlias = Annotated[_Count, Field(description="next_offset of the page before")]


def app_of(ctx: Context[App, Any]) -> App:
    return ctx.request_context.lifespan_context


def client_for_call(ctx: Context[App, Any]) -> NeptunClient:
    """The caller's client, with one time limit for all that the call does."""
    return app_of(ctx).client_of(ctx.request_context.request).for_call()


@dataclass(frozen=True)
class Call:
    """One call of a tool: the caller's client, with one time limit for all that the call does, and the project."""

    neptun: NeptunClient
    project_id: int


def _can_ask(ctx: Context[Any, Any]) -> bool:
    """Whether the client can show the person a form. An empty capability, the older style, means that it can."""
    capabilities = ctx.client_capabilities
    elicitation = capabilities.elicitation if capabilities else None
    return elicitation is not None and (elicitation.form is not None or elicitation.url is None)


async def ask_project(ctx: Context[App, Any], project_id: int | None) -> Call | Elicit[BaseModel]:
    """The project that is meant: as given, as set, the only one, or as the person chooses from a list by name."""
    neptun = client_for_call(ctx)
    if chosen := project_id or app_of(ctx).project_id:
        return Call(neptun, chosen)
    listing = await neptun.list_projects()
    projects = listing.items
    if len(projects) == 1 and not listing.left_out:
        return Call(neptun, projects[0].id)
    if not projects:
        raise Refusal(f"There are no projects in this Neptun account. Create one at {neptun.address} first.")
    if not _can_ask(ctx):
        raise _which_project(projects)
    labels: Any = Literal[tuple(_label(project) for project in projects)]
    form = create_model("ProjectChoice", project=(labels, Field(title="Project")))
    return Elicit("Which of your Neptun projects is meant?", form)


async def call_in_project(
    ctx: Context[App, Any], choice: Annotated[ElicitationResult[Any], Resolve(ask_project)]
) -> Call:
    if isinstance(choice, AcceptedElicitation) and isinstance(choice.data, Call):
        return choice.data
    # The person took their time: the time limit begins again.
    neptun = client_for_call(ctx)
    if not isinstance(choice, AcceptedElicitation):
        raise _which_project((await neptun.list_projects()).items)
    # The form takes nothing but the labels that were offered, and each ends with the id.
    return Call(neptun, int(choice.data.project.rpartition("(")[2][:-1]))


def _label(project: Project) -> str:
    return f"{quoted(project.name)[1:-1]} ({project.id})"


def _which_project(projects: Sequence[Project]) -> Refusal:
    return Refusal(f"No project was chosen; pass project_id. {known_projects(projects)}")


InProject: TypeAlias = Annotated[Call, Resolve(call_in_project)]


async def list_imports(
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
    """List the imports of a Neptun project: the folders and GitHub repositories that were read into it, with kind,
    path, status and dates, newest first. Use it to look up an import or its id."""
    kind = source_type.strip().lower()
    imports = await call.neptun.list_imports(call.project_id, kind or None)
    if kind and kind not in KNOWN_KINDS and not imports.items:
        raise Refusal(
            f"source_type must be one of {', '.join(KNOWN_KINDS)}, or another kind that is in the project. "
            "There is no import of the kind that was asked for."
        )
    return imports_page(call.project_id, imports, query, limit, offset)


async def list_resources(
    call: InProject,
    resource_type: Annotated[ResourceType, Field(description="What to list")],
    project_id: ProjectId = None,
    resource_id: Annotated[_AnyId | None, Field(description="Only this one, a file with its full text")] = None,
    query: Query = "",
    limit: Limit = 50,
    offset: Offset = 0,
    text_offset: Annotated[_Count, Field(description="With resource_id: next_text_offset of the part before")] = 0,
) -> ResourcesPage:
    """List the resources of one type that are linked to a Neptun project, newest first: files (with the beginning of
    their text, or the place where the query matches), template collections, GitHub installations or chats. To read a
    whole file, pass its id as resource_id."""
    if text_offset and not resource_id:
        raise Refusal("text_offset goes with resource_id: pass both, or neither.")
    resources = await call.neptun.list_resources(call.project_id, resource_type)
    if resource_id:
        return one_resource(call.project_id, resource_type, resources, resource_id, text_offset)
    return resources_page(call.project_id, resource_type, resources, query, limit, offset)


class Confirmation(BaseModel):
    delete: bool = Field(title="Delete it for good", description="This cannot be undone")


async def find_import(call: InProject, import_id: int) -> ProjectImport:
    try:
        return await call.neptun.find_import(call.project_id, import_id)
    except Denied:
        raise
    except NeptunError as error:
        raise DeletionFailed(error, "Nothing was deleted.") from error


def _question(found: ProjectImport, project: int) -> str:
    created = f", imported {found.created_at}" if found.created_at else ""
    # Documented, though a running server leaves it.
    github = ", and its connection to GitHub may go too" if is_kind(found.source_type, "github") else ""
    return (
        f"Delete import {found.id} of project {project} from Neptun? {quoted(found.source_type)} "
        f"{quoted(found.source_path, 200)}{created}. The import and the files that came with it are deleted for "
        f"good{github}."
    )


async def ask_deletion(
    ctx: Context[App, Any],
    call: InProject,
    found: Annotated[ProjectImport, Resolve(find_import)],
) -> bool | Elicit[Confirmation]:
    """Whether the import may be deleted: asked of the person, who sees what would go, unless set otherwise."""
    policy = app_of(ctx).confirm_delete
    if policy != "off" and _can_ask(ctx):
        return Elicit(_question(found, call.project_id), Confirmation)
    if policy == "ask" and ctx.client_capabilities is None:
        raise Refusal(
            f"Import {found.id} was not deleted: the person has to agree, and in this version of MCP a server without "
            "sessions cannot ask. It can be deleted on the Neptun website, or from a host with MCP 2026-07-28 or later."
        )
    if policy == "require":
        raise Refusal(
            f"Import {found.id} was not deleted: the person has to agree, and this host cannot ask. "
            "It can be deleted on the Neptun website, or NEPTUN_CONFIRM_DELETE=ask allows it here."
        )
    return True


async def delete_import(
    call: InProject,
    found: Annotated[ProjectImport, Resolve(find_import)],
    answer: Annotated[ElicitationResult[Any], Resolve(ask_deletion)],
    import_id: Annotated[_AnyId, Field(description="As list_imports shows it")],
    project_id: ProjectId = None,
) -> DeletionResult:
    """Delete one import of a Neptun project for good, with the files that came with it. Only for an import that the
    person wants gone. The person is asked first, where the host can ask; a refusal is not an error (deleted: false), so
    do not try again."""

    def result(deleted: bool, message: str) -> DeletionResult:
        return deletion_result(deleted, call.project_id, found, message)

    if not isinstance(answer, AcceptedElicitation):
        return result(False, "The person did not agree. Nothing was deleted.")
    neptun = call.neptun
    if isinstance(answer.data, Confirmation):
        if not answer.data.delete:
            return result(False, "The person did not agree. Nothing was deleted.")
        # The answer holds for what was shown; while the person was reading, it may have changed.
        try:
            now = await neptun.find_import(call.project_id, import_id)
        except ImportNotFound:
            return result(True, f"Import {import_id} was deleted by someone else in the meantime.")
        if _question(now, call.project_id) != _question(found, call.project_id):
            raise Refusal(
                f"Import {import_id} has changed since the person was asked. Nothing was deleted. "
                "Call delete_import again, and the person is asked again."
            )
    deletion = await neptun.delete_import(call.project_id, import_id, seen=True)
    if deletion.confirmed:
        return result(True, f"Import {import_id} was deleted.")
    return result(True, f"Import {import_id} is gone. Neptun's answer was lost or unclear, so the list was looked at.")


class NeptunTool(Tool):
    """A tool that refuses unknown arguments by name, and whose failures are words for the assistant."""

    async def run(self, arguments: dict[str, Any], context: Context[Any, Any], convert_result: bool = False) -> Any:
        properties: dict[str, Any] = self.parameters["properties"]
        if unknown := [quoted(name) for name in arguments if name not in properties]:
            raise ToolError(
                f"{self.name} has no argument {', '.join(unknown[:5])}. Its arguments are: {', '.join(properties)}."
            )
        # Hosts send null for what was left out.
        given = {name: value for name, value in arguments.items() if value is not None}
        try:
            result = await super().run(given, context)
        except ToolError as error:
            raise self._in_words(error, app_of(context).session_advice) from error.__cause__
        return result if isinstance(result, InputRequiredResult) else tool_result(result)

    def _in_words(self, error: ToolError, session_advice: str) -> ToolError:
        """The one place where an error becomes words: what happened, and what to do."""
        cause = error.__cause__
        refused = cause.__cause__ if isinstance(cause, DeletionFailed) else cause
        if session_advice and isinstance(cause, NeptunError) and isinstance(refused, SessionRefused):
            cause.advice = session_advice
        if isinstance(cause, (NeptunError, Refusal)):
            return ToolError(str(cause))
        if isinstance(error, UnexpectedToolError):
            return UnexpectedToolError(
                f"{self.name} failed for a reason that was not foreseen. Its log (stderr) has the details; "
                "please report them."
            )
        if isinstance(cause, ValidationError):
            wrong = dict.fromkeys(str(detail["loc"][0]) for detail in cause.errors(include_input=False))
            return ToolError("; ".join(allowed(name, self.parameters["properties"][name]) for name in wrong) + ".")
        # What remains is an answer to a question to the person that does not fit the form.
        return ToolError("The host's answer to the question could not be understood. Nothing was changed.")


def create_tools(*, read_only: bool) -> list[Tool]:
    """The tools to publish, with schemas that every host accepts.

    Args:
        read_only: leave `delete_import` out.
    """
    reading = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=True)
    deleting = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=True)
    tools = [
        _tool(list_imports, "List imports", reading, ImportsPage),
        _tool(list_resources, "List resources", reading, ResourcesPage),
    ]
    return tools if read_only else [*tools, _tool(delete_import, "Delete an import", deleting, DeletionResult)]


def _tool(function: Callable[..., Any], title: str, hints: ToolAnnotations, result: type[BaseModel]) -> Tool:
    tool = NeptunTool.from_function(
        function,
        title=title,
        description=" ".join((function.__doc__ or "").split()),
        annotations=hints.model_copy(update={"title": title}),
        structured_output=False,
    )
    tool.parameters = flat_schema(tool.parameters)
    tool.fn_metadata.output_schema = flat_schema(result.model_json_schema(mode="serialization"))
    return tool
