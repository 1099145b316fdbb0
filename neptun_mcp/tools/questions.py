"""What is asked of the person before a tool runs: which project is meant, and whether an import may be deleted.

The SDK calls the functions here ("resolvers") for the parameters of a tool that name them. How a question reaches the
person depends on the protocol: until 2025-11-25 it is asked while the call waits; from 2026-07-28 on the call ends with
the question, and a new call brings the answer, in which everything here runs again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.mcpserver import Context, Elicit, Resolve
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.resolve import AcceptedElicitation, CancelledElicitation, ElicitationResult
from mcp.shared.exceptions import MCPError
from mcp.types import ClientCapabilities, ElicitResult
from pydantic import BaseModel, ConfigDict, Field, create_model

from ..neptun.client import Contract, NeptunClient, is_kind
from ..neptun.errors import DeletionFailed, ImportNotFound, NeptunError, known_projects, quoted
from ..neptun.models import GITHUB_KINDS, PUBLIC_GITHUB, Project, ProjectImport
from ..neptun.time_limit import TimeLimit
from .pages import Pages
from .progress import current_transfer
from .search import fold

# The SDK wraps each value that it hands on in this model. pydantic forgets a model that nobody keeps, and then makes it
# anew, several times a second under load.
_KEPT = AcceptedElicitation[Any]


class Refusal(ToolError):
    """A call that these tools themselves refuse, in words for the assistant."""


def _ignore(request: Any, outcome: BaseModel | BaseException) -> None:
    pass


@dataclass(frozen=True)
class App:
    """What the tools of one server share.

    Attributes:
        client_for: the client for a call, given the HTTP request that it came with (None on stdio).
        pages: the lists of which there is more to read.
        project_id: the project to use if a call names none.
        confirm_delete: when the person is asked before a deletion.
        on_outcome: told the HTTP request and the result or the error of each call, before it goes on the wire.
        keeps_sessions: whether hosts of MCP 2025-11-25 and before have sessions, in which those that can ask do.
    """

    client_for: Callable[[Any], NeptunClient]
    pages: Pages
    project_id: int | None = None
    confirm_delete: Literal["ask", "require", "off"] = "ask"
    on_outcome: Callable[[Any, BaseModel | BaseException], None] = _ignore
    keeps_sessions: bool = False


@dataclass(frozen=True)
class Call:
    """One call of a tool: the caller's client, with one time limit for all that the call does, and the project."""

    neptun: NeptunClient
    project_id: int


_FORM_CHARACTERS = 10_000  # of projects to choose from; of more than these the person types the name


def _without_title(schema: dict[str, Any]) -> None:
    schema.pop("title", None)


class Form(BaseModel):
    # Codex cancels a form whose schema has a title, and the person never sees it.
    model_config = ConfigDict(json_schema_extra=_without_title)


class NamedProject(Form):
    project: str = Field(min_length=1, max_length=200, title="Project", description="Its name, a part of it, or its id")


class Confirmation(Form):
    # Only JSON `true` is a yes.
    delete: bool = Field(strict=True, title="Delete it for good", description="This cannot be undone")


def app_state(ctx: Context[App, Any]) -> App:
    return ctx.request_context.lifespan_context


def _client_for(ctx: Context[App, Any]) -> NeptunClient:
    current = ctx.request_context
    client = current.lifespan_context.client_for(current.request)
    return client.with_options(time_limit=TimeLimit(client.timeout), transfer=current_transfer.get())


def can_ask(capabilities: ClientCapabilities | None) -> bool:
    """Whether a client can show the person a form. An empty capability, the older style, means that it can."""
    elicitation = capabilities.elicitation if capabilities else None
    return elicitation is not None and (elicitation.form is not None or elicitation.url is None)


# Which project?


async def ask_project(ctx: Context[App, Any], project_id: int | None) -> Call | Elicit[BaseModel]:
    """The project that is meant: as given, as set, the only one, or as the person chooses from a list by name."""
    neptun = _client_for(ctx)
    if chosen := project_id or app_state(ctx).project_id:
        return Call(neptun, chosen)
    listing = await neptun.list_projects()
    projects = listing.items
    if len(projects) == 1 and not listing.left_out:
        return Call(neptun, projects[0].id)
    if not projects:
        raise Refusal(f"There are no projects in this Neptun account. Create one at {neptun.address} first.")
    if not can_ask(ctx.client_capabilities):
        raise _no_project(_nearest(projects, _query(ctx)))
    names = [_label(project) for project in projects]
    if sum(map(len, names)) > _FORM_CHARACTERS:
        return Elicit(f"Which of your {len(projects)} Neptun projects is meant?", NamedProject)
    labels: Any = Literal[tuple(names)]
    form = create_model("ProjectChoice", __base__=Form, project=(labels, Field(title="Project")))
    return Elicit("Which of your Neptun projects is meant?", form)


async def find_project(ctx: Context[App, Any], choice: Annotated[ElicitationResult[Any], Resolve(ask_project)]) -> Call:
    if isinstance(choice, AcceptedElicitation) and isinstance(choice.data, Call):
        return choice.data
    neptun = _client_for(ctx)
    if isinstance(choice, AcceptedElicitation) and not isinstance(choice.data, NamedProject):
        # The form takes nothing but the labels that were offered, and each ends with the id.
        return Call(neptun, int(choice.data.project.rpartition("(")[2][:-1]))
    projects = (await neptun.list_projects()).items
    if not isinstance(choice, AcceptedElicitation):
        raise _no_project(_nearest(projects, _query(ctx)))
    name = choice.data.project.strip()
    same = [project for project in projects if name == str(project.id)]
    same = same or [project for project in projects if fold(project.name.strip()) == fold(name)]
    same = same or [project for project in projects if fold(name) in fold(project.name)]
    if len(same) != 1:
        raise _no_project(_nearest(projects, name))
    return Call(neptun, same[0].id)


def _query(ctx: Context[App, Any]) -> str:
    """The query of the call. Without a project it may be there to find one."""
    arguments: Mapping[str, Any] = (ctx.request_context.params or {}).get("arguments") or {}
    return str(arguments.get("query") or "")


def _nearest(projects: Sequence[Project], query: str) -> list[Project]:
    """The projects, first those whose names have most words of the query."""
    words = fold(query).split()
    return sorted(projects, key=lambda project: -sum(word in fold(project.name) for word in words))


def _label(project: Project) -> str:
    return f"{quoted(project.name)[1:-1]} ({project.id})"


def _no_project(projects: Sequence[Project]) -> Refusal:
    return Refusal(f"No project was chosen; pass project_id. {known_projects(projects)}")


InProject: TypeAlias = Annotated[Call, Resolve(find_project)]


_LOST_QUESTION = {"reason": "invalid_request_state"}  # as the SDK marks it


async def explain_lost_question(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Middleware of the MCP server: the SDK's refusal of an answer, in words."""
    try:
        return await call_next(ctx)
    except MCPError as error:
        if error.error.data != _LOST_QUESTION:
            raise
        raise MCPError(
            error.error.code,
            "The question to which this is the answer was put too long ago, in another call, by a server that has been "
            "restarted, or by another process (with another NEPTUN_MCP_STATE_KEY). "
            "Nothing was done; make the call again, and the person is asked again.",
            _LOST_QUESTION,
        ) from None


# May it be deleted?

_ELSEWHERE = 5  # requests for the imports of other projects


async def find_import(ctx: Context[App, Any], call: InProject, import_id: int) -> ProjectImport:
    """The import that is to be deleted.

    Raises:
        DeletionFailed: it could not be looked up.
    """
    try:
        return await _look_up(call, import_id)
    except ImportNotFound:
        app_state(ctx).pages.forget(call.neptun.session, call.project_id)  # they may still show it
        if _brings_answer(ctx):
            raise _no_longer_there(import_id, call.project_id) from None
        if other := await _project_with(call, import_id):
            raise Refusal(
                f"Import {import_id} is not in project {call.project_id} but in project {other.id} "
                f"{quoted(other.name)}; nothing was deleted. Call delete_import with project_id {other.id} if that one "
                "is meant."
            ) from None
        raise


async def _look_up(call: Call, import_id: int) -> ProjectImport:
    try:
        return await call.neptun.find_import(call.project_id, import_id)
    except ImportNotFound:
        raise
    except NeptunError as error:
        raise DeletionFailed(error, "Nothing was deleted.") from error


async def _project_with(call: Call, import_id: int) -> Project | None:
    """Another of the person's projects, which has the import, as far as `_ELSEWHERE` requests can tell."""
    neptun = call.neptun
    requests = 1 + len(GITHUB_KINDS) if neptun.contract is Contract.OBSERVED else 1
    with suppress(NeptunError):
        others = [project for project in (await neptun.list_projects()).items if project.id != call.project_id]
        for project in others[: _ELSEWHERE // requests]:
            if any(found.id == import_id for found in (await neptun.list_imports(project.id)).items):
                return project
    return None


async def ask_deletion(
    ctx: Context[App, Any],
    call: InProject,
    found: Annotated[ProjectImport, Resolve(find_import)],
) -> bool | Elicit[Confirmation]:
    """Whether the import may be deleted: asked of the person, who sees what would go, unless set otherwise."""
    app = app_state(ctx)
    policy = app.confirm_delete
    if policy == "off":
        return True
    if can_ask(ctx.client_capabilities):
        return Elicit(_question(found, call.project_id), Confirmation)
    if ctx.client_capabilities is None:
        earlier = ": with MCP 2026-07-28 or later, or with an earlier version if the operator of this server sets "
        how = "" if app.keeps_sessions else f"{earlier}NEPTUN_MCP_SESSIONS=1"
        raise Refusal(
            f"Import {found.id} was not deleted: the person has to agree, and cannot be asked here. It can be deleted "
            f"on the Neptun website, or from a host that asks{how}."
        )
    if policy == "require":
        raise Refusal(
            f"Import {found.id} was not deleted: the person has to agree, and this host cannot ask. "
            "It can be deleted on the Neptun website, or NEPTUN_CONFIRM_DELETE=ask allows it here."
        )
    return True


@dataclass(frozen=True)
class Decision:
    """What is to become of an import.

    Attributes:
        found: the import, as the person was shown it.
        refusal: why it stays, a sentence; empty if it may be deleted.
        asked: whether the person was asked.
    """

    found: ProjectImport
    refusal: str = ""
    asked: bool = True


async def decide(
    ctx: Context[App, Any],
    call: InProject,
    found: Annotated[ProjectImport, Resolve(find_import)],
    answer: Annotated[ElicitationResult[Any], Resolve(ask_deletion)],
) -> Decision:
    """The person's decision, which holds for what they were shown and nothing else."""
    if isinstance(answer, CancelledElicitation):
        return Decision(found, "The question was not answered.")
    if not isinstance(answer, AcceptedElicitation):
        return Decision(found, "The answer was no, or the host declined without asking.")
    if not isinstance(answer.data, Confirmation):
        return Decision(found, asked=False)
    if not answer.data.delete:
        return Decision(found, "The person did not agree.")
    if not _brings_answer(ctx):
        # The import was looked up before the person was asked, and they took their time.
        try:
            now = await _look_up(call, found.id)
        except ImportNotFound:
            raise _no_longer_there(found.id, call.project_id) from None
        if _question(now, call.project_id) != _question(found, call.project_id):
            raise Refusal(
                f"Import {found.id} has changed since the person was asked. Nothing was deleted. "
                "Call delete_import again, and the person is asked again."
            )
    return Decision(found)


def _brings_answer(ctx: Context[App, Any]) -> bool:
    """Whether the person has answered before this call, so that what it looks up is newer than the answer."""
    answers = (ctx.input_responses or {}).values()
    return any(isinstance(answer, ElicitResult) and "delete" in (answer.content or {}) for answer in answers)


def _no_longer_there(import_id: int, project_id: int) -> Refusal:
    return Refusal(
        f"Import {import_id} is no longer in project {project_id}; nothing was deleted here. "
        "Call list_imports to see what the project has now."
    )


def _question(found: ProjectImport, project_id: int) -> str:
    created = f", imported {found.created_at}" if found.created_at else ""
    # Documented, though a running server leaves it. A public repository has no connection.
    connected = is_kind(found.source_type, "github") and found.source_type != PUBLIC_GITHUB
    github = ", and its connection to GitHub may go too" if connected else ""
    return (
        f"Delete import {found.id} of project {project_id} from Neptun? {quoted(found.source_type)} "
        f"{quoted(found.source_path, 200)}{created}. The import and the files that came with it are deleted for "
        f"good{github}."
    )
