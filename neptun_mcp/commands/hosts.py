"""The hosts that `neptun-mcp install` knows: where each keeps its MCP servers, and what an entry looks like there.

A host is an entry in `HOSTS`. What was tried with which version is in docs/hosts.md.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

NAME = "neptun"
"""The server's name in every host."""

# As a plain string: type checkers skip what is for another system.
PLATFORM: str = sys.platform

_STDIO = {"command": "{command}", "args": "{args}", "env": "{env}"}
"""The entry that most hosts want."""

# Codex passes on only what is named: the way to Neptun, and where a log-in is kept. Never `required`: with that, it
# does not start at all once the program is gone.
_CODEX_PASSES_ON = [
    *("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "all_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"),
    *("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"),
]
_GOOSE = {"type": "stdio", "name": NAME, "enabled": True, "timeout": 300}
_UNTIL_ALLOWED = "Before a deletion {title} asks you, until you allow the tool for good."


@dataclass(frozen=True)
class Host:
    """What is known about a host.

    Attributes:
        title: its name.
        files: where its servers may be, the likeliest first; `{…}` is one of `_folders`.
        servers: the name under which its file has them.
        form: what the server's entry looks like; a text in braces stands for what differs.
        has_permissions: whether the file says which tools the host asks about, as opencode's does.
        require: whether deletions may go unasked here, so that the entry sets `NEPTUN_CONFIRM_DELETE=require`.
        asks: what it does before a deletion if neither holds, a sentence with `{title}` in it.
        note: what else the person has to know.
        expands: what the host replaces in the texts of an entry, so that no value may hold it; there is no escape.
        program: the command that starts it, if it has one.
        name: what it is called in a command line, as in `HOSTS`.
    """

    title: str
    files: tuple[str, ...] = ()
    servers: str = "mcpServers"
    form: Mapping[str, Any] = field(default_factory=lambda: _STDIO)
    has_permissions: bool = False
    require: bool = False
    asks: str = "Before a deletion {title} asks you; then the server does, and says what would be lost."
    note: str = ""
    expands: str = r"(?!)"  # nothing
    program: str = ""
    name: str = ""

    @property
    def by_hand(self) -> bool:
        """Whether its file is left to the person to edit: it is YAML."""
        return any(file.endswith(".yaml") for file in self.files)

    def entry(self, command: str, args: list[str], env: dict[str, str]) -> dict[str, Any]:
        """The server's entry, which starts a command with these arguments in this environment."""
        given = {"{command}": command, "{args}": args, "{command and args}": [command, *args], "{env}": env}
        return {key: given.get(str(value), value) for key, value in self.form.items()}

    @property
    def places(self) -> list[Path]:
        """Every place of its files; none without a home directory."""
        try:
            folders = _folders()
        except RuntimeError:  # there is no home directory
            return []
        return [Path(file.format_map(folders)) for file in self.files]

    @property
    def file(self) -> Path | None:
        """The first of the files that exists; else the first whose folder does; else the likeliest."""
        exist = [place for place in self.places if place.exists()]
        exist = exist or [place for place in self.places if place.parent.is_dir()]
        return next(iter(exist or self.places), None)

    @property
    def is_here(self) -> bool:
        """Whether the host is on this machine: its program, its file, or the folder of it."""
        if shutil.which(self.program):
            return True
        return any(place.exists() or (place.parent.is_dir() and place.parent != Path.home()) for place in self.places)


_GEMINI = Host(
    "Gemini CLI",
    ("{gemini}/.gemini/settings.json",),
    form={"trust": False, **_STDIO},
    asks='Before a deletion {title} asks you, unless "trust" is true here or --yolo is given.',
    note="{title} starts servers in trusted folders only.",
    expands=r"\$\w|\$\{",
    program="gemini",
)

_KNOWN = {
    "claude-desktop": Host("Claude Desktop", ("{claude_desktop}/claude_desktop_config.json",), asks=_UNTIL_ALLOWED),
    "claude-code": Host(
        "Claude Code",
        ("{claude_code}/.claude.json",),
        form={"type": "stdio", **_STDIO},
        expands=r"\$\{",
        program="claude",
    ),
    "cursor": Host("Cursor", ("{home}/.cursor/mcp.json",), form={"type": "stdio", **_STDIO}, expands=r"\$\{"),
    "vscode": Host(
        "VS Code",
        ("{app}/Code/User/mcp.json", "{app}/Code - Insiders/User/mcp.json"),
        "servers",
        {"type": "stdio", **_STDIO},
        expands=r"\$\{",
    ),
    "windsurf": Host(
        "Windsurf (now Devin Desktop)",
        ("{config}/devin/mcp_config.json", "{home}/.codeium/windsurf/mcp_config.json"),
        asks=_UNTIL_ALLOWED,
        expands=r"\$\{",
    ),
    "zed": Host("Zed", ("{config}/zed/settings.json",), "context_servers", asks=_UNTIL_ALLOWED),
    "codex": Host(
        "Codex", ("{codex}/config.toml",), "mcp_servers", {**_STDIO, "env_vars": _CODEX_PASSES_ON}, program="codex"
    ),
    "gemini-cli": _GEMINI,
    "qwen-code": replace(_GEMINI, title="Qwen Code", files=("{qwen}/settings.json",), program="qwen"),
    "copilot-cli": Host(
        "Copilot CLI",
        ("{copilot}/mcp-config.json",),
        form={"type": "local", "tools": ["*"], **_STDIO},
        expands=r"\$\w|\$\{",
        program="copilot",
    ),
    "opencode": Host(
        "opencode",
        ("{xdg}/opencode/opencode.jsonc", "{xdg}/opencode/opencode.json"),
        "mcp",
        {"type": "local", "command": "{command and args}", "environment": "{env}"},
        has_permissions=True,
        expands=r"\{(env|file):",
        program="opencode",
    ),
    "cline": Host(
        "Cline",
        ("{cline}/data/settings/cline_mcp_settings.json",),
        form={"timeout": 60, **_STDIO},  # seconds; without it, a server has 3 to start
        require=True,
        note="{title} may run tools without asking you, and does not show the server's question.",
        program="cline",
    ),
    "goose": Host(
        "goose",
        ("{goose}/config.yaml",),
        "extensions",
        {**_GOOSE, "cmd": "{command}", "args": "{args}", "envs": "{env}"},
        require=True,
        note="{title} runs tools without asking you.",
        program="goose",
    ),
    "generic": Host("Your host", require=True, note="Not every host asks you before a deletion."),
}
HOSTS = {name: replace(host, name=name) for name, host in _KNOWN.items()}


def _folders() -> dict[str, Path]:
    """The folders in which hosts keep their files, on this system and with their own variables."""
    home = Path.home()

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
        "qwen": folder("QWEN_HOME", ".qwen"),
        "copilot": folder("COPILOT_HOME", ".copilot"),
        "cline": folder("CLINE_DIR", ".cline"),
        "goose": roaming / "Block/goose/config" if PLATFORM == "win32" else xdg / "goose",
    }
