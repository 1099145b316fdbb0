"""Which project a call means: as given, as set, the only one, or as the person chooses."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

from mcp.server.mcpserver import Context, Elicit, Resolve
from mcp.server.mcpserver.resolve import AcceptedElicitation, ElicitationResult
from pydantic import BaseModel, Field, create_model

from ..neptun.client import NeptunClient
from ..neptun.errors import NeptunError, quoted
from ..neptun.models import Listing, Project
from ..neptun.time_limit import TimeLimit
from .context import Form, Shared, can_ask, client_of, report_of, shared_by
from .folding import fold
from .not_done import NotDone
from .pages import EVERY_PROJECT, Pages
from .words import known_projects

ALL = "*"
"""Stands for all projects, in the argument `project`."""


@dataclass(frozen=True)
class Call:
    """One call of a tool.

    Attributes:
        neptun: the caller's client, with `limit` for all that the call does.
        limit: the time that the call may take.
        project_id: the project; `EVERY_PROJECT` for all of them.
    """

    neptun: NeptunClient
    limit: TimeLimit
    project_id: int

    @property
    def everywhere(self) -> bool:
        return self.project_id == EVERY_PROJECT


_QUOTES = str.maketrans("“”„‟‘’‚‛", '""""' + "''''")
_FORM_CHARACTERS = 10_000  # of projects to choose from; of more than these the person types the name


class NamedProject(Form):
    project: str = Field(min_length=1, max_length=200, title="Project", description="Its name, a part of it, or its id")


async def ask_project(ctx: Context[Shared, Any], project_id: int | None, project: str) -> Call | Elicit[BaseModel]:
    """The project that is meant: as given, as set, the only one, or as the person chooses from a list by name."""
    neptun, limit = client_of(ctx)
    name = project.strip()
    if name == ALL:
        return Call(neptun, limit, EVERY_PROJECT)
    chosen = project_id or shared_by(ctx).project_id
    if chosen and (not name or name == str(project_id)):
        return Call(neptun, limit, chosen)
    listing = await some_projects(shared_by(ctx).pages, neptun)
    projects = listing.items
    if name:
        projects = matching(projects, name)
        if project_id and project_id in [project.id for project in projects]:
            return Call(neptun, limit, project_id)
        if project_id:
            raise NotDone(
                f"project {quoted(name)} and project_id {project_id} do not mean the same project. "
                "Pass one of the two, or the id alone if you are sure of it."
            )
        if not projects:
            known = known_projects(_nearest(listing.items, name))
            raise NotDone(f"No project has {quoted(name)} in its name; pass project_id. {known}")
    if len(projects) == 1 and not (listing.left_out and not name):
        return Call(neptun, limit, projects[0].id)
    if not can_ask(ctx.client_capabilities):
        raise _none_chosen(projects, name)
    labels = [_label(project) for project in projects]
    if sum(map(len, labels)) > _FORM_CHARACTERS:
        return Elicit(f"Which of your {len(projects)} Neptun projects do you mean?", NamedProject)
    choices: Any = Literal[tuple(labels)]
    form = create_model("ProjectChoice", __base__=Form, project=(choices, Field(title="Project")))
    return Elicit("Which Neptun project do you mean?", form)


async def find_project(
    ctx: Context[Shared, Any], project: str, choice: Annotated[ElicitationResult[Any], Resolve(ask_project)]
) -> Call:
    """The project, or all of them."""
    if isinstance(choice, AcceptedElicitation) and isinstance(choice.data, Call):
        return choice.data
    neptun, limit = client_of(ctx)
    if isinstance(choice, AcceptedElicitation) and not isinstance(choice.data, NamedProject):
        # The form takes nothing but the labels that were offered, and each ends with the id.
        return Call(neptun, limit, int(choice.data.project.rpartition("(")[2][:-1]))
    projects = (await list_projects(shared_by(ctx).pages, neptun)).items
    if not isinstance(choice, AcceptedElicitation):
        name = project.strip()
        raise _none_chosen(matching(projects, name) if name else projects, name)
    name = choice.data.project.strip()
    same = matching(projects, name)
    if len(same) != 1:
        raise _none_chosen(_nearest(same or projects, name), name if same else "")
    return Call(neptun, limit, same[0].id)


def matching(projects: Sequence[Project], name: str) -> list[Project]:
    """The projects that a person may mean: with this id, else of this name, else with this part in their names."""
    wanted = _comparable(name)
    same = [project for project in projects if wanted == str(project.id)]
    same = same or [project for project in projects if wanted == _comparable(project.name)]
    return same or [project for project in projects if wanted in _comparable(project.name)]


def _comparable(name: str) -> str:
    """A name as it is compared: assistants change quotes and blanks, too."""
    return " ".join(fold(name.translate(_QUOTES)).split())


async def list_projects(pages: Pages, neptun: NeptunClient) -> Listing[Project]:
    """The person's projects, of which the names are remembered for a while."""
    listing = await neptun.list_projects()
    pages.name_projects(neptun.session, {project.id: project.name for project in listing.items})
    return listing


async def some_projects(pages: Pages, neptun: NeptunClient) -> Listing[Project]:
    """The person's projects, one at least.

    Raises:
        NotDone: there are none.
    """
    listing = await list_projects(pages, neptun)
    if not listing.items:
        raise NotDone(f"There are no projects in this Neptun account. Create one at {neptun.address} first.")
    return listing


async def project_name(ctx: Context[Shared, Any], call: Call) -> str | None:
    """The name of the call's project; None if Neptun does not say it in a third of the time."""
    pages = shared_by(ctx).pages
    known = pages.names(call.neptun.session)
    if call.project_id not in known:
        limit = TimeLimit((call.limit.seconds - call.limit.spent) / 3)
        neptun = call.neptun.with_options(time_limit=limit)
        with suppress(NeptunError):
            await list_projects(pages, neptun)
        call.limit.spent += limit.spent
        known = pages.names(call.neptun.session)
    report_of(ctx).project_name = known.get(call.project_id)
    return known.get(call.project_id)


def _nearest(projects: Sequence[Project], name: str) -> list[Project]:
    """The projects, first those whose names have most words of another name."""
    words = fold(name).split()
    return sorted(projects, key=lambda project: -sum(word in fold(project.name) for word in words))


def _label(project: Project) -> str:
    return f"{quoted(project.name)[1:-1]} ({project.id})"


def _none_chosen(projects: Sequence[Project], name: str) -> NotDone:
    if not name:
        return NotDone(f"No project was chosen; pass project_id. {known_projects(projects)}")
    listed = known_projects(projects).removeprefix("Your projects are: ")
    return NotDone(f"Several projects match {quoted(name)}; pass project_id. They are: {listed}")


InProject: TypeAlias = Annotated[Call, Resolve(find_project)]
