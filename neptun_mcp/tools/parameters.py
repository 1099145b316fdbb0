"""The parameters of the tools: their types and limits, and which of them go together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo
from pydantic_core import PydanticCustomError

from ..neptun.models import MAX_ID, RESOURCE_MODELS, ProjectImport
from .projects import ALL
from .query import parse_query
from .words import NOTHING_DELETED, NotDone

OWN_WORDS = "own_words"
"""The type of pydantic's errors that have words of their own."""


def _refused_by(check: Callable[[Any, Mapping[str, Any]], object]) -> AfterValidator:
    """Refuses an argument in the words of a `NotDone`, before anything is asked of Neptun or the person.

    Args:
        check: looks at the argument, and at those before it.
    """

    def checked(value: Any, info: ValidationInfo) -> Any:
        try:
            check(value, info.data)
        except NotDone as error:
            raise PydanticCustomError(OWN_WORDS, "{words}", {"words": str(error)}) from None
        return value

    return AfterValidator(checked)


def _not_for_all(words: str) -> AfterValidator:
    """Refuses an argument beside `project` `*`."""

    def check(value: Any, before: Mapping[str, Any]) -> None:
        if value and before.get("project", "").strip() == ALL:
            raise NotDone(words)

    return _refused_by(check)


def _not_all(project: str, _: Mapping[str, Any]) -> None:
    if project.strip() == ALL:
        raise NotDone(f"An import is deleted from one project, never from all. {NOTHING_DELETED} Name the project.")


def _of_one_resource(text_offset: int, before: Mapping[str, Any]) -> None:
    if text_offset and before.get("resource_id", 0) is None:
        raise NotDone("text_offset goes with resource_id: pass both, or neither.")


def _not_a_boolean(value: Any) -> Any:
    if isinstance(value, bool):  # pydantic takes it for a number
        raise ValueError("not a number")
    return value


def _text(description: str, most: int) -> Any:
    return Field(max_length=most, coerce_numbers_to_str=True, description=description)


_NO_BOOLEAN = BeforeValidator(_not_a_boolean)
_LANGUAGE = _refused_by(
    lambda query, before: parse_query(query, RESOURCE_MODELS.get(before.get("resource_type", ""), ProjectImport))
)
_AnyId: TypeAlias = Annotated[int, Field(ge=1, le=MAX_ID), _NO_BOOLEAN]
_Whole: TypeAlias = Annotated[int, Field(ge=-MAX_ID, le=MAX_ID), _NO_BOOLEAN]
_NAME = "Name, a part of it, or id"
_QUERY = (
    'Words or parts of words, all of them, in any field or file text. As on GitHub: "a phrase", -without, field:word '
    "(status:failed), before:2026-01-31, after:2026-01-31"
)

ProjectName: TypeAlias = Annotated[str, _text(_NAME, 200), _refused_by(_not_all)]
AnyProject: TypeAlias = Annotated[str, _text(f"{_NAME}; * for all projects", 200)]
ProjectId: TypeAlias = Annotated[
    _AnyId | None,
    Field(description="Leave out if unknown: it is found or asked for"),
    _not_for_all('project "*" means all projects, and project_id one. Pass one of the two.'),
]
ImportId: TypeAlias = Annotated[_AnyId, Field(description="As list_imports shows it")]
SourceType: TypeAlias = Annotated[
    str,
    Field(
        max_length=100,
        description="local_folder, github_repository_installation, public_github_repository_url, "
        "github (all GitHub kinds), or another kind seen in a result",
    ),
]
ImportsQuery: TypeAlias = Annotated[str, _text(f"{_QUERY}, is:duplicate (replaced by a newer one)", 1_000), _LANGUAGE]
ResourcesQuery: TypeAlias = Annotated[str, _text(_QUERY, 1_000), _LANGUAGE]
Limit: TypeAlias = Annotated[int, Field(ge=1, le=100, description="1 to 100"), _NO_BOOLEAN]
Offset: TypeAlias = Annotated[_Whole, Field(description="next_offset of the page before; -1 for the last item")]
ResourceId: TypeAlias = Annotated[
    _AnyId | None,
    Field(description="Only this one, a file with its full text"),
    _not_for_all("resource_id goes with one project, which the list shows beside it. Pass that as project_id."),
]
TextOffset: TypeAlias = Annotated[
    _Whole,
    Field(description="With resource_id: the character to begin at; a negative one counts from the end"),
    _refused_by(_of_one_resource),
]
