"""What the tools return, as hosts are told: output schemas are made of these models, results are plain dictionaries."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from ..neptun.models import ChatConversation, GithubInstallation, ProjectImport, TemplateCollection, UserFile


class ShownImport(ProjectImport):
    """An import in a list.

    Attributes:
        replaced_by: the id of the import that replaces it, where duplicates were asked for.
    """

    replaced_by: int | None = None


class ShownResource(UserFile, TemplateCollection, GithubInstallation, ChatConversation):
    """A resource of any type in a list; a file may have a part of its text.

    Attributes:
        text_length: characters of the whole text, if this is not all of it.
        text_offset: where in the text this part begins, if not at its beginning.
        next_text_offset: where the next part begins; None for the last, and in a list.
        matches: how many places of the text match the query, if that is more than are shown.
        project_id: the project, in a list over all of them.
    """

    text_length: int | None = None
    text_offset: int | None = None
    next_text_offset: int | None = None
    matches: int | None = None
    project_id: int | None = None


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

    imports: list[ShownImport]


class ResourcesPage(Page):
    """What `list_resources` returns."""

    resource_type: str
    resources: list[ShownResource]


class DeletionResult(BaseModel):
    """What `delete_import` returns."""

    deleted: bool
    import_id: int
    project_id: int
    message: str
    deleted_import: Annotated[ProjectImport, Field(alias="import")]
