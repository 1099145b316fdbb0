"""opencode asks before a tool runs if its permissions say so: rules, of which the last that fits counts."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

from .config_file import ConfigFile
from .json_text import is_object

_TOOL = "neptun_delete_import"
_KEY = "permission"


def ask(file: ConfigFile) -> None:
    """Make opencode ask before a deletion, unless the person has said otherwise for this tool."""
    rules: Any = file.value.get(_KEY) or {}
    if rules == "allow":
        file.update({_KEY: {"*": "allow", _TOOL: "ask"}})
    elif is_object(rules) and _answer(file) == "allow" and rules.get(_TOOL, "ask") == "ask":
        others = {tool: rule for tool, rule in rules.items() if tool != _TOOL}
        if _TOOL in rules:  # a later rule overrides it
            file.update({_KEY: others})
        file.update({_KEY: {**others, _TOOL: "ask"}})


def sentence(file: ConfigFile) -> str:
    """What opencode does before a deletion, as its file says."""
    what = {"ask": "asks before a deletion", "deny": "refuses every deletion", "allow": "deletes without asking anyone"}
    return f'opencode {what[_answer(file)]}, because "{_KEY}" in this file says so for {_TOOL}.'


def _answer(file: ConfigFile) -> str:
    """`ask`, `deny` or `allow`."""
    rules: Any = file.value.get(_KEY)
    if is_object(rules):
        rules = next((rules[tool] for tool in reversed(rules) if fnmatchcase(_TOOL, tool.replace("[", "[[]"))), None)
    if is_object(rules):  # by arguments
        rules = next(reversed(rules.values()), None)
    return rules if rules in ("ask", "deny") else "allow"
