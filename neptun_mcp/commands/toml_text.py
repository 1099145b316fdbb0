"""TOML, as Codex keeps it: set a value in its text, or take it out, and leave every byte outside its table.

tomlkit edits, but only ever sees the lines of the table that is edited: given the whole file, it moves comments that
belong to the next table.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, cast

from .json_text import nested


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

    Raises:
        ValueError: something on the way is no table, or cannot be added to.
    """
    import tomlkit

    if block := _nearest_block(text, path):
        start, end = block

        def put(table: dict[str, Any]) -> None:
            table[path[-1]] = value

        return f"{text[:start]}{_edited(text[start:end], path, put)}{text[end:]}"
    if _value(read_toml(text), path) is not None:
        raise ValueError(f"{'.'.join(path)} is not in a table of its own")
    gap = "" if not text else "\n" if text.endswith("\n") else "\n\n"
    text = f"{text}{gap}{tomlkit.dumps(nested(path, value))}"
    read_toml(text)  # fails if the table around it is an inline one
    return text


def remove_toml(text: str, path: Sequence[str], before: str | None = None) -> str:
    """The text without the value at the path: the inverse of `set_toml`.

    Args:
        before: the text as it was before `set_toml`, which decides whether it ended with a line's end; None if it is
            not known.

    Raises:
        ValueError: it cannot be taken out by itself.
    """
    if _value(read_toml(text), path) is None:
        return text
    block = _nearest_block(text, path)
    if block is None:
        raise ValueError(f"{'.'.join(path)} is not in a table of its own")
    start, end = block
    if _block(text, path) != block:

        def take_out(table: dict[str, Any]) -> None:
            del table[path[-1]]

        return f"{text[:start]}{_edited(text[start:end], path, take_out)}{text[end:]}"
    above, below = text[:start], text[end:]
    if above.endswith("\n\n"):
        above = above[:-1]
    if not below and before is not None and not before.endswith("\n"):
        above = above.removesuffix("\n")
    if _value(read_toml(above + below), path) is not None:
        raise ValueError(f"{'.'.join(path)} is in several places")
    return above + below


def copy_toml(text: str, path: Sequence[str], other: str) -> str:
    """The text with the table at the path as it is written in another text, both of which have one."""
    ours, theirs = _block(text, path), _block(other, path)
    if not ours or not theirs:
        return text
    return f"{text[: ours[0]]}{other[theirs[0] : theirs[1]]}{text[ours[1] :]}"


def _edited(lines: str, path: Sequence[str], change: Any) -> str:
    import tomlkit

    read_toml(lines)
    document = tomlkit.parse(lines)
    table = cast("dict[str, Any]", document)
    for key in path[:-1]:
        inner: Any = table[key]
        if not isinstance(inner, dict):
            raise ValueError(f"{key} is no table")
        table = cast("dict[str, Any]", inner)
    change(table)
    return tomlkit.dumps(document)


def _nearest_block(text: str, path: Sequence[str]) -> tuple[int, int] | None:
    """The lines of the innermost table on the path that has a header of its own."""
    blocks = (_block(text, path[:depth]) for depth in range(len(path), 1, -1))
    return next((block for block in blocks if block), None)


def _block(text: str, path: Sequence[str]) -> tuple[int, int] | None:
    """Where the lines of a table and of those below it begin and end, less comments and blanks at the end.

    Raises:
        ValueError: others are between them.
    """
    found: tuple[int, int] | None = None
    mine = apart = False
    for line in re.finditer(r"[^\n]*\n|[^\n]+", text):
        content = line[0].strip()
        if content.startswith("["):
            header = _header(content)
            mine = header[: len(path)] == list(path) if header else mine
            apart = apart or bool(found and not mine)
        if mine and content and content[0] != "#":
            if apart:
                raise ValueError(f"the tables of {'.'.join(path)} are not together")
            found = (found[0] if found else line.start(), line.end())
    return found


def _header(line: str) -> list[str]:
    """The names in the header of a table; none if the line is something else."""
    try:
        value: Any = read_toml(line)
    except ValueError:
        return []  # in an array or a text of several lines
    names: list[str] = []
    while isinstance(value, list | dict) and value:
        if isinstance(value, list):
            value = cast("list[Any]", value)[0]
        else:
            ((name, value),) = cast("dict[str, Any]", value).items()
            names.append(name)
    return names


def _value(value: Any, path: Sequence[str]) -> Any:
    for key in path:
        value = cast("dict[str, Any]", value).get(key) if isinstance(value, dict) else None
    return value
