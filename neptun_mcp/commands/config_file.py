"""A host's configuration file: set a value in it, and leave the rest of it as it is.

TOML is edited with tomlkit. For JSON with comments no library on PyPI will do: json-five takes the module name of the
package json5, jsonc-edit needs Node and a download, and the others refuse or drop comments, are under the GPL, or need
Python 3.12. As the standard library does the parsing, what is left for this module is small.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

_STRING = r'"(?:[^"\\\n]|\\.)*"'
_COMMENT = re.compile(rf"({_STRING})|//[^\n]*|/\*.*?\*/", re.DOTALL)
_TRAILING_COMMA = re.compile(rf"({_STRING})|,(?=\s*[}}\]])")
_DECODER = json.JSONDecoder()


def can_edit(path: Path) -> bool:
    """Whether files of this kind can be edited. YAML cannot: ruamel.yaml changes more of a file than was asked for."""
    return path.suffix in (".json", ".jsonc", ".toml")


class ConfigFile:
    """A file of TOML, or of JSON with comments and trailing commas, as its suffix says.

    Attributes:
        path: where it is.
        text: what is to be in it, with "\\n" at the ends of lines.
    """

    def __init__(self, path: Path, before: bytes | None = None) -> None:
        """
        Args:
            before: what is in it; None if there is no such file.

        Raises:
            ValueError: that cannot be parsed, or is something other than an object.
        """
        self.path = path
        self._before = before
        self._read, self._set = (read_toml, set_toml) if path.suffix == ".toml" else (read_json, set_json)
        try:
            text = (before or b"").decode("utf-8-sig")
            self._newline = "\r\n" if 0 < text.count("\r\n") == text.count("\n") else "\n"
            self.text = self._first = text.replace(self._newline, "\n")
            self._object()
        except (RecursionError, ValueError) as error:
            raise ValueError(f"{path} cannot be read: {error}") from None

    @classmethod
    def read(cls, path: Path) -> ConfigFile:
        """The file at a path. Symbolic links are followed, so that they stay.

        Raises:
            OSError: it cannot be opened.
            ValueError: it cannot be parsed, or holds something other than an object.
        """
        path = Path(os.path.realpath(path))
        return cls(path, path.read_bytes() if path.exists() else None)

    @property
    def changed(self) -> bool:
        """Whether `set` has changed the text."""
        return self.text != self._first

    def get(self, *path: str) -> Any:
        """The value at a path; None if there is none."""
        value: Any = self._object()
        for key in path:
            value = cast("dict[str, Any]", value).get(key) if isinstance(value, dict) else None
        return value

    def set(self, path: Sequence[str], value: Any) -> None:
        """Change the text, not yet the file.

        Raises:
            ValueError: something on the path is no object.
        """
        try:
            self.text = self._set(self.text, path, value)
        except ValueError as error:
            raise ValueError(f"{self.path} has no place for the entry: {error}") from None

    def save(self) -> Path | None:
        """Write the file, at once and whole, with the mode that it had; a new one is for its owner alone.

        Returns:
            Where the file as it was is kept; None if there was none.

        Raises:
            OSError: it cannot be written. The file is what it was.
        """
        before = self._before or b""
        after = self.text.replace("\n", self._newline).encode()
        if before.startswith(BOM_UTF8):
            after = BOM_UTF8 + after
        if self._before is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _write(self.path, after, 0o600)
            return None
        mode = self.path.stat().st_mode & 0o777
        backup = self.path.with_name(f"{self.path.name}.before-neptun")
        _write(backup, before, mode)
        _write(self.path, after, mode)
        return backup

    def _object(self) -> dict[str, Any]:
        value = self._read(self.text)
        if not isinstance(value, dict):
            raise ValueError("what it holds is no object")
        return cast("dict[str, Any]", value)


def _write(path: Path, data: bytes, mode: int) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def read_json(text: str) -> Any:
    """The value in a text of JSON, which may have comments and trailing commas; `{}` if there is none.

    Raises:
        ValueError: the text is malformed.
    """
    strict = _strict(_without_comments(text))
    return json.loads(strict) if strict.strip() else {}


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


def set_json(text: str, path: Sequence[str], value: Any) -> str:
    """The text with the value at the path. Missing objects on the way are made.

    Args:
        text: one in which `read_json` finds an object.

    Raises:
        ValueError: something on the way is no object.
    """
    with_commas = _without_comments(text)
    strict = _strict(with_commas)
    if not strict.strip():
        return f"{text}{json.dumps(_nested(path, value), indent=2, ensure_ascii=False)}\n"
    opening = strict.index("{")
    for depth, key in enumerate(path):
        nested = _nested(path[depth + 1 :], value)
        members = list(_members(strict, opening))
        # Of two members with one name the last one counts, as in every parser.
        found = next((member for member in reversed(members) if member.key == key), None)
        if found is None:
            return _insert(text, with_commas, opening, members, key, nested)
        if depth == len(path) - 1 or strict[found.start : found.end] == "null":
            shown = _dump(nested, _indentation(text, found.start), with_commas)
            return f"{text[: found.start]}{shown}{text[found.end :]}"
        if strict[found.start] != "{":
            break
        opening = found.start
    raise ValueError(f"{'.'.join(path[:-1])} is no object")


def set_toml(text: str, path: Sequence[str], value: Any) -> str:
    """As `set_json`, for TOML. New tables go to the end; tomlkit would put them between a comment and its table.

    Raises:
        ValueError: something on the way is no table, or cannot be added to.
    """
    import tomlkit

    document = tomlkit.parse(text)
    table = cast("dict[str, Any]", document)
    for key in path[:-1]:
        found = table.get(key, {})
        if not isinstance(found, dict):
            raise ValueError(f"{key} is no table")
        table = cast("dict[str, Any]", found)
    old = table.get(path[-1])
    if old is None and isinstance(value, dict):
        gap = "" if not text else "\n" if text.endswith("\n") else "\n\n"
        text = f"{text}{gap}{tomlkit.dumps(_nested(path, value))}"
        read_toml(text)  # fails if the table around it is an inline one
        return text
    if isinstance(old, dict):
        old = cast("dict[str, Any]", old)
        for key in old.keys() - value.keys():
            del old[key]
        for key in value:
            _set_key(old, key, value[key])
    else:
        _set_key(table, path[-1], value)
    return tomlkit.dumps(document)


def _set_key(table: dict[str, Any], key: str, value: Any) -> None:
    """Set a key of a TOML table; a new one before the comments at its end, which are about what follows."""
    from tomlkit.items import AbstractTable

    body = table.value.body if isinstance(table, AbstractTable) and key not in table else []
    end = len(body)
    while end and body[end - 1][0] is None:
        end -= 1
    comments = body[end:]
    del body[end:]
    table[key] = value
    body.extend(comments)


def _nested(path: Sequence[str], value: Any) -> Any:
    for key in reversed(path):
        value = {key: value}
    return value


class _Member(NamedTuple):
    """A member of an object: its name, where the name begins, and where its value begins and ends."""

    key: str
    at: int
    start: int
    end: int


def _members(strict: str, opening: int) -> Iterator[_Member]:
    """The members of the object that begins at a position."""
    at = _skip(strict, opening + 1)
    while strict[at] != "}":
        key, end = _DECODER.raw_decode(strict, at)
        start = _skip(strict, end, ":")
        _, end = _DECODER.raw_decode(strict, start)
        yield _Member(key, at, start, end)
        at = _skip(strict, end, ",")


def _skip(text: str, at: int, mark: str = "") -> int:
    """The position after blanks and marks."""
    while text[at].isspace() or text[at] == mark:
        at += 1
    return at


def _insert(text: str, with_commas: str, opening: int, members: list[_Member], key: str, value: Any) -> str:
    """Add a member after the last one and the comments on it."""
    last = members[-1].end if members else opening + 1
    closing = _skip(with_commas, last, ",")
    comma = "," if "," in with_commas[last:closing] else ""
    comments = text[last:closing].rstrip()
    head = f"{text[:last]}{',' if members and not comma else ''}{comments}"
    blank = text[last + len(comments) : closing]
    if members and "\n" not in text[opening:closing]:
        return f"{head} {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}{comma}{blank}{text[closing:]}"
    outer = _indentation(text, opening)
    indent = _indentation(text, members[-1].at) if members else outer + _unit(with_commas)
    blank = blank if "\n" in blank else f"\n{outer}"
    return f"{head}\n{indent}{json.dumps(key)}: {_dump(value, indent, with_commas)}{comma}{blank}{text[closing:]}"


def _dump(value: Any, indent: str, text: str) -> str:
    return json.dumps(value, indent=_unit(text), ensure_ascii=False).replace("\n", f"\n{indent}")


def _unit(text: str) -> str:
    """One step of the text's indentation."""
    found = re.search(r"^[ \t]+(?=\S)", text, re.MULTILINE)
    return found[0] if found else "  "


def _indentation(text: str, at: int) -> str:
    """What the line of a position is indented with."""
    line = text[text.rfind("\n", 0, at) + 1 :]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _without_comments(text: str) -> str:
    """The text with blanks for comments, so that every position stays what it was."""
    return _COMMENT.sub(lambda found: found[1] or re.sub(r"[^\n]", " ", found[0]), text)


def _strict(with_commas: str) -> str:
    """The text with blanks for trailing commas as well, which makes it plain JSON."""
    return _TRAILING_COMMA.sub(lambda found: found[1] or " ", with_commas)
