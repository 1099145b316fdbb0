"""TOML, as Codex keeps it: sets a value in a server's table, or takes it out; the rest of the text stays.

tomlkit edits, but only ever sees the lines of that table: given the whole file, it moves comments that belong to the
next one. What it makes is parsed again: the file has to say what it said, but for the edit.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from copy import deepcopy
from typing import Any, cast

from .json_text import nested

_HEADER = re.compile(r"""\[\[?([\w"'. \t-]+)\]\]?\s*(?:#.*)?""")


def read_toml(text: str) -> Any:
    """The table in a text of TOML.

    Raises:
        ValueError: the text is malformed.
    """
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        return tomlkit.parse(text).unwrap()
    except TOMLKitError as error:  # not all of which are a ValueError
        raise ValueError(str(error)) from None


def set_toml(text: str, path: Sequence[str], value: Any) -> str:
    """The text with the value at the path. A new table goes to the end.

    Args:
        path: the first two names are those of the server's table.

    Raises:
        ValueError: something on the way is no table, or is no table with a header of its own.
    """
    import tomlkit

    if _block(text, path[:2]):
        return _edited(text, path, value)
    gap = "" if not text else "\n" if text.endswith("\n") else "\n\n"
    return _checked(text, f"{text}{gap}{tomlkit.dumps(nested(path, value))}", path, value)


def remove_toml(text: str, path: Sequence[str], kept: int = 0) -> str:
    """The text without the value at the path: the inverse of `set_toml`.

    Args:
        kept: of no account here, where a server's table has no other around it that `set_toml` makes.

    Raises:
        ValueError: it cannot be taken out by itself.
    """
    block = _block(text, path[:2])
    if len(path) > 2 and block:
        return _edited(text, path, None)
    if not block:
        return _checked(text, text, path, None)
    above, below = text[: block[0]], text[block[1] :]
    return _checked(text, (above[:-1] if above.endswith("\n\n") else above) + below, path, None)


def _edited(text: str, path: Sequence[str], value: Any) -> str:
    """The text with another value in a table; None takes it out."""
    import tomlkit

    start, end = _block(text, path[:2]) or (0, 0)
    read_toml(text[start:end])
    document = tomlkit.parse(text[start:end])
    _put(cast("dict[str, Any]", document), path, value)
    return _checked(text, f"{text[:start]}{tomlkit.dumps(document)}{text[end:]}", path, value)


def _checked(before: str, after: str, path: Sequence[str], value: Any) -> str:
    """The text after an edit, if that did what it was meant to."""
    wanted, found = deepcopy(read_toml(before)), read_toml(after)
    _put(wanted, path, value)
    if {key: table for key, table in found.items() if table} != {key: table for key, table in wanted.items() if table}:
        raise ValueError(f"{'.'.join(path[:2])} is not in a table of its own")
    return after


def _put(table: dict[str, Any], path: Sequence[str], value: Any) -> None:
    *above, last = path
    for key in above:
        inner: Any = table.setdefault(key, {})
        if not isinstance(inner, dict):
            raise ValueError(f"{key} is no table")
        table = cast("dict[str, Any]", inner)
    if value is None:
        table.pop(last, None)
    else:
        table[last] = value


def _block(text: str, path: Sequence[str]) -> tuple[int, int] | None:
    """Where the lines of a table and of those below it begin and end, less comments and blanks at the end."""
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
