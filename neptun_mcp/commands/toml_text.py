"""TOML, as Codex keeps it: sets a value in a server's table, or takes it out; the rest of the text stays.

tomlkit edits. Of a table with a header it only ever sees the lines: given the whole file, it moves comments that belong
to the next one. What it makes is parsed again: the file has to say what it said, but for the edit.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from .json_text import is_object, nested

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
    """The text with the value at the path. A new table goes to the end, or into the line that holds all of them.

    Args:
        path: the first two names are those of the server's table.

    Raises:
        ValueError: something on the path is no table.
    """
    import tomlkit
    from tomlkit.items import InlineTable

    document: Any = tomlkit.parse(text)
    servers: Any = document.get(path[0], {})
    if isinstance(servers, InlineTable) or not is_object(servers) or path[1] in servers:
        return _edited(text, path, value)
    gap = "" if not text else "\n" if text.endswith("\n") else "\n\n"
    return _checked(text, f"{text}{gap}{tomlkit.dumps(nested(path, value))}", path, value)


def remove_toml(text: str, path: Sequence[str]) -> str:
    """The text without the value at the path: the inverse of `set_toml`.

    Raises:
        ValueError: it cannot be taken out by itself.
    """
    block = _block(text, path[:2])
    if len(path) > 2 or not block:
        return _edited(text, path, None)
    above, below = text[: block[0]], text[block[1] :]
    return _checked(text, (above[:-1] if above.endswith("\n\n") else above) + below, path, None)


def _edited(text: str, path: Sequence[str], value: Any) -> str:
    """The text with another value in a table; None takes it out."""
    import tomlkit

    block = _block(text, path[:2])
    start, end = block or (0, len(text))
    read_toml(text[start:end])
    document, new = tomlkit.parse(text[start:end]), value
    if not block and is_object(value):  # beside keys with dots, as within a line, a table is one in a line
        new = tomlkit.inline_table()
        for key, inner in value.items():
            new[key] = inner
    _put(document, path, new)
    return _checked(text, f"{text[:start]}{tomlkit.dumps(document)}{text[end:]}", path, value)


def _checked(before: str, after: str, path: Sequence[str], value: Any) -> str:
    """The text after an edit, if that did what it was meant to."""
    wanted, found = deepcopy(read_toml(before)), read_toml(after)
    _put(wanted, path, value)
    if _filled(found) != _filled(wanted):
        raise ValueError(f"{'.'.join(path[:2])} is not in a table of its own")
    return after


def _filled(value: Any) -> Any:
    """A value less the tables in it that are empty, in a form in which it equals itself: NaN does not."""
    if is_object(value):
        return {key: _filled(inner) for key, inner in value.items() if inner != {}}
    return value if value == value else repr(value)


def _put(table: Any, path: Sequence[str], value: Any) -> None:
    *above, last = path
    for key in above:
        table = table.setdefault(key, {})
        if not is_object(table):
            raise ValueError(f"{key} is no table")
    if value is None:
        table.pop(last, None)
    else:
        table[last] = value


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
