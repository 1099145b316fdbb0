"""TOML, as Codex keeps it: sets a value in a server's table, or takes it out; the rest of the text stays.

tomlkit edits. Of a table with a header it only ever sees the lines: given the whole file, it moves comments that belong
to the next one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import InlineTable

from .json_text import is_object

_HEADER = re.compile(r"""\[\[?([\w"'. \t-]+)\]\]?\s*(?:#.*)?""")


def read_toml(text: str) -> Any:
    """The table in a text of TOML.

    Raises:
        ValueError: the text is malformed.
    """
    try:
        return tomlkit.parse(text).unwrap()
    except TOMLKitError as error:  # not all of which are a ValueError
        raise ValueError(str(error)) from None


def set_toml(text: str, path: Sequence[str], value: Any) -> str:
    """The text with the value at the path. A new table goes to the end, or into the line that holds all of them.

    Args:
        path: the first two names are those of the server's table.

    Raises:
        ValueError: the server's table cannot be edited by itself.
    """
    document: Any = tomlkit.parse(text)
    if len(path) > 2 or isinstance(document.get(path[0]), InlineTable):
        return _edited(text, path, value)
    for key in reversed(path):
        value = {key: value}
    gap = "" if not text else "\n" if text.endswith("\n") else "\n\n"
    return f"{text}{gap}{tomlkit.dumps(value)}"


def remove_toml(text: str, path: Sequence[str]) -> str:
    """The text without the value at the path: the inverse of `set_toml`, with the same error."""
    block = _block(text, path[:2])
    if len(path) > 2 or not block:
        return _edited(text, path, None)
    above, below = text[: block[0]], text[block[1] :]
    return (above[:-1] if above.endswith("\n\n") else above) + below


def _edited(text: str, path: Sequence[str], value: Any) -> str:
    """The text with another value in a table; None takes it out."""
    block = _block(text, path[:2])
    start, end = block or (0, len(text))
    read_toml(text[start:end])
    document: Any = tomlkit.parse(text[start:end])
    if not block and is_object(value):  # beside keys with dots, as within a line, a table is one in a line
        value, inner = tomlkit.inline_table(), value
        value.update(inner)
    *above, last = path
    table = document
    for key in above:
        table = table.setdefault(key, {})
    if value is None:
        table.pop(last, None)
    else:
        table[last] = value
    return f"{text[:start]}{tomlkit.dumps(document)}{text[end:]}"


def _block(text: str, path: Sequence[str]) -> tuple[int, int] | None:
    """Where the lines of a table with a header and of those below it begin and end, less what follows the last key."""
    found: tuple[int, int] | None = None
    mine = False
    for line in re.finditer(r"[^\n]*\n|[^\n]+", text):
        content = line[0].strip()
        if header := _HEADER.fullmatch(content):
            names = [name.strip(" \t\"'") for name in header[1].split(".")]
            mine = names[: len(path)] == list(path)
        if mine and content and content[0] != "#":
            found = (found[0] if found else line.start(), line.end())
    return found
