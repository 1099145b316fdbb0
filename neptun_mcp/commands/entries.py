"""The server's entries in the files of hosts: what they start, with what, and whose they are."""

from __future__ import annotations

import os
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, cast

from .config_file import ConfigFile
from .hosts import NAME, Host
from .json_text import is_object

_URLS = ("url", "httpUrl", "serverUrl", "uri")
_IF_UNSET = ("timeout", "tools", "enabled")
"""Keys that `install` sets only where the person has not."""

_PERMISSION, _TOOL = "permission", "neptun_delete_import"
"""Where opencode keeps what tools may do, and the name under which it knows ours."""

_ELSEWHERE = ("docker", "podman", "ssh", "wsl")
"""Programs that start others elsewhere, where a log-in of this machine is not kept."""


@dataclass(frozen=True)
class Entry:
    """An entry named `neptun` in the file of a host; `project` is the folder that alone has it, empty if all have."""

    host: Host
    file: Path
    value: dict[str, Any]
    project: str = ""

    @property
    def command(self) -> list[str]:
        """The program that it starts, and its arguments; empty if it starts none."""
        command, args = self._flat.get("command") or self._flat.get("cmd"), self._flat.get("args")
        words = cast("list[Any]", command) if isinstance(command, list) else [command] if command else []
        return [str(word) for word in (*words, *(cast("list[Any]", args) if isinstance(args, list) else ()))]

    @property
    def url(self) -> str:
        """The address of the server that it connects to; empty if it starts one."""
        return next((str(self._flat[key]) for key in _URLS if self._flat.get(key)), "")

    @property
    def headers(self) -> dict[str, str]:
        """The headers that it sends to the address."""
        headers = self._texts("headers", "http_headers")
        for name, variable in self._texts("env_http_headers").items():  # Codex: by the variable that holds each
            headers[name] = os.environ.get(variable, "")
        if token := os.environ.get(str(self.value.get("bearer_token_env_var"))):
            headers["Authorization"] = f"Bearer {token}"
        return headers

    @property
    def environment(self) -> dict[str, str]:
        """The variables that the program gets."""
        return self._texts(*(key for key, value in self.host.form.items() if value == "{env}"))

    def _texts(self, *keys: str) -> dict[str, str]:
        found = next((value for key in keys if is_object(value := self._flat.get(key))), dict[str, Any]())
        return {name: str(value) for name, value in found.items()}

    @property
    def _flat(self) -> dict[str, Any]:
        """The value, with what Cline's own command puts into `transport`."""
        inner = self.value.get("transport")
        return {**self.value, **inner} if is_object(inner) else self.value

    @property
    def is_ours(self) -> bool:
        """Whether it starts this server on this machine, whoever wrote it."""
        program, *args = self.command or [""]
        name = Path(program.replace("\\", "/")).stem
        named = not {"neptun-mcp", "neptun_mcp"}.isdisjoint(args)
        return name == "neptun-mcp" or (named and name not in _ELSEWHERE)

    @property
    def installed(self) -> dict[str, Any]:
        """The part that `install` writes: without the keys that a person has added, and without other variables."""
        form = self.host.form
        variables = {name: value for name, value in self.environment.items() if name.startswith("NEPTUN_")}
        return {key: variables if form[key] == "{env}" else self.value[key] for key in form if key in self.value}

    @property
    def is_as_installed(self) -> bool:
        """Whether it is as `install` writes it, or wrote it before; the person may have added to it."""
        return self.is_ours and all(key in self.value for key, usual in self.host.form.items() if usual != "{env}")


def entry_in(host: Host, file: ConfigFile, project: str = "") -> Entry | None:
    """The host's entry in a file; None if there is none.

    Args:
        project: a folder in Claude Code's file, whose own entry is meant.

    Raises:
        ValueError: it is something other than an object.
    """
    scope: Any = file.value["projects"][project] if project else file.value
    servers = scope.get(host.servers) if is_object(scope) else None
    value = servers.get(NAME) if is_object(servers) else None
    if value is not None and not is_object(value):
        raise ValueError(f"{file.path} has another kind of entry {NAME}")
    return None if value is None else Entry(host, file.path, value, project)


def put_entry(host: Host, file: ConfigFile, entry: dict[str, Any]) -> Entry:
    """Put an entry into a host's file, and make the host ask. What a person has added to one that is there stays.

    Raises:
        ValueError: the file has no place for the entry.
    """
    old = entry_in(host, file)
    servers: Any = file.value.get(host.servers)
    if servers is not None and not is_object(servers):
        raise ValueError(f"{file.path} has no place for the entry: {host.servers} is not an object")
    kept = old.value if old else {}
    new = {**kept, **{key: _merged(key, kept.get(key), value) for key, value in entry.items()}}
    file.update({host.servers: {**(servers or {}), NAME: new}})
    if host.has_permissions:
        _make_opencode_ask(file)
    return Entry(host, file.path, new)


def _merged(key: str, old: Any, new: Any) -> Any:
    """What `install` makes of the value of a key in an entry: only what is ours is replaced in it."""
    if is_object(old) and is_object(new):
        return {**{name: value for name, value in old.items() if not name.startswith("NEPTUN_")}, **new}
    if isinstance(old, list) and key == "env_vars":
        return cast("list[str]", old) + [name for name in new if name not in old]
    return new if old is None or key not in _IF_UNSET else cast("Any", old)


def _make_opencode_ask(file: ConfigFile) -> None:
    """Make opencode ask before a deletion, unless the person has said otherwise for this tool."""
    rules: Any = file.value.get(_PERMISSION) or {}
    if rules == "allow":
        file.update({_PERMISSION: {"*": "allow", _TOOL: "ask"}})
    elif is_object(rules) and permission(file) == "allow" and rules.get(_TOOL, "ask") == "ask":
        others = {tool: rule for tool, rule in rules.items() if tool != _TOOL}
        if _TOOL in rules:  # a later rule overrides it
            file.update({_PERMISSION: others})
        file.update({_PERMISSION: {**others, _TOOL: "ask"}})


def permission(file: ConfigFile) -> str:
    """What opencode does before a deletion: `ask`, `deny` or `allow`. The last rule that fits the tool counts."""
    rules: Any = file.value.get(_PERMISSION)
    if is_object(rules):
        rules = next((rules[tool] for tool in reversed(rules) if fnmatchcase(_TOOL, tool.replace("[", "[[]"))), None)
    if is_object(rules):  # by arguments
        rules = next(reversed(rules.values()), None)
    return rules if rules in ("ask", "deny") else "allow"
