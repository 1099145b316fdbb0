"""JSON with comments and trailing commas, as hosts keep it: sets a value in its text, or takes it out; the rest stays.

No library on PyPI will do: json-five takes the module name of the package json5, jsonc-edit needs Node and a download,
and the others refuse or drop comments, are under the GPL, or need Python 3.12. The standard library does the parsing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

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
    strict = _strict(_without_comments(text))
    return json.loads(strict) if strict.strip() else {}


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
        gap = "" if not text.strip() or text.endswith("\n") else "\n"
        return f"{text}{gap}{json.dumps(nested(path, value), indent=2, ensure_ascii=False)}\n"
    opening = strict.index("{")
    for depth, key in enumerate(path):
        inner = nested(path[depth + 1 :], value)
        members = _members(strict, opening)
        # Of two members with one name the last one counts, as in every parser.
        found = next((member for member in reversed(members) if member.key == key), None)
        if found is None:
            return _insert(text, with_commas, opening, members, key, inner)
        if depth == len(path) - 1 or strict[found.start : found.end] == "null":
            shown = _dump(inner, _indentation(text, found.start), with_commas)
            return f"{text[: found.start]}{shown}{text[found.end :]}"
        if strict[found.start] != "{":
            break
        opening = found.start
    raise ValueError(f"{'.'.join(path[:-1])} is no object")


def remove_json(text: str, path: Sequence[str], before: str | None = None) -> str:
    """The text without the value at the path: the inverse of `set_json`.

    Objects on the way that are then empty go, too, unless they were in the earlier text.

    Args:
        text: one in which `read_json` finds an object.
        before: the text as it was before `set_json`, which decides where blanks and empty objects could have been
            either; None if it is not known.
    """
    for depth in range(len(path), 0, -1):
        found = _find(text, path[:depth])
        earlier = _find(before, path[:depth]) if before is not None else None
        if earlier and before and before[earlier.start : earlier.end] == "null":
            return _replaced(text, found, "null") if found else text
        if depth < len(path) and (earlier or found is None or not _is_empty(text[found.start : found.end])):
            return text
        while found := _find(text, path[:depth]):  # a name may be there twice
            text = _cut(text, path[:depth], before)
    if before is not None and not _plain(before).strip() and (end := _end(text, [])) and end[1] == end[0] + 1:
        above = text[: end[0]] if not before.strip() or before.endswith("\n") else text[: end[0]].removesuffix("\n")
        return above + text[end[2] + 1 :].removeprefix("\n")
    return text


def copy_json(text: str, path: Sequence[str], other: str) -> str:
    """The text with the value at the path as it is written in another text, both of which have one."""
    found, theirs = _find(text, path), _find(other, path)
    return _replaced(text, found, other[theirs.start : theirs.end]) if found and theirs else text


def _replaced(text: str, member: _Member, value: str) -> str:
    return f"{text[: member.start]}{value}{text[member.end :]}"


def _find(text: str, path: Sequence[str]) -> _Member | None:
    """The member at a path. Of two with one name the last one counts, as in every parser."""
    strict = _plain(text)
    if not strict.strip():
        return None
    found, opening = None, strict.index("{")
    for key in path:
        if strict[opening] != "{":
            return None
        found = next((member for member in reversed(_members(strict, opening)) if member.key == key), None)
        if found is None:
            return None
        opening = found.start
    return found


def _cut(text: str, path: Sequence[str], before: str | None) -> str:
    """The text without a member that it has: what `_insert` did, undone."""
    with_commas = _without_comments(text)
    strict = _strict(with_commas)
    around = _find(text, path[:-1])
    opening = around.start if around else strict.index("{")
    members = _members(strict, opening)
    at = max(place for place, member in enumerate(members) if member.key == path[-1])
    member = members[at]
    closing = around.end - 1 if around else strict.rindex("}")
    start, rest = len(text[: member.at].rstrip()), text[member.end :].lstrip(", \t")
    comments = [*_COMMENT.finditer(text, members[at - 1].end if at else opening, member.at)]
    if comments and comments[-1][0].startswith("//") and not rest.startswith("\n"):
        start = comments[-1].end() + 1  # what follows must not become part of the comment
    following = members[at + 1].at if at + 1 < len(members) else closing
    comma = with_commas.find(",", member.end, following)
    if comma >= 0:
        text = text[:start] + text[member.end : comma] + text[comma + 1 :]
    else:
        last = with_commas.find(",", members[at - 1].end, member.at) if at else start
        text = text[:last] + text[last + (at > 0) : start] + text[member.end :]
    return text if at + 1 < len(members) else _with_old_end(text, path[:-1], before)


def _with_old_end(text: str, path: Sequence[str], before: str | None) -> str:
    """The text with the blanks before the end of an object as they were, if `_insert` broke the line there."""
    found = _end(text, path)
    earlier = _end(before, path) if before is not None else None
    if earlier and before is not None:
        blank = before[earlier[1] : earlier[2]]
    else:
        blank = "" if found and text[found[1] - 1] == "{" else "\n"
    if not found or "\n" in blank or text[found[1] : found[2]] != f"\n{_indentation(text, found[0])}":
        return text
    return f"{text[: found[1]]}{blank}{text[found[2] :]}"


def _end(text: str, path: Sequence[str]) -> tuple[int, int, int] | None:
    """Of an object: where it begins, where the blanks before its end begin, where it ends."""
    strict = _plain(text)
    found = _find(text, path)
    if not strict.strip() or (path and not found):
        return None
    opening, closing = (found.start, found.end - 1) if found else (strict.index("{"), strict.rindex("}"))
    if strict[opening] != "{":
        return None
    return opening, len(text[:closing].rstrip()), closing


def _is_empty(text: str) -> bool:
    """Whether a text holds an empty object without comments."""
    return "".join(text.split()) == "{}"


def _plain(text: str) -> str:
    return _strict(_without_comments(text))


def nested(path: Sequence[str], value: Any) -> Any:
    """The value in objects, one for each step of the path."""
    for key in reversed(path):
        value = {key: value}
    return value


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


@_remembered
def _without_comments(text: str) -> str:
    """The text with blanks for comments, so that every position stays what it was."""
    return _COMMENT.sub(lambda found: found[1] or re.sub(r"[^\n]", " ", found[0]), text)


@_remembered
def _strict(with_commas: str) -> str:
    """The text with blanks for trailing commas as well, which makes it plain JSON."""
    return _TRAILING_COMMA.sub(lambda found: found[1] or " ", with_commas)
