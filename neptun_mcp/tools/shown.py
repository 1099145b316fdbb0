"""Imports and resources as results show them: what Neptun sends, and what this list says of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..neptun.models import (
    ChatConversation,
    GithubInstallation,
    Item,
    ProjectImport,
    TemplateCollection,
    UserFile,
)
from ..neptun.threads import Pace
from .excerpts import Excerpt, marked


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


class Row(NamedTuple):
    """An item of a list, which may show a part of a text.

    Attributes:
        item: as it is shown, a file without its text.
        excerpt: the text of a file.
    """

    item: Any
    excerpt: Excerpt | None = None

    def within(self, room: int) -> Any:
        """The item, with as much of its text as takes so many bytes."""
        return self.item.model_copy(update=self.text_fields(room)) if self.excerpt else self.item

    def text_fields(self, room: int) -> dict[str, str | int | None]:
        """The fields of a file that depend on how many bytes its text may take."""
        if not self.excerpt:
            return {}
        part = self.excerpt.within(room)
        return {
            "text": part.text,
            "text_length": part.length if len(part.text) < part.length else None,
            "text_offset": part.start or None,
            "matches": part.matches,
        }


def row_of(item: Item, needles: Sequence[str], pace: Pace, **more: int | None) -> Row:
    """The row of an item, and where the text of a file matches. An import is shown as it was read."""
    if isinstance(item, ProjectImport) and not more:
        return Row(item)
    if isinstance(item, UserFile) and item.text is not None:
        return Row(as_shown(item, text=None, **more), marked(item.text, needles, pace))
    return Row(as_shown(item, **more))


def as_shown(item: Item, **more: int | None) -> Item:
    """An item in the form of a list."""
    return _SHOWN.get(type(item), type(item)).model_construct(None, **{**item.__dict__, **more})
