"""opencode asks before a tool runs if its permissions say so: rules, of which the last that fits counts."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any, cast

from .config_file import ConfigFile

_TOOL = "neptun_delete_import"
_PATH = "permission"


def ask(file: ConfigFile) -> None:
    """Make opencode ask before a deletion, unless the person has said otherwise for this tool."""
    rules = file.get(_PATH)
    if rules == "allow":
        file.set([_PATH], {"*": "allow", _TOOL: "ask"})
    elif not isinstance(rules, str) and _answer(file) == "allow":
        own: Any = file.get(_PATH, _TOOL)
        if own == "ask":  # a later rule overrides it
            file.remove([_PATH, _TOOL])
        if own in (None, "ask"):
            file.set([_PATH, _TOOL], "ask")


def undo(file: ConfigFile, before: ConfigFile | None) -> None:
    """Undo `ask`.

    Args:
        before: the file as it was; None if that is not known.
    """
    rules, earlier = file.get(_PATH), before.get(_PATH) if before else None
    if earlier == "allow" and rules == {"*": "allow", _TOOL: "ask"}:
        file.set([_PATH], earlier)
    elif file.get(_PATH, _TOOL) == "ask" and not (before and before.get(_PATH, _TOOL)):
        file.remove([_PATH, _TOOL], before)


def sentence(file: ConfigFile) -> str:
    """What opencode does before a deletion, as its file says."""
    what = {"ask": "asks before a deletion", "deny": "refuses every deletion", "allow": "deletes without asking anyone"}
    return f'opencode {what[_answer(file)]}, because "{_PATH}" in this file says so for {_TOOL}.'


def _answer(file: ConfigFile) -> str:
    """`ask`, `deny` or `allow`."""
    rules: Any = file.get(_PATH)
    if isinstance(rules, dict):
        by_tool = cast("dict[str, Any]", rules).items()
        fitting = [rule for tool, rule in by_tool if fnmatchcase(_TOOL, tool.replace("[", "[[]"))]
        rules = fitting[-1] if fitting else None
    if isinstance(rules, dict):  # by arguments
        rules = next(reversed(cast("dict[str, Any]", rules).values()), None)
    return rules if rules in ("ask", "deny") else "allow"
