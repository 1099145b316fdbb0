"""Tool schemas that every host accepts, and the models of results, from which output schemas are made.

Hosts refuse or drop tools for `$ref`, unions, type lists, `const`, `default: null`, arrays without items, and for a
root that is not an object. What pydantic generates has most of these; here they are taken out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any, cast

from pydantic import BaseModel, Field

from ..neptun.models import ChatConversation, GithubInstallation, ProjectImport, TemplateCollection, UserFile

Schema = dict[str, Any]

# The last two are of what Neptun sends, not of arguments.
_LEFT_OUT = ("title", "$defs", "$ref", "anyOf", "pattern", "exclusiveMinimum")

BOUNDS = ("minimum", "maximum", "maxLength")
"""Some hosts refuse a call on their own for these, before this server can take "1" or 0 as they are meant, and in worse
words than its own."""


class ShownImport(ProjectImport):
    """An import in a list; where duplicates were asked for, with the id of the one that replaces it."""

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


def flat_schema(schema: Mapping[str, Any], without: Collection[str] = ()) -> Schema:
    """An equivalent schema of plain objects, arrays and scalars; optional means absent from `required`.

    Titles are dropped, since they repeat the names; docstrings of models, since they are for readers of the code; and
    the keys in `without`.
    """
    definitions: Mapping[str, Any] = schema.get("$defs", {})

    def flat(node: Schema) -> Schema:
        if "$ref" in node:
            node = {**definitions[node["$ref"].removeprefix("#/$defs/")], **node}
        if "anyOf" in node:
            (value,) = [choice for choice in cast("list[Schema]", node["anyOf"]) if choice.get("type") != "null"]
            node = {**flat(value), **node}
        if "properties" in node:
            properties = {name: flat(value) for name, value in node["properties"].items()}
            required = {"required": node["required"]} if "required" in node else {}
            return {"type": "object", "properties": properties, **required}
        if "items" in node:
            node = {**node, "items": flat(node["items"])}
        empty = ("default",) if node.get("default", "") in (None, "") else ()
        return {key: value for key, value in node.items() if key not in (*_LEFT_OUT, *empty, *without)}

    return flat({**schema})
