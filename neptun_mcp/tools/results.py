"""What the tools return."""

from __future__ import annotations

from typing import Annotated

from mcp.types import CallToolResult, TextContent
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import from_json

from ..neptun.models import ProjectImport
from .fitting import fitted
from .shown import Row, ShownImport, ShownResource


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

    imports: Annotated[list[ProjectImport | ShownImport], Field(validation_alias="items")]


class ResourcesPage(Page):
    """What `list_resources` returns."""

    resource_type: str
    resources: Annotated[list[ShownResource], Field(validation_alias="items")]


class DeletionResult(BaseModel):
    """What `delete_import` returns."""

    model_config = ConfigDict(validate_by_name=True)

    deleted: bool
    import_id: int
    project_id: int
    message: str
    deleted_import: Annotated[ProjectImport, Field(alias="import")]


def deletion_result(deleted: bool, project_id: int, found: ProjectImport, message: str) -> DeletionResult:
    """What happened to an import, and the import as it was found before."""
    (shown,) = fitted([Row(found)])
    return DeletionResult(
        deleted=deleted, import_id=found.id, project_id=project_id, message=message, deleted_import=shown
    )


def tool_result(result: BaseModel) -> CallToolResult:
    """The result as `structuredContent`, and the same object as compact JSON in the text block."""
    text = result.model_dump_json(by_alias=True, exclude_none=True)
    return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=from_json(text))
