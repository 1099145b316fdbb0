from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from neptun_mcp.commands import hosts
from neptun_mcp.commands.config_file import ConfigFile
from neptun_mcp.commands.entries import Entry, entry_in

VARIABLES = {
    "CLAUDE_CONFIG_DIR": ("claude-code", ".claude.json"),
    "CODEX_HOME": ("codex", "config.toml"),
    "QWEN_HOME": ("qwen-code", "settings.json"),
    "COPILOT_HOME": ("copilot-cli", "mcp-config.json"),
    "GEMINI_CLI_HOME": ("gemini-cli", ".gemini/settings.json"),
    "CLINE_DIR": ("cline", "data/settings/cline_mcp_settings.json"),
}
"""What moves the files of hosts, and where they then are."""


def find_entries() -> list[Entry]:
    """The entries in the files that can be read."""
    found: list[Entry | None] = []
    for host in hosts.HOSTS.values():
        for file in host.places:
            with suppress(OSError, ValueError):
                found.append(entry_in(host, ConfigFile.read(file)))
    return [entry for entry in found if entry]


@pytest.fixture
def person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of a person on Linux, with the sandbox set and no host yet."""
    monkeypatch.setattr(hosts, "PLATFORM", "linux")
    for name in ("APPDATA", "LOCALAPPDATA", "XDG_CONFIG_HOME", *VARIABLES):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("PATH", "")  # where the programs of this machine's hosts may be
    monkeypatch.setenv("NEPTUN_SANDBOX", "1")
    return tmp_path
