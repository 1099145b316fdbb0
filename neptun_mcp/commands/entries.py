"""The server's entries in the files of hosts: what they start, with what, and whose they are."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ..settings import PRIVATE
from .config_file import ConfigFile, can_edit, file_content
from .hosts import HOSTS, NAME, Server
from .yaml_text import read_yaml

_ENVIRONMENTS = ("env", "environment", "envs")
_HEADERS = ("headers", "http_headers")
_URLS = ("url", "httpUrl", "serverUrl", "uri")
_SECRETS = {f"NEPTUN_{setting.upper()}" for setting in PRIVATE}


@dataclass(frozen=True)
class Entry:
    """An entry named `neptun` in a host's file.

    Attributes:
        host: the host's name in `HOSTS`.
        file: the file that holds it.
        value: what it says.
    """

    host: str
    file: Path
    value: dict[str, Any]

    @property
    def command(self) -> list[str]:
        """The program that it starts, and its arguments; empty if it starts none."""
        command, args = self.value.get("command") or self.value.get("cmd"), self.value.get("args")
        words = cast("list[Any]", command) if isinstance(command, list) else [command] if command else []
        words += cast("list[Any]", args) if isinstance(args, list) else []
        return [str(word) for word in words]

    @property
    def url(self) -> str:
        """The address of the server that it connects to; empty if it starts one."""
        return next((str(self.value[key]) for key in _URLS if self.value.get(key)), "")

    @property
    def headers(self) -> dict[str, str]:
        """The headers that it sends to the address."""
        headers = self._texts(_HEADERS)
        if token := os.environ.get(str(self.value.get("bearer_token_env_var"))):
            headers["Authorization"] = f"Bearer {token}"
        return headers

    @property
    def environment(self) -> dict[str, str]:
        """The variables that the program gets."""
        return self._texts(_ENVIRONMENTS)

    def variables(self, key: str) -> list[str]:
        """The names in the object of a key; none if it has no such object."""
        value = self.value.get(key)
        return list(cast("dict[str, Any]", value)) if isinstance(value, dict) else []

    def _texts(self, keys: Sequence[str]) -> dict[str, str]:
        objects = [cast("dict[str, Any]", self.value[key]) for key in keys if self.variables(key)]
        return {name: str(value) for name, value in objects[0].items()} if objects else {}

    @property
    def is_ours(self) -> bool:
        """Whether it starts this server, whoever wrote it."""
        program, *args = self.command or [""]
        return Path(program.replace("\\", "/")).stem == "neptun-mcp" or not {"neptun-mcp", "neptun_mcp"}.isdisjoint(
            args
        )

    @property
    def is_as_installed(self) -> bool:
        """Whether it is as `install` writes it, or wrote it before; the person may have added to it."""
        keys = HOSTS[self.host].entry(Server("", [], {})).keys()
        return self.is_ours and keys <= self.value.keys()

    @property
    def holds_secret(self) -> bool:
        """Whether a cookie, a password or an e-mail address is in it."""
        return any(self.environment.get(name) for name in _SECRETS)


def entry_in(name: str, file: ConfigFile) -> Entry | None:
    """The host's entry in a file; None if there is none.

    Raises:
        ValueError: it is something other than an object.
    """
    return _entry(name, file.path, file.get(*HOSTS[name].path, NAME))


def read_entry(name: str, file: Path) -> Entry | None:
    """The host's entry in a file that is there, whatever its kind.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is malformed, or the entry is something other than an object.
    """
    if can_edit(file):
        return entry_in(name, ConfigFile.read(file))
    value: Any = read_yaml((file_content(file) or b"").decode("utf-8-sig"))
    for key in (*HOSTS[name].path, NAME):
        value = cast("dict[str, Any]", value).get(key) if isinstance(value, dict) else None
    return _entry(name, file, value)


def _entry(name: str, file: Path, value: Any) -> Entry | None:
    if value is not None and not isinstance(value, dict):
        raise ValueError(f"{file} has another kind of entry {NAME}")
    return None if value is None else Entry(name, file, cast("dict[str, Any]", value))


def find_entries() -> Iterator[Entry]:
    """The entries of every host on this machine whose file can be read."""
    for name, host in HOSTS.items():
        try:
            files = [file for file in host.places if file.exists()]
        except OSError:
            return  # there is no home
        for file in files:
            with suppress(OSError, ValueError):  # which are for the host to say
                if entry := read_entry(name, file):
                    yield entry
