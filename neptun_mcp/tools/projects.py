"""Which project a call means: as given, as set, the only one, or as the person chooses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

from mcp.server.mcpserver import Context, Elicit, Resolve
from mcp.server.mcpserver.resolve import AcceptedElicitation, ElicitationResult
from pydantic import BaseModel, Field, create_model

from ..neptun.client import NeptunClient
from ..neptun.errors import quoted
from ..neptun.models import Project
from .context import Form, NotDone, Shared, can_ask, client_of, shared_by
from .search import fold
from .words import known_projects


@dataclass(frozen=True)
class Call:
    """One call of a tool: the caller's client, with one time limit for all that the call does, and the project."""

    neptun: NeptunClient
    project_id: int


_FORM_CHARACTERS = 10_000  # of projects to choose from; of more than these the person types the name


class NamedProject(Form):
    project: str = Field(min_length=1, max_length=200, title="Project", description="Its name, a part of it, or its id")


async def ask_project(ctx: Context[Shared, Any], project_id: int | None) -> Call | Elicit[BaseModel]:
    """The project that is meant: as given, as set, the only one, or as the person chooses from a list by name."""
    neptun = client_of(ctx)
    if chosen := project_id or shared_by(ctx).project_id:
        return Call(neptun, chosen)
    listing = await neptun.list_projects()
    projects = listing.items
    if len(projects) == 1 and not listing.left_out:
        return Call(neptun, projects[0].id)
    if not projects:
        raise NotDone(f"There are no projects in this Neptun account. Create one at {neptun.address} first.")
    if not can_ask(ctx.client_capabilities):
        raise _no_project(_nearest(projects, _query(ctx)))
    names = [_label(project) for project in projects]
    if sum(map(len, names)) > _FORM_CHARACTERS:
        return Elicit(f"Which of your {len(projects)} Neptun projects is meant?", NamedProject)
    labels: Any = Literal[tuple(names)]
    form = create_model("ProjectChoice", __base__=Form, project=(labels, Field(title="Project")))
    return Elicit("Which of your Neptun projects is meant?", form)


async def find_project(
    ctx: Context[Shared, Any], choice: Annotated[ElicitationResult[Any], Resolve(ask_project)]
) -> Call:
    if isinstance(choice, AcceptedElicitation) and isinstance(choice.data, Call):
        return choice.data
    neptun = client_of(ctx)
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


def _query(ctx: Context[Shared, Any]) -> str:
    """The query of the call. Without a project it may be there to find one."""
    arguments: Mapping[str, Any] = (ctx.request_context.params or {}).get("arguments") or {}
    return str(arguments.get("query") or "")


def _nearest(projects: Sequence[Project], query: str) -> list[Project]:
    """The projects, first those whose names have most words of the query."""
    words = fold(query).split()
    return sorted(projects, key=lambda project: -sum(word in fold(project.name) for word in words))


def _label(project: Project) -> str:
    return f"{quoted(project.name)[1:-1]} ({project.id})"


def _no_project(projects: Sequence[Project]) -> NotDone:
    return NotDone(f"No project was chosen; pass project_id. {known_projects(projects)}")


InProject: TypeAlias = Annotated[Call, Resolve(find_project)]
