"""How a page of a list comes about: asked for or remembered, searched, made to fit, and remembered.

A list is of one project, or of all: then each project's list is read, and only the rows to show are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from sys import getsizeof
from typing import Any, Literal, TypeVar

import anyio
from pydantic_core import to_json

from ..neptun import threads
from ..neptun.client import KNOWN_KINDS, Learned, is_kind
from ..neptun.errors import BadRequest, Denied, NeptunError, NotLikeNeptun, Unavailable, quoted
from ..neptun.models import GITHUB_KINDS, Listing, Project, ResourceType, UserFile, age
from ..neptun.threads import SMALL, Pace, Stopped
from ..neptun.time_limit import TimeLimit
from .context import Call
from .fitting import MAX_BYTES, Row, fitted, single
from .folding import ITEM, work_on
from .pages import EVERY_PROJECT, memory_of
from .projects import list_projects
from .query import Query, replacements, search
from .words import NotDone, happened, listed

EMPTY = "Neptun also sends an empty list when it fails."
"""Recorded. An empty list that was asked for twice is probably true, but not certain."""

# Other notes and errors.
NO_STATUS = "Neptun sends no status of these imports, so which of them failed, or are duplicates, is unknown."
ONLY_GITHUB = "This Neptun may call every import from GitHub just github: pass that as source_type to see them."
ANEW = "This is the list as it is now; if you have seen an earlier page, it may have changed since."
NO_QUERY = "query was ignored: to find lines of one file, leave resource_id out and add id:{} to the query."
NO_OFFSET = "offset was ignored: it counts the items of a list, text_offset the characters of a file."
NO_SUCH_KIND = (
    f"source_type must be one of {', '.join(KNOWN_KINDS)}, or another kind that a result shows. "
    "There is no import of the kind that was asked for."
)
TOO_MANY = "This page is too far from either end for the memory of one call. Narrow the query, or pass one project."

SEARCH_SECONDS = 20.0
"""The processor's time that one call may take for its search, whatever NEPTUN_TIMEOUT allows."""

AT_ONCE = 3
"""Projects whose lists are read at the same time, and are in memory."""

NAMED = 10
"""Projects or items that a note names; the others are counted."""

_PLACE_BYTES = 40  # of memory, for each place in an excerpt
_FIELD = 2_000  # characters of a field of a row
_PROJECTS_BYTES = 4_000  # of a result, for the projects and their totals
_OF_ONE_PROJECT = (Denied, NotLikeNeptun, Unavailable, BadRequest, NotDone)

T = TypeVar("T")


@dataclass(frozen=True)
class Wanted:
    """Which part of which list a call asks for.

    Attributes:
        offset: how many items come before; a negative one counts from the end.
        kind: the `source_type` of imports; empty for all.
    """

    what: Literal["imports"] | ResourceType
    query: Query
    limit: int
    offset: int
    kind: str = ""

    async def ask(self, call: Call) -> Listing[Any]:
        """The whole list of the call's project, as Neptun has it now."""
        if self.what != "imports":
            return await call.neptun.list_resources(call.project_id, self.what)
        # A duplicate may be of another kind than what replaces it.
        kind = self.kind if self.query.duplicates is None else ""
        return await call.neptun.list_imports(call.project_id, kind or None)

    def caution(self, items: Collection[Any]) -> str:
        """What to say of a list, whatever the query finds in it."""
        if self.what != "imports":
            return "" if items else EMPTY
        unknown = self.query.asks_status and items and not any(item.import_status for item in items)
        return NO_STATUS if unknown else ""

    def hint(self, total: int, learned: Learned) -> str:
        """What to know of a list in which `total` items were found."""
        # A server as documented need not tell the kinds of GitHub imports apart.
        unknown = self.kind in GITHUB_KINDS and learned.imports_by_kind is False and not total
        return ONLY_GITHUB if unknown else self.query.hint(total)

    def rows(self, items: Sequence[Any], pace: Pace) -> list[Row]:
        """The rows of a list that are wanted, in their order."""
        of_kind = [item for item in items if is_kind(item.source_type, self.kind)] if self.kind else items
        found = search(of_kind, self.query, pace)
        if self.query.duplicates is None:
            return [*map(Row, found)]
        replaced = replacements(items)
        wanted = [item for item in found if (item.id in replaced) is self.query.duplicates]
        return [Row(item, replaced_by=replaced.get(item.id)) for item in wanted]

    async def in_time(self, items: Sequence[Any], limit: TimeLimit, work: Callable[[Pace], T]) -> T:
        """What `work` makes of a list; a large one goes to a thread. Raises NotDone if the time does not suffice."""
        size = len(items) * ITEM
        if size <= SMALL and self.query:
            size += sum(ITEM + work_on(item.text or "") for item in items if isinstance(item, UserFile))
        if size <= SMALL:
            return work(Pace())
        try:
            with limit.spend():
                return await threads.paced(size, work, seconds=SEARCH_SECONDS)
        except (TimeoutError, Stopped):
            raise NotDone(
                "This search takes longer than one call may. "
                "Look through one project at a time, or read a single file with resource_id."
            ) from None


@dataclass
class Found:
    """What was found, in one project or in all.

    Attributes:
        rows: newest first; of too many in all projects those up to the wanted page, from the nearer end on.
        projects: the projects that were read, as a list over all of them shows them.
        left_out: what could not be read, and why.
        cautions: what to say of lists, each with the projects that it is true of.
        has_kind: whether the kind of imports that is wanted is known, or was seen.
        memory: bytes that the rows take; not counted in a list of one project.
        gone: the ids of the imports that have been deleted since.
    """

    wanted: Wanted
    rows: list[Row] = field(default_factory=list[Row])
    projects: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    left_out: list[str] = field(default_factory=list[str])
    cautions: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    has_kind: bool = False
    total: int = 0
    memory: int = 0
    gone: set[int] = field(default_factory=set[int])

    async def read(self, call: Call, project: Project | None = None) -> None:
        """Add the rows of the call's project; in a list over all projects, only what is ever shown of each row.

        Raises:
            NeptunError, NotDone: its list could not be read, or searched.
        """
        listing = await self.wanted.ask(call)

        def found(pace: Pace) -> tuple[list[Row], int]:
            rows, needles = self.wanted.rows(listing.items, pace), self.wanted.query.needles
            if project is None:
                return rows, 0
            own = [row._replace(project_id=project.id) for row in rows]
            rows = [row.with_excerpt(needles, pace).shortened(_FIELD) for row in own]
            return rows, _memory(rows, pace)

        rows, memory = await self.wanted.in_time(listing.items, call.limit, found)
        self.rows += rows
        self.memory += memory
        self.total += len(rows)
        of = f"project {project.id}, " if project else ""
        self.left_out += [f"{of}{reason}" for reason in listing.left_out]
        kind = self.wanted.kind
        self.has_kind |= kind in ("", *KNOWN_KINDS) or any(is_kind(item.source_type, kind) for item in listing.items)
        if caution := self.wanted.caution(listing.items):
            self.cautions.setdefault(caution, []).append(call.project_id)
        if project:
            self.projects.append({"id": project.id, "name": project.name[:200], "total": len(rows)})

    def keep_within(self, max_bytes: int) -> bool:
        """Keep all rows, or if they take more memory those up to the wanted page; whether these take no more."""
        self.rows.sort(key=lambda row: age(row.item), reverse=True)
        if self.memory > max_bytes:
            first = self.wanted.offset
            self.rows = self.rows[first:] if first < 0 else self.rows[: first + self.wanted.limit]
            self.memory = _memory(self.rows, Pace())
        return self.memory <= max_bytes


def _memory(rows: Sequence[Row], pace: Pace) -> int:
    """The bytes of memory that rows take."""
    excerpts = [row.excerpt for row in rows if row.excerpt]
    lists = sum(len(excerpt.places) + 4 * len(excerpt.parts) for excerpt in excerpts)
    texts = sum(getsizeof(lines) for excerpt in excerpts for _, lines in excerpt.parts)
    return memory_of([row.item for row in rows], pace) + _PLACE_BYTES * lists + texts


async def list_page(call: Call, wanted: Wanted) -> dict[str, Any]:
    """The fields of a page of a list, of the call's project or of all.

    Raises:
        NeptunError: no project could be read.
        NotDone: there is none; Neptun is not known to have the kind of imports; or there are too many rows.
    """
    everywhere = call.project_id == EVERY_PROJECT
    key = await call.key(wanted.what, wanted.kind, wanted.query.query)
    found, is_new = await call.shared.pages.find(key, wanted.offset > 0, partial(_read, call, wanted))
    if not found.has_kind and not found.left_out:
        raise NotDone(NO_SUCH_KIND)
    complete = len(found.rows) == found.total
    projects = _named(found.projects)
    unnamed = len(found.projects) - len(projects)
    head: dict[str, Any] = {"projects": projects} if everywhere else {"project_id": call.project_id}
    why = listed(found.left_out, NAMED if everywhere else 3, "; ")
    left_out = {"left_out": len(found.left_out), "left_out_why": why} if why else {}
    around = left_out | notes(
        *(f"{_in_projects(ids) if everywhere else ''}{caution}" for caution, ids in found.cautions.items()),
        wanted.hint(found.total, call.neptun.learned),
        ANEW if is_new and wanted.offset > 0 else "",
        f"{unnamed} more projects, with no more matches than the last of these, are not named." if unnamed else "",
        "" if complete else "There are too many to remember: each page is read again. Narrow the query.",
    )
    start = range(found.total)[wanted.offset :].start  # a slice counts a negative offset from the end
    newer = found.total - len(found.rows) if wanted.offset < 0 else 0  # that are not kept
    rows = found.rows[start - newer : start - newer + wanted.limit]

    def made(pace: Pace) -> list[dict[str, Any]]:
        with_excerpts = [row.with_excerpt(wanted.query.needles, pace) for row in rows]
        return fitted(with_excerpts, MAX_BYTES - 200 - len(to_json([head, around])))

    shown = await wanted.in_time([row.item for row in rows], call.limit, made)
    end = start + len(shown)
    more = bool(shown) and end < found.total
    if more and complete and is_new:
        of_all = [row.item for row in found.rows]
        memory = found.memory or await wanted.in_time(of_all, call.limit, partial(_memory, found.rows))
        call.shared.pages.remember(key, found, memory)
    # What has been deleted since keeps its place, so that the offsets of the first page stay good.
    gone = {row.item.id for row in found.rows if found.gone & {row.item.id, row.replaced_by}} if found.gone else ()
    head |= {"total": found.total - len(gone)} | ({"next_offset": end} if more else {})
    return {**head, **around, "items": [item for item in shown if item["id"] not in gone]}


async def _read(call: Call, wanted: Wanted) -> Found:
    """The rows of the call's project, or of all of a person's projects, as far as the call's time suffices."""
    found, max_bytes = Found(wanted), call.shared.pages.max_bytes // 2
    if call.project_id != EVERY_PROJECT:
        await found.read(call)
        return found
    known = await list_projects(call)
    found.left_out += [f"the list of projects, {reason}" for reason in known.left_out]
    names = {project.id: quoted(project.name) for project in known.items}
    unread = dict.fromkeys(names, "there was no time left to read it")
    errors: list[NeptunError | NotDone] = []
    waiting = iter(known.items)
    time_left = max(0.0, call.limit.seconds - call.limit.spent)

    async def read(scope: anyio.CancelScope) -> None:
        for project in waiting:
            try:
                await found.read(call.within(time_left, project.id), project)
                del unread[project.id]
            except (NeptunError, NotDone) as error:
                what = happened(error) if isinstance(error, NeptunError) else str(error)
                unread[project.id] = what.rstrip(".")
                errors.append(error)
                if not isinstance(error, _OF_ONE_PROJECT):
                    scope.cancel()
            if found.memory > max_bytes and not found.keep_within(max_bytes):
                scope.cancel()

    with suppress(TimeoutError), call.limit.spend(0.9):  # what is left is for making the page
        async with anyio.create_task_group() as tasks:
            for _ in range(AT_ONCE):
                tasks.start_soon(read, tasks.cancel_scope)
    fatal = [error for error in errors if not (found.projects and isinstance(error, _OF_ONE_PROJECT))]
    if fatal:
        raise fatal[-1]
    found.left_out += [f"project {id} {names[id]}: {why}" for id, why in unread.items()]
    if not found.keep_within(max_bytes):
        raise NotDone(TOO_MANY)
    return found


def _in_projects(ids: Sequence[int]) -> str:
    return f"In project{'s'[: len(ids) - 1]} {listed(map(str, sorted(ids)), NAMED)}: "


def _named(projects: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The projects with most matches, as many as fit."""
    ordered = sorted(projects, key=lambda project: (-project["total"], project["name"].casefold(), project["id"]))
    ends = accumulate(len(to_json(project)) + 1 for project in ordered)
    return ordered[: sum(end <= _PROJECTS_BYTES for end in ends)]


async def single_resource(
    call: Call, resource_type: ResourceType, resource_id: int, text_offset: int, query: str, offset: int
) -> dict[str, Any]:
    """The fields of a page with one resource; a file with its text from a character on, as far as it fits.

    A query and an offset are for lists alone; if one is given, the note says so.
    """
    ask = partial(call.neptun.get_resource, call.project_id, resource_type, resource_id)
    key = await call.key(resource_type, resource_id)
    item, is_new = await call.shared.pages.find(key, text_offset != 0, ask)
    shown = single(item, text_offset)
    if "next_text_offset" in shown and is_new:
        call.shared.pages.remember(key, item, memory_of([item], Pace()))
    said = notes(NO_QUERY.format(resource_id) if query.strip() else "", NO_OFFSET if offset else "")
    return {"project_id": call.project_id, "total": 1, **said, "items": [shown]}


def notes(*said: str) -> dict[str, str]:
    """What to say of a list, in one text."""
    said = tuple(filter(None, said))
    return {"note": " ".join(said)} if said else {}
