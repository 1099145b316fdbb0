"""How a page of one project's list comes about: asked for or remembered, searched, made to fit, and remembered."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar

from ..neptun import threads
from ..neptun.client import KNOWN_KINDS, Learned, is_kind
from ..neptun.models import GITHUB_KINDS, Listing, ResourceType, UserFile
from ..neptun.threads import SMALL, Pace, Stopped
from ..neptun.time_limit import TimeLimit
from .context import Call
from .duplicates import replacements
from .fitting import Row, fitted, full_text, row_of
from .folding import ITEM, work_on
from .not_done import NotDone
from .pages import memory_of
from .query import Query, search
from .results import ShownFile, as_shown
from .words import listed

EMPTY = "Neptun also sends an empty list when it fails."
"""Recorded. An empty list that was asked for twice is probably true, but not certain."""

NO_STATUS = "Neptun sends no status of these imports, so which of them failed, or are duplicates, is unknown."

ONLY_GITHUB = "This Neptun may call every import from GitHub just github: pass that as source_type to see them."

ANEW = "The list was read again for this page, and may have changed since the page before."

NO_QUERY = "query was passed over: to find lines of one file, leave resource_id out and add id:{} to the query."

NO_OFFSET = "offset was passed over: it counts the items of a list, text_offset the characters of a file."

NO_SUCH_KIND = (
    f"source_type must be one of {', '.join(KNOWN_KINDS)}, or another kind that a result shows. "
    "There is no import of the kind that was asked for."
)

SEARCH_SECONDS = 20.0
"""The processor's time that one call may take for its search, whatever NEPTUN_TIMEOUT allows."""

T = TypeVar("T")


@dataclass(frozen=True)
class Wanted:
    """Which part of which list a call asks for.

    Attributes:
        what: the imports, or the type of the resources.
        query: what the items have to be.
        limit: how many items, at most.
        offset: how many come before; a negative one counts from the end.
        kind: the `source_type` of imports; empty for all.
    """

    what: Literal["imports"] | ResourceType
    query: Query
    limit: int
    offset: int
    kind: str = ""

    @property
    def asked_kind(self) -> str:
        """The kind to ask Neptun for. A duplicate may be of another kind than what replaces it."""
        return "" if self.query.duplicates is not None else self.kind

    async def ask(self, call: Call) -> Listing[Any]:
        """The whole list of the call's project, as Neptun has it now."""
        if self.what == "imports":
            return await call.neptun.list_imports(call.project_id, self.asked_kind or None)
        return await call.neptun.list_resources(call.project_id, self.what)

    def has_kind(self, items: Iterable[Any]) -> bool:
        """Whether the kind is known, or seen in a list."""
        return self.kind in ("", *KNOWN_KINDS) or any(is_kind(item.source_type, self.kind) for item in items)

    def caution(self, items: Collection[Any]) -> str:
        """What has to be said of a list, whatever the query finds in it."""
        if self.what != "imports":
            return "" if items else EMPTY
        unknown = self.query.asks_status and items and not any(item.import_status for item in items)
        return NO_STATUS if unknown else ""

    def hint(self, total: int, learned: Learned) -> str:
        """What to know of a list in which so many were found.

        Args:
            total: how many were found.
            learned: what the server is like; one as documented need not tell the kinds of GitHub imports apart.
        """
        unknown = self.kind in GITHUB_KINDS and learned.imports_by_kind is False and not total
        return ONLY_GITHUB if unknown else self.query.hint(total)

    def find(self, items: Sequence[Any], pace: Pace) -> Sequence[Any]:
        """The items of a list that are wanted, in their order. A duplicate knows what replaces it."""
        of_kind = [item for item in items if is_kind(item.source_type, self.kind)] if self.kind else items
        found = search(of_kind, self.query, pace)
        if self.query.duplicates is None:
            return found
        replaced = replacements(items)
        wanted = [item for item in found if (item.id in replaced) is self.query.duplicates]
        return [as_shown(item, replaced_by=replaced.get(item.id)) for item in wanted]

    async def in_time(self, items: Sequence[Any], limit: TimeLimit, work: Callable[[Pace], T]) -> T:
        """What `work` makes of a list, within the call's time. That of a large list runs in a thread.

        Args:
            items: the list.
            limit: the time that the call may take.
            work: is given the pace to keep.

        Raises:
            NotDone: the time did not suffice.
        """
        size = len(items) * ITEM
        if size <= SMALL and self.query:
            size += sum(ITEM + work_on(item.text or "") for item in items if isinstance(item, UserFile))
        try:
            with limit.spend():
                return await threads.paced(size, work, seconds=SEARCH_SECONDS)
        except (TimeoutError, Stopped):
            raise NotDone(
                "This search takes longer than one call may. "
                "Look through one project at a time, or read a single file with resource_id."
            ) from None

    def part(self, total: int) -> range:
        """The positions of the page in a list of so many items."""
        start = self.offset if self.offset >= 0 else max(0, total + self.offset)
        return range(min(start, total), min(start + self.limit, total))


async def project_page(call: Call, wanted: Wanted) -> dict[str, Any]:
    """The fields of a page of one project's list; `items` are imports or resources.

    Raises:
        NotDone: no import is of the kind, and Neptun is not known to have it.
    """
    key = await call.key(wanted.what, wanted.asked_kind)
    sent = await call.pages.find(key, wanted.offset > 0, partial(wanted.ask, call))
    anew = wanted.offset > 0 and not sent.size
    items: list[Any] = sent.value.items
    if not wanted.has_kind(items):
        raise NotDone(NO_SUCH_KIND)

    def made(pace: Pace) -> tuple[dict[str, Any], int]:
        found = wanted.find(items, pace)
        part = wanted.part(len(found))
        needles = wanted.query.needles
        rows = [row_of(item, needles, pace) for item in found[part.start : part.stop]]
        page = part_of(found, part, fitted(rows), len(found), sent.gone)
        more = page["next_offset"] is not None and not sent.size
        return page, memory_of(items, pace) if more else 0

    page, memory = await wanted.in_time(items, call.limit, made)
    if memory:
        call.pages.remember(sent, memory)
    note = notes(wanted.caution(items), wanted.hint(page["total"], call.neptun.learned), ANEW if anew else "")
    return {"project_id": call.project_id, "note": note, **page, **left_out(sent.value.left_out, 3)}


async def single_resource(
    call: Call, resource_type: ResourceType, resource_id: int, text_offset: int, query: str, offset: int
) -> dict[str, Any]:
    """The fields of a page with one resource; a file with its text from a character on, as far as it fits.

    Args:
        query: goes with a list alone, as `offset` does, and the note says so.
    """
    ask = partial(call.neptun.get_resource, call.project_id, resource_type, resource_id)
    sent = await call.pages.find(await call.key(resource_type, resource_id), text_offset != 0, ask)
    shown = as_shown(sent.value)
    shown = full_text(shown, text_offset) if isinstance(shown, ShownFile) else fitted([Row(shown)])[0]
    if getattr(shown, "next_text_offset", None):
        call.pages.remember(sent, memory_of([sent.value], Pace()))
    note = notes(NO_QUERY.format(resource_id) if query.strip() else "", NO_OFFSET if offset else "")
    return {"project_id": call.project_id, "total": 1, "items": [shown], "note": note}


def part_of(
    found: Iterable[Any], part: range, shown: Sequence[Any], total: int, gone: Collection[int]
) -> dict[str, Any]:
    """The fields of a page that depend on its part of the list.

    Args:
        found: the items of the list.
        part: the positions of the page.
        shown: as many items of it as fit.
        total: how many the list has.
        gone: the ids of imports that have been deleted since. They keep their places, so that the offsets of the first
            page stay good.
    """
    hidden = {i.id for i in found if i.id in gone or getattr(i, "replaced_by", None) in gone} if gone else ()
    end = part.start + len(shown)
    return {
        "items": [item for item in shown if item.id not in hidden],
        "total": total - len(hidden),
        "next_offset": end if shown and end < total else None,
    }


def left_out(reasons: Sequence[str], named: int) -> dict[str, Any]:
    """How many items, or projects, are not in a list that should be, and why, for so many of them."""
    if not reasons:
        return {}
    return {"left_out": len(reasons), "left_out_why": listed(reasons, named, "; ")}


def notes(*said: str) -> str | None:
    """What is to be said of a list, in one text."""
    return " ".join(filter(None, said)) or None
