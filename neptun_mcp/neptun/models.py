"""What Neptun sends, read with tolerance: unknown fields are passed over, most fields may be missing or null.

The fields are those of the documentation of the three endpoints, plus those that a running server was seen to
send. `file_tree` of an import is not read: it can be of any size, and nobody asked for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cache
from typing import Annotated, Any, Generic, Literal, TypeAlias, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, Field, TypeAdapter, ValidationError

ResourceType: TypeAlias = Literal["user-files", "template-collections", "github-installations", "chat-conversations"]

COOKIE_NAME = "neptun-session"

MAX_ID = 2**31 - 1
"""PostgreSQL's `integer`: a running server answers a larger id with 500 (recorded)."""

LOCAL_FOLDER = "local_folder"
PUBLIC_GITHUB = "public_github_repository_url"
GITHUB_KINDS = ("github_repository_installation", PUBLIC_GITHUB)
"""The `source_type` words that a running server uses for GitHub; it does not know the documented `github`."""


Timestamp: TypeAlias = Annotated[
    str, Field(pattern=r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?$")
]
"""A moment as Neptun sends it, ISO 8601. Text sorts, and is shown again, without the cost of parsing thousands."""
Id: TypeAlias = Annotated[int, Field(gt=0)]


class Item(BaseModel, coerce_numbers_to_str=True):
    """Anything that Neptun keeps under an id."""

    id: Annotated[Id, Field(description="Id")]


class Dated(Item):
    """An item with its dates and its owner."""

    created_at: Annotated[Timestamp | None, Field(description="Created, UTC")] = None
    updated_at: Annotated[Timestamp | None, Field(description="Changed, UTC")] = None
    neptun_user_id: Annotated[int | None, Field(description="Owner's user id")] = None


class Project(Item):
    """One of a person's projects."""

    name: Annotated[str, BeforeValidator(lambda name: "" if name is None else name)] = ""


class ProjectImport(Dated):
    """A source that was read into a project. `source_ref`, `import_status` and `error_message` are sent by a
    running server only, `title` and `description` are documented only."""

    source_type: Annotated[str, Field(description="Kind of source")]
    source_path: Annotated[str, Field(description="Folder, repository or URL")]
    source_ref: Annotated[str | None, Field(description="Branch or tag")] = None
    title: Annotated[str | None, Field(description="Title")] = None
    description: Annotated[str | None, Field(description="Description")] = None
    import_status: Annotated[str | None, Field(description="pending, completed, failed, …")] = None
    error_message: Annotated[str | None, Field(description="Why it failed")] = None
    project_id: Annotated[int | None, Field(description="Project id")] = None


class UserFile(Dated):
    """A file kept in a project, with its text."""

    title: Annotated[str | None, Field(description="File name")] = None
    text: Annotated[str | None, Field(description="File text, or a part of it")] = None
    language: Annotated[str | None, Field(description="Language")] = None
    extension: Annotated[str | None, Field(description="File extension")] = None


class TemplateCollection(Dated):
    """A collection of templates, which may be shared by link."""

    name: Annotated[str | None, Field(description="Name")] = None
    description: Annotated[str | None, Field(description="Description")] = None
    is_shared: Annotated[bool | None, Field(description="Shared by link")] = None
    share_uuid: Annotated[str | None, Field(description="Id of the share link")] = None


class GithubInstallation(Dated):
    """A connection to a GitHub account. The documentation has two sets of field names; both are read."""

    github_account_type: Annotated[str | None, Field(description="User or Organization")] = None
    github_account_avatar_url: Annotated[str | None, Field(description="Picture")] = None
    # Documented as text, sent as a number: text holds both.
    github_account_id: Annotated[str | None, Field(description="GitHub account id")] = None
    github_account_name: Annotated[str | None, Field(description="GitHub account")] = None
    github_installation_id: Annotated[int | None, Field(description="GitHub installation id")] = None
    installation_id: Annotated[str | None, Field(description="GitHub installation id")] = None
    account_name: Annotated[str | None, Field(description="GitHub account")] = None
    repository_selection: Annotated[str | None, Field(description="all or selected")] = None


class ChatConversation(Dated):
    """A chat about a project."""

    name: Annotated[str | None, Field(description="Name")] = None
    description: Annotated[str | None, Field(description="Description")] = None
    model: Annotated[str | None, Field(description="Language model")] = None
    model_publisher: Annotated[str | None, Field(description="Model's publisher")] = None
    model_name: Annotated[str | None, Field(description="Model's name")] = None


Resource: TypeAlias = UserFile | TemplateCollection | GithubInstallation | ChatConversation

RESOURCE_MODELS: dict[ResourceType, type[Resource]] = {
    "user-files": UserFile,
    "template-collections": TemplateCollection,
    "github-installations": GithubInstallation,
    "chat-conversations": ChatConversation,
}

_MOMENT = TypeAdapter(datetime)

ItemT = TypeVar("ItemT", bound=Item)
DatedT = TypeVar("DatedT", bound=Dated)


@dataclass(frozen=True)
class Listing(Generic[ItemT]):
    """The items of a list that could be read, and for each of the others why it could not."""

    items: list[ItemT]
    left_out: list[str]


def read_items(model: type[ItemT], raw: Sequence[Any]) -> Listing[ItemT]:
    """Read a list of JSON values; one bad item does not hide the others.

    Each entry of `left_out` says which item and which field was wrong, in words of this program: nothing of
    what the server sent is repeated.
    """
    adapter = _adapter(model)
    try:
        return Listing(adapter.validate_python(raw), [])
    except ValidationError as error:
        reasons: dict[int, str] = {}
        for detail in error.errors(include_url=False, include_context=False, include_input=False):
            index, *field = detail["loc"]
            where = f" {field[0]}" if field and field[0] in model.model_fields else ""
            why = "is not a date" if detail["type"] == "string_pattern_mismatch" else detail["msg"].lower()
            reasons.setdefault(int(index), f"item {int(index) + 1}:{where} {why}")
        good = [item for index, item in enumerate(raw) if index not in reasons]
        return Listing(adapter.validate_python(good), list(reasons.values()))


@cache
def _adapter(model: type[ItemT]) -> TypeAdapter[list[ItemT]]:
    return TypeAdapter(list[model])  # pyright: ignore[reportInvalidTypeForm]


@cache
def text_fields(model: type[Item]) -> list[str]:
    """The fields of a model that hold text of any kind; a `Timestamp` is none."""
    types = {name: field.annotation for name, field in model.model_fields.items()}
    return [name for name, type_ in types.items() if str in (type_, *get_args(type_))]


def newest_first(items: Iterable[DatedT]) -> list[DatedT]:
    """Each item once, sorted by `created_at`, then `id`, newest first; items without a date come last.

    The documentation promises this order ("sorted by creation date in descending order"); a running server
    sends its storage order.
    """

    def age(item: DatedT) -> tuple[str, int]:
        return (_sortable(item.created_at) if item.created_at else "", item.id)

    return sorted({item.id: item for item in items}.values(), key=age, reverse=True)


def _sortable(moment: str) -> str:
    """A moment in Neptun's own form, `2026-11-21T23:12:39.102Z`, in which moments sort as text."""
    if len(moment) == 24 and moment[10] == "T" and moment[-1] == "Z":
        return moment
    try:
        parsed = _MOMENT.validate_python(moment)
        # Documented: all timestamps are in UTC, also where they do not say so.
        parsed = parsed.astimezone(timezone.utc) if parsed.tzinfo else parsed
    except (ValidationError, OverflowError):
        return moment
    return parsed.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
