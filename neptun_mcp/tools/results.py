"""What the tools return: pages of imports and resources, as Neptun sends them and with what a page says of each."""

from __future__ import annotations

from typing import Annotated

from mcp.types import CallToolResult, TextContent
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import from_json

from ..neptun.models import (
    ChatConversation,
    GithubInstallation,
    Item,
    ProjectImport,
    TemplateCollection,
    UserFile,
)


class ShownImport(ProjectImport):
    """An import in a list.

    Attributes:
        replaced_by: the id of the import that replaces it, where duplicates were asked for.
    """

    replaced_by: int | None = None


class ShownFile(UserFile):
    """A file with a part of its text.

    Attributes:
        text_length: characters of the whole text, if this is not all of it.
        text_offset: where in the text this part begins, if not at its beginning.
        next_text_offset: where the next part begins; None for the last, and in a list.
        matches: how many places of the text match the query, if that is more than are shown.
        project_id: the project, in a list over all of them; likewise of the other resources.
    """

    text_length: int | None = None
    text_offset: int | None = None
    next_text_offset: int | None = None
    matches: int | None = None
    project_id: int | None = None


class ShownCollection(TemplateCollection):
    """A template collection in a list."""

    project_id: int | None = None


class ShownInstallation(GithubInstallation):
    """A GitHub installation in a list."""

    project_id: int | None = None


class ShownChat(ChatConversation):
    """A chat in a list."""

    project_id: int | None = None


ShownResource = ShownFile | ShownCollection | ShownInstallation | ShownChat

_SHOWN: dict[type[Item], type[Item]] = {
    ProjectImport: ShownImport,
    UserFile: ShownFile,
    TemplateCollection: ShownCollection,
    GithubInstallation: ShownInstallation,
    ChatConversation: ShownChat,
}


def as_shown(item: Item, **more: int | None) -> Item:
    """An item in the form of a list."""
    return _SHOWN.get(type(item), type(item)).model_construct(None, **{**item.__dict__, **more})


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


def tool_result(result: BaseModel) -> CallToolResult:
    """The result as `structuredContent`, and the same object as compact JSON in the text block."""
    text = result.model_dump_json(by_alias=True, exclude_none=True)
    return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=from_json(text))
