"""The arguments of the tools: their types, what goes together, how hosts send them, and what is said of wrong ones."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Any, TypeAlias, cast

from mcp.server.mcpserver.tools import Tool
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, ValidationInfo
from pydantic_core import from_json

from ..neptun.errors import quoted
from ..neptun.models import MAX_ID, RESOURCE_MODELS, ProjectImport
from .projects import ALL
from .query import parse_query
from .schema import Schema, flat_schema
from .words import NOTHING_DELETED, NotDone


def _refused(words: str, when: Callable[[Any, Mapping[str, Any]], bool]) -> AfterValidator:
    """Refuses an argument in these words. `when` is given the argument, and those before it."""

    def checked(value: Any, info: ValidationInfo) -> Any:
        if when(value, info.data):
            raise NotDone(words)
        return value

    return AfterValidator(checked)


def _for_all(value: Any, before: Mapping[str, Any]) -> bool:
    return bool(value) and before.get("project", "").strip() == ALL


def _a_query(query: str, info: ValidationInfo) -> str:
    parse_query(query, RESOURCE_MODELS.get(info.data.get("resource_type", ""), ProjectImport))
    return query


def _not_a_boolean(value: Any) -> Any:
    if isinstance(value, bool):  # pydantic takes it for a number
        raise ValueError("not a number")
    return value


def _text(description: str, most: int) -> Any:
    return Field(max_length=most, coerce_numbers_to_str=True, description=description)


_NO_BOOLEAN = BeforeValidator(_not_a_boolean)
_LANGUAGE = AfterValidator(_a_query)
_AnyId: TypeAlias = Annotated[int, Field(ge=1, le=MAX_ID), _NO_BOOLEAN]
_Whole: TypeAlias = Annotated[int, Field(ge=-MAX_ID, le=MAX_ID), _NO_BOOLEAN]
_NAME = "Name, a part of it, or id"
_QUERY = (
    'Words or parts of words, all of them, in any field or file text. As on GitHub: "a phrase", -without, field:word '
    "(status:failed), before:2026-01-31, after:2026-01-31"
)

ProjectName: TypeAlias = Annotated[
    str,
    _text(_NAME, 200),
    _refused(
        f"An import is deleted from one project, never from all. {NOTHING_DELETED} Name the project.",
        lambda project, _: project.strip() == ALL,
    ),
]
AnyProject: TypeAlias = Annotated[str, _text(f"{_NAME}; * for all projects", 200)]
ProjectId: TypeAlias = Annotated[
    _AnyId | None,
    Field(description="Leave out if unknown: it is found or asked for"),
    _refused('project "*" means all projects, and project_id one. Pass one of the two.', _for_all),
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
    _refused("resource_id goes with one project, which the list shows beside it. Pass that as project_id.", _for_all),
]
TextOffset: TypeAlias = Annotated[
    _Whole,
    Field(description="With resource_id: the character to begin at; a negative one counts from the end"),
    _refused(
        "text_offset goes with resource_id: pass both, or neither.",
        lambda text_offset, before: bool(text_offset) and before.get("resource_id", 0) is None,
    ),
]


def parsed_arguments(arguments: Any) -> dict[str, Any] | None:
    """The arguments of a call, however hosts send them; None if they are no object."""
    if isinstance(arguments, str):
        try:
            arguments = from_json(arguments.strip() or "{}")
        except ValueError:
            return None
    if arguments in (None, []):
        return {}
    return {**cast("dict[str, Any]", arguments)} if isinstance(arguments, dict) else None


def refuse_unknown(name: str, arguments: Mapping[str, Any], known: Collection[str]) -> None:
    """Raises NotDone if a tool or a prompt does not have these arguments."""
    if unknown := [quoted(argument) for argument in arguments if argument not in known]:
        raise NotDone(f"{name} has no argument {', '.join(unknown[:5])}. Its arguments are: {', '.join(known)}.")


def is_given(value: Any, schema: Schema) -> bool:
    """Whether an optional argument counts as given: strict hosts send every argument, null, "" or 0 for none."""
    nothing = (None, "", 0, "0") if schema["type"] == "integer" else (None, "")
    return value is False or (value.strip() if isinstance(value, str) else value) not in nothing


def given_arguments(tool: Tool, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that count as given. Raises NotDone if there are others than the tool's."""
    properties: dict[str, Any] = tool.parameters["properties"]
    refuse_unknown(tool.name, arguments, properties)
    required = tool.parameters.get("required", ())
    return {name: value for name, value in arguments.items() if name in required or is_given(value, properties[name])}


def misuse(tool: Tool, arguments: Mapping[str, Any]) -> str:
    """What is wrong with arguments by themselves, in words; empty if nothing is. Nothing is called."""
    try:
        tool.fn_metadata.validate_arguments(given_arguments(tool, arguments))
    except NotDone as error:
        return str(error)
    except ValidationError as error:
        return wrong_values(tool, error)
    return ""


_INSTEAD = {
    "project_id": "A name goes into project.",
    "resource_id": "To find a resource by its name, pass query.",
    "import_id": "Pass one id that list_imports shows.",
}
"""What to do if a name, or several ids, were meant to be an id."""


def wrong_values(tool: Tool, error: ValidationError) -> str:
    """What is wrong with the arguments of a tool, in words."""
    limits = flat_schema(tool.fn_metadata.arg_model.model_json_schema())["properties"]
    wrong = dict.fromkeys(str(detail["loc"][0]) for detail in error.errors(include_input=False, include_url=False))
    allowed = "; ".join(_allowed(name, limits[name]) for name in wrong)
    return " ".join([f"{allowed}.", *(words for name, words in _INSTEAD.items() if name in wrong)])


def _allowed(name: str, schema: Schema) -> str:
    """What an argument may be, in words: "limit must be a whole number from 1 to 100"."""
    if "enum" in schema:
        return f"{name} must be one of {', '.join(schema['enum'])}"
    if schema["type"] == "integer":
        return f"{name} must be a whole number from {schema['minimum']} to {schema['maximum']}"
    return f"{name} must be text of at most {schema['maxLength']} characters"
