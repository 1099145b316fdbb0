"""Lists over all of a person's projects: each project's list is read, and only the rows to show are kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio
from pydantic_core import to_json

from ..neptun.client import NeptunClient
from ..neptun.errors import BadRequest, Denied, NeptunError, NotLikeNeptun, Unavailable, quoted
from ..neptun.models import Listing, Project, ProjectImport, UserFile, sortable
from ..neptun.time_limit import TimeLimit
from .excerpts import PREVIEW, Places, excerpt, find_places
from .fitting import MAX_BYTES, fitted, fitted_files, shortened
from .not_done import NotDone
from .pace import Pace, paced
from .pages import Sent, memory_of
from .projects import Call
from .query import search
from .results import (
    ANEW,
    NO_STATUS,
    ProjectTotal,
    Wanted,
    found_imports,
    next_offset,
    notes,
    work_for,
)
from .shown import ShownFile, as_shown, with_excerpt, with_less_text
from .words import happened

AT_ONCE = 3
"""Projects whose lists are read at the same time, and are in memory."""

NAMED = 10
"""Projects of which is said why they are left out; the others are counted."""

_FIELD = 2_000  # characters of a field of a row
_PROJECTS_BYTES = 4_000  # of a result, for the projects and their totals
_TOO_LATE = "there was no time left to read it"
_OF_ONE_PROJECT = (Denied, NotLikeNeptun, Unavailable, BadRequest, NotDone)

Ask = Callable[[NeptunClient, int], Awaitable[Listing[Any]]]


@dataclass
class Everywhere:
    """The rows of all projects.

    Attributes:
        items: as a page shows them, newest first; of too many those that the first page needs.
        projects: the projects that were read.
        left_out: what could not be read, and why.
        said: what is to be said of the list.
        total: how many rows there are.
        missing_before: how many newer rows are not kept.
        memory: bytes that the rows take.
    """

    items: list[Any] = field(default_factory=list[Any])
    projects: list[ProjectTotal] = field(default_factory=list[ProjectTotal])
    left_out: list[str] = field(default_factory=list[str])
    said: str = ""
    total: int = 0
    missing_before: int = 0
    memory: int = 0

    @property
    def complete(self) -> bool:
        return len(self.items) == self.total

    def keep_within(self, max_bytes: int, wanted: Wanted) -> None:
        """Keep no more rows than memory allows: those that are wanted now."""
        self.items.sort(key=_age, reverse=True)
        if self.memory <= max_bytes:
            return
        most = max(1, len(self.items) * max_bytes // (2 * self.memory))
        dropped = max(0, len(self.items) - most)
        if wanted.offset < 0:
            self.missing_before += dropped
        self.items = self.items[dropped:] if wanted.offset < 0 else self.items[:most]
        self.memory = memory_of(self.items, Pace())


def _age(item: Any) -> tuple[str, int]:
    return (sortable(item.created_at) if item.created_at else "", item.id)


@dataclass
class Rows:
    """Makes the rows of a project's list.

    Attributes:
        wanted: the page that is asked for.
        said: what is to be said of the list.
    """

    wanted: Wanted
    said: str = ""

    def of(self, listing: Listing[Any], project_id: int, pace: Pace) -> list[Any]:
        """The rows of one project: of a file's text as much as a list ever shows."""
        rows: list[Any] = []
        for item in search(listing.items, self.wanted.query, pace):
            row: Any
            if isinstance(item, UserFile):
                places = find_places(item.text or "", self.wanted.query.needles, pace)
                row = with_excerpt(item, excerpt(item.text or "", places, 6 * PREVIEW), project_id)
            else:
                row = as_shown(item, project_id=project_id)
            rows.append(shortened(row, _FIELD))
        return rows


@dataclass
class ImportRows(Rows):
    """Makes the rows of a project's imports.

    Attributes:
        kind: the kind of them; empty for all.
    """

    kind: str = ""
    _status_seen: bool = False

    def of(self, listing: Listing[ProjectImport], project_id: int, pace: Pace) -> list[Any]:
        found, replaced = found_imports(listing.items, self.kind, self.wanted.query, pace)
        if self.wanted.query.duplicates:
            self._status_seen = self._status_seen or any(item.import_status for item in listing.items)
            self.said = "" if self._status_seen else NO_STATUS
        return [
            shortened(as_shown(item, replaced_by=replaced.get(item.id)), _FIELD).model_copy(
                update={"project_id": project_id}
            )
            for item in found
        ]


async def read_everywhere(call: Call, ask: Ask, rows: Rows, wanted: Wanted, max_bytes: int) -> Everywhere:
    """The rows of all of a person's projects, as far as the call's time suffices.

    Args:
        ask: asks Neptun for the list of a project.
        rows: makes the rows of a project's list.
        wanted: the page that is asked for.
        max_bytes: memory that the rows may take.

    Raises:
        NeptunError: no project could be read.
    """
    known = await call.neptun.list_projects()
    found = Everywhere(left_out=[f"the list of projects, {reason}" for reason in known.left_out])
    failures: dict[int, NeptunError | NotDone] = {}
    rest = iter(known.items)
    time_left = max(0.0, call.limit.seconds - call.limit.spent)
    fatal: list[NeptunError] = []

    async def read(projects: Iterator[Project], scope: anyio.CancelScope) -> None:
        for project in projects:
            limit = TimeLimit(time_left)
            try:
                listing = await ask(call.neptun.with_options(time_limit=limit), project.id)
                work = partial(_measured, rows, listing, project.id)
                made, memory = await paced(limit, work_for(listing.items, wanted), work)
            except _OF_ONE_PROJECT as error:
                failures[project.id] = error
                continue
            except NeptunError as error:  # of the session: it holds for all projects
                fatal.append(error)
                scope.cancel()
                return
            found.items += made
            found.memory += memory
            found.total += len(made)
            found.projects.append(ProjectTotal(id=project.id, name=project.name[:200], total=len(made)))
            found.left_out += [f"project {project.id}, {reason}" for reason in listing.left_out]
            if found.memory > max_bytes:
                found.keep_within(max_bytes, wanted)

    try:
        # What is left is for making the page.
        with call.limit.spend(0.9):
            async with anyio.create_task_group() as tasks:
                for _ in range(AT_ONCE):
                    tasks.start_soon(read, rest, tasks.cancel_scope)
    except TimeoutError:
        pass
    if fatal:
        raise fatal[0]
    if failures and not found.projects:
        raise next(iter(failures.values()))
    found.left_out += _unread(known.items, found.projects, failures)
    found.said = rows.said
    found.keep_within(max_bytes, wanted)
    return found


def _measured(rows: Rows, listing: Listing[Any], project_id: int, pace: Pace) -> tuple[list[Any], int]:
    made = rows.of(listing, project_id, pace)
    return made, memory_of(made, pace)


def _unread(
    projects: Sequence[Project], read: Sequence[ProjectTotal], failures: dict[int, NeptunError | NotDone]
) -> list[str]:
    """Why projects are left out."""
    done = {project.id for project in read}
    return [
        f"project {project.id} {quoted(project.name)}: {_reason(failures.get(project.id))}"
        for project in projects
        if project.id not in done
    ]


def _reason(error: NeptunError | NotDone | None) -> str:
    if error is None:
        return _TOO_LATE
    return happened(error) if isinstance(error, NeptunError) else str(error)


def everywhere_page(sent: Sent[Everywhere], wanted: Wanted) -> tuple[list[Any], dict[str, Any]]:
    """The items of one page of a list over all projects, and what the page says of the list."""
    everywhere = sent.value
    rows = everywhere.items
    gone = {row.id for row in rows if row.id in sent.gone or getattr(row, "replaced_by", None) in sent.gone}
    part = wanted.part(everywhere.total)
    chosen = rows[max(0, part.start - everywhere.missing_before) : max(0, part.stop - everywhere.missing_before)]
    projects, unnamed = _named(everywhere.projects)
    said = notes(
        everywhere.said,
        ANEW if sent.anew else "",
        f"{unnamed} more projects, with no more matches than the last of these, are not named." if unnamed else "",
        "" if everywhere.complete else "There are too many to remember: each page is read again. Narrow the query.",
    )
    head: dict[str, Any] = {"projects": projects, "note": said, **_left_out(everywhere.left_out)}
    room = MAX_BYTES - 200 - len(to_json(head))
    if any(isinstance(row, ShownFile) for row in chosen):
        shown: list[Any] = fitted_files([partial(_with_less_text, row) for row in chosen], room)
    else:
        shown = fitted(chosen, room)
    following = next_offset(part, len(shown), everywhere.total)
    total = everywhere.total - len(gone)
    return [row for row in shown if row.id not in gone], {**head, "total": total, "next_offset": following}


def _with_less_text(row: ShownFile, room: int) -> ShownFile:
    return with_less_text(row, excerpt(row.text or "", Places(), room))


def _named(projects: Sequence[ProjectTotal]) -> tuple[list[ProjectTotal], int]:
    """The projects with most matches, as many as fit, and how many do not."""
    ordered = sorted(projects, key=lambda project: (-project.total, project.name.casefold(), project.id))
    room = _PROJECTS_BYTES
    named: list[ProjectTotal] = []
    for project in ordered:
        room -= len(to_json(project)) + 1
        if room < 0:
            break
        named.append(project)
    return named, len(ordered) - len(named)


def _left_out(reasons: Sequence[str]) -> dict[str, Any]:
    if not reasons:
        return {}
    more = f"; and {len(reasons) - NAMED} more" if len(reasons) > NAMED else ""
    return {"left_out": len(reasons), "left_out_why": "; ".join(reasons[:NAMED]) + more}
