"""What the tools return, and how it is made to fit a context window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

from mcp.types import CallToolResult, TextContent
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import from_json, to_json

from ..neptun.models import (
    ChatConversation,
    Dated,
    DatedT,
    GithubInstallation,
    Listing,
    ProjectImport,
    Resource,
    ResourceType,
    TemplateCollection,
    UserFile,
)
from .search import find, search

MAX_BYTES = 20_000
"""The size of a result as JSON in UTF-8. Copilot CLI puts a longer one into a file, and shows 500 characters of it."""

PREVIEW = 500
"""Characters of a file's text in a list, at most."""

EMPTY = "Neptun also sends an empty list when it fails."
"""Recorded. An empty list that was asked for twice is probably true, but not certain."""

_ENVELOPE = 1_000  # what surrounds the items, reasons for leaving some out included


class ShownFile(UserFile):
    """A file with a part of its text.

    Attributes:
        text_length: characters of the whole text, if this is not all of it.
        text_offset: where in the text this part begins, if not at its beginning.
        next_text_offset: where the next part begins; None for the last, and in a list.
    """

    text_length: int | None = None
    text_offset: int | None = None
    next_text_offset: int | None = None


class Page(BaseModel):
    """What every list has in common."""

    project_id: int
    total: Annotated[int, Field(description="On all pages")]
    next_offset: int | None = None
    left_out: int | None = None
    left_out_why: str | None = None


class ImportsPage(Page):
    """What `list_imports` returns."""

    imports: list[ProjectImport]


class ResourcesPage(Page):
    """What `list_resources` returns."""

    resource_type: str
    note: str | None = None
    resources: list[ShownFile | TemplateCollection | GithubInstallation | ChatConversation]


class DeletionResult(BaseModel):
    """What `delete_import` returns."""

    model_config = ConfigDict(validate_by_name=True)

    deleted: bool
    import_id: int
    project_id: int
    message: str
    deleted_import: Annotated[ProjectImport, Field(alias="import")]


def tool_result(result: BaseModel) -> CallToolResult:
    """The result as `structuredContent`, and the same object as compact JSON in the text block."""
    text = result.model_dump_json(by_alias=True, exclude_none=True)
    return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=from_json(text))


def imports_page(project_id: int, imports: Listing[ProjectImport], query: str, limit: int, offset: int) -> ImportsPage:
    """One page of imports that contain the words of the query."""
    matching = search(imports.items, query)
    shown = _fitting(matching[offset : offset + limit], lambda item: item)
    return ImportsPage(
        project_id=project_id, imports=shown, **_paging(matching, offset, shown), **_left_out(imports.left_out)
    )


def resources_page(
    project_id: int,
    resource_type: ResourceType,
    resources: Listing[Any],
    query: str,
    limit: int,
    offset: int,
) -> ResourcesPage:
    """One page of resources that contain the words of the query; of a file's text `PREVIEW` characters or less, from
    the beginning or around the first match."""
    matching = search(resources.items, query)
    shown = _fitting(matching[offset : offset + limit], lambda item: _preview(item, query))
    return ResourcesPage(
        project_id=project_id,
        resource_type=resource_type,
        resources=shown,
        note=None if resources.items else EMPTY,
        **_paging(matching, offset, shown),
        **_left_out(resources.left_out),
    )


def one_resource(project_id: int, resource_type: ResourceType, resource: Resource, text_offset: int) -> ResourcesPage:
    """One resource; a file with its text from `text_offset` on, as far as it fits."""
    (shown,) = _fitting([resource], lambda item: _full_text(item, text_offset))
    return ResourcesPage(project_id=project_id, resource_type=resource_type, total=1, resources=[shown])


def deletion_result(deleted: bool, project_id: int, found: ProjectImport, message: str) -> DeletionResult:
    """What happened to an import, and the import as it was found before."""
    (shown,) = _fitting([found], lambda item: item)
    return DeletionResult(
        deleted=deleted, import_id=found.id, project_id=project_id, message=message, deleted_import=shown
    )


def _paging(matching: Sequence[Dated], offset: int, shown: Sequence[Dated]) -> dict[str, int]:
    end = offset + len(shown)
    return {"total": len(matching)} | ({"next_offset": end} if end < len(matching) and shown else {})


def _left_out(reasons: Sequence[str]) -> dict[str, Any]:
    return {"left_out": len(reasons), "left_out_why": "; ".join(reasons[:3])} if reasons else {}


def _fitting(items: Sequence[DatedT], show: Callable[[DatedT], Dated]) -> list[Any]:
    """As many of the items, from the first on, as fit a result; at least one, if need be with its texts cut."""
    room = MAX_BYTES - _ENVELOPE
    shown: list[Dated] = []
    for item in items:
        part = show(item)
        size = _size(part)
        if size > room:
            if not shown:
                shown.append(_cut(part, room))
            break
        room -= size
        shown.append(part)
    return shown


def _size(item: BaseModel) -> int:
    return len(item.__pydantic_serializer__.to_json(item, exclude_none=True)) + 1


def _cut(item: DatedT, room: int) -> DatedT:
    """A copy whose fields are cut so that it fits the room: a million characters of title are not worth a window."""
    for limit in (2_000, 200, 20):
        long = {k: v for k, v in item if isinstance(v, str) and len(v) > limit and k != "text"}
        cut = item.model_copy(update={k: v[: limit - 1] + "…" for k, v in long.items()})
        if _size(cut) <= room:
            return cut
    raise AssertionError("fields of 20 characters always fit")  # pragma: no cover


def _preview(item: DatedT, query: str) -> DatedT | ShownFile:
    if not isinstance(item, UserFile):
        return item
    text = item.text or ""
    if len(text) <= PREVIEW:
        return _part(item, 0, len(text))
    match = find(text, query)
    start = max(0, min(match - PREVIEW // 4, len(text) - PREVIEW))
    if start:
        start = text.find("\n", start - 1, match) + 1 or start
    return _part(item, start, _end(text, max(start, match), start + PREVIEW))


def _end(text: str, start: int, end: int) -> int:
    """Where to cut a text: at `end`, or before it at the end of a line, unless much would be lost."""
    return len(text) if end >= len(text) else text.rfind("\n", (start + end) // 2, end) + 1 or end


def _full_text(item: DatedT, text_offset: int) -> DatedT | ShownFile:
    if not isinstance(item, UserFile):
        return item
    whole = item.text or ""
    start = text_offset if text_offset >= 0 else max(0, len(whole) + text_offset)
    bare = _part(item, start, start).model_copy(update={"text_length": len(whole), "next_text_offset": len(whole)})
    if _size(bare) > MAX_BYTES // 2:
        bare = _cut(bare, MAX_BYTES // 2)
    room = MAX_BYTES - _ENVELOPE - _size(bare)
    end = _end(whole, start, start + _fitting_length(whole[start : start + room], room))
    return bare.model_copy(
        update={
            "text": item.text and whole[start:end],
            "text_length": len(whole) if end - start < len(whole) else None,
            "next_text_offset": end if end < len(whole) else None,
        }
    )


def _fitting_length(text: str, room: int) -> int:
    """How many characters of a text, from the first on, take at most `room` bytes as JSON."""
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if len(to_json(text[:middle])) <= room else (low, middle - 1)
    return low


def _part(file: UserFile, start: int, end: int) -> ShownFile:
    """A file with a part of its text, and what is needed to find the rest."""
    whole = file.text or ""
    text = whole[start:end]
    shown: dict[str, Any] = {
        **file.__dict__,
        "text": file.text and text,
        "text_length": len(whole) if len(text) < len(whole) else None,
        "text_offset": start or None,
    }
    return ShownFile.model_construct(**shown)
