"""Lists over all of a person's projects: each project's list is read, and only the rows to show are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from sys import getsizeof
from typing import Any

import anyio
from pydantic_core import to_json

from ..neptun.errors import BadRequest, Denied, NeptunError, NotLikeNeptun, Unavailable, quoted
from ..neptun.models import Listing, Project, age
from ..neptun.threads import Pace
from .context import Call
from .excerpts import PREVIEW
from .fitting import MAX_BYTES, Row, fitted, row_of, shortened
from .lists import ANEW, NO_SUCH_KIND, Wanted, left_out, notes, part_of
from .not_done import NotDone
from .pages import memory_of
from .projects import list_projects
from .results import ProjectTotal
from .words import happened, listed

AT_ONCE = 3
"""Projects whose lists are read at the same time, and are in memory."""

NAMED = 10
"""Projects of which is said why they are left out; the others are counted."""

TOO_MANY = "This page is too far from either end for the memory of one call. Narrow the query, or pass one project."

_PLACE_BYTES = 40  # of memory, for each place in an excerpt
_FIELD = 2_000  # characters of a field of a row
_PROJECTS_BYTES = 4_000  # of a result, for the projects and their totals
_OF_ONE_PROJECT = (Denied, NotLikeNeptun, Unavailable, BadRequest, NotDone)


@dataclass
class Everywhere:
    """The rows of all projects.

    Attributes:
        wanted: what is looked for.
        max_bytes: the memory that the rows may take.
        rows: newest first; of too many those up to the page that was asked for, from the nearer end on.
        projects: the projects that were read.
        left_out: what could not be read, and why.
        cautions: what has to be said of a project's list, and of which projects.
        has_kind: whether the kind of imports that was asked for is known, or was seen.
        total: how many rows there are.
        memory: bytes that the rows take.
    """

    wanted: Wanted
    max_bytes: int
    rows: list[Row] = field(default_factory=list[Row])
    projects: list[ProjectTotal] = field(default_factory=list[ProjectTotal])
    left_out: list[str] = field(default_factory=list[str])
    cautions: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    has_kind: bool = False
    total: int = 0
    memory: int = 0

    async def read(self, call: Call, project: Project) -> None:
        """Add the rows of the call's project.

        Raises:
            NeptunError, NotDone: its list could not be read, or searched.
        """
        listing = await self.wanted.ask(call)
        work = partial(self._rows, listing, project.id)
        rows, memory = await self.wanted.in_time(listing.items, call.limit, work)
        self.rows += rows
        self.memory += memory
        self.total += len(rows)
        self.projects.append(ProjectTotal(id=project.id, name=project.name[:200], total=len(rows)))
        self.left_out += [f"project {project.id}, {reason}" for reason in listing.left_out]
        self.has_kind = self.has_kind or self.wanted.has_kind(listing.items)
        if caution := self.wanted.caution(listing.items):
            self.cautions.setdefault(caution, []).append(project.id)

    def _rows(self, listing: Listing[Any], project_id: int, pace: Pace) -> tuple[list[Row], int]:
        """The rows of one project, of a file's text as much as a list ever shows, and the memory that they take."""
        rows: list[Row] = []
        for item in self.wanted.find(listing.items, pace):
            row = row_of(item, self.wanted.query.needles, pace, project_id=project_id)
            rows.append(Row(shortened(row.item, _FIELD), row.excerpt and row.excerpt.within(6 * PREVIEW)))
        return rows, _memory(rows, pace)

    def keep_within_memory(self) -> bool:
        """Keep all rows, or if there is no memory for them, those up to the wanted page; whether there is for those."""
        self.rows.sort(key=lambda row: age(row.item), reverse=True)
        if self.memory > self.max_bytes:
            first = self.wanted.offset
            self.rows = self.rows[first:] if first < 0 else self.rows[: first + self.wanted.limit]
            self.memory = _memory(self.rows, Pace())
        return self.memory <= self.max_bytes


def _memory(rows: Sequence[Row], pace: Pace) -> int:
    excerpts = [row.excerpt for row in rows if row.excerpt]
    places = sum(len(excerpt.places) for excerpt in excerpts)
    texts = sum(getsizeof(lines) for excerpt in excerpts for _, lines in excerpt.parts)
    return memory_of([row.item for row in rows], pace) + _PLACE_BYTES * places + texts


async def everywhere_page(call: Call, wanted: Wanted) -> dict[str, Any]:
    """The fields of a page of a list over all projects; `items` are imports or resources.

    Raises:
        NotDone: no import is of the kind, and Neptun is not known to have it; or there are too many rows.
    """
    key = await call.key(wanted.what, wanted.kind, wanted.query)
    sent = await call.pages.find(key, wanted.offset > 0, partial(_read, call, wanted))
    found, anew = sent.value, wanted.offset > 0 and not sent.size
    if not found.has_kind and not found.left_out:
        raise NotDone(NO_SUCH_KIND)
    complete = len(found.rows) == found.total
    projects, unnamed = _named(found.projects)
    said = notes(
        *(
            f"In project{'s'[: len(ids) - 1]} {listed(map(str, sorted(ids)), NAMED)}: {caution}"
            for caution, ids in found.cautions.items()
        ),
        wanted.hint(found.total, call.neptun.learned),
        ANEW if anew else "",
        f"{unnamed} more projects, with no more matches than the last of these, are not named." if unnamed else "",
        "" if complete else "There are too many to remember: each page is read again. Narrow the query.",
    )
    head: dict[str, Any] = {"projects": projects, "note": said, **left_out(found.left_out, NAMED)}
    part = wanted.part(found.total)
    newer = found.total - len(found.rows) if wanted.offset < 0 else 0  # that are not kept
    shown = fitted(found.rows[part.start - newer : part.stop - newer], MAX_BYTES - 200 - len(to_json(head)))
    page = part_of((row.item for row in found.rows), part, shown, found.total, sent.gone)
    if complete and page["next_offset"] is not None:
        call.pages.remember(sent, found.memory)
    return {**head, **page}


async def _read(call: Call, wanted: Wanted) -> Everywhere:
    """The rows of all of a person's projects, as far as the call's time suffices.

    Raises:
        NeptunError: no project could be read.
        NotDone: there is none, or there are too many rows.
    """
    known = await list_projects(call)
    found = Everywhere(wanted, call.pages.max_bytes // 2)
    found.left_out += [f"the list of projects, {reason}" for reason in known.left_out]
    unread: dict[int, NeptunError | NotDone | None] = {project.id: None for project in known.items}
    fatal: list[NeptunError | NotDone] = []  # holds for all projects
    waiting = iter(known.items)
    time_left = max(0.0, call.limit.seconds - call.limit.spent)

    async def read(scope: anyio.CancelScope) -> None:
        for project in waiting:
            try:
                await found.read(call.within(time_left, project.id), project)
            except _OF_ONE_PROJECT as error:
                unread[project.id] = error
                continue
            except NeptunError as error:
                fatal.append(error)
                scope.cancel()
                return
            del unread[project.id]
            if found.memory > found.max_bytes and not found.keep_within_memory():
                fatal.append(NotDone(TOO_MANY))
                scope.cancel()
                return

    try:
        # What is left is for making the page.
        with call.limit.spend(0.9):
            async with anyio.create_task_group() as tasks:
                for _ in range(AT_ONCE):
                    tasks.start_soon(read, tasks.cancel_scope)
    except TimeoutError:
        pass
    errors = fatal or [error for error in unread.values() if error and not found.projects]
    if errors:
        raise errors[0]
    found.left_out += [
        f"project {project.id} {quoted(project.name)}: {_reason(unread[project.id])}"
        for project in known.items
        if project.id in unread
    ]
    if not found.keep_within_memory():
        raise NotDone(TOO_MANY)
    return found


def _reason(error: NeptunError | NotDone | None) -> str:
    if error is None:
        return "there was no time left to read it"
    return (happened(error) if isinstance(error, NeptunError) else str(error)).rstrip(".")


def _named(projects: Sequence[ProjectTotal]) -> tuple[list[ProjectTotal], int]:
    """The projects with most matches, as many as fit, and how many do not."""
    ordered = sorted(projects, key=lambda project: (-project.total, project.name.casefold(), project.id))
    ends = accumulate(len(to_json(project)) + 1 for project in ordered)
    named = ordered[: sum(end <= _PROJECTS_BYTES for end in ends)]
    return named, len(ordered) - len(named)
