"""What hosts send as arguments, brought into the form of the protocol, or refused in words."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, cast

from mcp.server.mcpserver.tools import Tool
from pydantic import ValidationError
from pydantic_core import from_json

from ..neptun.errors import quoted
from .parameters import OWN_WORDS
from .schema import Schema, flat_schema
from .words import NotDone


def parsed_arguments(arguments: Any) -> dict[str, Any] | None:
    """The arguments of a call in any form in which hosts send them; None if they are no object."""
    if isinstance(arguments, str):
        try:
            arguments = from_json(arguments.strip() or "{}")
        except ValueError:
            return None
    if arguments in (None, []):
        return {}
    return {**cast("dict[str, Any]", arguments)} if isinstance(arguments, dict) else None


def as_texts(prompt: str, arguments: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """The arguments of a prompt: the protocol knows texts only; some hosts send numbers, and null for what is left out.

    Raises:
        NotDone: there are others than the prompt's, or one is no text.
    """
    _refuse_unknown(prompt, arguments, known)
    for argument, value in arguments.items():
        if isinstance(value, (bool, float, list, dict)):
            raise NotDone(f"{argument} must be text. Pass it in quotes, or leave it out.")
    return {argument: str(value) for argument, value in arguments.items() if value is not None}


def _refuse_unknown(name: str, arguments: Mapping[str, Any], known: Collection[str]) -> None:
    if unknown := [quoted(argument) for argument in arguments if argument not in known]:
        raise NotDone(f"{name} has no argument {', '.join(unknown[:5])}. Its arguments are: {', '.join(known)}.")


def is_given(value: Any, schema: Schema) -> bool:
    """Whether an optional argument counts as given: strict hosts send every argument, null, "" or 0 for none."""
    is_number = schema["type"] == "integer"
    if isinstance(value, str):
        value = value.strip()
        return value not in ("", "0") if is_number else bool(value)
    return value is not None and (value is False or value != 0 or not is_number)


def given_arguments(tool: Tool, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that count as given.

    Raises:
        NotDone: there are others than the tool's.
    """
    properties: dict[str, Any] = tool.parameters["properties"]
    _refuse_unknown(tool.name, arguments, properties)
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
    details = error.errors(include_input=False, include_url=False)
    wrong = dict.fromkeys(str(detail["loc"][0]) for detail in details if detail["type"] != OWN_WORDS)
    values = "; ".join(_allowed(name, limits[name]) for name in wrong)
    refused = [detail["ctx"]["words"] for detail in details if detail["type"] == OWN_WORDS and "ctx" in detail]
    instead = [words for name, words in _INSTEAD.items() if name in wrong]
    return " ".join([*([f"{values}."] if values else []), *instead, *refused])


def _allowed(name: str, schema: Schema) -> str:
    """What an argument may be, in words: "limit must be a whole number from 1 to 100"."""
    if "enum" in schema:
        return f"{name} must be one of {', '.join(schema['enum'])}"
    if schema["type"] == "integer":
        low, high = schema.get("minimum"), schema.get("maximum")
        return f"{name} must be a whole number" + (f" from {low} to {high}" if high else f", {low} or more")
    return f"{name} must be text" + (f" of at most {schema['maxLength']} characters" if "maxLength" in schema else "")
