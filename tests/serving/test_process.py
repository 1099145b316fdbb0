"""What is set for the whole process."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest
import uvicorn
from httpcore2 import AsyncHTTP11Connection

from neptun_mcp import Settings
from neptun_mcp.serving import process
from tests.processes import Command
from tests.serving.support import started

KEPT_BY_NGINX = 60
"""Seconds after which nginx gives up an idle connection, as most balancers do."""

FOUND = getattr(AsyncHTTP11Connection, "READ_NUM_BYTES", None)


def test_httpcore_still_reads_as_much_at_a_time_as_its_constant_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AsyncHTTP11Connection, "READ_NUM_BYTES", FOUND)  # set back at the end
    process.read_long_bodies()
    assert AsyncHTTP11Connection.READ_NUM_BYTES == process.READ_BYTES  # pyright: ignore[reportAttributeAccessIssue]
    functions = [value for value in vars(AsyncHTTP11Connection).values() if hasattr(value, "__code__")]
    uses = [function.__name__ for function in functions if "READ_NUM_BYTES" in function.__code__.co_names]
    assert uses, "the library has moved: measure whether it still reads long bodies in small pieces"


def test_serving_does_not_import_rich() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "neptun_mcp", "--sandbox"]
    imported = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True).stderr
    assert "mcp.server.mcpserver" in imported
    assert "rich" not in imported.split(), "the SDK has moved: see what its servers import now"


@pytest.mark.parametrize("seconds", [None, 7])
def test_connections_stay_open_as_long_as_the_setting_says(
    seconds: int | None, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer than gateways keep them, which would send a request on one that is about to be closed."""
    configured: list[uvicorn.Config] = []

    def run(server: uvicorn.Server, sockets: list[socket.socket]) -> None:
        configured.append(server.config)
        for listener in sockets:
            listener.close()

    monkeypatch.setattr(uvicorn.Server, "run", run)
    if seconds:
        monkeypatch.setenv("NEPTUN_MCP_KEEP_ALIVE", str(seconds))
    assert command("--sandbox", "serve", "--http", "--port", "0").code == 0
    kept = Settings().mcp_keep_alive
    assert [config.timeout_keep_alive for config in configured] == [kept]
    assert kept == seconds or kept > KEPT_BY_NGINX


def test_the_printed_command_line_keeps_connections_as_long() -> None:
    words = started("uvicorn", 0)
    assert int(words[words.index("--timeout-keep-alive") + 1]) == Settings().mcp_keep_alive
