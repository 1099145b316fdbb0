"""Imports and resources as results show them: what Neptun sends, and what this list says of them."""

from __future__ import annotations

from typing import Any

from ..neptun.models import (
    ChatConversation,
    GithubInstallation,
    Item,
    ProjectImport,
    TemplateCollection,
    UserFile,
)
from .excerpts import Excerpt


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
    return _SHOWN[type(item)].model_construct(None, **{**item.__dict__, **more})


def with_excerpt(file: UserFile, part: Excerpt, project_id: int | None = None) -> ShownFile:
    """A file that shows a part of its text, and says what of it that is."""
    whole = file.text
    fields: dict[str, Any] = {
        **file.__dict__,
        "text": None if whole is None else part.text,
        "text_length": len(whole) if whole and len(part.text) < len(whole) else None,
        "text_offset": part.start or None,
        "matches": part.matches,
        "project_id": project_id,
    }
    return ShownFile.model_construct(None, **fields)


def with_less_text(file: ShownFile, part: Excerpt) -> ShownFile:
    """A file that shows less of its text than it did."""
    if file.text is None or len(part.text) == len(file.text):
        return file
    return file.model_copy(update={"text": part.text, "text_length": file.text_length or len(file.text)})
