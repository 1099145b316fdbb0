"""JSON with comments and trailing commas, as hosts keep it: sets a value in its text, or takes it out; the rest stays.

No library on PyPI will do: json-five takes the module name of the package json5, jsonc-edit needs Node and a download,
and the others refuse or drop comments, are under the GPL, or need Python 3.12. The standard library does the parsing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeGuard

_STRING = r'"(?:[^"\\\n]|\\.)*"'
_COMMENT = re.compile(rf"({_STRING})|//[^\n]*|/\*.*?\*/", re.DOTALL)
_TRAILING_COMMA = re.compile(rf"({_STRING})|,(?=\s*[}}\]])")
_DECODER = json.JSONDecoder()

# Claude Code's file may have tens of MB, and each edit looks at it several times.
_remembered = lru_cache(maxsize=8)


def read_json(text: str) -> Any:
    """The value in a text of JSON, which may have comments and trailing commas; `{}` if there is none.

    Raises:
        ValueError: the text is malformed.
    """
    strict = _strict(text)
    return json.loads(strict) if strict.strip() else {}


def set_json(text: str, path: Sequence[str], value: Any) -> str:
    """The text with the value at the path. All but the last of the path are objects in the text.

    Args:
        text: one in which `read_json` finds an object.
    """
    if not _strict(text).strip():
        gap = "" if not text.strip() or text.endswith("\n") else "\n"
        text = f"{text}{gap}{{}}\n"
    around, found = _find(text, path)
    if not found:
        return _insert(text, around.start, path[-1], value)
    return f"{text[: found.start]}{_dump(value, _indentation(text, found.start), text)}{text[found.end :]}"


def remove_json(text: str, path: Sequence[str]) -> str:
    """The text without the value at the path: the inverse of `set_json`. An object that holds a comment alone stays."""
    around, found = _find(text, path)
    inside = text[found.start : found.end].strip("{}").strip() if found else ""
    if not found or (inside and not _without_comments(inside).strip()):
        return text
    return remove_json(_cut(text, around, found), path)  # once more, as a name may be there twice


def is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


class _Member(NamedTuple):
    """A member of an object: its name, where the name begins, and where its value begins and ends."""

    key: str
    at: int
    start: int
    end: int


@_remembered
def _members(strict: str, opening: int) -> list[_Member]:
    """The members of the object that begins at a position."""
    members: list[_Member] = []
    at = _skip(strict, opening + 1)
    while strict[at] != "}":
        key, end = _DECODER.raw_decode(strict, at)
        start = _skip(strict, end, ":")
        _, end = _DECODER.raw_decode(strict, start)
        members.append(_Member(key, at, start, end))
        at = _skip(strict, end, ",")
    return members


def _find(text: str, path: Sequence[str]) -> tuple[_Member, _Member | None]:
    """The object around the end of a path, and the member there: of several with one name the last, as parsers do."""
    strict = _strict(text)
    around, found = _Member("", 0, strict.index("{"), strict.rindex("}") + 1), None
    for key in path:
        around = found or around
        found = next((member for member in reversed(_members(strict, around.start)) if member.key == key), None)
    return around, found


def _cut(text: str, around: _Member, member: _Member) -> str:
    """The text without a member of an object, with one comma less, and without the line that this leaves empty."""
    members, with_commas = _members(_strict(text), around.start), _without_comments(text)
    at, is_last = members.index(member), member == members[-1]
    above, below = text[: member.at].rstrip(" \t"), text[member.end :]
    comma = with_commas.find(",", member.end, around.end if is_last else members[at + 1].at)
    if comma >= 0:
        below = text[member.end : comma] + text[comma + 1 :]
    elif at:
        comma = with_commas.index(",", members[at - 1].end)
        above = above[:comma] + above[comma + 1 :]
    if above.endswith("\n") and below.lstrip(" \t").startswith("\n"):
        above = above[:-1]
    is_empty = len(members) == 1 and above == text[: around.start + 1]
    return above + (below.lstrip() if is_empty else below)


def _skip(text: str, at: int, mark: str = "") -> int:
    """The position after blanks and marks."""
    while text[at].isspace() or text[at] == mark:
        at += 1
    return at


def _insert(text: str, opening: int, key: str, value: Any) -> str:
    """Add a member to the object that begins at a position, after the last one and the comments on it."""
    members, with_commas = _members(_strict(text), opening), _without_comments(text)
    last = members[-1].end if members else opening + 1
    closing = _skip(with_commas, last, ",")
    comma = "," if "," in with_commas[last:closing] else ""
    comments = text[last:closing].rstrip()
    head = f"{text[:last]}{',' if members and not comma else ''}{comments}"
    blank = text[last + len(comments) : closing]
    if members and "\n" not in text[opening:closing]:
        return f"{head} {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}{comma}{blank}{text[closing:]}"
    outer = _indentation(text, opening)
    indent = _indentation(text, members[-1].at) if members else outer + _unit(text)
    blank = blank if "\n" in blank else f"\n{outer}"
    return f"{head}\n{indent}{json.dumps(key)}: {_dump(value, indent, text)}{comma}{blank}{text[closing:]}"


def _dump(value: Any, indent: str, text: str) -> str:
    return json.dumps(value, indent=_unit(text), ensure_ascii=False).replace("\n", f"\n{indent}")


def _unit(text: str) -> str:
    """One step of the text's indentation."""
    found = re.search(r"^[ \t]+(?=\S)", _without_comments(text), re.MULTILINE)
    return found[0] if found else "  "


def _indentation(text: str, at: int) -> str:
    """What the line of a position is indented with."""
    line = text[text.rfind("\n", 0, at) + 1 :]
    return line[: len(line) - len(line.lstrip(" \t"))]


@_remembered
def _without_comments(text: str) -> str:
    """The text with blanks for comments, so that every position stays what it was."""
    if _is_plain(text):
        return text
    return _COMMENT.sub(lambda found: found[1] or re.sub(r"[^\n]", " ", found[0]), text)


@_remembered
def _strict(text: str) -> str:
    """The text with blanks for comments and trailing commas, which makes it plain JSON."""
    if _is_plain(text):
        return text
    return _TRAILING_COMMA.sub(lambda found: found[1] or " ", _without_comments(text))


@_remembered
def _is_plain(text: str) -> bool:
    """Whether there are neither comments nor trailing commas, which a parser finds out much sooner."""
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
