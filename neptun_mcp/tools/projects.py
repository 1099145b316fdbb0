"""Which project a call means: as given, as set, the only one, or as the person chooses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Annotated, Any, Literal, TypeAlias

import anyio
from mcp.server.mcpserver import Context, Elicit, Resolve
from mcp.server.mcpserver.resolve import AcceptedElicitation, ElicitationResult
from pydantic import BaseModel, Field, create_model

from ..neptun.errors import NeptunError, quoted
from ..neptun.models import Listing, Project
from ..neptun.threads import Pace
from .context import Call, Form, Shared, call_of, can_ask
from .folding import fold
from .pages import EVERY_PROJECT, Key, memory_of
from .words import NotDone, known_projects

ALL = "*"
"""Stands for all projects, in the argument `project`."""

_QUOTES = str.maketrans("“”„‟‘’‚‛", '""""' + "''''")
_FORM_CHARACTERS = 10_000  # of the projects to choose from


async def ask_project(ctx: Context[Shared, Any], project_id: int | None, project: str) -> Call | Elicit[BaseModel]:
    """The project that is meant: as given, as set, the only one, or as the person chooses from a list."""
    call, name = call_of(ctx), project.strip()
    if name == ALL:
        return replace(call, project_id=EVERY_PROJECT)
    chosen = project_id or call.shared.project_id
    if chosen and (not name or name == str(project_id)):
        return replace(call, project_id=chosen)
    listing = await list_projects(call)
    projects = listing.items
    if name:
        projects = matching(projects, name)
        if project_id and project_id in [project.id for project in projects]:
            return replace(call, project_id=project_id)
        if project_id:
            raise NotDone(
                f"project {quoted(name)} and project_id {project_id} do not mean the same project. "
                "Pass one of the two, or the id alone if you are sure of it."
            )
        if not projects:
            words = fold(name).split()
            nearest = sorted(listing.items, key=lambda project: -sum(word in fold(project.name) for word in words))
            what = f"No project has {quoted(name)} in its name; pass project_id (in a list, project * means all)."
            raise NotDone(f"{what} {known_projects(nearest)}")
    if len(projects) == 1 and not (listing.left_out and not name):
        return replace(call, project_id=projects[0].id)
    labels = [_label(project) for project in projects]
    if not can_ask(ctx.client_capabilities) or sum(map(len, labels)) > _FORM_CHARACTERS:
        raise _none_chosen(projects, name)
    choices: Any = Literal[tuple(labels)]
    form = create_model("ProjectChoice", __base__=Form, project=(choices, Field(title="Project")))
    return Elicit("Which Neptun project do you mean?", form)


async def find_project(
    ctx: Context[Shared, Any], project: str, choice: Annotated[ElicitationResult[Any], Resolve(ask_project)]
) -> Call:
    """The project, or all of them."""
    chosen = choice.data if isinstance(choice, AcceptedElicitation) else None
    if isinstance(chosen, Call):
        return chosen
    call, name = call_of(ctx), project.strip()
    if not chosen:
        projects = (await list_projects(call)).items
        raise _none_chosen(matching(projects, name) if name else projects, name)
    # The form takes nothing but the labels that were offered, and each ends with the id.
    return replace(call, project_id=int(chosen.project.rpartition("(")[2][:-1]))


def matching(projects: Sequence[Project], name: str) -> list[Project]:
    """The projects that a person may mean, by the first way in which any of these words names one.

    These are: its id; its name; both as they are shown here; a part of its name.
    """
    wanted = _comparable(name)
    ways: tuple[Callable[[Project], bool], ...] = (
        lambda project: wanted == str(project.id),
        lambda project: wanted == _comparable(project.name),
        lambda project: wanted in _shown_names(project),
        lambda project: wanted in _comparable(project.name),
    )
    for names in ways:
        if found := [project for project in projects if names(project)]:
            return found
    return []


def _shown_names(project: Project) -> set[str]:
    """How forms, questions and errors show a project: assistants copy it from there."""
    name, id = quoted(project.name), project.id
    shown = (_label(project), name, f"'{project.name}'", f"{id} {name}", f"project {id} {name}", f"project {id}")
    return {_comparable(words) for words in shown}


def _comparable(name: str) -> str:
    """A name as it is compared: assistants change quotes and blanks, too."""
    return " ".join(fold(name.translate(_QUOTES)).split())


async def list_projects(call: Call) -> Listing[Project]:
    """The person's projects, one at least, as Neptun has them now. They are remembered, to be named.

    Raises:
        NotDone: there are none.
    """
    listing = await call.neptun.list_projects()
    if not listing.items:
        raise NotDone(f"There are no projects in this Neptun account. Create one at {call.neptun.address} first.")
    call.shared.pages.remember(_projects_key(call), listing, memory_of(listing.items, Pace()))
    return listing


def _projects_key(call: Call) -> Key:
    return Key(call.neptun.session, call.neptun.session.changes, None, ())


def known_name(call: Call) -> str | None:
    """The name of the call's project, if it was seen lately."""
    known: Listing[Project] | None = call.shared.pages.recall(_projects_key(call))
    projects = known.items if known else ()
    return next((project.name[:100] for project in projects if project.id == call.project_id), None)


async def project_name(call: Call) -> str | None:
    """The name of the call's project; None if Neptun does not say it in a third of the time."""
    if not known_name(call):
        with suppress(NeptunError, NotDone), anyio.move_on_after((call.limit.seconds - call.limit.spent) / 3):
            await list_projects(call)
    return known_name(call)


def _label(project: Project) -> str:
    return f"{quoted(project.name)[1:-1]} ({project.id})"


def _none_chosen(projects: Sequence[Project], name: str) -> NotDone:
    if not name:
        return NotDone(f"No project was chosen; pass project_id. {known_projects(projects)}")
    return NotDone(f"Several projects match {quoted(name)}; pass project_id. {known_projects(projects, 'They')}")


InProject: TypeAlias = Annotated[Call, Resolve(find_project)]
