"""What Neptun sends, read with tolerance: unknown fields are passed over, most fields may be missing or null.

The fields are those of the documentation of the three endpoints, plus those that a running server was seen to
send. `file_tree` of an import is not read: it can be of any size, and nobody asked for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cache
from heapq import merge
from itertools import chain
from operator import itemgetter
from typing import Annotated, Any, Generic, Literal, TypeAlias, TypeVar, cast, get_args

from pydantic import BaseModel, FailFast, Field, GetCoreSchemaHandler, TypeAdapter, ValidationError
from pydantic_core import CoreSchema, core_schema, from_json

from .threads import Pace

ResourceType: TypeAlias = Literal["user-files", "template-collections", "github-installations", "chat-conversations"]

DEFAULT_BASE_URL = "https://neptun-webui.vercel.app"
COOKIE_NAME = "neptun-session"

MAX_ID = 2**31 - 1
"""PostgreSQL's `integer`: a running server answers a larger id with 500 (recorded)."""

LOCAL_FOLDER = "local_folder"
PUBLIC_GITHUB = "public_github_repository_url"
GITHUB_KINDS = ("github_repository_installation", PUBLIC_GITHUB)
"""The `source_type` words that a running server uses for GitHub; it does not know the documented `github`."""

_SORTED = 20_000  # items that are sorted at a time
_AT_ONCE = 100_000  # bytes that are read in one piece
_PIECE = 200  # items that are read at a time, in about a millisecond

MAX_UNREADABLE = 100
"""How many unreadable items are looked at before the rest of a list is given up."""

Timestamp: TypeAlias = Annotated[
    str, Field(pattern=r"^(\+\d{6}|\d{4})-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d(:?\d\d)?)?$")
]
"""A moment as Neptun sends it, ISO 8601 (years above 9999 with a sign and six digits), or as PostgreSQL writes it. Text
sorts, and is shown again, without the cost of parsing thousands."""

Id: TypeAlias = Annotated[int, Field(gt=0)]


@dataclass(frozen=True)
class _OrDefault:
    """The value of a field that cannot be read: an odd field does not hide its item."""

    value: Any = None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_default_schema(handler(source), default=self.value, on_error="default")


OptionalText: TypeAlias = Annotated[str | None, _OrDefault()]
OptionalNumber: TypeAlias = Annotated[int | None, _OrDefault()]
OptionalFlag: TypeAlias = Annotated[bool | None, _OrDefault()]
OptionalTimestamp: TypeAlias = Annotated[Timestamp | None, _OrDefault()]


class Item(BaseModel, coerce_numbers_to_str=True):
    """Anything that Neptun keeps under an id."""

    id: Id


class Project(Item):
    """One of a person's projects."""

    name: Annotated[str, _OrDefault("")] = ""


# Fields are shown in this order, that of the documentation. `created_at` and what follows stand in each model, as the
# fields of a base class would come first.


class ProjectImport(Item):
    """A source that was read into a project. `source_ref`, `import_status` and `error_message` are sent by a
    running server only, `title` and `description` are documented only."""

    source_type: str
    source_path: str
    source_ref: OptionalText = None
    title: OptionalText = None
    description: OptionalText = None
    import_status: Annotated[OptionalText, Field(description="pending, completed, failed, …")] = None
    error_message: OptionalText = None
    created_at: OptionalTimestamp = None
    updated_at: OptionalTimestamp = None
    neptun_user_id: OptionalNumber = None
    project_id: OptionalNumber = None


class UserFile(Item):
    """A file kept in a project, with its text."""

    title: OptionalText = None
    text: OptionalText = None
    language: OptionalText = None
    extension: OptionalText = None
    created_at: OptionalTimestamp = None
    updated_at: OptionalTimestamp = None
    neptun_user_id: OptionalNumber = None


class TemplateCollection(Item):
    """A collection of templates, which may be shared by link."""

    name: OptionalText = None
    description: OptionalText = None
    is_shared: OptionalFlag = None
    share_uuid: OptionalText = None
    created_at: OptionalTimestamp = None
    updated_at: OptionalTimestamp = None
    neptun_user_id: OptionalNumber = None


class GithubInstallation(Item):
    """A connection to a GitHub account. The documentation has two sets of field names; both are read."""

    github_account_type: OptionalText = None
    github_account_avatar_url: OptionalText = None
    # Documented as text, sent as a number: text holds both.
    github_account_id: OptionalText = None
    github_account_name: OptionalText = None
    github_installation_id: OptionalNumber = None
    installation_id: OptionalText = None
    account_name: OptionalText = None
    repository_selection: OptionalText = None
    created_at: OptionalTimestamp = None
    updated_at: OptionalTimestamp = None
    neptun_user_id: OptionalNumber = None


class ChatConversation(Item):
    """A chat about a project."""

    name: OptionalText = None
    description: OptionalText = None
    model: OptionalText = None
    model_publisher: OptionalText = None
    model_name: OptionalText = None
    created_at: OptionalTimestamp = None
    updated_at: OptionalTimestamp = None
    neptun_user_id: OptionalNumber = None


Resource: TypeAlias = UserFile | TemplateCollection | GithubInstallation | ChatConversation
Dated: TypeAlias = ProjectImport | Resource

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


def read_json(body: bytes) -> Any:
    """The JSON value of a body, in one pass over the bytes unless there is something odd about it.

    Raises:
        ValueError: it is not JSON.
    """
    with suppress(ValueError):
        return from_json(body)
    # What JSON should not hold but some servers send: lone surrogates, a byte order mark, UTF-16.
    try:
        text = json.dumps(json.loads(body), ensure_ascii=False)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return from_json(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def read_at_once(model: type[ItemT], body: bytes, wrapper: str | None) -> Listing[ItemT] | None:
    """A short list, validated while its JSON is parsed: half the time of `read_json` and `read_items`.

    None where those have to read it: anything about it is odd, or it is long, or of files. Here no pace is kept, and
    texts are copied twice. The outcome is the same, but for how a number in place of a text is written.

    Args:
        wrapper: the key that the list may be under; None if a single item was asked for.
    """
    if wrapper is None or len(body) > _AT_ONCE or model is UserFile:
        return None
    wrapped = body.startswith(b"{")
    with suppress(ValidationError, KeyError):
        found = _list_adapter(model, wrapped).validate_json(body)
        return Listing(found[wrapper] if wrapped else found, [])
    return None


def read_items(model: type[ItemT], raw: Sequence[Any], pace: Pace) -> Listing[ItemT]:
    """Read a list of JSON values; one bad item does not hide the others.

    Each entry of `left_out` says which item and which field was wrong, in words of this program: nothing of
    what the server sent is repeated. After `MAX_UNREADABLE` of them the rest is left out, unread.
    """
    good: list[ItemT] = []
    read_all = _list_adapter(model)
    try:
        for start in range(0, len(raw), _PIECE):
            pace.step(20 * _PIECE)
            good.extend(read_all.validate_python(raw[start : start + _PIECE]))
    except ValidationError:
        return _read_each(model, raw, pace)
    return Listing(good, [])


def _read_each(model: type[ItemT], raw: Sequence[Any], pace: Pace) -> Listing[ItemT]:
    good: list[ItemT] = []
    left_out: list[str] = []
    for number, item in enumerate(raw, 1):
        pace.step(1)
        if len(left_out) == MAX_UNREADABLE:
            rest = len(raw) - number + 1
            reason = f"after {MAX_UNREADABLE} unreadable items the rest was not read"
            return Listing(good, [reason, *left_out, *[reason] * (rest - 1)])
        try:
            good.append(model.model_validate(item))
        except ValidationError as error:
            left_out.append(f"item {number}:{_reason(model, error)}")
    return Listing(good, left_out)


def _reason(model: type[Item], error: ValidationError) -> str:
    detail = error.errors(include_url=False, include_context=False, include_input=False)[0]
    field = str(detail["loc"][0]) if detail["loc"] else ""
    return f"{f' {field}' if field in model.model_fields else ''} {detail['msg'].lower()}"


@cache
def _list_adapter(model: type[Item], wrapped: bool = False) -> TypeAdapter[Any]:
    items = cast(Any, Annotated[list[model], FailFast()])  # pyright: ignore[reportInvalidTypeForm]
    return TypeAdapter(cast(Any, dict[str, items]) if wrapped else items)


@cache
def text_fields(model: type[Item]) -> list[str]:
    """The fields of a model that hold text of any kind; a `Timestamp` is none."""
    types = {name: field.annotation for name, field in model.model_fields.items()}
    return [name for name, type_ in types.items() if str in (type_, *get_args(type_))]


def texts_of(items: Sequence[Item]) -> Iterable[str]:
    """The texts of items of one model. No line of Python runs for each item, as every list is looked through."""
    values = [*map(vars, items)]
    fields = text_fields(type(items[0])) if items else ()
    return filter(None, chain.from_iterable(map(itemgetter(name), values) for name in fields))


def newest_first(items: Iterable[DatedT]) -> list[DatedT]:
    """Each item once, sorted by `created_at`, then `id`, newest first; items without a date come last.

    The documentation promises this order ("sorted by creation date in descending order"); a running server
    sends its storage order.
    """
    each = [*{item.id: item for item in items}.values()]
    # Other threads wait until a sort is done.
    parts = [sorted(each[i : i + _SORTED], key=age, reverse=True) for i in range(0, len(each), _SORTED)]
    return parts[0] if len(parts) == 1 else [*merge(*parts, key=age, reverse=True)]


def age(item: Dated) -> tuple[str, int]:
    """What items are sorted by."""
    return (sortable(item.created_at) if item.created_at else "", item.id)


def sortable(moment: str) -> str:
    """A moment in Neptun's own form, `2026-11-21T23:12:39.102Z`, in which moments sort as text."""
    if len(moment) == 24 and moment[10] == "T" and moment[-1] == "Z":
        return moment
    if moment[0] == "+":  # after all years of four digits
        return moment.replace("+", ":")
    try:
        # PostgreSQL leaves the minutes of an offset out.
        parsed = _MOMENT.validate_python(f"{moment}:00" if moment[-3] in "+-" else moment)
        # Documented: all timestamps are in UTC, also where they do not say so.
        parsed = parsed.astimezone(timezone.utc) if parsed.tzinfo else parsed
    except (ValidationError, OverflowError):
        return moment
    return parsed.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
