"""YAML, as goose keeps it: nested names, texts, lists and JSON, which is all that goose and `install` write.

It is read, and written where there is none. Editing is left to the person: ruamel.yaml changes more than it is told.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

_QUOTED = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^']|'')*')\s*(?:\s#.*)?""")


def read_yaml(text: str) -> Any:
    """The value in a text of YAML in block style. What is beyond that is read wrongly, not refused."""
    lines = [(len(line) - len(line.lstrip()), line.strip()) for line in text.splitlines()]
    return _block([(indent, content) for indent, content in lines if content and not content.startswith(("#", "---"))])


def set_yaml(text: str, path: Sequence[str], value: Any) -> str:
    """A text with an object at a path and nothing else. In it, every JSON value is a value.

    Raises:
        ValueError: something is in the text already.
    """
    if text:
        raise ValueError("it is YAML, which is left to you")
    above = [f"{'  ' * depth}{key}:\n" for depth, key in enumerate(path)]
    return "".join([*above, *(f"{'  ' * len(path)}{key}: {json.dumps(inner)}\n" for key, inner in value.items())])


def remove_yaml(text: str, path: Sequence[str]) -> str:
    """Not done: see above.

    Raises:
        ValueError: always.
    """
    raise ValueError("it is YAML, which is left to you")


def _block(lines: list[tuple[int, str]]) -> Any:
    if lines and lines[0][1].startswith("- "):
        return [_scalar(content[2:]) for indent, content in lines if indent == lines[0][0]]
    found: dict[str, Any] = {}
    at = 0
    while at < len(lines):
        indent, content = lines[at]
        end = at + 1
        while end < len(lines) and (lines[end][0] > indent or (lines[end][0] == indent and lines[end][1][:2] == "- ")):
            end += 1
        name, _, value = content.partition(":")
        found[str(_scalar(name))] = _scalar(value) if value.strip() else _block(lines[at + 1 : end])
        at = end
    return found


def _scalar(text: str) -> Any:
    quoted = _QUOTED.fullmatch(text.strip())
    text = quoted[1] if quoted else text.partition(" #")[0].strip()
    try:
        return json.loads(text)
    except ValueError:
        return text[1:-1].replace("''", "'") if quoted else text
