"""What the tools return."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from mcp.types import CallToolResult, TextContent
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import from_json

from ..neptun.client import is_kind
from ..neptun.models import Listing, ProjectImport, Resource, ResourceType, UserFile
from .duplicates import replacements
from .excerpts import PREVIEW, excerpt, find_places
from .fitting import fitted, fitted_files, full_text
from .pace import ITEM, SMALL, Pace, work_on
from .pages import Sent
from .query import Query, search
from .shown import ShownFile, ShownImport, ShownResource, as_shown, with_excerpt

EMPTY = "Neptun also sends an empty list when it fails."
"""Recorded. An empty list that was asked for twice is probably true, but not certain."""

NO_STATUS = "Neptun sends no status of these imports, so which of them are duplicates is unknown."

ANEW = "The list was read again for this page, and may have changed since the page before."


class ProjectTotal(BaseModel):
    """How many items of one project are in a list over all projects."""

    id: int
    name: str
    total: int


class Page(BaseModel):
    """What every list has in common."""

    project_id: int | None = None
    projects: list[ProjectTotal] | None = None
    total: int
    next_offset: int | None = None
    left_out: int | None = None
    left_out_why: str | None = None
    note: str | None = None


class ImportsPage(Page):
    """What `list_imports` returns."""

    imports: list[ProjectImport | ShownImport]


class ResourcesPage(Page):
    """What `list_resources` returns."""

    resource_type: str
    resources: list[ShownResource]


class DeletionResult(BaseModel):
    """What `delete_import` returns."""

    model_config = ConfigDict(validate_by_name=True)

    deleted: bool
    import_id: int
    project_id: int
    message: str
    deleted_import: Annotated[ProjectImport, Field(alias="import")]


@dataclass(frozen=True)
class Wanted:
    """Which part of a list a call asks for.

    Attributes:
        query: what the items have to be.
        limit: how many items, at most.
        offset: how many come before; a negative one counts from the end.
    """

    query: Query
    limit: int
    offset: int

    def part(self, total: int) -> range:
        """The positions in a list of so many items."""
        start = self.offset if self.offset >= 0 else max(0, total + self.offset)
        return range(min(start, total), min(start + self.limit, total))


def tool_result(result: BaseModel) -> CallToolResult:
    """The result as `structuredContent`, and the same object as compact JSON in the text block."""
    text = result.model_dump_json(by_alias=True, exclude_none=True)
    return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=from_json(text))


def work_for(items: Sequence[Any], wanted: Wanted) -> int:
    """How much work a page is, for `paced`."""
    if len(items) * ITEM > SMALL or not wanted.query:
        return len(items) * ITEM
    return sum(ITEM + work_on(item.text or "") for item in items if isinstance(item, UserFile)) + len(items) * ITEM


def imports_page(
    project_id: int, sent: Sent[Listing[ProjectImport]], kind: str, wanted: Wanted, pace: Pace
) -> ImportsPage:
    """One page of the imports of one kind that the query finds; of all kinds if none is given."""
    listing, query = sent.value, wanted.query
    found, replaced = found_imports(listing.items, kind, query, pace)
    # What has been deleted since keeps its place, so that the offsets of the first page stay good.
    gone = [item for item in found if item.id in sent.gone or replaced.get(item.id) in sent.gone]
    part = wanted.part(len(found))
    rows: Sequence[Any] = found[part.start : part.stop]
    if replaced:
        rows = [as_shown(item, replaced_by=replaced.get(item.id)) for item in rows]
    shown = fitted(rows)
    unknown = query.duplicates and listing.items and not any(item.import_status for item in listing.items)
    hidden = {item.id for item in gone}
    return ImportsPage(
        project_id=project_id,
        imports=[item for item in shown if item.id not in hidden],
        note=notes(NO_STATUS if unknown else "", ANEW if sent.anew else ""),
        total=len(found) - len(gone),
        next_offset=next_offset(part, len(shown), len(found)),
        **left_out(listing.left_out),
    )


def resources_page(
    project_id: int, resource_type: ResourceType, sent: Sent[Listing[Any]], wanted: Wanted, pace: Pace
) -> ResourcesPage:
    """One page of the resources that the query finds. A file shows the lines that match, or the beginning of its text:
    `PREVIEW` characters, or as many as leave room for the other items."""
    listing = sent.value
    found = search(listing.items, wanted.query, pace)
    part = wanted.part(len(found))
    chosen = found[part.start : part.stop]
    if resource_type == "user-files":
        shown: list[Any] = fitted_files([partial(_with_text, *_places(file, wanted, pace)) for file in chosen])
    else:
        shown = fitted([as_shown(item) for item in chosen])
    return ResourcesPage(
        project_id=project_id,
        resource_type=resource_type,
        resources=shown,
        note=notes("" if listing.items else EMPTY, ANEW if sent.anew else ""),
        total=len(found),
        next_offset=next_offset(part, len(shown), len(found)),
        **left_out(listing.left_out),
    )


def one_resource(project_id: int, resource_type: ResourceType, resource: Resource, text_offset: int) -> ResourcesPage:
    """One resource; a file with its text from `text_offset` on, as far as it fits."""
    shown: Any = as_shown(resource)
    shown = full_text(shown, text_offset) if isinstance(shown, ShownFile) else fitted([shown])[0]
    return ResourcesPage(project_id=project_id, resource_type=resource_type, total=1, resources=[shown])


def deletion_result(deleted: bool, project_id: int, found: ProjectImport, message: str) -> DeletionResult:
    """What happened to an import, and the import as it was found before."""
    (shown,) = fitted([found])
    return DeletionResult(
        deleted=deleted, import_id=found.id, project_id=project_id, message=message, deleted_import=shown
    )


def found_imports(
    imports: Sequence[ProjectImport], kind: str, query: Query, pace: Pace
) -> tuple[Sequence[ProjectImport], Mapping[int, int]]:
    """The imports of a project that a query finds, and which of them another one replaces, if it asks for that."""
    of_kind = [item for item in imports if is_kind(item.source_type, kind)] if kind else imports
    found = search(of_kind, query, pace)
    if query.duplicates is None:
        return found, {}
    replaced = replacements(imports)
    return [item for item in found if (item.id in replaced) is query.duplicates], replaced


def next_offset(part: range, shown: int, total: int) -> int | None:
    """Where the page after this one begins; None for the last."""
    end = part.start + shown
    return end if shown and end < total else None


def left_out(reasons: Sequence[str]) -> Mapping[str, Any]:
    """How many items are not in a list that should be, and why."""
    return {"left_out": len(reasons), "left_out_why": "; ".join(reasons[:3])} if reasons else {}


def notes(*said: str) -> str | None:
    """What is to be said of a list, in one text."""
    return " ".join(filter(None, said)) or None


def _places(file: UserFile, wanted: Wanted, pace: Pace) -> tuple[UserFile, Any]:
    long = len(file.text or "") > PREVIEW
    return file, find_places(file.text or "", wanted.query.needles if long else (), pace)


def _with_text(file: UserFile, places: Any, room: int) -> ShownFile:
    return with_excerpt(file, excerpt(file.text or "", places, room))
