"""opencode asks before a tool runs if its permissions say so: rules, of which the last that fits counts."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, cast

from .config_file import ConfigFile

_PATH = "permission"


@dataclass(frozen=True)
class Permission:
    """The permission of one tool.

    Attributes:
        tool: the tool, as the host names it.
    """

    tool: str

    def ask(self, file: ConfigFile) -> None:
        """Make the host ask, unless the person has said otherwise for this tool."""
        rules = file.get(_PATH)
        if rules == "allow":
            file.set([_PATH], {"*": "allow", self.tool: "ask"})
        elif not isinstance(rules, str) and self.answer(file) == "allow":
            own: Any = file.get(_PATH, self.tool)
            if own == "ask":  # a later rule overrides it
                file.remove([_PATH, self.tool])
            if own in (None, "ask"):
                file.set([_PATH, self.tool], "ask")

    def undo(self, file: ConfigFile, before: ConfigFile | None) -> None:
        """Undo `ask`.

        Args:
            before: the file as it was; None if that is not known.
        """
        rules, earlier = file.get(_PATH), before.get(_PATH) if before else None
        if earlier == "allow" and rules == {"*": "allow", self.tool: "ask"}:
            file.set([_PATH], earlier)
        elif file.get(_PATH, self.tool) == "ask" and not (before and before.get(_PATH, self.tool)):
            file.remove([_PATH, self.tool], before)

    def answer(self, file: ConfigFile) -> str:
        """What the host does before the tool runs, as its file says: `ask`, `deny` or `allow`."""
        rules: Any = file.get(_PATH)
        if isinstance(rules, dict):
            fitting = [rule for tool, rule in cast("dict[str, Any]", rules).items() if _fits(self.tool, tool)]
            rules = fitting[-1] if fitting else None
        if isinstance(rules, dict):  # by arguments
            rules = next(reversed(cast("dict[str, Any]", rules).values()), None)
        return rules if rules in ("ask", "deny") else "allow"

    def sentence(self, file: ConfigFile) -> str:
        """The same for a person."""
        what = {
            "ask": "opencode asks before a deletion",
            "deny": "opencode refuses every deletion",
            "allow": "opencode deletes without asking anyone",
        }[self.answer(file)]
        return f'{what}, because "{_PATH}" in this file says so for {self.tool}.'


def _fits(tool: str, pattern: str) -> bool:
    return fnmatchcase(tool, pattern.replace("[", "[[]"))
