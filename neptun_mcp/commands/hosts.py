"""The hosts that `neptun-mcp install` knows: where each keeps its MCP servers, and what an entry looks like there.

A host is a line or two in `HOSTS`. What was tried with which version is in docs/hosts.md.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

from .config_file import ConfigFile, can_edit

NAME = "neptun"
"""The server's name in every host."""

# As a plain string: type checkers skip what is for another system.
PLATFORM: str = sys.platform

# Codex passes on only what is named: the way to Neptun, and where a log-in is kept.
_CODEX_PASSES_ON = [
    *("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "all_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"),
    *("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"),
]


@dataclass(frozen=True)
class Server:
    """How a host starts the server."""

    command: str
    args: list[str]
    env: dict[str, str]


def _stdio(server: Server, **more: Any) -> dict[str, Any]:
    """The entry that most hosts want."""
    return {**more, "command": server.command, "args": server.args, "env": server.env}


def _codex(server: Server) -> dict[str, Any]:
    return {**_stdio(server), "required": True, "env_vars": _CODEX_PASSES_ON}


def _opencode(server: Server) -> dict[str, Any]:
    return {"type": "local", "command": [server.command, *server.args], "environment": server.env}


def _goose(server: Server) -> dict[str, Any]:
    start = {"cmd": server.command, "args": server.args, "envs": server.env}
    return {"type": "stdio", "name": NAME, "enabled": True, "timeout": 300, **start}


def _let_opencode_ask(file: ConfigFile) -> None:
    """Set the permission of `delete_import`, unless the person has. The last rule that fits a tool counts."""
    tool = f"{NAME}_delete_import"
    if file.get("permission") == "allow":
        file.set(["permission"], {"*": "allow", tool: "ask"})
    elif not isinstance(file.get("permission"), str) and file.get("permission", tool) is None:
        file.set(["permission", tool], "ask")


@dataclass(frozen=True)
class Host:
    """What is known about a host.

    Attributes:
        title: its name.
        files: where its servers may be, the likeliest first; `{…}` is one of `_folders`.
        path: where the servers are in the file.
        entry: makes the server's entry.
        prepare: changes what else has to be changed in the file.
        require: whether deletions may go unasked here, so that the entry sets `NEPTUN_CONFIRM_DELETE=require`.
        note: what the person has to know.
    """

    title: str
    files: tuple[str, ...] = ()
    path: tuple[str, ...] = ("mcpServers",)
    entry: Callable[[Server], dict[str, Any]] = _stdio
    prepare: Callable[[ConfigFile], None] | None = None
    require: bool = False
    note: str = ""

    @property
    def file(self) -> Path | None:
        """The first of the files that exists; else the first whose folder does; else the likeliest."""
        places = [Path(file.format_map(_folders())) for file in self.files]
        exist = [place for place in places if place.exists()] or [place for place in places if place.parent.is_dir()]
        return next(iter(exist or places), None)


HOSTS = {
    "claude-desktop": Host("Claude Desktop", ("{claude_desktop}/claude_desktop_config.json",)),
    "claude-code": Host("Claude Code", ("{claude_code}/.claude.json",), entry=partial(_stdio, type="stdio")),
    "cursor": Host("Cursor", ("{home}/.cursor/mcp.json",), entry=partial(_stdio, type="stdio")),
    "vscode": Host(
        "VS Code",
        ("{app}/Code/User/mcp.json", "{app}/Code - Insiders/User/mcp.json"),
        ("servers",),
        partial(_stdio, type="stdio"),
    ),
    "windsurf": Host(
        "Windsurf (now Devin Desktop)",
        ("{config}/devin/mcp_config.json", "{home}/.codeium/windsurf/mcp_config.json"),
    ),
    "zed": Host("Zed", ("{config}/zed/settings.json",), ("context_servers",)),
    "codex": Host("Codex", ("{codex}/config.toml",), ("mcp_servers",), _codex),
    "gemini-cli": Host(
        "Gemini CLI",
        ("{gemini}/.gemini/settings.json",),
        entry=partial(_stdio, trust=False),
        note='Gemini CLI asks before a tool runs, unless "trust" is true here or --yolo is given. It starts servers in '
        "trusted folders only.",
    ),
    "copilot-cli": Host(
        "Copilot CLI", ("{copilot}/mcp-config.json",), entry=partial(_stdio, type="local", tools=["*"])
    ),
    "opencode": Host(
        "opencode",
        ("{xdg}/opencode/opencode.jsonc", "{xdg}/opencode/opencode.json"),
        ("mcp",),
        _opencode,
        _let_opencode_ask,
        note=f'opencode asks before a deletion because "permission" in this file says so for {NAME}_delete_import.',
    ),
    "cline": Host(
        "Cline",
        ("{cline}/data/settings/cline_mcp_settings.json",),
        entry=partial(_stdio, timeout=60),  # seconds; without it, a server has 3 to start
        require=True,
        note="Cline may run tools without asking you, and does not show the server's question. So the entry makes "
        "delete_import refuse (NEPTUN_CONFIRM_DELETE=require).",
    ),
    "goose": Host(
        "goose",
        ("{goose}/config.yaml",),
        ("extensions",),
        _goose,
        require=True,
        note="goose runs tools without asking you. So the entry makes delete_import refuse unless goose shows the "
        "server's question (NEPTUN_CONFIRM_DELETE=require).",
    ),
    "generic": Host("Your host"),
}


def _folders() -> dict[str, Path]:
    """The folders in which hosts keep their files, on this system and with their own variables.

    Raises:
        OSError: there is no home directory.
    """
    try:
        home = Path.home()
    except RuntimeError:
        raise OSError("the home directory is not known; set HOME") from None

    def folder(variable: str, usual: str) -> Path:
        return Path(os.environ.get(variable) or home / usual)

    xdg, roaming = folder("XDG_CONFIG_HOME", ".config"), folder("APPDATA", "AppData/Roaming")
    app = {"darwin": home / "Library/Application Support", "win32": roaming}.get(PLATFORM, xdg)
    # Installed as a package, Claude Desktop does not see the real AppData.
    packaged = folder("LOCALAPPDATA", "AppData/Local") / "Packages/Claude_pzs8sxrjxfjjc/LocalCache/Roaming/Claude"
    return {
        "home": home,
        "xdg": xdg,
        "app": app,
        "config": roaming if PLATFORM == "win32" else xdg,
        "claude_desktop": packaged if PLATFORM == "win32" and packaged.is_dir() else app / "Claude",
        "claude_code": folder("CLAUDE_CONFIG_DIR", ""),
        "codex": folder("CODEX_HOME", ".codex"),
        "gemini": folder("GEMINI_CLI_HOME", ""),
        "copilot": folder("COPILOT_HOME", ".copilot"),
        "cline": folder("CLINE_DIR", ".cline"),
        "goose": roaming / "Block/goose/config" if PLATFORM == "win32" else xdg / "goose",
    }


@dataclass(frozen=True)
class Entry:
    """An entry of the server that is in a host's file.

    Attributes:
        host: the host's name in `HOSTS`.
        problem: why it does not work; empty if nothing speaks against it.
    """

    host: str
    problem: str


def installed() -> list[Entry]:
    """The hosts of this person that have the server, and whether their entry can still start it."""
    found: list[Entry] = []
    for name, host in HOSTS.items():
        try:
            file = host.file
            if file is None or not file.exists() or not can_edit(file):
                continue
            entry = ConfigFile.read(file).get(*host.path, NAME)
        except (OSError, ValueError):
            continue  # which is for the host to say
        if isinstance(entry, dict):
            command = cast("dict[str, Any]", entry).get("command")
            # In opencode the arguments are in it, too.
            program = next(iter(cast("list[Any]", command)), None) if isinstance(command, list) else command
            works = isinstance(program, str) and shutil.which(program)
            found.append(Entry(name, "" if works else "the command in its entry does not exist"))
    return found
